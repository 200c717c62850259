//! Puts a series together from its sources: in order of time, one sample per time, the later in the journal wins.

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
