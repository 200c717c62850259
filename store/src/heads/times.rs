//! Times of a series as a read puts them together: parts of lists that other series share, which are not copied.

use std::ops::Range;
use std::sync::Arc;

/// Times of samples: shared ones, then some of its own.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Times {
    runs: Vec<Run>,
    own: Vec<i64>,
}

/// Neighbouring times of a list.
#[derive(Debug)]
struct Run {
    list: Arc<Vec<i64>>,
    range: Range<usize>,
}

impl PartialEq for Run {
    /// Whether they are the same times because they are of the same list.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.list, &other.list) && self.range == other.range
    }
}

impl Run {
    fn times(&self) -> &[i64] {
        &self.list[self.range.clone()]
    }
}

impl Times {
    pub(super) fn len(&self) -> usize {
        self.runs.iter().map(|run| run.range.len()).sum::<usize>() + self.own.len()
    }

    /// Those that were added last.
    pub(super) fn last(&self) -> Option<i64> {
        let shared = || self.runs.last().and_then(|run| run.times().last());
        self.own.last().or_else(shared).copied()
    }

    /// Copies times.
    pub(super) fn add(&mut self, times: impl IntoIterator<Item = i64>) {
        self.own.extend(times);
    }

    /// Makes room for times that are copied.
    pub(super) fn reserve(&mut self, times: usize) {
        self.own.reserve_exact(times);
    }

    /// Adds times of a list, one at least.
    pub(super) fn share(&mut self, list: &Arc<Vec<i64>>, range: Range<usize>) {
        if !self.own.is_empty() {
            let own = std::mem::take(&mut self.own);
            let range = 0..own.len();
            let list = Arc::new(own);
            self.runs.push(Run { list, range });
        }
        match self.runs.last_mut() {
            Some(last) if Arc::ptr_eq(&last.list, list) && last.range.end == range.start => {
                last.range.end = range.end;
            }
            _ => self.runs.push(Run {
                list: Arc::clone(list),
                range,
            }),
        }
    }

    /// All of them, in the order in which they were added.
    pub(super) fn iter(&self) -> impl Iterator<Item = i64> + Clone + '_ {
        let shared = self.runs.iter().flat_map(Run::times);
        shared.chain(&self.own).copied()
    }

    /// The same as a list.
    pub(super) fn list(&self) -> Vec<i64> {
        let mut list = Vec::with_capacity(self.len());
        self.runs
            .iter()
            .for_each(|run| list.extend_from_slice(run.times()));
        list.extend_from_slice(&self.own);
        list
    }

    /// The list that they are, if they are all of one.
    fn whole(&self) -> Option<&Arc<Vec<i64>>> {
        match self.runs.as_slice() {
            [run] if self.own.is_empty() && run.range == (0..run.list.len()) => Some(&run.list),
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
            let lists = [0, 100, 200].map(|first| Arc::new((first..first + 12).collect::<Vec<i64>>()));
            let (mut times, mut plain) = (Times::default(), Vec::new());
            for (shares, list, from, len) in parts {
                let (list, range) = (&lists[list], from..from + len);
                plain.extend_from_slice(&list[range.clone()]);
                match shares {
                    true => times.share(list, range),
                    false => times.add(list[range].iter().copied()),
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
            parts.iter().for_each(|part| times.share(&list, part.clone()));
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
