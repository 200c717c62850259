//! Gaps: records that were given up, until the bridge has settled them.
//!
//! A dropped record may be stored at the bridge all the same, its ack lost. So a gap is shown only once a full ack that
//! answers a later `state` has trimmed it ([`Gaps::confirm`]); then its samples are exact.

use std::ops::RangeInclusive;

use wire::{Seq, SeqSet, SessionId, Timestamp};

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

/// Consecutive records that were given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) session: SessionId,
    pub(crate) first: Seq,
    pub(crate) last: Seq,
    /// Running total of the session before `first`.
    pub(crate) total_before: u64,
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

/// Most gaps; beyond, neighbours of a session are merged.
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
        if self.list.len() > MAX_GAPS {
            self.squeeze();
        }
    }

    /// Takes the unconfirmed gaps out that lie in some seqs of a session; returns them, and the samples of the confirmed
    /// ones there.
    pub(crate) fn take_within(&mut self, session: SessionId, seqs: RangeInclusive<u64>) -> (Vec<Gap>, u64) {
        let within = |gap: &Gap| {
            gap.session == session && seqs.contains(&gap.first.get()) && seqs.contains(&gap.last.get())
        };
        let confirmed = self.list.iter().filter(|gap| within(gap) && gap.confirmed);
        let samples = confirmed.map(|gap| gap.samples).sum();
        let taken = self.list.extract_if(.., |gap| within(gap) && !gap.confirmed);
        (taken.collect(), samples)
    }

    /// Merges the first two neighbours of one session, whatever lies between them and whatever their reasons: what
    /// lies between is settled, and the bridge passes over what it has.
    fn squeeze(&mut self) {
        let pair = self.list.windows(2).position(|w| w[0].session == w[1].session);
        if let Some(at) = pair {
            let later = self.list.remove(at + 1);
            self.list[at].each = Vec::new();
            self.list[at].absorb(Gap {
                each: Vec::new(),
                ..later
            });
        } else {
            self.list.remove(0);
        }
    }

    /// The id that the next gap will have: a mark for [`Gaps::confirm`].
    pub(crate) fn mark(&self) -> u64 {
        self.next_id
    }

    /// Takes what is settled out of the unconfirmed gaps of a session that are older than a mark, and confirms them.
    /// Returns seqs that turned out to be stored, and the confirmed gaps' samples by reason.
    pub(crate) fn confirm(
        &mut self,
        session: SessionId,
        settled: &SeqSet,
        mark: u64,
    ) -> (SeqSet, Vec<(Reason, u64)>) {
        let mut stored = SeqSet::new();
        let mut dropped = Vec::new();
        let mut kept = Vec::with_capacity(self.list.len());
        for gap in self.list.drain(..) {
            if gap.session != session || gap.confirmed || gap.id >= mark {
                kept.push(gap);
                continue;
            }
            for mut part in gap.without(settled, &mut stored) {
                part.confirmed = true;
                part.each = Vec::new();
                dropped.push((part.reason, part.samples));
                kept.push(part);
            }
        }
        self.list = kept;
        (stored, dropped)
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

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Gap> {
        self.list.iter()
    }

    pub(crate) fn of(&self, session: SessionId) -> impl Iterator<Item = &Gap> {
        self.list.iter().filter(move |gap| gap.session == session)
    }
}

impl Gap {
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

    /// What is left of the gap outside of a set; what the set has is added to `stored`.
    fn without(self, settled: &SeqSet, stored: &mut SeqSet) -> Vec<Gap> {
        let left = self.first_missing(settled);
        if left.len() == self.last.get() - self.first.get() + 1 {
            return vec![self];
        }
        if self.each.is_empty() && !left.is_empty() {
            return vec![self];
        }
        stored.insert_all(&left.missing_between(self.first, self.last));
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

    fn first_missing(&self, settled: &SeqSet) -> SeqSet {
        settled.missing_between(self.first, self.last)
    }
}
