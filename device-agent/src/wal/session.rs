//! What the log knows of one session: its segments' index, what is settled and what is given up.
//!
//! Of every record above `freed`, exactly one is true: pending, settled, or dropped. `pending_*` count the first kind.

use std::collections::VecDeque;

use wire::{BootId, Seq, SeqSet, SessionId, Timestamp};

use crate::input::Moment;
use crate::wal::format::RecordHeader;

/// Where a record is in its segment, and how many samples it has. Offset 0: it is not there; then the first of a hole's
/// entries has the samples of the whole hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordRef {
    pub(crate) offset: u32,
    pub(crate) samples: u32,
}

/// Index of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    /// Seq of the first entry of `records`.
    pub(crate) first: Seq,
    pub(crate) records: Vec<RecordRef>,
    /// The session's running total after the last entry.
    pub(crate) total: u64,
    /// Wall times of the first and the newest record, as they were logged.
    pub(crate) times: Option<(Timestamp, Timestamp)>,
}

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

impl Segment {
    /// Seq of the last entry; one below `first` if there is none.
    pub(crate) fn last(&self) -> u64 {
        (self.first.get() + self.records.len() as u64).saturating_sub(1)
    }

    fn entries(&self, first: u64, last: u64) -> &[RecordRef] {
        let from = first.saturating_sub(self.first.get());
        let to = (last + 1).saturating_sub(self.first.get());
        let clip = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(self.records.len());
        &self.records[clip(from).min(clip(to))..clip(to)]
    }
}

impl Session {
    pub(crate) fn new(id: SessionId, boot: BootId, closed: bool) -> Session {
        Session {
            id,
            boot,
            closed,
            segments: VecDeque::new(),
            freed: 0,
            freed_total: 0,
            last: 0,
            total: 0,
            settled: SeqSet::new(),
            dropped: SeqSet::new(),
            dropped_samples: 0,
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
        let overlapping = self.overlapping(first, last);
        overlapping.map(|s| sum(s.entries(first, last))).sum()
    }

    fn overlapping(&self, first: u64, last: u64) -> impl Iterator<Item = &Segment> {
        let from = self.segments.partition_point(|s| s.last() < first);
        self.segments
            .range(from..)
            .take_while(move |s| s.first.get() <= last)
    }

    /// The running total before a record of the index.
    pub(crate) fn total_before(&self, seq: Seq) -> u64 {
        let segment = self.segment_of(seq);
        segment.map_or(self.freed_total, |s| {
            s.total.saturating_sub(sum(s.entries(seq.get(), s.last())))
        })
    }

    /// The segment that has a record.
    pub(crate) fn segment_of(&self, seq: Seq) -> Option<&Segment> {
        self.overlapping(seq.get(), seq.get()).next()
    }

    /// Samples of each record between two, both inclusive, as far as they are in the log.
    pub(crate) fn each_between(&self, first: u64, last: u64) -> Vec<u32> {
        let overlapping = self.overlapping(first, last);
        overlapping
            .flat_map(|s| s.entries(first, last).iter().map(|r| r.samples))
            .collect()
    }

    /// Enters a record that was appended, or found at the start; the seqs that it skips must have been entered as a hole.
    pub(crate) fn enter(&mut self, header: &RecordHeader, offset: u32) {
        self.last = header.seq.get();
        self.total = header.total;
        self.newest = header.stamp;
        self.doubtful |= !header.trusted;
        if header.trusted {
            self.trusted = Some(
                self.trusted
                    .map_or(header.stamp.wall, |t| t.max(header.stamp.wall)),
            );
        }
        if let Some(segment) = self.segments.back_mut() {
            if segment.records.is_empty() {
                segment.first = header.seq;
            }
            segment.records.push(RecordRef {
                offset,
                samples: header.samples,
            });
            segment.total = header.total;
            let time = header.stamp.wall;
            segment.times = Some(
                segment
                    .times
                    .map_or((time, time), |(from, to)| (from, to.max(time))),
            );
        }
        if !self.settled.contains(header.seq) && !self.dropped.contains(header.seq) {
            self.pending_records += 1;
            self.pending_samples += u64::from(header.samples);
        }
    }

    /// Enters records that are not in the log; says which were not known to be dropped or settled before.
    pub(crate) fn enter_hole(&mut self, last: u64, samples: u64) -> SeqSet {
        let first = self.last + 1;
        let unknown = self.open_between(first, last);
        self.dropped.insert_range(Seq::new(first), Seq::new(last));
        self.last = last;
        self.total += samples;
        if let Some(segment) = self.segments.back_mut() {
            if segment.records.is_empty() {
                segment.first = Seq::new(first);
            }
            segment.total = self.total;
            let mut samples = u32::try_from(samples).unwrap_or(u32::MAX);
            for _ in first..=last {
                segment.records.push(RecordRef { offset: 0, samples });
                samples = 0;
            }
        }
        unknown
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
            self.open_between(s.first.get().max(self.freed + 1), s.last())
                .is_empty()
        })
    }

    /// Takes the oldest segment out of the index.
    pub(crate) fn free_oldest(&mut self) -> Option<Segment> {
        let segment = self.segments.pop_front()?;
        if segment.last() > self.freed {
            self.freed_total = segment.total;
            self.freed = segment.last();
        }
        Some(segment)
    }
}

fn sum(entries: &[RecordRef]) -> u64 {
    entries.iter().map(|r| u64::from(r.samples)).sum()
}
