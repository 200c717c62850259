//! The settled records of a session, as runs that also know how many samples they hold.
//!
//! A run is an interval of seqs with the sum of their samples and, where a message told it, the session's running total
//! after its last seq. Neighbouring runs merge. Running totals make holes exact: the samples between two runs with
//! totals are the difference, whatever a device says of the gap, and a guess made earlier is put right when both sides
//! are known.

use std::collections::BTreeMap;

use wire::{Seq, SeqSet};

/// Seqs `start..=last`; `start` is the map's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) last: u64,
    pub(crate) samples: u64,
    /// The session's running total after `last`.
    pub(crate) total: Option<u64>,
}

/// An unsettled part of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Samples in it, if the totals around tell.
    pub(crate) exact: Option<u64>,
}

/// Settled runs of one session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settled(BTreeMap<u64, Run>);

impl Settled {
    /// Runs in order, as (first, run).
    pub(crate) fn runs(&self) -> impl DoubleEndedIterator<Item = (u64, Run)> + '_ {
        self.0.iter().map(|(first, run)| (*first, *run))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn contains(&self, seq: u64) -> bool {
        self.0
            .range(..=seq)
            .next_back()
            .is_some_and(|(_, run)| run.last >= seq)
    }

    /// The same as a plain set.
    pub(crate) fn to_set(&self) -> SeqSet {
        let mut set = SeqSet::new();
        for (first, run) in self.runs() {
            set.insert_range(Seq::new(first), Seq::new(run.last));
        }
        set
    }

    /// Takes in seqs that are not settled yet, and says by how many samples the totals on both sides show an earlier
    /// guess to have been short (or, negative, long).
    pub(crate) fn insert(&mut self, first: u64, last: u64, samples: u64, total: Option<u64>) -> i128 {
        let mut run = Run { last, samples, total };
        let mut start = first;
        let mut short = 0;
        if let Some((&below, &lower)) = self.0.range(..first).next_back()
            && lower.last.checked_add(1) == Some(first)
        {
            self.0.remove(&below);
            (run, short) = join(lower, run);
            start = below;
        }
        if let Some(after) = last.checked_add(1)
            && let Some(upper) = self.0.remove(&after)
        {
            let (joined, more) = join(run, upper);
            run = joined;
            short += more;
        }
        short += since_the_beginning(start, &mut run);
        self.0.insert(start, run);
        short
    }

    /// Takes in the running total after a seq, if a run ends there; says by how many samples a guess was short.
    pub(crate) fn anchor(&mut self, seq: u64, total: u64) -> i128 {
        let Some((start, run)) = self.0.range_mut(..=seq).next_back() else {
            return 0;
        };
        if run.last != seq || run.total.is_some() {
            return 0;
        }
        run.total = Some(total);
        since_the_beginning(*start, run)
    }

    /// The running total after a seq, where a run's edge tells it.
    pub(crate) fn total_at(&self, seq: u64) -> Option<u64> {
        if seq == 0 {
            return Some(0);
        }
        let below = self.0.range(..=seq).next_back();
        if let Some((_, run)) = below
            && run.last == seq
            && run.total.is_some()
        {
            return run.total;
        }
        let above = self.0.get(&seq.checked_add(1)?)?;
        above.total?.checked_sub(above.samples)
    }

    /// Samples of the settled seqs in first..=last; runs that reach beyond an end are cut by the totals given for the
    /// ends or, without them, in proportion. The flag says whether that was needed.
    pub(crate) fn samples_within(&self, first: u64, last: u64, ends: Ends) -> (u64, bool) {
        let mut sum = 0u64;
        let mut guessed = false;
        for (start, run) in self.overlapping(first, last) {
            let before = if start >= first {
                Some(0)
            } else {
                start_total(run).and_then(|t| ends.before?.checked_sub(t))
            };
            let after = if run.last <= last {
                Some(0)
            } else {
                run.total.and_then(|t| t.checked_sub(ends.after?))
            };
            let samples = match (before, after) {
                (Some(b), Some(a)) => run.samples.saturating_sub(b).saturating_sub(a),
                _ => {
                    guessed = true;
                    proportion(start, run, first, last)
                }
            };
            sum = sum.saturating_add(samples);
        }
        (sum, guessed)
    }

    /// The unsettled parts of first..=last, with their samples where the totals around tell them.
    pub(crate) fn missing(&self, first: u64, last: u64, ends: Ends) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut from = Some(first);
        for (start, run) in self.overlapping(first, last) {
            if let Some(from) = from.filter(|from| *from < start) {
                pieces.push((from, start - 1));
            }
            from = run.last.checked_add(1);
        }
        if let Some(from) = from.filter(|from| *from <= last) {
            pieces.push((from, last));
        }
        let total_at = |seq: u64| {
            if seq == last && ends.after.is_some() {
                return ends.after;
            }
            if seq.checked_add(1) == Some(first) && ends.before.is_some() {
                return ends.before;
            }
            self.total_at(seq)
        };
        pieces
            .into_iter()
            .map(|(first, last)| Piece {
                first,
                last,
                exact: total_at(last)
                    .zip(total_at(first.saturating_sub(1)))
                    .and_then(|(end, start)| end.checked_sub(start)),
            })
            .collect()
    }

    /// Samples settled above a seq, given the running total after it.
    pub(crate) fn samples_above(&self, seq: u64, total: u64) -> u64 {
        let ends = Ends {
            before: Some(total),
            after: None,
        };
        match seq.checked_add(1) {
            Some(first) => self.samples_within(first, u64::MAX, ends).0,
            None => 0,
        }
    }

    fn overlapping(&self, first: u64, last: u64) -> impl Iterator<Item = (u64, Run)> + '_ {
        let from = self
            .0
            .range(..=first)
            .next_back()
            .filter(|(_, run)| run.last >= first)
            .map_or(first, |(start, _)| *start);
        let to = last.max(from);
        self.0
            .range(from..=to)
            .map(|(start, run)| (*start, *run))
            .take_while(move |(start, _)| *start <= last)
    }
}

/// Running totals that a message gives for the ends of a range: before its first seq, and after its last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ends {
    pub(crate) before: Option<u64>,
    pub(crate) after: Option<u64>,
}

fn start_total(run: Run) -> Option<u64> {
    run.total?.checked_sub(run.samples)
}

/// A run from the first seq on holds exactly its total.
fn since_the_beginning(start: u64, run: &mut Run) -> i128 {
    match run.total {
        Some(total) if start == 1 => {
            let short = i128::from(total) - i128::from(run.samples);
            run.samples = total;
            short
        }
        _ => 0,
    }
}

fn join(lower: Run, upper: Run) -> (Run, i128) {
    let expected = lower.total.map(|t| t.saturating_add(upper.samples));
    let short = match (expected, upper.total) {
        (Some(expected), Some(told)) => i128::from(told) - i128::from(expected),
        _ => 0,
    };
    let known = start_total(lower)
        .zip(upper.total)
        .and_then(|(start, end)| end.checked_sub(start));
    let run = Run {
        last: upper.last,
        samples: known.unwrap_or_else(|| lower.samples.saturating_add(upper.samples)),
        total: upper.total.or(expected),
    };
    (run, short)
}

fn proportion(start: u64, run: Run, first: u64, last: u64) -> u64 {
    let inside = u128::from(run.last.min(last) - start.max(first)) + 1;
    let all = u128::from(run.last - start) + 1;
    u64::try_from(u128::from(run.samples) * inside / all).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(runs: &[(u64, u64, u64, Option<u64>)]) -> Settled {
        let mut set = Settled::default();
        for (first, last, samples, total) in runs {
            set.insert(*first, *last, *samples, *total);
        }
        set
    }

    #[test]
    fn neighbours_merge_and_carry_the_total_on() {
        let set = settled(&[(1, 2, 20, Some(20)), (4, 4, 7, None), (3, 3, 5, None)]);
        assert_eq!(
            set.runs().collect::<Vec<_>>(),
            [(
                1,
                Run {
                    last: 4,
                    samples: 32,
                    total: Some(32)
                }
            )]
        );
    }

    #[test]
    fn totals_on_both_sides_tell_what_a_hole_held() {
        let set = settled(&[(1, 2, 20, Some(20)), (5, 6, 20, Some(75))]);
        let holes = set.missing(1, 6, Ends::default());
        assert_eq!(
            holes,
            [Piece {
                first: 3,
                last: 4,
                exact: Some(35)
            }]
        );
    }

    #[test]
    fn a_guess_is_put_right_when_the_other_side_is_known() {
        let mut set = settled(&[(5, 6, 20, Some(75)), (3, 4, 30, None)]);
        assert_eq!(set.insert(1, 2, 20, Some(20)), 5);
    }

    #[test]
    fn a_run_across_the_edge_is_cut_by_totals() {
        let set = settled(&[(3, 10, 80, Some(100))]);
        let ends = Ends {
            before: None,
            after: Some(50),
        };
        assert_eq!(set.samples_within(1, 5, ends), (30, false));
        assert_eq!(
            set.missing(1, 5, ends),
            [Piece {
                first: 1,
                last: 2,
                exact: Some(20)
            }]
        );
        assert_eq!(set.samples_above(5, 50), 50);
        assert_eq!(set.samples_above(u64::MAX, 50), 0);
    }

    #[test]
    fn the_ends_of_the_number_range_do_not_overflow() {
        let mut set = Settled::default();
        set.insert(u64::MAX, u64::MAX, 1, None);
        set.insert(0, 0, 1, None);
        assert!(set.contains(u64::MAX) && set.contains(0) && !set.contains(1));
        assert_eq!(set.missing(0, u64::MAX, Ends::default()).len(), 1);
    }
}
