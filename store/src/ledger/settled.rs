//! The settled records of a session, as runs that also know how many samples they hold.
//!
//! A run is an interval of seqs with the sum of their samples and, where a message told it, the session's running total
//! after its last seq. Neighbouring runs merge. Running totals make holes exact: the samples between two runs with
//! totals are the difference, whatever a device says of the gap, and a guess made earlier is put right when both sides
//! are known.

use wire::{Seq, SeqSet};

use crate::few::Few;

/// Seqs `start..=last`; `start` is the map's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) last: u64,
    pub(crate) samples: u64,
    /// `samples` is a guess, at least in part.
    pub(crate) guessed: bool,
    /// The session's running total before the first seq.
    pub(crate) before: Option<u64>,
    /// The session's running total after `last`.
    pub(crate) after: Option<u64>,
}

impl Run {
    /// Draws conclusions: what is exact carries a total from one end to the other, and totals at both ends are exact.
    /// Says by how many samples a guess was short.
    fn conclude(&mut self) -> i128 {
        if !self.guessed {
            self.after = self.after.or(self.before.map(|t| t.saturating_add(self.samples)));
            self.before = self
                .before
                .or(self.after.and_then(|t| t.checked_sub(self.samples)));
        }
        let Some(exact) = self.before.zip(self.after).and_then(|(b, a)| a.checked_sub(b)) else {
            return 0;
        };
        let short = i128::from(exact) - i128::from(self.samples);
        self.samples = exact;
        self.guessed = false;
        short
    }
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
pub(crate) struct Settled(Few<u64, Run>);

impl Settled {
    /// Runs in order, as (first, run).
    pub(crate) fn runs(&self) -> impl DoubleEndedIterator<Item = (u64, Run)> + '_ {
        self.0.iter().map(|(first, run)| (first, *run))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn contains(&self, seq: u64) -> bool {
        self.0.at_most(seq).is_some_and(|(_, run)| run.last >= seq)
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
    pub(crate) fn insert(&mut self, first: u64, mut run: Run) -> i128 {
        let last = run.last;
        let mut start = first;
        if first == 1 {
            run.before = Some(0);
        }
        let mut short = run.conclude();
        if let Some((below, &lower)) = self.0.below(first)
            && lower.last.checked_add(1) == Some(first)
        {
            self.0.remove(below);
            short += join(lower, &mut run);
            start = below;
        }
        if let Some(after) = last.checked_add(1)
            && let Some(mut upper) = self.0.remove(after)
        {
            short += join(run, &mut upper);
            run = upper;
        }
        self.0.insert(start, run);
        short
    }

    /// Takes in the running total after a seq, if a run ends there; says by how many samples a guess was short.
    pub(crate) fn anchor(&mut self, seq: u64, total: u64) -> i128 {
        match self.0.at_most_mut(seq) {
            Some(run) if run.last == seq && run.after.is_none() => {
                run.after = Some(total);
                run.conclude()
            }
            _ => 0,
        }
    }

    /// The running total after a seq, where a run's edge tells it.
    pub(crate) fn total_at(&self, seq: u64) -> Option<u64> {
        if seq == 0 {
            return Some(0);
        }
        let below = self.0.at_most(seq);
        if let Some((_, run)) = below
            && run.last == seq
            && run.after.is_some()
        {
            return run.after;
        }
        self.0.get(seq.checked_add(1)?)?.before
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
                run.before.and_then(|t| ends.before?.checked_sub(t))
            };
            let after = if run.last <= last {
                Some(0)
            } else {
                run.after.and_then(|t| t.checked_sub(ends.after?))
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
        let over = self.0.at_most(first).filter(|(_, run)| run.last >= first);
        self.0
            .from(over.map_or(first, |(start, _)| start))
            .map(|(start, run)| (start, *run))
            .take_while(move |(start, _)| *start <= last)
    }
}

/// Running totals that a message gives for the ends of a range: before its first seq, and after its last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ends {
    pub(crate) before: Option<u64>,
    pub(crate) after: Option<u64>,
}

/// Puts a run before the one after it; says by how many samples a guess was short.
fn join(mut lower: Run, upper: &mut Run) -> i128 {
    upper.before = upper.before.or(lower.after);
    lower.after = lower.after.or(upper.before);
    let mut short = lower.conclude() + upper.conclude();
    upper.before = lower.before;
    upper.samples = lower.samples.saturating_add(upper.samples);
    upper.guessed |= lower.guessed;
    short += upper.conclude();
    short
}

fn proportion(start: u64, run: Run, first: u64, last: u64) -> u64 {
    let inside = u128::from(run.last.min(last) - start.max(first)) + 1;
    let all = u128::from(run.last - start) + 1;
    u64::try_from(u128::from(run.samples) * inside / all).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(last: u64, samples: u64, after: Option<u64>) -> Run {
        Run {
            last,
            samples,
            guessed: false,
            before: None,
            after,
        }
    }

    fn settled(runs: &[(u64, u64, u64, Option<u64>)]) -> Settled {
        let mut set = Settled::default();
        for (first, last, samples, total) in runs {
            set.insert(*first, run(*last, *samples, *total));
        }
        set
    }

    #[test]
    fn neighbours_merge_and_carry_the_total_on() {
        let set = settled(&[(2, 2, 20, Some(25)), (4, 4, 7, None), (3, 3, 5, None)]);
        let merged = Run {
            before: Some(5),
            ..run(4, 32, Some(37))
        };
        assert_eq!(set.runs().collect::<Vec<_>>(), [(2, merged)]);
        assert_eq!(
            (set.total_at(1), set.total_at(4), set.total_at(3)),
            (Some(5), Some(37), None)
        );
    }

    #[test]
    fn totals_on_both_sides_tell_what_a_hole_held() {
        let set = settled(&[(1, 2, 20, None), (5, 6, 20, Some(75))]);
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
    fn a_guess_is_put_right_when_both_sides_are_known_and_carries_no_total() {
        let guess = Run {
            guessed: true,
            ..run(4, 30, None)
        };
        let mut set = settled(&[(5, 6, 20, Some(75))]);
        assert_eq!(set.insert(3, guess), 0);
        assert_eq!(set.total_at(2), None);
        assert_eq!(set.insert(2, run(2, 20, Some(20))), 5);
        let mut set = settled(&[(1, 2, 20, None)]);
        assert_eq!(set.insert(3, guess), 0);
        assert_eq!(set.total_at(4), None);
        assert_eq!(set.anchor(4, 45), -5);
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
        let mut set = settled(&[(u64::MAX, u64::MAX, 1, None), (0, 0, 1, None)]);
        assert!(set.contains(u64::MAX) && set.contains(0) && !set.contains(1));
        assert_eq!(set.missing(0, u64::MAX, Ends::default()).len(), 1);
        set.insert(1, run(u64::MAX - 1, u64::MAX, Some(u64::MAX)));
        assert_eq!(set.len(), 1);
    }
}
