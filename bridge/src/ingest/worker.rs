//! The two threads of the ingest half: one decodes and decides, one commits.
//!
//! Messages wait in one channel. While the commit group is full they stay in a queue, with the permits that bound it;
//! the MQTT side then stops reading, which a broker feels.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use store::{CommitError, Entry, NewDictionary, Pressure, Receipt, Store};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use wire::topic::Down;
use wire::{DeviceName, Timestamp};

use super::{Core, Effect, Message, Now};
use crate::alerts::Feed;
use crate::metrics::Metrics;

/// The longest time the core sleeps.
const IDLE: Duration = Duration::from_secs(1);

const MINUTE: Duration = Duration::from_secs(60);

/// A message on its way to the broker.
pub(crate) struct Outgoing {
    pub(crate) device: DeviceName,
    /// An ack or a configuration.
    pub(crate) channel: Down,
    pub(crate) payload: Bytes,
}

/// What the ingest thread is told.
pub(crate) enum Input {
    /// A message, and its part of the queue's bound.
    Message(Message, OwnedSemaphorePermit),
    /// The broker's connection is gone.
    Offline,
    /// A commit ended.
    Committed {
        /// How.
        outcome: Result<Receipt, CommitError>,
        /// What must not be granted now.
        pressure: Pressure,
    },
    /// What must not be granted now.
    Pressure(Pressure),
    /// The destination that acks wait for has passed everything below a number of the journal.
    Passed(u64),
    /// What is wanted of devices has changed.
    Wanted,
    /// Commit what is here, ack it, and end.
    Stop,
}

/// What the commit thread is told.
enum Job {
    Commit {
        dictionaries: Vec<NewDictionary>,
        entries: Vec<Entry>,
    },
    Forget {
        device: DeviceName,
        done: oneshot::Sender<Result<(), CommitError>>,
    },
}

/// Orders to the commit thread that do not come from devices.
#[derive(Clone)]
pub(crate) struct Orders(Sender<Job>);

impl Orders {
    /// Forgets a device's ledger; `None`: the bridge is stopping.
    pub(crate) async fn forget(&self, device: DeviceName) -> Option<Result<(), CommitError>> {
        let (done, outcome) = oneshot::channel();
        self.0.send(Job::Forget { device, done }).ok()?;
        outcome.await.ok()
    }
}

/// Ways to the running threads; the ingest thread ends by `Stop`, the commit thread when nobody can give it a job.
pub(crate) struct Worker {
    /// Where messages go.
    pub(crate) inputs: Sender<Input>,
    /// Orders of operators.
    pub(crate) orders: Orders,
}

impl Worker {
    /// Starts both threads. Acks go to `acks`; those that do not fit are dropped and counted, as their devices ask
    /// again; alerts that were committed to theirs.
    pub(crate) fn start(
        mut core: Core,
        store: Arc<Store>,
        (acks, alerts): (mpsc::Sender<Outgoing>, Feed),
        metrics: Metrics,
        clock: fn() -> Timestamp,
    ) -> io::Result<Self> {
        let (inputs, received) = channel();
        let (jobs, orders) = channel();
        let committed = inputs.clone();
        let journal = Arc::clone(&store);
        let seconds = metrics.commit_seconds.clone();
        thread::Builder::new()
            .name("bridge-commit".to_owned())
            .spawn(move || {
                for job in orders {
                    run_job(&journal, job, (&committed, &alerts), &seconds);
                }
            })?;
        // Asking a store takes its writer's lock, so it is asked only here and after each commit.
        core.set_pressure(store.pressure());
        let desk = Desk {
            core,
            store,
            acks,
            metrics,
            jobs: jobs.clone(),
            clock,
            started: Instant::now(),
            complained: None,
        };
        thread::Builder::new()
            .name("bridge-ingest".to_owned())
            .spawn(move || desk.run(&received))?;
        Ok(Worker {
            inputs,
            orders: Orders(jobs),
        })
    }
}

fn run_job(
    store: &Store,
    job: Job,
    (committed, alerts): (&Sender<Input>, &Feed),
    seconds: &prometheus::Histogram,
) {
    match job {
        Job::Commit {
            dictionaries,
            entries,
        } => {
            let timer = seconds.start_timer();
            let put = match dictionaries.is_empty() {
                true => Ok(()),
                false => store.put_dictionaries(dictionaries),
            };
            let mut outcome = put.and_then(|()| store.commit(entries));
            timer.observe_duration();
            if let Ok(receipt) = &mut outcome {
                alerts.committed(receipt.number + 1, std::mem::take(&mut receipt.alerts));
            }
            // The other end is gone only when the ingest thread is, and then nobody is owed an ack.
            let _ = committed.send(Input::Committed {
                outcome,
                pressure: store.pressure(),
            });
        }
        Job::Forget { device, done } => {
            let entry = Entry::Forget {
                device,
                received: wall_clock(),
            };
            let _ = done.send(store.commit(vec![entry]).map(drop));
        }
    }
}

pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The ingest thread's things.
struct Desk {
    core: Core,
    store: Arc<Store>,
    acks: mpsc::Sender<Outgoing>,
    metrics: Metrics,
    jobs: Sender<Job>,
    clock: fn() -> Timestamp,
    started: Instant,
    complained: Option<Instant>,
}

impl Desk {
    fn run(mut self, received: &Receiver<Input>) {
        let mut deferred = VecDeque::new();
        let mut stopping = false;
        loop {
            match received.recv_timeout(self.patience()) {
                Ok(Input::Message(message, permit)) => deferred.push_back((message, permit)),
                Ok(Input::Offline) => self.core.offline(),
                Ok(Input::Pressure(pressure)) => {
                    self.core.set_pressure(pressure);
                    self.core.tick(self.now());
                }
                Ok(Input::Committed { outcome, pressure }) => {
                    self.core.set_pressure(pressure);
                    if let Err(error) = &outcome {
                        self.complain(error);
                    }
                    self.core.committed(&self.store, outcome, self.now());
                }
                Ok(Input::Passed(below)) => self.core.passed(below, self.now()),
                Ok(Input::Wanted) => self.core.wanted_changed(self.now()),
                Ok(Input::Stop) => stopping = true,
                Err(RecvTimeoutError::Timeout) => self.core.tick(self.now()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Some((message, permit)) = self.next(&mut deferred) {
                self.core.message(&self.store, message, self.now());
                drop(permit);
            }
            if stopping {
                self.core.hurry(self.now());
            }
            self.act();
            if stopping && deferred.is_empty() && self.core.is_idle() {
                return;
            }
        }
    }

    /// Once a minute, however often it fails.
    fn complain(&mut self, error: &CommitError) {
        if self.complained.is_none_or(|at| at.elapsed() >= MINUTE) {
            self.complained = Some(Instant::now());
            tracing::error!(%error, "commits fail; devices are granted nothing, keep their data and send it again");
        }
    }

    fn next<T>(&self, deferred: &mut VecDeque<T>) -> Option<T> {
        if self.core.is_overfull() {
            None
        } else {
            deferred.pop_front()
        }
    }

    fn patience(&self) -> Duration {
        let due_ms = self
            .core
            .due_ms()
            .map(|due| due.saturating_sub(self.now().mono_ms));
        due_ms.map_or(IDLE, |ms| Duration::from_millis(ms).min(IDLE))
    }

    fn now(&self) -> Now {
        let mono_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now {
            wall: (self.clock)(),
            mono_ms,
        }
    }

    fn act(&mut self) {
        for effect in self.core.effects() {
            match effect {
                Effect::Ack(device, payload) => match self.publish(device, Down::Ack, payload.into()) {
                    true => self.metrics.acks.inc(),
                    false => self.metrics.acks_dropped.inc(),
                },
                Effect::Config(device, payload) => match self.publish(device, Down::Config, payload) {
                    true => self.metrics.device_rules.published.inc(),
                    false => self.metrics.device_rules.dropped.inc(),
                },
                Effect::Commit {
                    dictionaries,
                    entries,
                } => {
                    // The commit thread ends only after this one, which holds its channel.
                    let _ = self.jobs.send(Job::Commit {
                        dictionaries,
                        entries,
                    });
                }
            }
        }
    }

    /// False: there is no room for it.
    fn publish(&self, device: DeviceName, channel: Down, payload: Bytes) -> bool {
        let outgoing = Outgoing {
            device,
            channel,
            payload,
        };
        self.acks.try_send(outgoing).is_ok()
    }
}
