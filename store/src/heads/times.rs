//! Times of a series as a read puts them together: parts of lists that other series share, which are not copied.

use std::ops::Range;
use std::sync::Arc;

use crate::block::ColumnTimes;

/// Times of samples: shared ones, then some of its own.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Times {
    runs: Vec<Run>,
    own: Vec<i64>,
}

/// Neighbouring times of a column.
#[derive(Debug)]
struct Run {
    column: ColumnTimes,
    range: Range<usize>,
}

impl PartialEq for Run {
    /// Whether they are the same times because they are of the same column.
    fn eq(&self, other: &Self) -> bool {
        self.column.are(&other.column) && self.range == other.range
    }
}

impl Run {
    fn times(&self) -> impl DoubleEndedIterator<Item = i64> + Clone + '_ {
        self.column.iter(self.range.clone())
    }
}

impl Times {
    pub(super) fn len(&self) -> usize {
        self.runs.iter().map(|run| run.range.len()).sum::<usize>() + self.own.len()
    }

    /// Those that were added last.
    pub(super) fn last(&self) -> Option<i64> {
        let shared = || self.runs.last().and_then(|run| run.times().next_back());
        self.own.last().copied().or_else(shared)
    }

    /// Copies times.
    pub(super) fn add(&mut self, times: impl IntoIterator<Item = i64>) {
        self.own.extend(times);
    }

    /// Makes room for times that are copied.
    pub(super) fn reserve(&mut self, times: usize) {
        self.own.reserve_exact(times);
    }

    /// Adds times of a column, one at least.
    pub(super) fn share(&mut self, column: &ColumnTimes, range: Range<usize>) {
        if !self.own.is_empty() {
            let own = std::mem::take(&mut self.own);
            let range = 0..own.len();
            let column = ColumnTimes::Listed(Arc::new(own));
            self.runs.push(Run { column, range });
        }
        match self.runs.last_mut() {
            Some(last) if last.column.are(column) && last.range.end == range.start => {
                last.range.end = range.end;
            }
            _ => self.runs.push(Run {
                column: column.clone(),
                range,
            }),
        }
    }

    /// All of them, in the order in which they were added.
    pub(super) fn iter(&self) -> impl Iterator<Item = i64> + Clone + '_ {
        let shared = self.runs.iter().flat_map(Run::times);
        shared.chain(self.own.iter().copied())
    }

    /// The same as a list.
    pub(super) fn list(&self) -> Vec<i64> {
        let mut list = Vec::with_capacity(self.len());
        self.runs
            .iter()
            .for_each(|run| run.column.append_to(run.range.clone(), &mut list));
        list.extend_from_slice(&self.own);
        list
    }

    /// The list that they are, if they are all of one.
    fn whole(&self) -> Option<&Arc<Vec<i64>>> {
        match self.runs.as_slice() {
            [run] if self.own.is_empty() => match &run.column {
                ColumnTimes::Listed(list) if run.range == (0..list.len()) => Some(list),
                _ => None,
            },
            _ => None,
        }
    }
}

impl From<Vec<i64>> for Times {
    fn from(own: Vec<i64>) -> Self {
        Times {
            runs: Vec::new(),
            own,
        }
    }
}

/// The times of the series before, with which the next one shares its own if they are the same.
#[derive(Debug, Default)]
pub(super) struct Before {
    times: Times,
    list: Arc<Vec<i64>>,
}

impl Before {
    /// Times as a list.
    pub(super) fn share(&mut self, times: Times) -> Arc<Vec<i64>> {
        if times != self.times {
            let list = match times.whole() {
                Some(list) => Arc::clone(list),
                None => Arc::new(times.list()),
            };
            if list != self.list {
                self.list = list;
            }
            self.times = times;
        }
        Arc::clone(&self.list)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shared_and_copied_times_are_what_was_added(
            parts in proptest::collection::vec((any::<bool>(), 0usize..3, 0usize..6, 1usize..6), 0..8),
        ) {
            let listed = |first| ColumnTimes::Listed(Arc::new((first..first + 12).collect()));
            let lists = [listed(0), listed(100), ColumnTimes::Steady { first: 200, step: 3, count: 12 }];
            let (mut times, mut plain) = (Times::default(), Vec::new());
            for (shares, list, from, len) in parts {
                let (list, range) = (&lists[list], from..from + len);
                plain.extend(list.iter(range.clone()));
                match shares {
                    true => times.share(list, range),
                    false => times.add(list.iter(range)),
                }
            }
            prop_assert_eq!(times.len(), plain.len());
            prop_assert_eq!(times.last(), plain.last().copied());
            prop_assert_eq!(times.iter().collect::<Vec<_>>(), plain.clone());
            prop_assert_eq!(times.list(), plain.clone());
            let list = Before::default().share(times);
            prop_assert_eq!(list.as_slice(), plain);
        }
    }

    #[test]
    fn neighbours_with_the_same_times_have_one_list() {
        let (list, all) = (Arc::new(vec![1, 2, 3, 4]), 0..4);
        let mut before = Before::default();
        let mut of = |parts: &[Range<usize>]| {
            let mut times = Times::default();
            let column = ColumnTimes::Listed(list.clone());
            parts.iter().for_each(|part| times.share(&column, part.clone()));
            before.share(times)
        };
        assert!(Arc::ptr_eq(&of(&[all]), &list));
        assert!(Arc::ptr_eq(&of(&[0..2, 2..4]), &list));
        let some = of(&[0..1, 3..4]);
        assert_eq!(*some, [1, 4]);
        assert!(Arc::ptr_eq(&of(&[0..1, 3..4]), &some));
        assert!(Arc::ptr_eq(&before.share(Times::from(vec![1, 4])), &some));
    }
}
