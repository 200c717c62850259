//! The threads that let the store do what time brings, about each second: one the rounds of maintenance, the other what the
//! next journal file needs, as a round may take long and a full file does not wait.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use store::{Round, Store};

use crate::ingest::{Input, wall_clock};
use crate::metrics::Metrics;

/// Time between two rounds.
const EVERY: Duration = Duration::from_secs(1);

const MINUTE: Duration = Duration::from_secs(60);

/// The running threads.
pub(crate) struct Maintenance {
    /// Closed to end them.
    stop: [Sender<()>; 2],
    threads: [JoinHandle<()>; 2],
}

impl Maintenance {
    /// Starts the threads; the ingest thread is told the store's pressure after each round.
    pub(crate) fn start(store: Arc<Store>, metrics: Metrics, inputs: Sender<Input>) -> io::Result<Self> {
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let mut preparer = Preparer {
            store: store.clone(),
            metrics: metrics.clone(),
            complained: Rarely::default(),
        };
        let mut caretaker = Caretaker {
            store,
            metrics,
            inputs,
            complained: Rarely::default(),
            warned: Rarely::default(),
        };
        let (stop_rounds, stopped) = channel();
        let rounds = named("bridge-maintain").spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(EVERY) {
                caretaker.round();
            }
        })?;
        let (stop_preparing, stopped) = channel();
        let preparing = named("bridge-journal").spawn(move || preparer.run(&stopped))?;
        Ok(Maintenance {
            stop: [stop_rounds, stop_preparing],
            threads: [rounds, preparing],
        })
    }

    /// Ends them, once what they are at is done.
    pub(crate) async fn end(self) {
        let Maintenance { stop, threads } = self;
        drop(stop);
        for thread in threads {
            let ended = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(ended, Ok(Ok(()))) {
                tracing::error!("the maintenance of the store panicked");
            }
        }
    }
}

/// What is said once a minute, however often there is reason to.
#[derive(Default)]
struct Rarely(Option<Instant>);

impl Rarely {
    fn is_due(&mut self) -> bool {
        let due = self.0.is_none_or(|at| at.elapsed() >= MINUTE);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

/// Writes ahead for the next journal file.
struct Preparer {
    store: Arc<Store>,
    metrics: Metrics,
    complained: Rarely,
}

impl Preparer {
    fn run(&mut self, stopped: &Receiver<()>) {
        let mut wait = EVERY;
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(wait) {
            wait = match self.store.prepare_journal() {
                Ok(true) => Duration::ZERO,
                Ok(false) => EVERY,
                Err(error) => {
                    self.metrics.store.failures.inc();
                    if self.complained.is_due() {
                        tracing::error!(%error, "the next journal file cannot be prepared, which is tried again");
                    }
                    EVERY
                }
            };
        }
    }
}

struct Caretaker {
    store: Arc<Store>,
    metrics: Metrics,
    inputs: Sender<Input>,
    complained: Rarely,
    /// That the disk is full.
    warned: Rarely,
}

impl Caretaker {
    fn round(&mut self) {
        let round = self.store.maintain(wall_clock());
        for damage in &round.damage {
            tracing::error!(file = %damage.path.display(), what = %damage.what, "the store set something aside");
        }
        self.complain(&round);
        self.look_for_room();
        self.count(&round);
        let pressure = self.store.pressure();
        // The ingest thread is gone only at the end, and then nobody is granted anything.
        let _ = self.inputs.send(Input::Pressure(pressure));
    }

    fn complain(&mut self, round: &Round) {
        let Some(first) = round.failed.first() else { return };
        if self.complained.is_due() {
            let failures = round.failed.len();
            tracing::error!(error = %first, failures, "maintenance of the store fails and is tried again");
        }
    }

    /// Says once a minute that the disk is too full to take anything in.
    fn look_for_room(&mut self) {
        let Ok(room) = self.store.room() else { return };
        let bytes = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.metrics.store.free_bytes.set(bytes(room.free));
        self.metrics.store.min_free_bytes.set(bytes(room.needed));
        if room.free < room.needed && self.warned.is_due() {
            tracing::warn!(
                free = room.free,
                needed = room.needed,
                "the store's disk is nearly full and nothing is taken in: make room, or change --storage.min-free-disk"
            );
        }
    }

    fn count(&self, round: &Round) {
        let refused = &self.metrics.metadata_refused;
        refused.inc_by(self.store.metadata_refused().saturating_sub(refused.get()));
        let usage = self.store.usage();
        let metrics = &self.metrics.store;
        metrics.seals.inc_by(round.sealed as u64);
        metrics.merged.inc_by(round.merged as u64);
        metrics.expired.inc_by(round.expired as u64);
        metrics.damaged.inc_by(round.damage.len() as u64);
        metrics.failures.inc_by(round.failed.len() as u64);
        for (gauge, value) in [
            (&metrics.blocks, usage.blocks as u64),
            (&metrics.block_bytes, usage.block_bytes),
            (&metrics.journal_files, usage.journal_files as u64),
            (&metrics.journal_bytes, usage.journal_bytes),
            (&metrics.dictionary_bytes, usage.dictionary_bytes),
            (&metrics.series, usage.series as u64),
            (&metrics.head_bytes, usage.head_bytes as u64),
            (&metrics.late_bytes, usage.late_bytes as u64),
            (&metrics.label_bytes, usage.label_bytes as u64),
        ] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
}
