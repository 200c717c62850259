//! Aggregations that take values one by one: memory is groups times steps, whatever the number of series.

use super::Groups;
use crate::eval::grid::Grid;
use crate::eval::kahan::{Mean, Sum};
use crate::eval::rows::{Column, Row};

/// The state of one group at one time.
pub(super) trait Accumulator: Clone + Default {
    fn add(&mut self, value: f64);
    /// The group's value; `None` if nothing was added.
    fn finish(&self) -> Option<f64>;
}

/// Adds every cell to its group and time.
pub(super) fn fold<A: Accumulator>(rows: Vec<Row>, groups: Groups, grid: Grid) -> Vec<Row> {
    let steps = grid.len();
    let mut states = vec![A::default(); groups.labels.len() * steps];
    for (row, group) in rows.into_iter().zip(&groups.of_row) {
        let states = &mut states[group * steps..(group + 1) * steps];
        for (index, value) in row.cells.present() {
            states[index].add(value);
        }
    }
    let columns = states.chunks(steps.max(1)).map(|states| {
        let mut cells = Column::empty(steps);
        for (index, state) in states.iter().enumerate() {
            if let Some(value) = state.finish() {
                cells.set(index, value);
            }
        }
        cells
    });
    let columns = columns.collect();
    groups.into_rows(columns)
}

/// `sum`: compensated, so that the order of series hardly matters.
#[derive(Clone, Default)]
pub(super) struct SumOf(Option<Sum>);

impl Accumulator for SumOf {
    fn add(&mut self, value: f64) {
        self.0 = Some(match self.0 {
            Some(sum) => sum.plus(value),
            None => Sum {
                sum: value,
                lost: 0.0,
            },
        });
    }

    fn finish(&self) -> Option<f64> {
        self.0.map(Sum::total)
    }
}

/// `avg`.
#[derive(Clone, Default)]
pub(super) struct MeanOf(Mean);

impl Accumulator for MeanOf {
    fn add(&mut self, value: f64) {
        self.0 = self.0.plus(value);
    }

    fn finish(&self) -> Option<f64> {
        self.0.value()
    }
}

/// `count`.
#[derive(Clone, Default)]
pub(super) struct CountOf(u64);

impl Accumulator for CountOf {
    fn add(&mut self, _: f64) {
        self.0 += 1;
    }

    fn finish(&self) -> Option<f64> {
        (self.0 > 0).then_some(self.0 as f64)
    }
}

/// `group`.
#[derive(Clone, Default)]
pub(super) struct PresenceOf(bool);

impl Accumulator for PresenceOf {
    fn add(&mut self, _: f64) {
        self.0 = true;
    }

    fn finish(&self) -> Option<f64> {
        self.0.then_some(1.0)
    }
}

/// `min`: NaN only if there is nothing else.
#[derive(Clone, Default)]
pub(super) struct MinOf(Option<f64>);

impl Accumulator for MinOf {
    fn add(&mut self, value: f64) {
        if self.0.is_none_or(|least| least > value || least.is_nan()) {
            self.0 = Some(value);
        }
    }

    fn finish(&self) -> Option<f64> {
        self.0
    }
}

/// `max`: NaN only if there is nothing else.
#[derive(Clone, Default)]
pub(super) struct MaxOf(Option<f64>);

impl Accumulator for MaxOf {
    fn add(&mut self, value: f64) {
        if self
            .0
            .is_none_or(|greatest| greatest < value || greatest.is_nan())
        {
            self.0 = Some(value);
        }
    }

    fn finish(&self) -> Option<f64> {
        self.0
    }
}

/// `stdvar`: population variance by Welford's method.
#[derive(Clone, Default)]
pub(super) struct VarianceOf {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Accumulator for VarianceOf {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.mean = value;
            self.squares = if value.is_finite() { 0.0 } else { f64::NAN };
            return;
        }
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    fn finish(&self) -> Option<f64> {
        (self.count > 0.0).then_some(self.squares / self.count)
    }
}

/// `stddev`.
#[derive(Clone, Default)]
pub(super) struct DeviationOf(VarianceOf);

impl Accumulator for DeviationOf {
    fn add(&mut self, value: f64) {
        self.0.add(value);
    }

    fn finish(&self) -> Option<f64> {
        self.0.finish().map(f64::sqrt)
    }
}
