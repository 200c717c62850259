//! The byte budget that grants are paid from.
//!
//! Invariant: the sum over all lanes of granted minus finished bytes, `outstanding`, never exceeds `size`. Credit that
//! was announced cannot be taken back, so a byte is charged when it is granted and released when its message is
//! committed or refused, or when its connection ends. Lanes that the budget cannot serve wait in order of asking.
//! Each lane begins with one largest message; more goes only to lanes that use what they have, out of half of what is
//! free, so that a device that connects later finds some.

use std::collections::VecDeque;

use wire::DeviceName;

use super::lane::LaneKind;

/// The least that a granted lane is ahead: one largest message.
pub(crate) const LEAST_AHEAD: u64 = wire::limits::MAX_MESSAGE as u64;

/// The most that a lane is ahead; enough for a fast link with a commit a second.
pub(crate) const MOST_AHEAD: u64 = 1 << 20;

/// The budget and who waits for it.
#[derive(Debug)]
pub(crate) struct Pool {
    size: u64,
    outstanding: u64,
    /// Lanes whose window has grown.
    busy: u64,
    queue: VecDeque<(DeviceName, LaneKind)>,
    /// Lanes that wait apart, in order of asking.
    parked: VecDeque<(DeviceName, LaneKind)>,
}

impl Pool {
    /// A budget of `size` bytes, at least one largest message.
    pub(crate) fn new(size: u64) -> Self {
        Pool {
            size: size.max(LEAST_AHEAD),
            outstanding: 0,
            busy: 0,
            queue: VecDeque::new(),
            parked: VecDeque::new(),
        }
    }

    /// Bytes granted and not finished.
    pub(crate) fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// Lanes that wait for credit.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The most bytes that a lane is granted ahead now: one largest message, and a busy lane's share of half of what is
    /// free.
    pub(crate) fn window(&self) -> u64 {
        let free = self.size.saturating_sub(self.outstanding);
        (LEAST_AHEAD + free / 2 / self.busy.max(1)).min(MOST_AHEAD)
    }

    /// More than half of the budget is in use: lanes that have nothing to send get none.
    pub(crate) fn is_tight(&self) -> bool {
        self.outstanding > self.size / 2
    }

    /// Takes `bytes` if the budget has them.
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        let fits = self
            .outstanding
            .checked_add(bytes)
            .is_some_and(|sum| sum <= self.size);
        if fits {
            self.outstanding += bytes;
        }
        fits
    }

    /// Takes `bytes` that were granted before and cannot be taken back, even if the budget has not got them.
    pub(crate) fn charge(&mut self, bytes: u64) {
        self.outstanding = self.outstanding.saturating_add(bytes);
    }

    /// Gives `bytes` back.
    pub(crate) fn release(&mut self, bytes: u64) {
        self.outstanding = self.outstanding.saturating_sub(bytes);
    }

    /// A lane's window grew for the first time, or the connection of such a lane ended.
    pub(crate) fn count_busy(&mut self, grew: bool) {
        self.busy = if grew {
            self.busy + 1
        } else {
            self.busy.saturating_sub(1)
        };
    }

    /// Puts a lane at the end of the queue; the caller sees to it that none is there twice.
    pub(crate) fn enqueue(&mut self, device: DeviceName, lane: LaneKind) {
        self.queue.push_back((device, lane));
    }

    /// The lane that has waited longest.
    pub(crate) fn head(&self) -> Option<&(DeviceName, LaneKind)> {
        self.queue.front()
    }

    /// Has the head wait apart, until `unpark`.
    pub(crate) fn park(&mut self) {
        self.parked.extend(self.queue.pop_front());
    }

    /// Puts those that waited apart before all others.
    pub(crate) fn unpark(&mut self) {
        self.parked.append(&mut self.queue);
        std::mem::swap(&mut self.parked, &mut self.queue);
    }

    /// Takes the head out of the queue.
    pub(crate) fn dequeue(&mut self) -> Option<(DeviceName, LaneKind)> {
        self.queue.pop_front()
    }
}
