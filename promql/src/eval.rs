//! Evaluation: a plan, one or more times, a source of series; an answer or an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::ast::{Expr, Plan};
use crate::error::EvalError;
use crate::histogram::Histogram;
use crate::labels::Labels;
use crate::memory::MemoryBudget;
use crate::series::{Samples, SeriesSource};

mod aggregate;
mod batches;
mod binary;
mod evaluator;
mod functions;
mod grid;
mod grouping;
mod kahan;
mod notes;
mod quantile;
mod rows;
mod select;
mod trace;
mod window;

use evaluator::{Evaluator, Value};
use grid::Grid;
use rows::{Cell, Column, Row, duplicate_labels, reject_duplicates};
pub use trace::{ExplainedNode, NodeCounts, Trace};
use window::{GridTimes, Ranges};

/// Default lookback in ms: how old a sample may be and still be a series' current value.
const DEFAULT_LOOKBACK_MS: i64 = 5 * 60_000;
/// Default limit on samples held at once.
const DEFAULT_MAX_SAMPLES: u64 = 50_000_000;
/// Default step of a subquery that names none, in ms.
const DEFAULT_SUBQUERY_STEP_MS: i64 = 60_000;

/// Stops evaluations from another thread; the engine looks at it between series.
#[derive(Debug, Default)]
pub struct Interrupt(AtomicU8);

impl Interrupt {
    const TIMED_OUT: u8 = 1;
    const CANCELED: u8 = 2;

    /// The deadline has passed: evaluations end with [`EvalError::Timeout`].
    pub fn time_out(&self) {
        self.0.store(Self::TIMED_OUT, Ordering::Relaxed);
    }

    /// Nobody waits for the answer any more: evaluations end with [`EvalError::Canceled`].
    pub fn cancel(&self) {
        self.0.store(Self::CANCELED, Ordering::Relaxed);
    }

    /// Whether either was called.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    fn check(&self) -> Result<(), EvalError> {
        match self.0.load(Ordering::Relaxed) {
            0 => Ok(()),
            Self::TIMED_OUT => Err(EvalError::Timeout),
            _ => Err(EvalError::Canceled),
        }
    }
}

/// Limits and modes of an evaluation. The default is Prometheus's.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// How old, in ms, a sample may be and still count (`--query.lookback-delta`).
    pub lookback_ms: i64,
    /// Samples that may be held at once (`--query.max-samples`).
    pub max_samples: u64,
    /// Step in ms of subqueries that name none (the global evaluation interval).
    pub subquery_step_ms: i64,
    /// Drop metric names at the end instead of in each function (`promql-delayed-name-removal`).
    pub delayed_name_removal: bool,
    /// Threads that an evaluation may work in beside the caller's, if its source has batches; below 2 there are none. Answers
    /// do not depend on it.
    pub threads: usize,
    /// Bytes that may be held; `None`: only samples are counted.
    pub memory: Option<&'a MemoryBudget>,
    /// Counts what each node gives, for people who ask.
    pub trace: Option<&'a Trace>,
    /// Ends the evaluation early when raised.
    pub interrupt: Option<&'a Interrupt>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            lookback_ms: DEFAULT_LOOKBACK_MS,
            max_samples: DEFAULT_MAX_SAMPLES,
            subquery_step_ms: DEFAULT_SUBQUERY_STEP_MS,
            delayed_name_removal: false,
            threads: 0,
            memory: None,
            trace: None,
            interrupt: None,
        }
    }
}

/// One series of an instant answer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct InstantSample {
    /// Labels.
    pub labels: Labels,
    /// The evaluation's time, Unix ms.
    pub time_ms: i64,
    /// The value; NaN where it is a native histogram.
    pub value: f64,
    /// The native histogram, if it is one.
    pub histogram: Option<Arc<Histogram>>,
}

impl InstantSample {
    /// A float.
    pub fn new(labels: Labels, time_ms: i64, value: f64) -> Self {
        Self {
            labels,
            time_ms,
            value,
            histogram: None,
        }
    }
}

/// One series of a range answer, or of a range selector in an instant one.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeSeries {
    /// Labels.
    pub labels: Labels,
    /// Samples; at least one.
    pub samples: Samples,
}

/// What a query gives.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryValue {
    /// A number (instant queries only).
    Scalar {
        /// The evaluation's time, Unix ms.
        time_ms: i64,
        /// The number.
        value: f64,
    },
    /// A text (instant queries only).
    Text {
        /// The evaluation's time, Unix ms.
        time_ms: i64,
        /// The text.
        value: String,
    },
    /// Series with one value each, in the order that `sort` and `topk` promise.
    Vector(Vec<InstantSample>),
    /// Series with samples, sorted by labels.
    Matrix(Vec<RangeSeries>),
}

/// A query's value and what the user should know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The value.
    pub value: QueryValue,
    /// What may make the value wrong, without repetition.
    pub warnings: Vec<String>,
    /// What may be unintended, without repetition.
    pub infos: Vec<String>,
}

/// Evaluates a query at one time (Unix ms).
///
/// # Errors
/// Every variant of [`EvalError`].
pub fn eval_instant(
    plan: &Plan,
    time_ms: i64,
    source: &dyn SeriesSource,
    options: &Options<'_>,
) -> Result<Answer, EvalError> {
    plan.check_durations()?;
    let grid = Grid::single(time_ms);
    let mut evaluator = Evaluator::new(plan, (time_ms, time_ms), source, options);
    let value = evaluator.instant_value(plan.expr(), grid)?;
    Ok(evaluator.answer(value))
}

/// Evaluates a query at `start_ms`, `start_ms + step_ms`, ... up to `end_ms` (Unix ms). The value is a matrix.
///
/// # Errors
/// Every variant of [`EvalError`].
pub fn eval_range(
    plan: &Plan,
    start_ms: i64,
    end_ms: i64,
    step_ms: i64,
    source: &dyn SeriesSource,
    options: &Options<'_>,
) -> Result<Answer, EvalError> {
    plan.check_durations()?;
    let expr = plan.expr();
    if let Expr::Text(_) | Expr::Matrix(_) | Expr::Subquery(_) = expr.unwrapped() {
        let kind = if matches!(expr.unwrapped(), Expr::Text(_)) {
            "string"
        } else {
            "range vector"
        };
        return Err(EvalError::BadRange(format!(
            "invalid expression type {kind:?} for range query, must be Scalar or instant Vector"
        )));
    }
    let Some(grid) = Grid::new(start_ms, end_ms, step_ms) else {
        return Err(EvalError::BadRange(
            "end timestamp must not be before start, step must be positive".to_owned(),
        ));
    };
    if grid.len() as u64 > options.max_samples {
        return Err(EvalError::TooManySamples);
    }
    let mut evaluator = Evaluator::new(plan, (start_ms, end_ms), source, options);
    let value = evaluator.range_value(expr, grid)?;
    Ok(evaluator.answer(value))
}

impl Evaluator<'_> {
    fn instant_value(&mut self, expr: &Expr, grid: Grid) -> Result<QueryValue, EvalError> {
        let time_ms = grid.start_ms();
        if let Expr::Matrix(_) | Expr::Subquery(_) = expr.unwrapped() {
            let ranges = self.ranges(expr, grid)?;
            return self.window_contents(ranges, grid).map(QueryValue::Matrix);
        }
        Ok(match self.eval(expr, grid)? {
            Value::Scalar(values) => QueryValue::Scalar {
                time_ms,
                value: values[0],
            },
            Value::Text(value) => QueryValue::Text { time_ms, value },
            Value::Vector(rows) => {
                let rows = self.finish_names(rows)?;
                let sample = |row: Row| {
                    let (value, histogram) = match row.cells.cell(0)? {
                        Cell::Float(value) => (value, None),
                        Cell::Histogram(histogram) => (f64::NAN, Some(histogram)),
                    };
                    Some(InstantSample {
                        labels: row.labels,
                        time_ms,
                        value,
                        histogram,
                    })
                };
                QueryValue::Vector(rows.into_iter().filter_map(sample).collect())
            }
        })
    }

    fn range_value(&mut self, expr: &Expr, grid: Grid) -> Result<QueryValue, EvalError> {
        let rows = match self.eval(expr, grid)? {
            Value::Scalar(values) => {
                vec![Row {
                    labels: Labels::default(),
                    drop_name: false,
                    cells: Column::full(values),
                }]
            }
            Value::Vector(rows) => self.finish_names(rows)?,
            Value::Text(_) => Vec::new(),
        };
        let mut times = GridTimes::new(grid);
        let rows = rows.into_iter().filter(|row| !row.cells.is_blank());
        let series = rows.map(|row| RangeSeries {
            labels: row.labels,
            samples: times.samples(row.cells),
        });
        let series = series.collect();
        Ok(QueryValue::Matrix(sorted_by_labels(series)))
    }

    /// The samples of a range selector's window, as an instant query returns them.
    fn window_contents(&mut self, ranges: Ranges, grid: Grid) -> Result<Vec<RangeSeries>, EvalError> {
        let mut series = Vec::with_capacity(ranges.series.len());
        for input in &ranges.series {
            let labels = if input.drop_name {
                input.labels.without_metadata()
            } else {
                input.labels.clone()
            };
            let mut samples = Samples::default();
            ranges.each_window(&input.samples, grid, |window| {
                window
                    .times
                    .iter()
                    .zip(window.values)
                    .for_each(|(time, value)| samples.push(*time, *value));
                let histograms = window.histogram_times.iter().zip(window.histograms);
                histograms.for_each(|(time, histogram)| samples.push_histogram(*time, histogram.clone()));
            });
            if !samples.is_empty() {
                series.push(RangeSeries { labels, samples });
            }
        }
        let series = sorted_by_labels(series);
        // Of names that were dropped only now.
        match series.windows(2).any(|pair| pair[0].labels == pair[1].labels) {
            true => Err(duplicate_labels()),
            false => Ok(series),
        }
    }

    /// Drops the names whose removal was delayed.
    fn finish_names(&self, mut rows: Vec<Row>) -> Result<Vec<Row>, EvalError> {
        if self.options.delayed_name_removal {
            for row in rows.iter_mut().filter(|row| row.drop_name) {
                row.labels = row.labels.without_metadata();
            }
            reject_duplicates(&rows)?;
        }
        Ok(rows)
    }

    fn answer(self, value: QueryValue) -> Answer {
        let (warnings, infos) = self.notes.into_parts(&self.query);
        Answer {
            value,
            warnings,
            infos,
        }
    }
}

fn sorted_by_labels(mut series: Vec<RangeSeries>) -> Vec<RangeSeries> {
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    series
}
