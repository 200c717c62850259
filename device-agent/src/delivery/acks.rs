//! What the bridge says: settled, held, wanting, credit, time.
//!
//! An ack of another connection is ignored whole. A full ack replaces what is settled, so that a bridge that lost its
//! disk gets again what the log still has.

use std::collections::BTreeSet;

use wire::ack::{self, AckError};
use wire::dict::DictHash;
use wire::message::{Ack, Range, SessionAck, Wanting};
use wire::seqs::from_ranges;
use wire::{BridgeEpoch, SeqSet, SessionId};

use crate::delivery::Delivery;
use crate::delivery::connection::SentState;
use crate::input::Moment;
use crate::wal::{Anchor, Known, Ledger, Reason};

impl Delivery {
    /// Takes an ack; returns an anchor for this boot's clock if it taught one.
    ///
    /// # Errors
    /// The payload is no ack of this version; nothing has changed.
    pub(crate) fn ack(
        &mut self,
        payload: &[u8],
        now: Moment,
        ledger: &mut Ledger,
    ) -> Result<Option<Anchor>, AckError> {
        let ack = ack::decode(payload)?;
        if self
            .connection
            .as_ref()
            .is_none_or(|c| c.nonce.get() != ack.nonce)
        {
            return Ok(None);
        }
        tracing::trace!(?ack, "ack");
        self.meet(BridgeEpoch::new(ack.epoch), ledger);
        let state = self.connection.as_ref().and_then(|c| c.state(ack.answers));
        let settled_gaps = ledger.gaps().settled;
        for session in &ack.sessions {
            self.session(session, state, now, ledger);
        }
        ledger.forgotten(&ack.forgotten);
        // With a gap gone, what the device accounts for begins later: below that the bridge may lack records, too.
        self.gaps_to_tell |= ledger.gaps().settled > settled_gaps;
        self.grant(&ack, now);
        let Some(state) = state else { return Ok(None) };
        self.answered(&ack, state, now, ledger);
        Ok(self.learn_time(ack.wall_ms, state.at_ms, now))
    }

    /// Notes which bridge answers; one of another epoch gets again what is not settled, and first of all a state.
    fn meet(&mut self, epoch: BridgeEpoch, ledger: &mut Ledger) {
        if ledger.known.as_ref().is_none_or(|known| known.epoch != epoch) {
            ledger.known = Some(Known::new(epoch));
            ledger.changed = true;
            self.backlog.release();
        }
        let Some(connection) = &mut self.connection else {
            return;
        };
        match connection.epoch {
            None => connection.epoch = Some(epoch),
            Some(known) if known == epoch => {}
            Some(_) => {
                connection.restart(epoch);
                let lost = self.outbox.clear();
                self.requeue(lost, ledger);
            }
        }
    }

    fn grant(&mut self, ack: &Ack, now: Moment) {
        if let Some(connection) = &mut self.connection {
            connection.fresh.grant(ack.fresh_credit);
            connection.backlog.grant(ack.backlog_credit);
            connection.pace.set(ack.backlog_rate, now.mono_ms);
        }
    }

    fn session(&mut self, said: &SessionAck, state: Option<SentState>, now: Moment, ledger: &mut Ledger) {
        let id = SessionId::new(said.session);
        let mut settled = set(&said.settled);
        for refused in &said.refused {
            let seqs = set(&refused.ranges);
            self.sums.refused_records += seqs.len();
            settled.insert_all(&seqs);
        }
        match state {
            Some(state) => {
                let again = ledger.replace(id, &settled, state.gap_mark);
                self.requeue(vec![(id, again)], ledger);
            }
            None => {
                for range in settled.ranges() {
                    ledger.settle(id, *range.start(), *range.end());
                }
                ledger.settle_gaps(id);
            }
        }
        self.forget(id, &settled, now, ledger);
        self.hold(id, &set(&said.held));
        for wanting in &said.wanting {
            self.want(id, wanting, ledger);
        }
        ledger.let_go_of(id);
    }

    /// Takes settled records out of all queues.
    fn forget(&mut self, id: SessionId, settled: &SeqSet, now: Moment, ledger: &mut Ledger) {
        self.backlog.remove(id, settled);
        if ledger.sessions().last().is_some_and(|s| s.id == id) {
            self.fresh.retain(|row| !settled.contains(row.seq));
        }
        let result = self.outbox.settle(id, settled, now.mono_ms);
        for (message, done) in &result.done {
            if let (Some(known), Some((hash, len))) = (&mut ledger.known, done.dictionary) {
                known.insert(hash, len);
            }
            if let Some(key) = self.connection.as_mut().and_then(|c| c.key.as_mut()) {
                key.settled |= key.message == *message;
            }
        }
        if !result.lost.is_empty() {
            self.doubt_key();
        }
        self.requeue(result.lost, ledger);
    }

    fn hold(&mut self, id: SessionId, held: &SeqSet) {
        if held.is_empty() {
            return;
        }
        self.sums.held_records += held.len();
        self.outbox.withdraw(id, held);
        self.backlog.remove(id, held);
        self.backlog.hold(id, held);
    }

    /// The bridge lacks a dictionary or a key. What it lacks of messages that went before the last time that was sent is
    /// on its way already.
    fn want(&mut self, id: SessionId, wanting: &Wanting, ledger: &mut Ledger) {
        let seqs = set(&wanting.ranges);
        let Some((last, message)) = self.outbox.withdraw(id, &seqs) else {
            return;
        };
        self.requeue(vec![(id, seqs)], ledger);
        let Some(connection) = &mut self.connection else {
            return;
        };
        if DictHash::from_slice(&wanting.dict).is_none() {
            connection.key.take_if(|key| Some(key.key.id()) == message.key);
            return;
        }
        connection.key.take_if(|key| !key.settled);
        let Some((hash, _)) = message.dictionary else {
            return;
        };
        if connection.sent.get(&hash).is_none_or(|(_, sent)| *sent < last) {
            // The bridge may lack any of the lists that this one was built on.
            connection.forget_dictionaries();
            if let Some(known) = &mut ledger.known {
                known.clear();
            }
        }
    }

    /// A full ack: sessions that it leaves out have nothing settled, and what it trimmed can be told.
    fn answered(&mut self, ack: &Ack, state: SentState, now: Moment, ledger: &mut Ledger) {
        let named: BTreeSet<u64> = ack.sessions.iter().map(|s| s.session).collect();
        for id in ledger.sessions().iter().map(|s| s.id).collect::<Vec<_>>() {
            if !named.contains(&id.get()) {
                let nothing = SessionAck {
                    session: id.get(),
                    ..SessionAck::default()
                };
                self.session(&nothing, Some(state), now, ledger);
            }
            ledger.redeclare(id, Reason::WalCorrupt);
        }
        self.gaps_to_tell |= ledger.gaps().iter().any(|gap| gap.confirmed && !gap.told);
        if let Some(connection) = &mut self.connection
            && ack.answers >= connection.opens_at
        {
            connection.open = true;
        }
    }
}

fn set(ranges: &[Range]) -> SeqSet {
    from_ranges(ranges).unwrap_or_default()
}
