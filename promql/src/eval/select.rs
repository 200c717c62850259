//! Instant selectors: at each time the newest sample of the last `lookback_ms`, left end excluded.

use crate::ast::Selector;
use crate::error::EvalError;
use crate::labels::Labels;
use crate::series::{Series, is_stale};

use super::evaluator::Evaluator;
use super::grid::Grid;
use super::rows::{Cell, Column, Row};
use super::window::after;

/// What an instant selector puts into its cells.
#[derive(Clone, Copy)]
enum Reading {
    Values,
    /// Unix seconds of the samples, for `timestamp()`.
    Times,
}

/// A series and, per time of the grid, the time of the sample that a selector finds there, Unix ms.
pub(super) struct SampleTimes {
    pub(super) labels: Labels,
    pub(super) times_ms: Vec<Option<i64>>,
}

impl Evaluator<'_> {
    /// When a selector finds a sample at the times of a grid; histograms are refused, as info() wants it.
    pub(super) fn times_of_floats(
        &mut self,
        selector: &Selector,
        grid: Grid,
    ) -> Result<Vec<SampleTimes>, EvalError> {
        let fixed = self.fixed_time(selector.at);
        let shift = |time_ms: i64| fixed.unwrap_or(time_ms).saturating_sub(selector.offset_ms);
        let lookback_ms = self.options.lookback_ms;
        let first = shift(grid.start_ms())
            .saturating_sub(lookback_ms)
            .saturating_add(1);
        let mut found = Vec::new();
        for Series { labels, samples } in self.load(selector, first, shift(grid.end_ms()), false)? {
            self.check_interrupt()?;
            if !samples.histograms().is_empty() {
                return Err(EvalError::Execution(format!(
                    "this should be an info metric, with float samples: {labels}"
                )));
            }
            let mut cursor = 0;
            let time_at = |time_ms: i64| {
                let oldest = time_ms.saturating_sub(lookback_ms);
                let (at, time) = newest(samples.times_ms(), &mut cursor, oldest, time_ms)?;
                (!is_stale(samples.values()[at])).then_some(time)
            };
            let times_ms = grid.times_ms().map(shift).map(time_at).collect();
            found.push(SampleTimes { labels, times_ms });
            self.hold(grid.len() as u64)?;
        }
        Ok(found)
    }

    /// The values of a selector over a grid.
    pub(super) fn instant(&mut self, selector: &Selector, grid: Grid) -> Result<Vec<Row>, EvalError> {
        self.read(selector, grid, Reading::Values)
    }

    /// The times of the samples that a selector finds, in Unix seconds.
    pub(super) fn sample_times(&mut self, selector: &Selector, grid: Grid) -> Result<Vec<Row>, EvalError> {
        self.read(selector, grid, Reading::Times)
    }

    fn read(&mut self, selector: &Selector, grid: Grid, reading: Reading) -> Result<Vec<Row>, EvalError> {
        let fixed = self.fixed_time(selector.at);
        let shift = |time_ms: i64| fixed.unwrap_or(time_ms).saturating_sub(selector.offset_ms);
        let first = shift(grid.start_ms())
            .saturating_sub(self.options.lookback_ms)
            .saturating_add(1);
        let series = self.load(selector, first, shift(grid.end_ms()), grid.len() == 1)?;
        let mut rows = Vec::with_capacity(series.len());
        for Series { labels, samples } in series {
            self.check_interrupt()?;
            self.hold(grid.len() as u64)?;
            let mut cells = Column::empty(grid.len());
            let (mut floats, mut histograms) = (0, 0);
            for (index, time_ms) in grid.times_ms().map(shift).enumerate() {
                let oldest = time_ms.saturating_sub(self.options.lookback_ms);
                let float = newest(samples.times_ms(), &mut floats, oldest, time_ms);
                let histogram = newest(samples.histogram_times_ms(), &mut histograms, oldest, time_ms);
                let cell = match (float, histogram) {
                    (Some((at, time)), other) if other.is_none_or(|(_, later)| later < time) => {
                        let value = samples.values()[at];
                        (!is_stale(value)).then_some((time, Cell::Float(value)))
                    }
                    (_, Some((at, time))) => {
                        let histogram = &samples.histograms()[at];
                        (!histogram.is_stale()).then(|| (time, Cell::Histogram(histogram.clone())))
                    }
                    _ => None,
                };
                match (cell, reading) {
                    (Some((_, cell)), Reading::Values) => cells.set_cell(index, cell),
                    (Some((time, _)), Reading::Times) => cells.set(index, time as f64 / 1000.0),
                    (None, _) => {}
                }
            }
            if !cells.is_blank() {
                rows.push(Row {
                    labels,
                    drop_name: false,
                    cells,
                });
            }
        }
        Ok(rows)
    }
}

/// Index and time of the newest sample in `(oldest, time_ms]`. `until` is a cursor that only moves forward.
fn newest(times: &[i64], until: &mut usize, oldest: i64, time_ms: i64) -> Option<(usize, i64)> {
    *until = after(times, *until, time_ms);
    let at = until.checked_sub(1)?;
    (times[at] > oldest).then(|| (at, times[at]))
}
