//! The index of one segment: which records it has, and where the session's running total is known.

use wire::{Seq, Timestamp};

use crate::input::Moment;
use crate::wal::session::Anchor;

/// Index of one segment: the seqs from its first record to its last, or to the end of a hole behind it, and the running
/// totals after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    /// Of its first record.
    pub(crate) first: Seq,
    /// The session's running total before `first`.
    pub(crate) before: u64,
    /// Seqs after which the running total is known, rising, each as its distance from `first` with the total's from
    /// `before`. A record has one on both sides; within a hole there are none.
    marks: Vec<(u32, u32)>,
    /// Wall times of the first and the newest record, as they were logged.
    pub(crate) times: Option<(Timestamp, Timestamp)>,
    /// The newest wall time that was trusted when it was logged.
    trusted: Option<Timestamp>,
    /// The latest monotonic time, ms, of a record that was logged while the wall clock was not trusted.
    untrusted_ms: Option<u64>,
}

/// A seq and the session's running total after it.
pub(crate) type Mark = (u64, u64);

impl Segment {
    /// One that accounts for nothing yet.
    pub(crate) fn new(number: u64, bytes: u64, first: Seq, before: u64) -> Segment {
        Segment {
            number,
            bytes,
            first,
            before,
            marks: Vec::new(),
            times: None,
            trusted: None,
            untrusted_ms: None,
        }
    }

    /// Enters the clocks of a record.
    pub(crate) fn stamp(&mut self, at: Moment, trusted: bool) {
        let from = self.times.map_or(at.wall, |(from, _)| from);
        let to = self.times.map_or(at.wall, |(_, to)| to.max(at.wall));
        self.times = Some((from, to));
        match trusted {
            true => self.trusted = self.trusted.max(Some(at.wall)),
            false => self.untrusted_ms = self.untrusted_ms.max(Some(at.mono_ms)),
        }
    }

    /// Whether all of it is older than a time; what cannot be placed in time is not.
    pub(crate) fn is_before(&self, limit: Timestamp, anchor: Option<Anchor>) -> bool {
        let placed = |ms: u64| Some(anchor?.offset_ms.saturating_add(ms.cast_signed()));
        let old = self
            .untrusted_ms
            .is_none_or(|ms| placed(ms).is_some_and(|ms| ms < limit.ms()));
        self.times.is_some() && old && self.trusted.is_none_or(|time| time < limit)
    }

    /// The last seq that it accounts for, and the running total after it; what is before `first` if there is none.
    pub(crate) fn last(&self) -> Mark {
        self.marks
            .last()
            .map_or((self.first.get() - 1, self.before), |&mark| self.mark(mark))
    }

    fn mark(&self, (seq, total): (u32, u32)) -> Mark {
        (self.first.get() + u64::from(seq), self.before + u64::from(total))
    }

    /// Whether a record at a seq, with the total after it, can be entered.
    pub(crate) fn has_room(&self, seq: u64, total: u64) -> bool {
        self.marks.is_empty() || self.distances(seq, total).is_some()
    }

    fn distances(&self, seq: u64, total: u64) -> Option<(u32, u32)> {
        let distance = |to: u64, from: u64| u32::try_from(to.checked_sub(from)?).ok();
        distance(seq, self.first.get()).zip(distance(total, self.before))
    }

    /// Enters a seq after which the total is known.
    pub(crate) fn push(&mut self, seq: u64, total: u64) {
        self.marks.extend(self.distances(seq, total));
    }

    /// Enters a hole; one at the segment's head is left before it.
    pub(crate) fn push_hole(&mut self, last: u64, total: u64) {
        match self.marks.is_empty() {
            true => self.start_after(last, total),
            false => self.push(last, total),
        }
    }

    /// Sets where a segment without records begins.
    pub(crate) fn start_after(&mut self, seq: u64, total: u64) {
        self.first = Seq::new(seq + 1);
        self.before = total;
    }

    /// The nearest mark at or below a seq, which is not below `first - 1`.
    pub(crate) fn at_or_below(&self, seq: u64) -> Mark {
        let at = self.marks.partition_point(|&mark| self.mark(mark).0 <= seq);
        let mark = at.checked_sub(1).and_then(|at| self.marks.get(at));
        mark.map_or((self.first.get() - 1, self.before), |&mark| self.mark(mark))
    }

    /// The nearest mark at or above a seq, which is not above the last.
    pub(crate) fn at_or_above(&self, seq: u64) -> Mark {
        if seq < self.first.get() {
            return (self.first.get() - 1, self.before);
        }
        let at = self.marks.partition_point(|&mark| self.mark(mark).0 < seq);
        self.marks.get(at).map_or(self.last(), |&mark| self.mark(mark))
    }
}
