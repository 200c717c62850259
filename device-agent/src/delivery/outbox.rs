//! Messages that were published on this connection and are not settled, and when one is given up as lost.

use std::collections::BTreeMap;

use wire::batch::KeyId;
use wire::dict::DictHash;
use wire::{SeqSet, SessionId};

/// Numbers the messages of a process in the order of publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MessageId(pub(crate) u64);

/// The lanes of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Fresh,
    Backlog,
    Alert,
}

/// A batch or an alert on its way.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) lane: Lane,
    pub(crate) session: SessionId,
    /// Its records that are not settled, held or to be sent again.
    pub(crate) seqs: SeqSet,
    pub(crate) published_ms: u64,
    /// Of the payload.
    pub(crate) bytes: usize,
    /// What its rows' ids belong to; an alert has none.
    pub(crate) dictionary: Option<(DictHash, usize)>,
    /// The key that it defines or needs.
    pub(crate) key: Option<KeyId>,
}

/// Shortest time until a message counts as lost, ms.
const LOST_AFTER: u64 = 60_000;

/// Longest, ms.
const LOST_AT_MOST: u64 = 600_000;

/// The unsettled messages of a connection.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    messages: BTreeMap<MessageId, Message>,
    /// Smoothed time from publishing to the ack that settles, ms.
    delay_ms: u64,
    /// Doubles with each loss by timer, until something settles.
    patience: u32,
}

impl Outbox {
    pub(crate) fn insert(&mut self, id: MessageId, message: Message) {
        self.messages.insert(id, message);
    }

    /// Gives up all messages; returns their records.
    pub(crate) fn clear(&mut self) -> Vec<(SessionId, SeqSet)> {
        let messages = std::mem::take(&mut self.messages);
        messages.into_values().map(|m| (m.session, m.seqs)).collect()
    }

    /// Takes settled records out. Returns the messages that are wholly settled by that, and, of those published
    /// before one of them on its lane, what is lost; of alerts, before one of them on any lane.
    pub(crate) fn settle(&mut self, session: SessionId, settled: &SeqSet, now_ms: u64) -> Settled {
        let mut done = Vec::new();
        for (&id, message) in self.messages.iter_mut().filter(|(_, m)| m.session == session) {
            message.seqs.remove_all(settled);
            if message.seqs.is_empty() {
                done.push(id);
            }
        }
        let done: Vec<(MessageId, Message)> = done
            .into_iter()
            .filter_map(|id| Some((id, self.messages.remove(&id)?)))
            .collect();
        for (_, message) in &done {
            let delay = now_ms.saturating_sub(message.published_ms);
            self.delay_ms = (self.delay_ms * 7 + delay) / 8;
            self.patience = 0;
        }
        let mut lost = Vec::new();
        for lane in [Lane::Fresh, Lane::Backlog, Lane::Alert] {
            // Nothing that was published after an alert overtakes it, on any lane.
            let last = done
                .iter()
                .filter(|(_, m)| m.lane == lane || lane == Lane::Alert)
                .map(|(id, _)| *id)
                .max();
            if let Some(last) = last {
                lost.extend(self.take(|id, m| id < last && m.lane == lane));
            }
        }
        Settled { done, lost }
    }

    /// Takes records out that the bridge answered otherwise. Returns the last message that had one of them.
    pub(crate) fn withdraw(&mut self, session: SessionId, seqs: &SeqSet) -> Option<(MessageId, Message)> {
        let mut last = None;
        for (&id, message) in self.messages.iter_mut().filter(|(_, m)| m.session == session) {
            let before = message.seqs.len();
            message.seqs.remove_all(seqs);
            if message.seqs.len() < before {
                last = Some((id, message.clone()));
            }
        }
        self.messages.retain(|_, message| !message.seqs.is_empty());
        last
    }

    /// What has waited too long for an ack.
    pub(crate) fn expire(&mut self, now_ms: u64) -> Vec<(SessionId, SeqSet)> {
        let limit = self.lost_after();
        let lost = self.take(|_, m| now_ms.saturating_sub(m.published_ms) >= limit);
        if !lost.is_empty() {
            self.patience = (self.patience + 1).min(8);
        }
        lost
    }

    /// When [`Outbox::expire`] is due.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        let oldest = self.messages.values().map(|m| m.published_ms).min()?;
        Some(oldest.saturating_add(self.lost_after()))
    }

    /// Payload bytes of unsettled alerts.
    pub(crate) fn alert_bytes(&self) -> usize {
        let alerts = self.messages.values().filter(|m| m.lane == Lane::Alert);
        alerts.map(|m| m.bytes).sum()
    }

    /// The records on their way.
    #[cfg(test)]
    pub(crate) fn seqs(&self) -> impl Iterator<Item = (SessionId, &SeqSet)> {
        self.messages.values().map(|m| (m.session, &m.seqs))
    }

    fn lost_after(&self) -> u64 {
        let learned = LOST_AFTER.max(self.delay_ms.saturating_mul(4));
        learned.saturating_mul(1 << self.patience).min(LOST_AT_MOST)
    }

    fn take(&mut self, which: impl Fn(MessageId, &Message) -> bool) -> Vec<(SessionId, SeqSet)> {
        let ids: Vec<MessageId> = self
            .messages
            .iter()
            .filter(|(id, m)| which(**id, m))
            .map(|(id, _)| *id)
            .collect();
        let taken = ids.into_iter().filter_map(|id| self.messages.remove(&id));
        taken.map(|m| (m.session, m.seqs)).collect()
    }
}

/// What an ack did to the outbox.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    pub(crate) done: Vec<(MessageId, Message)>,
    pub(crate) lost: Vec<(SessionId, SeqSet)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_lost_when_anything_later_is_settled_and_a_row_only_by_its_lane() {
        let session = SessionId::new(1);
        let mut outbox = Outbox::default();
        let lanes = [Lane::Alert, Lane::Backlog, Lane::Fresh, Lane::Alert];
        for (n, lane) in lanes.into_iter().enumerate() {
            let message = Message {
                lane,
                session,
                seqs: [wire::Seq::new(n as u64 + 1)].into_iter().collect(),
                published_ms: 0,
                bytes: 1,
                dictionary: None,
                key: None,
            };
            outbox.insert(MessageId(n as u64), message);
        }
        let settled: SeqSet = [wire::Seq::new(3)].into_iter().collect();
        let result = outbox.settle(session, &settled, 10);
        assert_eq!(result.done.len(), 1);
        let lost: Vec<SeqSet> = result.lost.into_iter().map(|(_, seqs)| seqs).collect();
        assert_eq!(lost, [[wire::Seq::new(1)].into_iter().collect()]);
        assert_eq!(outbox.messages.len(), 2);
    }
}
