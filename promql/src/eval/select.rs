//! Instant selectors: at each time the newest sample of the last `lookback_ms`, left end excluded.

use crate::ast::Selector;
use crate::error::EvalError;
use crate::series::{Series, is_stale};

use super::evaluator::Evaluator;
use super::grid::Grid;
use super::rows::{Column, Row};

/// What an instant selector puts into its cells.
#[derive(Clone, Copy)]
enum Reading {
    Values,
    /// Unix seconds of the samples, for `timestamp()`.
    Times,
}

impl Evaluator<'_> {
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
        let series = self.load(selector, first, shift(grid.end_ms()))?;
        let mut rows = Vec::with_capacity(series.len());
        for Series { labels, samples } in series {
            self.check_interrupt()?;
            let mut cells = Column::empty(grid.len());
            let mut until = 0;
            for (index, time_ms) in grid.times_ms().map(shift).enumerate() {
                let times = samples.times_ms();
                until += times[until..].partition_point(|t| *t <= time_ms);
                let Some(newest) = until.checked_sub(1) else {
                    continue;
                };
                let value = samples.values()[newest];
                if times[newest] > time_ms.saturating_sub(self.options.lookback_ms) && !is_stale(value) {
                    cells.set(
                        index,
                        match reading {
                            Reading::Values => value,
                            Reading::Times => times[newest] as f64 / 1000.0,
                        },
                    );
                }
            }
            if !cells.is_blank() {
                rows.push(Row {
                    labels,
                    drop_name: false,
                    cells,
                });
            }
            self.hold(grid.len() as u64)?;
        }
        Ok(rows)
    }
}
