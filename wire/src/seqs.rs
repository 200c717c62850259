//! Sets of sequence numbers, kept as intervals.
//!
//! A session's records settle almost in order, so the set is a handful of intervals however many numbers it holds.
//! Intervals are inclusive, sorted, and neither overlap nor touch.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::limits::{MAX_NUMBER, MAX_RANGES};
use crate::message::Range;
use crate::number::Seq;

/// A set of sequence numbers as intervals.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeqSet(BTreeMap<u64, u64>);

impl SeqSet {
    /// The empty set.
    pub fn new() -> Self {
        SeqSet::default()
    }

    /// Adds all numbers from first to last, both inclusive; nothing if first > last.
    pub fn insert_range(&mut self, first: Seq, last: Seq) {
        let (mut first, mut last) = (first.get(), last.get());
        if first > last {
            return;
        }
        if let Some((&start, &end)) = self.0.range(..=first).next_back()
            && end.saturating_add(1) >= first
        {
            first = start;
            last = last.max(end);
        }
        while let Some((&start, &end)) = self.0.range(first..).next() {
            if start > last.saturating_add(1) {
                break;
            }
            last = last.max(end);
            self.0.remove(&start);
        }
        self.0.insert(first, last);
    }

    /// Adds one number; says whether it was new.
    pub fn insert(&mut self, seq: Seq) -> bool {
        let new = !self.contains(seq);
        if new {
            self.insert_range(seq, seq);
        }
        new
    }

    /// Adds all of another set.
    pub fn insert_all(&mut self, other: &SeqSet) {
        for range in other.ranges() {
            self.insert_range(*range.start(), *range.end());
        }
    }

    /// Takes out all numbers from first to last, both inclusive.
    pub fn remove_range(&mut self, first: Seq, last: Seq) {
        let (first, last) = (first.get(), last.get());
        if first > last {
            return;
        }
        let from = self
            .0
            .range(..=first)
            .next_back()
            .map_or(first, |(&start, _)| start);
        let hit: Vec<(u64, u64)> = self
            .0
            .range(from..=last)
            .map(|(&s, &e)| (s, e))
            .filter(|&(_, end)| end >= first)
            .collect();
        for (start, end) in hit {
            self.0.remove(&start);
            if start < first {
                self.0.insert(start, first - 1);
            }
            if end > last {
                self.0.insert(last + 1, end);
            }
        }
    }

    /// Takes out all numbers of another set.
    pub fn remove_all(&mut self, other: &SeqSet) {
        for range in other.ranges() {
            self.remove_range(*range.start(), *range.end());
        }
    }

    /// Whether the number is in the set.
    pub fn contains(&self, seq: Seq) -> bool {
        self.0
            .range(..=seq.get())
            .next_back()
            .is_some_and(|(_, &end)| end >= seq.get())
    }

    /// Whether every number from first to last is in the set.
    pub fn contains_range(&self, first: Seq, last: Seq) -> bool {
        self.0
            .range(..=first.get())
            .next_back()
            .is_some_and(|(_, &end)| end >= last.get())
    }

    /// The intervals, in order.
    pub fn ranges(&self) -> impl DoubleEndedIterator<Item = RangeInclusive<Seq>> + '_ {
        self.0
            .iter()
            .map(|(&start, &end)| Seq::new(start)..=Seq::new(end))
    }

    /// The numbers between first and last, both inclusive, that are not in the set.
    #[must_use]
    pub fn missing_between(&self, first: Seq, last: Seq) -> SeqSet {
        let mut missing = SeqSet::new();
        missing.insert_range(first, last);
        missing.remove_all(self);
        missing
    }

    /// The numbers that are in both sets; costs as many look-ups as the set with fewer intervals has.
    #[must_use]
    pub fn common(&self, other: &SeqSet) -> SeqSet {
        let (few, many) = match self.intervals() <= other.intervals() {
            true => (self, other),
            false => (other, self),
        };
        let mut common = BTreeMap::new();
        for (&first, &last) in &few.0 {
            let before = many.0.range(..first).next_back();
            let overlapping = before.into_iter().chain(many.0.range(first..=last));
            let cut = overlapping.map(|(&start, &end)| (start.max(first), end.min(last)));
            common.extend(cut.filter(|(start, end)| start <= end));
        }
        SeqSet(common)
    }

    /// How many intervals there are: what the set costs.
    pub fn intervals(&self) -> usize {
        self.0.len()
    }

    /// How many numbers there are.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start + 1).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The smallest number.
    pub fn first(&self) -> Option<Seq> {
        self.0.first_key_value().map(|(&start, _)| Seq::new(start))
    }

    /// The largest number.
    pub fn last(&self) -> Option<Seq> {
        self.0.last_key_value().map(|(_, &end)| Seq::new(end))
    }
}

/// A set as ranges of a message, oldest first; if it has more than `max` intervals, the newest of them.
pub fn to_ranges(set: &SeqSet, max: usize) -> Vec<Range> {
    let mut ranges: Vec<Range> = set
        .ranges()
        .rev()
        .take(max)
        .map(|range| Range {
            first: range.start().get(),
            more: range.end().get() - range.start().get(),
        })
        .collect();
    ranges.reverse();
    ranges
}

/// The set of a message's ranges; `None` if there are more than `MAX_RANGES`, or one goes beyond `MAX_NUMBER`.
pub fn from_ranges(ranges: &[Range]) -> Option<SeqSet> {
    if ranges.len() > MAX_RANGES {
        return None;
    }
    let mut set = SeqSet::new();
    for range in ranges {
        let last = range
            .first
            .checked_add(range.more)
            .filter(|last| *last <= MAX_NUMBER)?;
        set.insert_range(Seq::new(range.first), Seq::new(last));
    }
    Some(set)
}

impl Extend<Seq> for SeqSet {
    fn extend<I: IntoIterator<Item = Seq>>(&mut self, seqs: I) {
        for seq in seqs {
            self.insert_range(seq, seq);
        }
    }
}

impl FromIterator<Seq> for SeqSet {
    fn from_iter<I: IntoIterator<Item = Seq>>(seqs: I) -> Self {
        let mut set = SeqSet::new();
        set.extend(seqs);
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_two_sets_have_in_common_is_in_both(
            a in proptest::collection::btree_set(0u64..60, 0..40),
            b in proptest::collection::btree_set(0u64..60, 0..40),
        ) {
            let set = |plain: &BTreeSet<u64>| plain.iter().map(|&n| Seq::new(n)).collect::<SeqSet>();
            prop_assert_eq!(set(&a).common(&set(&b)), set(&a.intersection(&b).copied().collect()));
        }

        #[test]
        fn intervals_behave_as_a_plain_set_does(
            ops in proptest::collection::vec((any::<bool>(), 0u64..60, 0u64..60), 0..80),
        ) {
            let mut set = SeqSet::new();
            let mut plain = BTreeSet::new();
            for (add, first, last) in ops {
                if add {
                    set.insert_range(Seq::new(first), Seq::new(last));
                    plain.extend(first..=last);
                } else {
                    set.remove_range(Seq::new(first), Seq::new(last));
                    plain.retain(|n| !(first..=last).contains(n));
                }
            }
            prop_assert_eq!(set.len(), plain.len() as u64);
            for n in 0..60 {
                prop_assert_eq!(set.contains(Seq::new(n)), plain.contains(&n));
            }
            let ranges: Vec<_> = set.ranges().collect();
            prop_assert!(ranges.windows(2).all(|w| w[0].end().get() + 1 < w[1].start().get()));
            prop_assert_eq!(set.missing_between(Seq::new(0), Seq::new(59)).len(), 60 - plain.len() as u64);
            prop_assert_eq!(from_ranges(&to_ranges(&set, 100)).unwrap(), set.clone());
            if let Some(newest) = from_ranges(&to_ranges(&set, 1)).unwrap().last() {
                prop_assert_eq!(Some(newest), set.last());
            }
        }
    }
}
