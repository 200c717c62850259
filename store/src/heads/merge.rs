//! Puts a series together from its sources: in order of time, one sample per time, the later in the journal wins.

use std::ops::Range;
use std::sync::Arc;

use super::tenant::Source;
use super::times::{Before, Times};
use crate::block::ColumnTimes;

/// One series' samples. Those that are added later win.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    times: Times,
    values: Vec<f64>,
    /// Times do not rise strictly.
    mixed: bool,
}

/// Times of a list that a chunk has values of, and which of them are wanted: one at least.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    pub(crate) of_chunk: Range<usize>,
    pub(crate) wanted: Range<usize>,
}

impl Merged {
    /// How many samples there are.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Times in the order in which they were added.
    pub(crate) fn times_ms(&self) -> impl Iterator<Item = i64> + Clone + '_ {
        self.times.iter()
    }

    /// Adds a sample.
    pub(crate) fn push(&mut self, time_ms: i64, value: f64) {
        self.follows(time_ms);
        self.times.add([time_ms]);
        self.values.push(value);
    }

    /// Adds samples in order of time.
    pub(crate) fn add(&mut self, times_ms: &Arc<Vec<i64>>, values: &[f64]) {
        if let Some(first) = times_ms.first() {
            self.follows(*first);
            self.times
                .share(&ColumnTimes::Listed(times_ms.clone()), 0..times_ms.len());
            self.values.extend_from_slice(values);
        }
    }

    /// Adds those samples of a chunk that are wanted; `decode` appends all of its values. Nothing is added where it fails.
    pub(crate) fn decode<E>(
        &mut self,
        times_ms: &ColumnTimes,
        Stretch { of_chunk, wanted }: Stretch,
        decode: impl FnOnce(&mut Vec<f64>) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.values.len();
        let decoded = decode(&mut self.values);
        if decoded.is_err() || self.values.len() != before + of_chunk.len() {
            self.values.truncate(before);
            return decoded;
        }
        self.values.truncate(before + wanted.end - of_chunk.start);
        self.values.drain(before..before + wanted.start - of_chunk.start);
        self.follows(times_ms.at(wanted.start));
        self.times.share(times_ms, wanted);
        decoded
    }

    /// Adds all samples of another one.
    pub(crate) fn append(&mut self, newer: Merged) {
        if let Some(first) = newer.times.iter().next() {
            self.follows(first);
            self.mixed |= newer.mixed;
            self.times.add(newer.times.iter());
            self.values.extend(newer.values);
        }
    }

    fn follows(&mut self, time_ms: i64) {
        self.mixed |= self.times.last().is_some_and(|last| last >= time_ms);
    }

    /// Makes room for samples.
    pub(crate) fn reserve(&mut self, samples: usize) {
        self.values.reserve_exact(samples);
    }

    /// Adds the samples that heads have in a range of time, both ends included.
    pub(crate) fn add_heads(&mut self, sources: &[Source], start: i64, end: i64) {
        let mut samples: Vec<(i64, u64, f64)> = Vec::new();
        let mut scratch = Vec::new();
        for source in sources {
            match source {
                Source::Open(open) => samples.extend_from_slice(open),
                Source::Rows(rows, position) => {
                    rows.samples(*position, &mut scratch, |time, order, value| {
                        if (start..=end).contains(&time) {
                            samples.push((time, order, value));
                        }
                    });
                }
            }
        }
        if !samples.is_sorted_by(|a, b| a.0 < b.0) {
            samples.sort_unstable_by_key(|(time, order, _)| (*time, *order));
        }
        self.times.reserve(samples.len());
        self.values.reserve_exact(samples.len());
        samples
            .iter()
            .for_each(|(time, _, value)| self.push(*time, *value));
    }

    /// Leaves the last added of each time, in order of time.
    pub(crate) fn finish(&mut self) {
        if !std::mem::take(&mut self.mixed) {
            return;
        }
        let added = self.times.list();
        if let Some(runs) = runs(&added) {
            let (mut times, mut values) = (Vec::new(), Vec::new());
            times.reserve_exact(added.len());
            values.reserve_exact(added.len());
            for run in runs {
                times.extend_from_slice(&added[run.clone()]);
                values.extend_from_slice(&self.values[run]);
            }
            (self.times, self.values) = (times.into(), values);
            return;
        }
        let mut order: Vec<usize> = (0..added.len()).collect();
        // Stable: of one time the last added is last.
        order.sort_by_key(|at| added[*at]);
        let time = |at: usize| added[order[at]];
        let last = (0..order.len()).filter(|at| *at + 1 == order.len() || time(*at) != time(*at + 1));
        let (times, values): (Vec<i64>, _) =
            last.map(|at| (added[order[at]], self.values[order[at]])).unzip();
        (self.times, self.values) = (times.into(), values);
    }

    /// Times and values. Times that are those of the series before are shared with it.
    pub(super) fn into_columns(self, before: &mut Before) -> (Arc<Vec<i64>>, Vec<f64>) {
        (before.share(self.times), self.values)
    }
}

/// The parts in which times rise, in order of time, if no two of them overlap: what was added late is mostly so.
fn runs(times: &[i64]) -> Option<Vec<Range<usize>>> {
    let mut runs = Vec::new();
    let mut from = 0;
    for at in 1..=times.len() {
        if at == times.len() || times[at] <= times[at - 1] {
            runs.push(from..at);
            from = at;
        }
    }
    runs.sort_by_key(|run| times[run.start]);
    let follow = |pair: &[Range<usize>]| times[pair[0].end - 1] < times[pair[1].start];
    runs.windows(2).all(follow).then_some(runs)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn of_one_time_the_last_added_holds(
            parts in proptest::collection::vec((0i64..60, proptest::collection::vec(1i64..9, 0..6)), 0..6),
        ) {
            let (mut merged, mut plain) = (Merged::default(), BTreeMap::new());
            let mut value = 0.0;
            for (first, steps) in parts {
                let times: Vec<i64> = steps.iter().scan(first, |time, step| {
                    *time += step;
                    Some(*time)
                }).collect();
                let values: Vec<f64> = times.iter().map(|_| { value += 1.0; value }).collect();
                plain.extend(times.iter().copied().zip(values.iter().copied()));
                merged.add(&Arc::new(times), &values);
            }
            merged.finish();
            let (times, values) = merged.into_columns(&mut Before::default());
            prop_assert_eq!(times.to_vec(), plain.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(values, plain.values().copied().collect::<Vec<_>>());
        }
    }
}
