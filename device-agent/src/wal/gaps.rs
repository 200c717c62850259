//! Gaps: records that were given up, until the bridge has settled them.
//!
//! A gap says how many samples its records had, those together that the bridge has all the same: the session's running
//! totals at both of its ends tell, so no other count enters it. No record is in two gaps.
//!
//! A dropped record may be stored at the bridge, its ack lost. So a gap is shown only once a full ack that answers a later
//! `state` has trimmed it ([`Gaps::confirm`]).

use wire::{Seq, SeqSet, SessionId, Timestamp};

use crate::wal::segment::Mark;

/// Why records were given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// The byte budget, or a full or failing disk.
    WalBytes,
    /// The age budget.
    WalAge,
    /// Damaged in the log.
    WalCorrupt,
    /// Gone from the log.
    WalLost,
    /// Of a boot whose clock never was right.
    TimeUnknown,
    /// Over a limit of the wire.
    Limit,
}

impl Reason {
    /// All of them.
    pub(crate) const ALL: [Reason; 6] = [
        Reason::WalBytes,
        Reason::WalAge,
        Reason::WalCorrupt,
        Reason::WalLost,
        Reason::TimeUnknown,
        Reason::Limit,
    ];

    /// As it stands in messages, labels and files.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Reason::WalBytes => "wal_bytes",
            Reason::WalAge => "wal_age",
            Reason::WalCorrupt => "wal_corrupt",
            Reason::WalLost => "wal_lost",
            Reason::TimeUnknown => "time_unknown",
            Reason::Limit => "limit",
        }
    }

    /// The reverse of [`Reason::as_str`].
    pub(crate) fn from_text(text: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|r| r.as_str() == text)
    }
}

/// Consecutive records that were given up, or are settled in the midst of such ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) session: SessionId,
    pub(crate) first: Seq,
    pub(crate) last: Seq,
    /// Running total of the session before `first`.
    pub(crate) total_before: u64,
    /// Of all records from `first` to `last`.
    pub(crate) samples: u64,
    /// Samples of each record, where some may be stored at the bridge; empty: none can be, or it is not known.
    pub(crate) each: Vec<u32>,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) reason: Reason,
    /// A full ack has trimmed it.
    pub(crate) confirmed: bool,
    /// A state of this process has shown it.
    pub(crate) told: bool,
    /// Rises from gap to gap of this process.
    pub(crate) id: u64,
}

/// Most records whose samples are remembered one by one.
const MAX_EACH: usize = 65_536;

/// Most gaps; beyond, neighbours of a session are to be merged.
const MAX_GAPS: usize = 1024;

/// The unsettled gaps of all sessions, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    list: Vec<Gap>,
    next_id: u64,
    /// How many were settled.
    pub(crate) settled: u64,
}

impl Gaps {
    /// Adds a gap; its `id` is set here. Merges it into the one before where nothing is lost by that.
    pub(crate) fn push(&mut self, mut gap: Gap) {
        gap.id = self.next_id;
        self.next_id += 1;
        let remembered: usize = self.list.iter().map(|g| g.each.len()).sum();
        if remembered + gap.each.len() > MAX_EACH {
            gap.each = Vec::new();
        }
        match self.list.last_mut() {
            Some(last) if last.adjoins(&gap) && last.each.is_empty() == gap.each.is_empty() => {
                last.absorb(gap)
            }
            _ => self.list.push(gap),
        }
    }

    /// If there are too many, takes the two neighbours of a session out that have the fewest samples between them.
    pub(crate) fn take_nearest(&mut self) -> Option<(Gap, Gap)> {
        if self.list.len() <= MAX_GAPS {
            return None;
        }
        let mut order: Vec<(SessionId, Seq, usize)> = (self.list.iter().enumerate())
            .map(|(at, gap)| (gap.session, gap.first, at))
            .collect();
        order.sort_unstable();
        let pairs = order.windows(2).filter(|pair| pair[0].0 == pair[1].0);
        let between = |pair: &&[(SessionId, Seq, usize)]| {
            let (lower, upper) = (&self.list[pair[0].2], &self.list[pair[1].2]);
            upper.total_before.saturating_sub(lower.after().1)
        };
        let nearest = pairs.min_by_key(between)?;
        let (lower, upper) = (nearest[0].2, nearest[1].2);
        let gaps = (self.list[lower].clone(), self.list[upper].clone());
        self.list.remove(lower.max(upper));
        self.list.remove(lower.min(upper));
        Some(gaps)
    }

    /// The id that the next gap will have: a mark for [`Gaps::confirm`].
    pub(crate) fn mark(&self) -> u64 {
        self.next_id
    }

    /// Takes what is settled out of the unconfirmed gaps of a session that are older than a mark, and confirms them.
    /// Returns their samples by reason.
    pub(crate) fn confirm(&mut self, session: SessionId, settled: &SeqSet, mark: u64) -> Vec<(Reason, u64)> {
        let mut dropped = Vec::new();
        let mut kept = Vec::with_capacity(self.list.len());
        for gap in self.list.drain(..) {
            if gap.session != session || gap.confirmed || gap.id >= mark {
                kept.push(gap);
                continue;
            }
            for mut part in gap.without(settled) {
                part.confirmed = true;
                part.each = Vec::new();
                dropped.push((part.reason, part.samples));
                kept.push(part);
            }
        }
        self.list = kept;
        dropped
    }

    /// A state shows what is confirmed.
    pub(crate) fn tell(&mut self) {
        self.list
            .iter_mut()
            .filter(|gap| gap.confirmed)
            .for_each(|gap| gap.told = true);
    }

    /// Forgets the confirmed gaps of a session that are wholly settled.
    pub(crate) fn settle(&mut self, session: SessionId, settled: &SeqSet) {
        let before = self.list.len();
        let done = |gap: &Gap| {
            gap.session == session && gap.confirmed && settled.contains_range(gap.first, gap.last)
        };
        self.list.retain(|gap| !done(gap));
        self.settled += (before - self.list.len()) as u64;
    }

    /// Takes the gaps of a session out.
    pub(crate) fn take_all(&mut self, session: SessionId) -> Vec<Gap> {
        self.list.extract_if(.., |gap| gap.session == session).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Gap> {
        self.list.iter()
    }

    pub(crate) fn of(&self, session: SessionId) -> impl Iterator<Item = &Gap> {
        self.list.iter().filter(move |gap| gap.session == session)
    }
}

impl Gap {
    /// What lies between two marks; its reason and times are still to be set.
    pub(crate) fn between(session: SessionId, before: Mark, after: Mark) -> Gap {
        let first = Seq::new(before.0 + 1);
        Gap {
            session,
            first,
            last: Seq::new(after.0).max(first),
            total_before: before.1,
            samples: after.1.saturating_sub(before.1),
            each: Vec::new(),
            from: Timestamp::default(),
            to: Timestamp::default(),
            reason: Reason::WalLost,
            confirmed: false,
            told: false,
            id: 0,
        }
    }

    /// The seq before it, and the running total there.
    pub(crate) fn before(&self) -> Mark {
        (self.first.get() - 1, self.total_before)
    }

    /// Its last seq, and the running total after it.
    pub(crate) fn after(&self) -> Mark {
        (self.last.get(), self.total_before + self.samples)
    }

    /// Takes in a later gap and what lies between; the whole is still to be confirmed.
    pub(crate) fn stretch(&mut self, next: &Gap) {
        self.last = next.last;
        self.samples = next.after().1.saturating_sub(self.total_before);
        self.each = Vec::new();
        self.to = next.to;
        self.confirmed = false;
        self.told = false;
    }

    fn adjoins(&self, next: &Gap) -> bool {
        let same = self.session == next.session && self.reason == next.reason;
        same && self.confirmed == next.confirmed && self.last.next() == next.first
    }

    fn absorb(&mut self, next: Gap) {
        self.last = next.last;
        self.samples += next.samples;
        self.each.extend(next.each);
        self.to = next.to;
        self.id = next.id;
        self.confirmed &= next.confirmed;
        self.told &= next.told;
    }

    /// What is left of the gap outside of a set; all of it if what its records had is not known one by one.
    fn without(self, settled: &SeqSet) -> Vec<Gap> {
        let left = settled.missing_between(self.first, self.last);
        let whole = left.len() == self.last.get() - self.first.get() + 1;
        if whole || (self.each.is_empty() && !left.is_empty()) {
            return vec![self];
        }
        left.ranges()
            .map(|range| {
                let at = |seq: Seq| usize::try_from(seq.get() - self.first.get()).unwrap_or(usize::MAX);
                let sum = |part: &[u32]| part.iter().map(|&n| u64::from(n)).sum::<u64>();
                let (from, to) = (at(*range.start()), at(*range.end()));
                Gap {
                    first: *range.start(),
                    last: *range.end(),
                    total_before: self.total_before + sum(&self.each[..from]),
                    samples: sum(&self.each[from..=to]),
                    each: self.each[from..=to].to_vec(),
                    ..self.clone()
                }
            })
            .collect()
    }
}
