//! The task that takes assertions in, has their records logged, and ends what is no longer asserted.

use std::path::PathBuf;
use std::time::Duration;

use prometheus::{IntCounter, IntGauge, Registry};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wire::message::Alert;

use super::book::{Book, Full};
use super::file::BookFile;
use super::posted::Posted;
use crate::input::{AlertSender, Moment};

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
struct Request {
    posted: Vec<Posted>,
    answer: oneshot::Sender<Result<(), Refusal>>,
}

/// The task's state.
#[derive(Debug)]
pub(crate) struct Desk {
    book: Book,
    /// `None`: nothing outlives the process.
    file: Option<BookFile>,
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
        let request = Request { posted, answer };
        self.0.send(request).await.map_err(|_| Refusal::Stopping)?;
        told.await.map_err(|_| Refusal::Stopping)?
    }
}

impl Desk {
    /// A desk whose book is kept in a folder, and its handle.
    pub(crate) fn new(folder: Option<PathBuf>, log: AlertSender, metrics: DeskMetrics) -> (Desk, DeskHandle) {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let desk = Desk {
            book: Book::default(),
            file: folder.map(|folder| BookFile::in_folder(&folder)),
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
        let unlogged = self.book.unlogged();
        self.record(self.book.clone(), unlogged).await;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                request = self.requests.recv() => match request {
                    Some(request) => self.take(request).await,
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

    async fn take(&mut self, Request { posted, answer }: Request) {
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
