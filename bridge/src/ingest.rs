//! Takes in what devices send, has it committed, and tells them what is settled and what they may send.
//!
//! [`Core`] is the pure half: messages, times and commit outcomes come in, [`Effect`]s go out. It reads the store (keys,
//! dictionaries, settled seqs) but writes nothing; `worker` runs it on a thread of its own and commits on another.
//! Nothing is acked before its commit. A message is settled, held, wanting or refused; it never blocks its device.

mod ack;
mod answer;
mod credit;
mod delays;
mod device;
mod fleet;
mod frontier;
mod gate;
mod grants;
mod group;
mod lane;
mod pushes;
mod rows;
mod states;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use store::{CommitError, Entry, NewDictionary, Pressure, Receipt, SessionReceipt, Store};
use wire::limits::MAX_MESSAGE;
use wire::topic::Up;
use wire::{BridgeEpoch, DeviceName, Timestamp};

use self::credit::{LEAST_AHEAD, Pool};
use self::device::Device;
use self::gate::Owed;
use self::group::{Finish, Group};
use self::lane::LaneKind;
use crate::device_rules;
use crate::metrics::Metrics;

pub(crate) use fleet::Fleet;
pub(crate) use gate::Gate;
pub(crate) use worker::{Input, Orders, Outgoing, Worker, wall_clock};

/// The two clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Wall clock.
    pub(crate) wall: Timestamp,
    /// Milliseconds of a clock that only goes forward.
    pub(crate) mono_ms: u64,
}

/// What the core wants done.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Publish an ack, QoS 0.
    Ack(DeviceName, Vec<u8>),
    /// Publish a configuration, QoS 1, retained.
    Config(DeviceName, Bytes),
    /// Put the dictionaries, then commit the entries; tell [`Core::committed`].
    Commit {
        /// Not yet in the store.
        dictionaries: Vec<NewDictionary>,
        /// One transaction.
        entries: Vec<Entry>,
    },
}

/// A message as the broker delivered it.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// From the topic, which the broker checked against the certificate.
    pub(crate) device: DeviceName,
    /// From the topic.
    pub(crate) channel: Up,
    /// The broker had kept it; its times are old.
    pub(crate) retained: bool,
    /// As published.
    pub(crate) payload: Bytes,
}

/// Limits of the core.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes that may be granted and not committed.
    pub(crate) budget: u64,
    /// Backlog bytes per second of all devices together; 0: no limit.
    pub(crate) backlog_rate: u64,
}

/// The state machine.
pub(crate) struct Core {
    epoch: BridgeEpoch,
    limits: Limits,
    metrics: Metrics,
    fleet: Arc<Fleet>,
    /// Boxed, as a table leaves room for more.
    devices: HashMap<DeviceName, Box<Device>>,
    pool: Pool,
    dictionaries: wire::dict::Decoder,
    filling: Group,
    committing: Option<Group>,
    effects: Vec<Effect>,
    /// Payload bytes committed per second, smoothed.
    speed: f64,
    /// Devices with backlog, as of the last commit.
    draining: u64,
    /// When acks are due, monotonic ms.
    owing: BTreeSet<(u64, DeviceName)>,
    complained_ms: Option<u64>,
    last_commit_ms: u64,
    /// The disk refused a commit: nothing is granted until one succeeds.
    failing: bool,
    /// What the store cannot take just now.
    pressure: Pressure,
    /// The destination that acks wait for.
    gate: Option<Gate>,
    /// Configurations of devices; `None`: nobody wants any.
    wanted: Option<device_rules::Current>,
    swept_ms: u64,
}

impl Core {
    /// A bridge that knows nothing but its store.
    pub(crate) fn new(epoch: BridgeEpoch, limits: Limits, metrics: Metrics, fleet: Arc<Fleet>) -> Self {
        Core {
            epoch,
            limits,
            metrics,
            fleet,
            devices: HashMap::new(),
            pool: Pool::new(limits.budget),
            dictionaries: wire::dict::Decoder::default(),
            filling: Group::default(),
            committing: None,
            effects: Vec::new(),
            speed: 0.0,
            draining: 0,
            owing: BTreeSet::new(),
            complained_ms: None,
            last_commit_ms: 0,
            failing: false,
            pressure: Pressure::None,
            gate: None,
            wanted: None,
            swept_ms: 0,
        }
    }

    /// Acks wait for a destination.
    pub(crate) fn ack_after(&mut self, gate: Gate) {
        self.gate = Some(gate);
    }

    /// That destination has passed everything below a number of the journal.
    pub(crate) fn passed(&mut self, below: u64, now: Now) {
        let due = self.gate.as_mut().map(|gate| gate.passed(below));
        for owed in due.into_iter().flatten() {
            self.pay(owed, now);
        }
        self.grant(now);
        self.step(now);
    }

    /// Tells devices what a commit settled, and gives back its credit.
    fn pay(&mut self, owed: Owed, now: Now) {
        for (part, batches) in &owed.parts {
            self.tell(part, *batches, now);
        }
        for finish in owed.finishes {
            self.finish(&finish);
        }
    }

    /// A message came.
    pub(crate) fn message(&mut self, store: &Store, message: Message, now: Now) {
        let channel = message.channel;
        self.metrics.messages.with_label_values(&[channel.as_str()]).inc();
        self.metrics
            .message_bytes
            .with_label_values(&[channel.as_str()])
            .inc_by(message.payload.len() as u64);
        if message.payload.len() > MAX_MESSAGE {
            // Only another broker than our front lets it pass, and no agent writes it.
            self.metrics.ignored.with_label_values(&["too_large"]).inc();
            return;
        }
        match channel {
            Up::State => self.state(&message, now),
            Up::Batch | Up::Backlog => self.rows(store, message, now),
            Up::Dict => self.dictionary(store, &message, now),
            Up::Alert => self.alert(store, &message, now),
            Up::Reply => self.metrics.ignored.with_label_values(&["reply"]).inc(),
        }
        self.step(now);
    }

    /// The commit that was asked for is done, or failed and took no effect.
    pub(crate) fn committed(&mut self, store: &Store, outcome: Result<Receipt, CommitError>, now: Now) {
        let Some(mut group) = self.committing.take() else {
            return;
        };
        match outcome {
            Ok(receipt) => {
                self.failing = false;
                self.measure(group.bytes(), now);
                self.note_commit(store, &receipt);
                let number = receipt.number;
                let with_batches = |part: SessionReceipt| {
                    let batches = group.batches(&part.device);
                    (part, batches)
                };
                let owed = Owed {
                    parts: receipt.sessions.into_iter().map(with_batches).collect(),
                    finishes: std::mem::take(&mut group.finishes),
                };
                match self.gate.as_mut().filter(|gate| gate.holds(number)) {
                    Some(gate) => gate.hold(number, owed),
                    None => self.pay(owed, now),
                }
            }
            Err(error) => {
                self.failing = true;
                self.metrics.commit_failures.inc();
                self.filling.drop_dependents(&group);
                group.questions.clear();
                tracing::debug!(%error, "commit failed");
            }
        }
        for finish in std::mem::take(&mut group.finishes) {
            self.finish(&finish);
        }
        self.count_draining();
        self.grant(now);
        for question in std::mem::take(&mut group.questions) {
            self.answer(store, question, now);
        }
        self.step(now);
    }

    /// What must not be granted now.
    pub(crate) fn set_pressure(&mut self, pressure: Pressure) {
        if pressure < Pressure::Backlog {
            self.pool.unpark();
        }
        self.pressure = pressure;
        self.metrics.store.pressure.set(pressure as i64);
    }

    /// Time passed.
    pub(crate) fn tick(&mut self, now: Now) {
        self.step(now);
    }

    /// What is to be done now; a commit only after the one before was reported.
    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// When [`Core::tick`] has something to do, monotonic ms.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        let commit = self.filling.due_ms().filter(|_| self.committing.is_none());
        commit
            .into_iter()
            .chain(self.owing.first().map(|(due_ms, _)| *due_ms))
            .min()
    }

    /// More waits for the journal than may: messages have to wait outside.
    pub(crate) fn is_overfull(&self) -> bool {
        self.filling.is_overfull()
    }

    /// Whether everything taken in is committed and every ack is out.
    pub(crate) fn is_idle(&self) -> bool {
        self.committing.is_none() && self.filling.due_ms().is_none()
    }

    /// The bridge stops: what waits is committed and acked without delay.
    pub(crate) fn hurry(&mut self, now: Now) {
        self.filling.hurry();
        for (_, name) in std::mem::take(&mut self.owing) {
            if let Some(device) = self.devices.get_mut(&name) {
                device.owed_ms = None;
                device.pending.hurry(now.mono_ms);
            }
            self.schedule(&name);
        }
        self.step(now);
    }

    /// The broker's connection is gone: what devices had under way may be lost, and each will be heard of again.
    pub(crate) fn offline(&mut self) {
        let names: Vec<DeviceName> = self.devices.keys().cloned().collect();
        for name in names {
            let Some(connection) = self.disconnect(&name) else {
                continue;
            };
            if let Some(device) = self.devices.get_mut(&name) {
                device.unsure = Some(Box::new(connection));
                self.fleet.note(&name, device);
            }
        }
        self.publish_gauges();
    }

    fn step(&mut self, now: Now) {
        self.grant(now);
        // Whoever is still in the queue is short of credit, and what is committed frees some.
        if self.pool.waiting() > 0 && self.filling.bytes() >= LEAST_AHEAD {
            self.filling.hurry();
        }
        self.acks_due(now);
        self.sweep_pushes(now);
        if self.committing.is_none() && self.filling.due_ms().is_some_and(|due| due <= now.mono_ms) {
            let mut group = std::mem::take(&mut self.filling);
            let dictionaries = group.dictionaries.values().cloned().collect();
            let entries = std::mem::take(&mut group.entries);
            self.committing = Some(group);
            self.effects.push(Effect::Commit {
                dictionaries,
                entries,
            });
        }
        self.publish_gauges();
    }

    /// Notes a message on its lane; what it holds of the budget is released by the returned [`Finish`].
    fn receive(&mut self, device: &DeviceName, lane: LaneKind, bytes: usize, now: Now) -> Option<Finish> {
        let known = self.devices.get_mut(device)?;
        let connection = known.connection.as_mut().or(known.unsure.as_deref_mut())?;
        connection.lane(lane).receive(bytes as u64);
        let nonce = connection.nonce;
        if connection.answered && connection.lane(lane).is_dry() && connection.lane(lane).has_untold() {
            known.pending.hurry(now.mono_ms);
            self.schedule(device);
        }
        self.ask_for_credit(device, lane);
        Some(Finish {
            device: device.clone(),
            nonce,
            lane,
            bytes: bytes as u64,
        })
    }

    fn finish(&mut self, finish: &Finish) {
        let Some(device) = self.devices.get_mut(&finish.device) else {
            return;
        };
        if let Some(connection) = device.connection_of(finish.nonce) {
            let lane = connection.lane(finish.lane);
            let was_busy = lane.is_busy();
            self.pool.release(lane.finish(finish.bytes));
            if lane.is_busy() && !was_busy {
                self.pool.count_busy(true);
            }
        } else if let Some(unsure) = device.unsure.as_mut().filter(|c| c.nonce == finish.nonce) {
            // It holds nothing of the budget until it is heard of again.
            unsure.lane(finish.lane).finish(finish.bytes);
        }
    }

    fn measure(&mut self, bytes: u64, now: Now) {
        let span_ms = now.mono_ms.saturating_sub(self.last_commit_ms).clamp(1, 60_000);
        self.last_commit_ms = now.mono_ms;
        let weight = (span_ms as f64 / 10_000.0).min(1.0);
        self.speed += weight * (bytes as f64 * 1000.0 / span_ms as f64 - self.speed);
    }

    fn publish_gauges(&self) {
        self.metrics
            .credit_outstanding
            .set(self.pool.outstanding() as i64);
        self.metrics.credit_waiting.set(self.pool.waiting() as i64);
    }
}
