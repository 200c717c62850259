//! Telling devices: what a commit settled, full answers to states, and when each ack is due.

use store::{Receipt, SessionReceipt, Store};
use wire::message::Ack;
use wire::{DeviceName, Seq};

use super::group::Question;
use super::{Core, Effect, Now, ack};

impl Core {
    /// Notes what a commit made true, for what is known of each device.
    pub(super) fn note_commit(&mut self, store: &Store, receipt: &Receipt) {
        self.metrics.commits.inc();
        self.metrics.commit_bytes.inc_by(receipt.bytes);
        for part in &receipt.sessions {
            self.metrics.stored_rows.inc_by(part.stored_rows);
            self.metrics.stored_samples.inc_by(part.stored_samples);
            self.metrics.redelivered_rows.inc_by(part.redelivered_rows);
            if !part.newly_settled.is_empty() {
                let device = self.devices.entry(part.device.clone()).or_default();
                device
                    .frontier(part.session)
                    .settled(&store.settled(&part.device, part.session));
                self.fleet.note(&part.device, device);
            }
        }
    }

    /// Has a device told what a commit settled of one session.
    pub(super) fn tell(&mut self, part: &SessionReceipt, batches: u32, now: Now) {
        if part.settled.is_empty() && !part.forgotten {
            return;
        }
        let device = self.devices.entry(part.device.clone()).or_default();
        device.pending.committed(part, batches, now.mono_ms);
        if device.connection.as_ref().is_some_and(|c| c.is_dry()) {
            device.pending.hurry(now.mono_ms);
        }
        self.schedule(&part.device);
    }

    /// Answers a state in full, now that all it said is committed.
    pub(super) fn answer(&mut self, store: &Store, question: Question, now: Now) {
        let name = question.device;
        let Some(device) = self.devices.get_mut(&name) else {
            return;
        };
        let Some(connection) = device.connection_of(question.nonce) else {
            return;
        };
        connection.answered = true;
        let forgotten = |id| question.let_go.contains(&id) || store.forgotten(&name, id, now.wall);
        let (gone, kept): (Vec<_>, Vec<_>) = question
            .sessions
            .iter()
            .map(|s| wire::SessionId::new(s.session))
            .chain(question.let_go.iter().copied())
            .partition(|id| forgotten(*id));
        let full = kept
            .into_iter()
            .map(|id| {
                let mut settled = store.settled(&name, id);
                if let Some(gate) = &self.gate {
                    gate.leave_out(&name, id, &mut settled);
                }
                (id, settled)
            })
            .collect();
        device.pending.forget(gone);
        let (sessions, forgotten) = device.pending.take_with(full);
        self.send(&name, question.number, sessions, forgotten, now);
    }

    /// Publishes every ack that is due. A device that is not connected, or not answered yet, keeps its news until its
    /// first full answer, which has them all.
    pub(super) fn acks_due(&mut self, now: Now) {
        while let Some((due_ms, name)) = self.owing.first().cloned() {
            if due_ms > now.mono_ms {
                return;
            }
            self.owing.pop_first();
            let Some(device) = self.devices.get_mut(&name) else {
                continue;
            };
            device.owed_ms = None;
            let (sessions, forgotten) = device.pending.take();
            if device.connection.as_ref().is_some_and(|c| c.answered) {
                self.send(&name, 0, sessions, forgotten, now);
            }
        }
    }

    /// Puts a device where its ack is due.
    pub(super) fn schedule(&mut self, name: &DeviceName) {
        let Some(device) = self.devices.get_mut(name) else {
            return;
        };
        let due_ms = device.pending.due_ms();
        if due_ms == device.owed_ms {
            return;
        }
        if let Some(old_ms) = std::mem::replace(&mut device.owed_ms, due_ms) {
            self.owing.remove(&(old_ms, name.clone()));
        }
        if let Some(due_ms) = due_ms {
            self.owing.insert((due_ms, name.clone()));
        }
    }

    fn send(
        &mut self,
        name: &DeviceName,
        answers: u32,
        sessions: Vec<wire::message::SessionAck>,
        forgotten: Vec<u64>,
        now: Now,
    ) {
        let backlog_rate = self.backlog_rate();
        self.schedule(name);
        let Some(connection) = self.devices.get_mut(name).and_then(|d| d.connection.as_mut()) else {
            return;
        };
        let mut ack = Ack {
            version: wire::message::VERSION,
            epoch: self.epoch.get(),
            nonce: connection.nonce.get(),
            answers,
            sessions,
            fresh_credit: connection.fresh.announce(),
            backlog_credit: connection.backlog.announce(),
            backlog_rate,
            wall_ms: now.wall.ms(),
            forgotten,
        };
        ack::fit(&mut ack);
        self.effects
            .push(Effect::Ack(name.clone(), wire::ack::encode(&ack)));
    }

    /// The last row of a batch, for the device's frontier.
    pub(super) fn last_row(batch: &wire::batch::Batch) -> Option<(Seq, wire::Timestamp)> {
        let rows = batch.groups.iter().flat_map(|g| &g.rows);
        rows.map(|row| (row.seq, row.time)).max_by_key(|(seq, _)| *seq)
    }
}
