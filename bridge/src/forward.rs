//! The journal as the queue of other destinations: remote write to Prometheus, Thanos Receive, Mimir, VictoriaMetrics.
//!
//! Each destination is a durable cursor in the journal (`cursor`), read by a tail and sent in rounds (`destination`). What
//! is decided is pure (`part`, `request`, `answer`, `lane`); what waits and sends is `destination`, `sending` and `client`.
//! docs/forward.md has the format of a cursor and why a crash at any point skips nothing.

mod answer;
mod client;
mod config;
mod cursor;
mod destination;
mod file;
mod instruments;
mod lane;
mod message;
mod metrics;
mod part;
mod request;
mod sending;
mod series;
mod status;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prometheus::Registry;
use store::{Cursor, Place, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wire::Timestamp;

use self::cursor::Totals;
use self::destination::Destination;
use self::instruments::Instruments;
use self::metrics::Metrics;
use crate::blocking::blocking;

pub use config::RemoteWrite;
pub use file::{RemoteWriteError, RemoteWriteFile, check};
pub(crate) use message::Histogram;
pub(crate) use status::{Destinations, Status};

/// Is told numbers below which a destination has passed everything.
pub(crate) type Passed = Arc<dyn Fn(u64) + Send + Sync>;

/// All destinations.
pub(crate) struct Forward {
    store: Arc<Store>,
    metrics: Metrics,
    status: Arc<Destinations>,
    /// The destination that acks wait for, and who is told.
    passed: Option<(String, Passed)>,
    clock: fn() -> Timestamp,
    running: BTreeMap<String, Running>,
}

struct Running {
    config: Arc<RemoteWrite>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Forward {
    pub(crate) fn new(
        store: Arc<Store>,
        registry: &Registry,
        status: Arc<Destinations>,
        passed: Option<(String, Passed)>,
        clock: fn() -> Timestamp,
    ) -> prometheus::Result<Self> {
        Ok(Forward {
            store,
            metrics: Metrics::register(registry)?,
            status,
            passed,
            clock,
            running: BTreeMap::new(),
        })
    }

    /// Runs the destinations of a configuration, and of each that follows it, until `shutdown`.
    pub(crate) async fn run(
        mut self,
        mut configs: watch::Receiver<Vec<RemoteWrite>>,
        shutdown: CancellationToken,
    ) {
        loop {
            let wanted = configs.borrow_and_update().clone();
            self.change(wanted).await;
            tokio::select! {
                () = shutdown.cancelled() => break,
                // Without a sender there is nothing to wait for but the end.
                () = async { if configs.changed().await.is_err() { std::future::pending().await } } => {}
            }
        }
        self.end_all().await;
    }

    async fn end_all(&mut self) {
        for running in self.running.values() {
            running.stop.cancel();
        }
        for (_, running) in std::mem::take(&mut self.running) {
            ended(running.task).await;
        }
    }

    /// Ends destinations that are gone or changed, starts those that are new or changed. The cursor of one that is gone is
    /// removed, as it would hold the journal for ever.
    async fn change(&mut self, wanted: Vec<RemoteWrite>) {
        let stays = |running: &Running| wanted.iter().any(|config| config.is_same(&running.config));
        let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|(_, running)| !stays(running));
        self.running.extend(kept);
        for (name, running) in gone {
            running.stop.cancel();
            ended(running.task).await;
            self.status.remove(&name);
        }
        let (store, names) = (self.store.clone(), wanted.iter().map(|to| to.name().to_owned()));
        let names = names.collect();
        let cursors = blocking(move || cursors_of(&store, &names)).await;
        for config in wanted {
            if !self.running.contains_key(config.name()) {
                let cursor = cursors.get(config.name());
                let done = cursor.map(Totals::of).unwrap_or_default();
                self.start(config, done);
            }
        }
    }

    fn start(&mut self, config: RemoteWrite, done: (Place, Totals)) {
        let config = Arc::new(config);
        let passed = self.passed.as_ref().filter(|(name, _)| name == config.name());
        let destination = Destination {
            instruments: Instruments::new(&self.metrics, &config, &done.1),
            config: config.clone(),
            store: self.store.clone(),
            status: self.status.clone(),
            passed: passed.map(|(_, passed)| passed.clone()),
            clock: self.clock,
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(destination.run(done, stop.clone()));
        let name = config.name().to_owned();
        self.running.insert(name, Running { config, stop, task });
    }
}

/// The cursors of these destinations; those of others go.
fn cursors_of(store: &Store, names: &BTreeSet<String>) -> BTreeMap<String, Cursor> {
    let (kept, gone): (BTreeMap<_, _>, BTreeMap<_, _>) = store
        .cursors()
        .into_iter()
        .filter(|(name, _)| name != crate::alerts::CURSOR)
        .partition(|(name, _)| names.contains(name));
    for remote_name in gone.into_keys() {
        tracing::warn!(
            remote_name,
            "this destination is not configured any more; its cursor goes"
        );
        store.note_cursor(&remote_name, None);
    }
    kept
}

async fn ended(task: JoinHandle<()>) {
    if let Err(error) = task.await {
        tracing::error!(%error, "a destination ended unexpectedly; the journal keeps its data");
    }
}
