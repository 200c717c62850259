//! Puts a series together from its sources: in order of time, one sample per time, the later in the journal wins.

use std::ops::Range;

use super::tenant::Source;

/// One series' samples. Those that are added later win.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    pub(crate) times_ms: Vec<i64>,
    pub(crate) values: Vec<f64>,
    /// Times do not rise strictly.
    mixed: bool,
}

impl Merged {
    /// Adds samples in order of time.
    pub(crate) fn add(&mut self, times_ms: &[i64], values: &[f64]) {
        let in_order = self.times_ms.last() < times_ms.first() || times_ms.is_empty();
        self.mixed |= !in_order;
        self.times_ms.extend_from_slice(times_ms);
        self.values.extend_from_slice(values);
    }

    /// Makes room for samples.
    pub(crate) fn reserve(&mut self, samples: usize) {
        self.times_ms.reserve_exact(samples);
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
        let Some((first, ..)) = samples.first() else {
            return;
        };
        self.mixed |= self.times_ms.last().is_some_and(|last| last >= first);
        self.mixed |= samples.windows(2).any(|w| w[0].0 == w[1].0);
        self.times_ms.extend(samples.iter().map(|(time, ..)| *time));
        self.values.extend(samples.iter().map(|(.., value)| *value));
    }

    /// Leaves the last added of each time, in order of time.
    pub(crate) fn finish(&mut self) {
        if !std::mem::take(&mut self.mixed) {
            return;
        }
        if let Some(runs) = runs(&self.times_ms) {
            let (mut times, mut values) = (Vec::new(), Vec::new());
            times.reserve_exact(self.times_ms.len());
            values.reserve_exact(self.values.len());
            for run in runs {
                times.extend_from_slice(&self.times_ms[run.clone()]);
                values.extend_from_slice(&self.values[run]);
            }
            (self.times_ms, self.values) = (times, values);
            return;
        }
        let mut order: Vec<usize> = (0..self.times_ms.len()).collect();
        // Stable: of one time the last added is last.
        order.sort_by_key(|at| self.times_ms[*at]);
        let time = |at: usize| self.times_ms[order[at]];
        let last = (0..order.len()).filter(|at| *at + 1 == order.len() || time(*at) != time(*at + 1));
        let (times, values) = last
            .map(|at| (self.times_ms[order[at]], self.values[order[at]]))
            .unzip();
        (self.times_ms, self.values) = (times, values);
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
                merged.add(&times, &values);
            }
            merged.finish();
            prop_assert_eq!(merged.times_ms, plain.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(merged.values, plain.values().copied().collect::<Vec<_>>());
        }
    }
}
