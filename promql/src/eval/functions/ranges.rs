//! Functions of range vectors: which kernel each one runs over the windows.

use crate::ast::{Call, Function, Span};
use crate::error::EvalError;
use crate::eval::evaluator::Evaluator;
use crate::eval::grid::Grid;
use crate::eval::rows::{Row, reject_duplicates};
use crate::eval::window::counter::{Difference, extrapolated, instant};
use crate::eval::window::{RowKernel, Window, WindowPlace, over_time as over, regression, sliding};

use super::argument;

const RATE: Difference = Difference {
    counter: true,
    per_second: true,
};
const INCREASE: Difference = Difference {
    counter: true,
    per_second: false,
};
const DELTA: Difference = Difference {
    counter: false,
    per_second: false,
};

/// The kernel of a function that has no other argument than its windows.
fn kernel(function: Function) -> Option<fn(&Window<'_>) -> Option<f64>> {
    use Function as F;
    Some(match function {
        F::Rate => |w| extrapolated(RATE, w),
        F::Increase => |w| extrapolated(INCREASE, w),
        F::Delta => |w| extrapolated(DELTA, w),
        F::Irate => |w| instant(RATE, w),
        F::Idelta => |w| instant(DELTA, w),
        F::Deriv => regression::deriv,
        F::SumOverTime => |w| Some(over::sum(w)),
        F::AvgOverTime => over::avg,
        F::MaxOverTime => |w| Some(over::max(w)),
        F::MinOverTime => |w| Some(over::min(w)),
        F::CountOverTime => |w| Some(w.values.len() as f64),
        F::PresentOverTime => |_| Some(1.0),
        F::StddevOverTime => |w| Some(over::stdvar(w).sqrt()),
        F::StdvarOverTime => |w| Some(over::stdvar(w)),
        F::MadOverTime => |w| Some(over::mad(w)),
        F::LastOverTime => |w| w.values.last().copied(),
        F::FirstOverTime => |w| w.values.first().copied(),
        F::TsOfFirstOverTime => |w| Some(over::time_of_first(w)),
        F::TsOfLastOverTime => |w| Some(over::time_of_last(w)),
        F::TsOfMaxOverTime => |w| Some(over::time_of_max(w)),
        F::TsOfMinOverTime => |w| Some(over::time_of_min(w)),
        F::Changes => |w| Some(over::changes(w)),
        F::Resets => |w| Some(over::resets(w)),
        _ => return None,
    })
}

/// For windows that overlap: the kernel that remembers, of a function that has one.
fn for_row(function: Function) -> Option<RowKernel<'static>> {
    use Function as F;
    Some(match function {
        F::Rate => &|s, p, c| sliding::counter(RATE, s, p, c),
        F::Increase => &|s, p, c| sliding::counter(INCREASE, s, p, c),
        F::SumOverTime => &sliding::sum,
        F::AvgOverTime => &sliding::avg,
        F::MaxOverTime => &sliding::max,
        F::MinOverTime => &sliding::min,
        F::Changes => &|s, p, c| sliding::count_pairs(over::differ, s, p, c),
        F::Resets => &|s, p, c| sliding::count_pairs(over::falls, s, p, c),
        _ => return None,
    })
}

impl Evaluator<'_> {
    pub(super) fn range_function(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let rows = match call.function {
            Function::QuantileOverTime => self.quantile_over_time(call, grid)?,
            Function::PredictLinear => self.predict_linear(call, grid)?,
            Function::DoubleExponentialSmoothing => self.smoothing(call, grid)?,
            function => {
                let Some(kernel) = kernel(function) else {
                    return Err(EvalError::Execution(format!(
                        "{} is not a function",
                        function.name()
                    )));
                };
                let ranges = self.ranges(argument(call, 0)?, grid)?;
                let for_row = for_row(function).filter(|_| ranges.overlap(grid));
                let rows = self.over_series(function, &ranges, grid, kernel, for_row)?;
                if matches!(function, Function::Rate | Function::Increase) {
                    self.note_gauges(ranges.place, &rows);
                }
                rows
            }
        };
        if matches!(call.function, Function::LastOverTime | Function::FirstOverTime) {
            // They bring a name back whose removal was delayed, as in Prometheus 3.5.
            let mut rows = rows;
            rows.iter_mut().for_each(|row| row.drop_name = false);
            return Ok(rows);
        }
        self.without_names(rows)
    }

    fn without_names(&mut self, mut rows: Vec<Row>) -> Result<Vec<Row>, EvalError> {
        for row in &mut rows {
            self.drop_name(row);
        }
        if !self.options.delayed_name_removal {
            reject_duplicates(&rows)?;
        }
        Ok(rows)
    }

    /// A rate of something that is not named like a counter is worth a note.
    fn note_gauges(&mut self, place: Span, rows: &[Row]) {
        let mut last = "";
        for name in rows
            .iter()
            .filter(|row| row.cells.present().next().is_some())
            .map(|r| r.labels.metric_name())
        {
            if std::mem::replace(&mut last, name) == name {
                continue;
            }
            let like_counter = ["_total", "_sum", "_count", "_bucket"]
                .iter()
                .any(|end| name.ends_with(end));
            if !name.is_empty() && !like_counter {
                self.notes.at(place).possible_non_counter(name);
            }
        }
    }

    fn quantile_over_time(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let quantiles = self.scalar(argument(call, 0)?, grid)?;
        let mut ranges = self.ranges(argument(call, 1)?, grid)?;
        // As in Prometheus, all notes are about the first argument.
        ranges.place = argument(call, 0)?.span();
        let of_window = |w: &Window<'_>| Some(over::quantile_over(w, quantiles[w.index]));
        let of_row =
            |s: &[f64], p: &[WindowPlace], c: &mut [f64]| sliding::sorted_quantile(&quantiles, s, p, c);
        let for_row: Option<RowKernel<'_>> = ranges.overlap(grid).then_some(&of_row);
        let rows = self.over_series(call.function, &ranges, grid, of_window, for_row)?;
        for q in rows
            .iter()
            .flat_map(|row| row.cells.present())
            .map(|(index, _)| quantiles[index])
        {
            self.notes.at(ranges.place).check_quantile(q);
        }
        Ok(rows)
    }

    fn predict_linear(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let ranges = self.ranges(argument(call, 0)?, grid)?;
        let ahead = self.scalar(argument(call, 1)?, grid)?;
        self.over_windows(call.function, &ranges, grid, |w| {
            regression::predict(w, ahead[w.index])
        })
    }

    fn smoothing(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let ranges = self.ranges(argument(call, 0)?, grid)?;
        let smoothing = self.scalar(argument(call, 1)?, grid)?;
        let trend = self.scalar(argument(call, 2)?, grid)?;
        for (factors, name, symbol) in [(&smoothing, "smoothing", "sf"), (&trend, "trend", "tf")] {
            if let Some(bad) = factors.iter().find(|factor| !(**factor > 0.0 && **factor < 1.0)) {
                return Err(EvalError::Execution(format!(
                    "invalid {name} factor. Expected: 0 < {symbol} < 1, got: {bad:.6}"
                )));
            }
        }
        self.over_windows(call.function, &ranges, grid, |w| {
            regression::smoothed(w, smoothing[w.index], trend[w.index])
        })
    }
}
