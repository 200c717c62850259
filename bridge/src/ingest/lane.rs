//! What one connection of a device may publish on one lane, in payload bytes since the connection began.
//!
//! Invariant: `finished <= received`, and what the lane holds of the budget is `granted - finished` where that is
//! positive. All three only rise.

use super::credit::LEAST_AHEAD;

/// The two lanes of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LaneKind {
    /// Channels `batch` and `dict`.
    Fresh,
    /// Channel `backlog`.
    Backlog,
}

/// Counters of a lane.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lane {
    granted: u64,
    received: u64,
    finished: u64,
    largest: u64,
    queued: bool,
    counted: bool,
}

impl Lane {
    /// A connection that had sent `sent` bytes when it became known: these are no concern of this bridge any more.
    pub(crate) fn resumed_at(sent: u64) -> Self {
        Lane {
            granted: sent,
            received: sent,
            finished: sent,
            ..Lane::default()
        }
    }

    /// The absolute limit that an ack announces.
    pub(crate) fn granted(&self) -> u64 {
        self.granted
    }

    /// Bytes of the budget that the lane holds.
    pub(crate) fn held(&self) -> u64 {
        self.granted.saturating_sub(self.finished)
    }

    /// Bytes that may still come.
    pub(crate) fn ahead(&self) -> u64 {
        self.granted.saturating_sub(self.received)
    }

    /// The next message may not fit: as large a one as the largest so far would be beyond the credit.
    pub(crate) fn is_dry(&self) -> bool {
        self.granted > 0 && self.ahead() < self.largest
    }

    /// A message of so many bytes came; says whether it was within the credit.
    pub(crate) fn receive(&mut self, bytes: u64) -> bool {
        self.received = self.received.saturating_add(bytes);
        self.largest = self.largest.max(bytes);
        self.received <= self.granted
    }

    /// A message of so many bytes is committed or refused; gives what is free again.
    pub(crate) fn finish(&mut self, bytes: u64) -> u64 {
        let before = self.held();
        self.finished = self.finished.saturating_add(bytes).min(self.received);
        before - self.held()
    }

    /// The device says how many bytes it had sent when it wrote its state, which came after them: what did not come
    /// was lost under way. Gives what is free again.
    pub(crate) fn sent(&mut self, bytes: u64) -> u64 {
        let lost = bytes.saturating_sub(self.received);
        self.received += lost;
        self.finish(lost)
    }

    /// Raises the limit.
    pub(crate) fn grant(&mut self, bytes: u64) {
        self.granted = self.granted.saturating_add(bytes);
    }

    /// Bytes that bring the lane `window` ahead, if less than half of that, or than one largest message, is left.
    pub(crate) fn wants(&self, window: u64) -> Option<u64> {
        let enough = (window / 2).max(LEAST_AHEAD);
        (self.ahead() < enough).then(|| {
            let limit = self.received.saturating_add(window.max(LEAST_AHEAD));
            limit.saturating_sub(self.granted)
        })
    }

    /// Whether the lane stands in the queue.
    pub(crate) fn queued(&self) -> bool {
        self.queued
    }

    /// Whether the lane has had credit, and so counts among those that share the budget.
    pub(crate) fn counted(&self) -> bool {
        self.counted
    }

    /// Notes that the lane counts.
    pub(crate) fn set_counted(&mut self) {
        self.counted = true;
    }

    /// Notes that the lane stands in the queue, or does not any more.
    pub(crate) fn set_queued(&mut self, queued: bool) {
        self.queued = queued;
    }
}
