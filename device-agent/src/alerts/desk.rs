//! The task that takes assertions in, has their records logged, and ends what is no longer asserted.

use std::path::PathBuf;
use std::time::Duration;

use prometheus::{IntCounter, IntGauge, Registry};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wire::Timestamp;
use wire::message::Alert;

use super::book::{Book, Full};
use super::file::BookFile;
use super::posted::Posted;
use crate::input::{AlertSender, Moment};
use crate::wal::has_logged;

/// Requests that wait.
const REQUESTS: usize = 8;

/// How often ends are looked for.
const TICK: Duration = Duration::from_secs(1);

/// How often ends that were put off reach the disk, ms.
const SAVE_EVERY: u64 = 60_000;

/// Why assertions were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Too many alerts; those before it in the request are taken.
    #[error(transparent)]
    Full(#[from] Full),
    /// The log could not take the records: nothing of the request counts.
    #[error("the log cannot take the alerts now")]
    NotLogged,
    /// The agent stops.
    #[error("the agent stops")]
    Stopping,
}

/// What the desk counts.
#[derive(Debug, Clone)]
pub(crate) struct DeskMetrics {
    asserted: IntCounter,
    refused: IntCounter,
    firing: IntGauge,
    save_errors: IntCounter,
}

/// Hands assertions in.
#[derive(Debug, Clone)]
pub(crate) struct DeskHandle(mpsc::Sender<Request>);

#[derive(Debug)]
enum Request {
    Assert {
        posted: Vec<Posted>,
        answer: oneshot::Sender<Result<(), Refusal>>,
    },
    /// The alerts that fire.
    List(oneshot::Sender<Vec<Listed>>),
}

/// An alert that fires, for those who ask.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Listed {
    pub(crate) posted: Posted,
    /// When it was last asserted, by the wall clock of now.
    pub(crate) updated: Timestamp,
}

/// The task's state.
#[derive(Debug)]
pub(crate) struct Desk {
    book: Book,
    /// `None`: nothing outlives the process.
    file: Option<BookFile>,
    folder: Option<PathBuf>,
    log: AlertSender,
    metrics: DeskMetrics,
    requests: mpsc::Receiver<Request>,
    saved_ms: u64,
    changed: bool,
}

impl DeskMetrics {
    /// Registers everything.
    pub(crate) fn register(registry: &Registry) -> Result<DeskMetrics, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let firing = IntGauge::new("backhaul_agent_alerts_firing", "Alerts that fire on this device.")?;
        registry.register(Box::new(firing.clone()))?;
        Ok(DeskMetrics {
            asserted: counter(
                "backhaul_agent_alerts_asserted_total",
                "Alerts that sources asserted, repeats included.",
            )?,
            refused: counter(
                "backhaul_agent_alerts_refused_total",
                "Alerts that were asserted and not taken: there are too many, or the log could not take them.",
            )?,
            firing,
            save_errors: counter(
                "backhaul_agent_alerts_save_errors_total",
                "Writes of the known alerts that failed.",
            )?,
        })
    }
}

impl DeskHandle {
    /// Takes assertions; when this returns, the log has what is new in them.
    pub(crate) async fn assert(&self, posted: Vec<Posted>) -> Result<(), Refusal> {
        let (answer, told) = oneshot::channel();
        let request = Request::Assert { posted, answer };
        self.0.send(request).await.map_err(|_| Refusal::Stopping)?;
        told.await.map_err(|_| Refusal::Stopping)?
    }

    /// The alerts that fire.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>, Refusal> {
        let (answer, told) = oneshot::channel();
        self.0
            .send(Request::List(answer))
            .await
            .map_err(|_| Refusal::Stopping)?;
        told.await.map_err(|_| Refusal::Stopping)
    }
}

impl Desk {
    /// A desk whose book is kept in a folder, and its handle.
    pub(crate) fn new(folder: Option<PathBuf>, log: AlertSender, metrics: DeskMetrics) -> (Desk, DeskHandle) {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let desk = Desk {
            book: Book::default(),
            file: folder.as_deref().map(BookFile::in_folder),
            folder,
            log,
            metrics,
            requests,
            saved_ms: 0,
            changed: false,
        };
        (desk, DeskHandle(sender))
    }

    /// Works until `stop`; must not begin before the log is open, whose folder it shares.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let now = Moment::now();
        let stored = self.file.as_ref().map_or_else(Vec::new, BookFile::read);
        self.book = Book::restored(stored, now);
        self.saved_ms = now.mono_ms;
        self.look_into_log().await;
        let unlogged = self.book.unlogged();
        self.record(self.book.clone(), unlogged).await;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                request = self.requests.recv() => match request {
                    Some(Request::Assert { posted, answer }) => self.take(posted, answer).await,
                    // Whoever asked may be gone.
                    Some(Request::List(answer)) => drop(answer.send(self.list())),
                    None => break,
                },
                _ = tick.tick() => self.keep().await,
            }
            let firing = i64::try_from(self.book.firing()).unwrap_or(i64::MAX);
            self.metrics.firing.set(firing);
        }
        if self.changed {
            self.save(&self.book.clone()).await;
        }
    }

    /// Finds the records that a kill left in the log before the book had them as logged.
    async fn look_into_log(&mut self) {
        let unlogged = self.book.unlogged();
        let Some(folder) = self.folder.clone().filter(|_| !unlogged.is_empty()) else {
            return;
        };
        match tokio::task::spawn_blocking(move || has_logged(&folder, &unlogged)).await {
            Ok(Ok(logged)) => self.book.found(&logged),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the log cannot be read; some alerts may be logged twice")
            }
            // The runtime ends.
            Err(_) => {}
        }
    }

    fn list(&self) -> Vec<Listed> {
        let now = Moment::now();
        let listed = |(posted, at_ms): (&Posted, u64)| Listed {
            posted: posted.clone(),
            updated: now
                .wall
                .minus(Duration::from_millis(now.mono_ms.saturating_sub(at_ms))),
        };
        self.book.asserted().map(listed).collect()
    }

    async fn take(&mut self, posted: Vec<Posted>, answer: oneshot::Sender<Result<(), Refusal>>) {
        let now = Moment::now();
        let count = posted.len() as u64;
        self.metrics.asserted.inc_by(count);
        let mut book = self.book.clone();
        let (mut records, mut full) = (Vec::new(), Ok(()));
        for posted in posted {
            match book.assert(posted, now) {
                Ok(record) => records.extend(record),
                Err(error) => {
                    self.metrics.refused.inc();
                    full = Err(Refusal::Full(error));
                }
            }
        }
        let logged = self.record(book, records).await;
        if !logged {
            self.metrics.refused.inc_by(count);
        }
        // Whoever asked may be gone.
        answer
            .send(if logged { full } else { Err(Refusal::NotLogged) })
            .ok();
    }

    async fn keep(&mut self) {
        let now = Moment::now();
        if self.book.is_due(now) {
            let mut book = self.book.clone();
            book.expire(now);
            let records = book.unlogged();
            self.record(book, records).await;
        } else if self.changed && now.mono_ms.saturating_sub(self.saved_ms) >= SAVE_EVERY {
            self.save(&self.book.clone()).await;
        }
    }

    /// Takes a book over whose records are to be logged, once they are. Without records it just takes it over.
    async fn record(&mut self, mut book: Book, records: Vec<Alert>) -> bool {
        if records.is_empty() {
            self.changed |= book != self.book;
            self.book = book;
            return true;
        }
        self.save(&book).await;
        self.changed = true;
        let logged = self.log.log(Moment::now(), records).await;
        if logged {
            book.logged();
            self.save(&book).await;
            self.book = book;
        }
        logged
    }

    async fn save(&mut self, book: &Book) {
        let Some(file) = self.file.take() else { return };
        let book = book.clone();
        let written = tokio::task::spawn_blocking(move || (file.write(&book), file)).await;
        let Ok((written, file)) = written else { return };
        self.file = Some(file);
        self.changed = written.is_err();
        self.saved_ms = Moment::now().mono_ms;
        if let Err(error) = written {
            self.metrics.save_errors.inc();
            tracing::warn!(%error, "cannot write the known alerts; after a restart those that fire are logged again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wire::{BootId, SessionId};

    use super::*;
    use crate::alerts::book::tests::posted;
    use crate::input::{AlertReceiver, alert_channel};
    use crate::wal::{AlertEntry, Storage, SyncPolicy, Wal, WalConfig};

    #[tokio::test]
    async fn a_record_that_a_kill_left_in_the_log_is_not_logged_again() {
        let dir = tempfile::tempdir().unwrap();
        let now = Moment::now();
        let config = WalConfig {
            storage: Storage::Folder(dir.path().to_owned()),
            max_bytes: 1 << 20,
            max_age: Duration::from_secs(86_400),
            sync: SyncPolicy::Never,
        };
        let mut wal = Wal::open(config, SessionId::new(1), BootId::new(1), now).unwrap();
        let mut book = Book::default();
        let alert = |name: &str| Posted {
            starts_ms: now.wall.ms() - 1000,
            ends_ms: now.wall.ms() + 600_000,
            ..posted(name, 0, 0)
        };
        // Hot reached the log; Cold did not, and of Warm only what it was before.
        for name in ["Hot", "Cold", "Warm"] {
            let record = book.assert(alert(name), now).unwrap().unwrap();
            let earlier = Alert {
                starts_ms: 1,
                ..record.clone()
            };
            let at = now;
            for alert in [earlier, record] {
                if name == "Hot" || (name == "Warm" && alert.starts_ms == 1) {
                    wal.append_alerts(vec![AlertEntry { at, alert }], true);
                }
            }
        }
        BookFile::in_folder(dir.path()).write(&book).unwrap();
        let (sender, AlertReceiver(mut groups)) = alert_channel();
        let metrics = DeskMetrics::register(&Registry::new()).unwrap();
        let (desk, handle) = Desk::new(Some(dir.path().to_owned()), sender, metrics);
        let stop = CancellationToken::new();
        let running = tokio::spawn(desk.run(stop.clone()));
        let group = groups.recv().await.unwrap();
        let names: Vec<&str> = group.alerts.iter().map(|alert| &*alert.labels[0].value).collect();
        assert_eq!(names, ["Cold", "Warm"]);
        group.logged.send(true).unwrap();
        let listed = handle.list().await.unwrap();
        assert_eq!((listed.len(), &listed[1].posted), (3, &alert("Hot")));
        stop.cancel();
        running.await.unwrap();
    }
}
