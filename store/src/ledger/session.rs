//! One session of a device: what is settled of it and how many samples it made.

use std::collections::BTreeMap;

use super::settled::{Ends, Run, Settled};

/// Intervals that a session may cost; beyond them the ledger fills the oldest hole as a gap of reason `limit`.
pub(crate) const MAX_RUNS: usize = 16_384;

/// A row, alert or gap that becomes settled: seqs first..=last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settling {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) samples: u64,
    /// The samples are not known for sure.
    pub(crate) guessed: bool,
    /// The running total after `last`.
    pub(crate) total: Option<u64>,
}

/// One session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) settled: Settled,
    pub(crate) stored: u64,
    pub(crate) dropped: u64,
    /// The highest seq known and the running total after it.
    pub(crate) known: (u64, u64),
    /// Last intact seq of a session that ended, and the running total after it.
    pub(crate) closed: Option<(u64, u64)>,
    /// Reason of the last gap whose samples had to be guessed; totals that arrive later correct it.
    pub(crate) guessed: Option<&'static str>,
    /// Records about it may be lost, that the device let it go among them: then the device does not list it any more.
    pub(crate) doubted: bool,
}

/// Samples that went to `dropped` (negative: came back from it, when a guess was too high).
pub(crate) type Drops = BTreeMap<&'static str, i128>;

impl Session {
    /// Notes the running total after a seq; corrects an earlier guess if it now shows.
    pub(crate) fn know(&mut self, seq: u64, total: u64, drops: &mut Drops) {
        if seq > self.known.0 {
            self.known = (seq, total);
        }
        let short = self.settled.anchor(seq, total);
        self.correct(short, drops);
    }

    /// Settles seqs that are not settled yet; corrects an earlier guess if totals now tell.
    pub(crate) fn settle(&mut self, what: Settling, drops: &mut Drops) {
        let run = Run {
            last: what.last,
            samples: what.samples,
            guessed: what.guessed,
            before: None,
            after: what.total,
        };
        let mut short = self.settled.insert(what.first, run);
        short += self.settled.anchor(self.known.0, self.known.1);
        self.correct(short, drops);
    }

    fn correct(&mut self, short: i128, drops: &mut Drops) {
        if short != 0
            && let Some(reason) = self.guessed
        {
            *drops.entry(reason).or_default() += short;
            let corrected = (i128::from(self.dropped) + short).max(0);
            self.dropped = u64::try_from(corrected).unwrap_or(u64::MAX);
        }
    }

    /// Drops the unsettled part of first..=last, which holds `samples` together with what is settled of it.
    /// Returns how many were dropped, or `None` if nothing was unsettled.
    pub(crate) fn drop_range(&mut self, gap: Gap, drops: &mut Drops) -> Option<u64> {
        let pieces = self.settled.missing(gap.first, gap.last, gap.ends);
        pieces.last()?;
        let (inside, cut) = self.settled.samples_within(gap.first, gap.last, gap.ends);
        let sum = gap.samples.saturating_sub(inside);
        let exact: Option<u64> = pieces.iter().try_fold(0u64, |sum, p| sum.checked_add(p.exact?));
        let all = exact.unwrap_or(sum);
        // One piece of unknown size gets the rest; of several, nobody knows which had how much.
        let unknown = pieces.iter().filter(|piece| piece.exact.is_none()).count();
        let guess = unknown > 1 || (unknown == 1 && (cut || gap.guessed));
        if guess {
            self.guessed = Some(gap.reason);
        }
        // Before the pieces settle, as that may correct it.
        self.dropped = self.dropped.saturating_add(all);
        *drops.entry(gap.reason).or_default() += i128::from(all);
        let exact_pieces = pieces.iter().filter_map(|piece| piece.exact);
        let known = exact_pieces.fold(0, u64::saturating_add);
        let mut left = all.saturating_sub(known);
        for piece in pieces {
            let what = Settling {
                first: piece.first,
                last: piece.last,
                samples: piece.exact.unwrap_or_else(|| std::mem::take(&mut left)),
                guessed: guess && piece.exact.is_none(),
                total: if piece.last == gap.last {
                    gap.ends.after
                } else {
                    None
                },
            };
            self.settle(what, drops);
        }
        Some(all)
    }

    /// Samples made in the session: the highest running total known, and what settled above that. Of one that ended the
    /// log's last total counts, and what was stored from memory beyond it: the rest never existed.
    pub(crate) fn generated(&self) -> u64 {
        let (seq, total) = self.closed.unwrap_or(self.known);
        total.saturating_add(self.settled.samples_above(seq, total))
    }

    /// Samples that are neither stored nor dropped.
    pub(crate) fn pending(&self) -> u64 {
        self.generated()
            .saturating_sub(self.stored)
            .saturating_sub(self.dropped)
    }

    /// The first and the last seq that are known to exist and not settled.
    pub(crate) fn unsettled(&self) -> (u64, u64) {
        let (last, _) = self.closed.unwrap_or(self.known);
        let missing = self.settled.missing(1, last, Ends::default());
        let first = missing.first().map_or(1, |piece| piece.first);
        (first, missing.last().map_or(last, |piece| piece.last))
    }

    /// The oldest hole, when the session costs too many intervals.
    pub(crate) fn excess_hole(&self) -> Option<(u64, u64)> {
        if self.settled.len() <= MAX_RUNS {
            return None;
        }
        let mut runs = self.settled.runs();
        let (_, lower) = runs.next()?;
        let (above, _) = runs.next()?;
        Some((lower.last + 1, above - 1))
    }
}

/// A range to drop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gap {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Samples of the range, settled parts included.
    pub(crate) samples: u64,
    /// `samples` is not known.
    pub(crate) guessed: bool,
    pub(crate) reason: &'static str,
    pub(crate) ends: Ends,
}
