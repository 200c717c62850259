//! What one connection of a device may publish on one lane, in payload bytes since the connection began.
//!
//! Invariant: `finished <= received`, and what the lane holds of the budget is `granted - finished` where that is
//! positive. All three only rise. What a lane may be ahead begins at one largest message and doubles each time so much
//! is finished, so that a lane that is not used never holds more than that.

use super::credit::{LEAST_AHEAD, MOST_AHEAD};

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
    /// The limit that the last ack gave the device.
    announced: u64,
    largest: u64,
    /// How often the window has doubled.
    doublings: u32,
    /// Bytes finished since it last did.
    used: u64,
    queued: bool,
}

impl Lane {
    /// A connection that had sent `sent` bytes when it became known: these are no concern of this bridge any more.
    pub(crate) fn resumed_at(sent: u64) -> Self {
        Lane {
            granted: sent,
            received: sent,
            finished: sent,
            announced: sent,
            ..Lane::default()
        }
    }

    /// The absolute limit, for an ack that goes out now.
    pub(crate) fn announce(&mut self) -> u64 {
        self.announced = self.granted;
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

    /// The next message but one may not fit: two like the largest so far would be beyond what the device knows of.
    pub(crate) fn is_dry(&self) -> bool {
        self.granted > 0 && self.announced.saturating_sub(self.received) < 2 * self.largest
    }

    /// The device has credit that it was not told of.
    pub(crate) fn has_untold(&self) -> bool {
        self.granted > self.announced
    }

    /// A message of so many bytes came; says whether it was within the credit.
    pub(crate) fn receive(&mut self, bytes: u64) -> bool {
        self.received = self.received.saturating_add(bytes);
        self.largest = self.largest.max(bytes);
        self.received <= self.granted
    }

    /// A message of so many bytes is committed or refused; gives what is free again.
    pub(crate) fn finish(&mut self, bytes: u64) -> u64 {
        self.used = self.used.saturating_add(bytes);
        let window = LEAST_AHEAD << self.doublings;
        if self.used >= window && window < MOST_AHEAD {
            self.doublings += 1;
            self.used = 0;
        }
        self.release(bytes)
    }

    fn release(&mut self, bytes: u64) -> u64 {
        let before = self.held();
        self.finished = self.finished.saturating_add(bytes).min(self.received);
        before - self.held()
    }

    /// The device says how many bytes it had sent when it wrote its state, which came after them: what did not come
    /// was lost under way. Gives what is free again.
    pub(crate) fn sent(&mut self, bytes: u64) -> u64 {
        let lost = bytes.saturating_sub(self.received);
        self.received += lost;
        self.release(lost)
    }

    /// Raises the limit.
    pub(crate) fn grant(&mut self, bytes: u64) {
        self.granted = self.granted.saturating_add(bytes);
    }

    /// Bytes that bring the lane its window ahead, `most` at most, if less than half of that, or than one largest
    /// message, is left.
    pub(crate) fn wants(&self, most: u64) -> Option<u64> {
        let window = (LEAST_AHEAD << self.doublings).min(most).max(LEAST_AHEAD);
        let enough = (window / 2).max(LEAST_AHEAD);
        (self.ahead() < enough).then(|| {
            let limit = self.received.saturating_add(window);
            limit.saturating_sub(self.granted)
        })
    }

    /// Whether the lane stands in the queue.
    pub(crate) fn queued(&self) -> bool {
        self.queued
    }

    /// Whether the window has grown: the lane counts among those that share what is free.
    pub(crate) fn is_busy(&self) -> bool {
        self.doublings > 0
    }

    /// Notes that the lane stands in the queue, or does not any more.
    pub(crate) fn set_queued(&mut self, queued: bool) {
        self.queued = queued;
    }
}
