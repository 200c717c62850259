//! What the log knows of one session: its segments' index, what is settled and what is given up.
//!
//! Every record above `freed` is pending, settled or dropped; a dropped one may be settled, too: told, or stored all the
//! same. `pending_*` count the first kind.

use std::collections::VecDeque;

use wire::{BootId, Seq, SeqSet, SessionId, Timestamp};

use crate::input::Moment;
use crate::wal::format::{Kind, RecordHeader};
use crate::wal::segment::{Mark, Segment};

/// How a boot's wall clock relates to its monotonic one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Anchor {
    /// True time minus monotonic time, ms.
    pub(crate) offset_ms: i64,
    /// Bound of the error, ms.
    pub(crate) error_ms: u64,
}

/// One session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) boot: BootId,
    pub(crate) closed: bool,
    /// A segment could not be read; it may be at the next start.
    pub(crate) unread: bool,
    pub(crate) segments: VecDeque<Segment>,
    /// No record up to this one is in the log.
    pub(crate) freed: u64,
    /// Running total after it.
    pub(crate) freed_total: u64,
    pub(crate) last: u64,
    pub(crate) total: u64,
    pub(crate) settled: SeqSet,
    pub(crate) dropped: SeqSet,
    /// Samples of confirmed gaps.
    pub(crate) dropped_samples: u64,
    /// Which records are alerts: those in the log, and those given up and not settled.
    pub(crate) alerts: SeqSet,
    pub(crate) pending_records: u64,
    pub(crate) pending_samples: u64,
    /// Samples settled in this process's life.
    pub(crate) acked_samples: u64,
    /// Records of this run that were given to the uplink; `None`: of an earlier run, any may have been.
    pub(crate) published: Option<SeqSet>,
    /// Of its boot, if it is known.
    pub(crate) anchor: Option<Anchor>,
    /// The last record's clocks.
    pub(crate) newest: Moment,
    /// The newest wall time that was trusted when it was logged.
    pub(crate) trusted: Option<Timestamp>,
    /// Some record was logged under a clock that was not trusted.
    pub(crate) doubtful: bool,
}

impl Session {
    pub(crate) fn new(id: SessionId, boot: BootId, closed: bool) -> Session {
        Session {
            id,
            boot,
            closed,
            unread: false,
            segments: VecDeque::new(),
            freed: 0,
            freed_total: 0,
            last: 0,
            total: 0,
            settled: SeqSet::new(),
            dropped: SeqSet::new(),
            dropped_samples: 0,
            alerts: SeqSet::new(),
            pending_records: 0,
            pending_samples: 0,
            acked_samples: 0,
            published: (!closed).then(SeqSet::new),
            anchor: None,
            newest: Moment {
                wall: Timestamp::from_ms(0),
                mono_ms: 0,
            },
            trusted: None,
            doubtful: false,
        }
    }

    /// Bytes of its segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.bytes).sum()
    }

    /// The records in the log that are neither settled nor dropped.
    pub(crate) fn pending(&self) -> SeqSet {
        self.open_between(self.freed + 1, self.last)
    }

    /// Whether a record is one of these.
    pub(crate) fn is_pending(&self, seq: Seq) -> bool {
        let in_log = (self.freed + 1..=self.last).contains(&seq.get());
        in_log && !self.settled.contains(seq) && !self.dropped.contains(seq)
    }

    fn open_between(&self, first: u64, last: u64) -> SeqSet {
        let mut open = self.settled.missing_between(Seq::new(first), Seq::new(last));
        open.remove_all(&self.dropped);
        open
    }

    /// Samples of the records of a set that are in the log.
    pub(crate) fn samples_of(&self, seqs: &SeqSet) -> u64 {
        let ranges = seqs.ranges();
        ranges
            .map(|r| self.samples_between(r.start().get(), r.end().get()))
            .sum()
    }

    fn samples_between(&self, first: u64, last: u64) -> u64 {
        let (_, before) = self.at_or_below(first.saturating_sub(1));
        self.at_or_above(last).1.saturating_sub(before)
    }

    /// The nearest seq, at or below one, after which the running total is known.
    pub(crate) fn at_or_below(&self, seq: u64) -> Mark {
        if seq >= self.last {
            return (self.last, self.total);
        }
        let after = self.segments.partition_point(|s| s.first.get() - 1 <= seq);
        let segment = after.checked_sub(1).and_then(|at| self.segments.get(at));
        let freed = (self.freed, self.freed_total);
        let least = if self.freed <= seq { freed } else { (0, 0) };
        segment.map_or(least, |s| s.at_or_below(seq).max(least))
    }

    /// The nearest seq, at or above one, after which the running total is known.
    pub(crate) fn at_or_above(&self, seq: u64) -> Mark {
        if seq <= self.freed {
            return (self.freed, self.freed_total);
        }
        let at = self.segments.partition_point(|s| s.last().0 < seq);
        let last = (self.last, self.total);
        self.segments.get(at).map_or(last, |s| s.at_or_above(seq))
    }

    /// The segment that accounts for a record.
    pub(crate) fn segment_of(&self, seq: Seq) -> Option<&Segment> {
        let at = self.segments.partition_point(|s| s.last().0 < seq.get());
        self.segments.get(at).filter(|s| s.first <= seq)
    }

    /// Samples of each record between two, both inclusive; empty if they are not all in the log.
    pub(crate) fn each_between(&self, first: u64, last: u64) -> Vec<u32> {
        let mut before = self.at_or_below(first.saturating_sub(1)).1;
        let each = (first..=last).map(|seq| {
            let (found, total) = self.at_or_below(seq);
            let samples = total.checked_sub(before).filter(|_| found == seq)?;
            before = total;
            u32::try_from(samples).ok()
        });
        each.collect::<Option<_>>().unwrap_or_default()
    }

    /// Enters a record that was appended, or found at the start; the seqs that it skips must have been entered as a hole.
    pub(crate) fn enter(&mut self, header: &RecordHeader) {
        self.last = header.seq.get();
        self.total = header.total;
        self.newest = header.stamp;
        self.doubtful |= !header.trusted;
        if header.kind == Kind::Alert {
            self.alerts.insert(header.seq);
        }
        if header.trusted {
            self.trusted = self.trusted.max(Some(header.stamp.wall));
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.push(header.seq.get(), header.total);
            segment.stamp(header.stamp, header.trusted);
        }
        if !self.settled.contains(header.seq) && !self.dropped.contains(header.seq) {
            self.pending_records += 1;
            self.pending_samples += u64::from(header.samples);
        }
    }

    /// Enters records that are not in the log, up to one after which the running total is known.
    pub(crate) fn enter_hole(&mut self, last: u64, total: u64) {
        self.dropped.insert_range(Seq::new(self.last + 1), Seq::new(last));
        if self.segments.is_empty() {
            return self.start_after(last, total);
        }
        self.last = last;
        self.total = total;
        if let Some(segment) = self.segments.back_mut() {
            segment.push_hole(last, total);
        }
    }

    /// Nothing up to a seq is in the log, and no record was entered yet.
    pub(crate) fn start_after(&mut self, last: u64, total: u64) {
        self.freed = last;
        self.freed_total = total;
        self.last = last;
        self.total = total;
        if let Some(segment) = self.segments.back_mut() {
            segment.start_after(last, total);
        }
    }

    /// Takes records as settled; returns their samples, those counted that were pending.
    pub(crate) fn settle(&mut self, first: Seq, last: Seq) -> u64 {
        let last = last.get().min(self.last);
        let open = self.open_between(first.get().max(self.freed + 1), last);
        let samples = self.samples_of(&open);
        self.pending_records -= open.len();
        self.pending_samples -= samples;
        self.acked_samples += samples;
        self.settled.insert_range(first, Seq::new(last));
        samples
    }

    /// Replaces what is settled by a complete list; returns records that are pending again.
    pub(crate) fn rewind(&mut self, settled: &SeqSet) -> SeqSet {
        let mut lost = self.settled.clone();
        lost.remove_all(settled);
        if lost.is_empty() {
            return lost;
        }
        self.settled.remove_all(&lost);
        lost.remove_range(Seq::new(0), Seq::new(self.freed));
        // Published from memory, and lost with it.
        lost.remove_range(Seq::new(self.last + 1), Seq::new(u64::MAX));
        lost.remove_all(&self.dropped);
        let samples = self.samples_of(&lost);
        self.pending_records += lost.len();
        self.pending_samples += samples;
        self.acked_samples = self.acked_samples.saturating_sub(samples);
        lost
    }

    /// Gives up pending records; returns those that were, and their samples.
    pub(crate) fn give_up(&mut self, seqs: &SeqSet) -> (SeqSet, u64) {
        let mut open = self.pending();
        let mut kept = open.clone();
        kept.remove_all(seqs);
        open.remove_all(&kept);
        let samples = self.samples_of(&open);
        self.pending_records -= open.len();
        self.pending_samples -= samples;
        self.dropped.insert_all(&open);
        (open, samples)
    }

    /// The alerts among what was given up that are not settled.
    pub(crate) fn dropped_alerts(&self) -> SeqSet {
        let mut alerts = self.alerts.common(&self.dropped);
        alerts.remove_all(&self.settled);
        alerts
    }

    /// Whether some record of a range may be at the bridge although no ack said so.
    pub(crate) fn may_be_stored(&self, first: Seq, last: Seq) -> bool {
        match &self.published {
            None => true,
            Some(published) => published.missing_between(first, last).len() <= last.get() - first.get(),
        }
    }

    /// Whether the oldest segment holds nothing that is pending.
    pub(crate) fn oldest_is_done(&self) -> bool {
        let oldest = self.segments.front();
        oldest.is_some_and(|s| {
            self.open_between(s.first.get().max(self.freed + 1), s.last().0)
                .is_empty()
        })
    }

    /// Takes the oldest segment out of the index.
    pub(crate) fn free_oldest(&mut self) -> Option<Segment> {
        let segment = self.segments.pop_front()?;
        let (last, total) = segment.last();
        if last > self.freed {
            self.freed = last;
            self.freed_total = total;
        }
        let mut done = self.settled.clone();
        done.remove_range(Seq::new(self.freed + 1), Seq::new(u64::MAX));
        self.alerts.remove_all(&done);
        Some(segment)
    }
}
