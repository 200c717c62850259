//! The tree walk: each node is evaluated over a whole grid of times, series by series.
//!
//! Samples and bytes held are counted against the query's limits: operands while their operator runs, the result
//! afterwards. The interrupt is looked at on every node and every series.

use std::sync::Arc;

use crate::ast::{At, Call, Expr, Function, Plan, Selector};
use crate::error::{EvalError, SourceError};
use crate::labels::Labels;
use crate::number::go_quote;
use crate::series::{Hints, Series, SeriesSource};

use super::Options;
use super::grid::Grid;
use super::notes::Notes;
use super::rows::{Cell, Row, merge, reject_duplicates};

/// What a node gives over a grid.
pub(crate) enum Value {
    /// A number per time.
    Scalar(Vec<f64>),
    /// An instant vector.
    Vector(Vec<Row>),
    /// A text, the same at all times.
    Text(String),
}

/// Bytes of a loaded sample and of a cell.
pub(super) const SAMPLE_BYTES: u64 = 16;
const CELL_BYTES: u64 = 8;
/// Bytes of a series or row beside them, roughly: its labels are shared or its own.
const ROW_BYTES: u64 = 256;

/// What an evaluation holds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    samples: u64,
    bytes: u64,
}

/// The state of one evaluation.
pub(crate) struct Evaluator<'a> {
    pub(super) source: &'a dyn SeriesSource,
    pub(super) options: &'a Options<'a>,
    /// The query's own bounds, for `@ start()` and `@ end()`; the end need not be on the grid.
    start_ms: i64,
    end_ms: i64,
    /// Whether the query fixes a time with `@` anywhere.
    fixes_times: bool,
    pub(super) notes: Notes,
    /// The query's text, for the places of notes.
    pub(super) query: Arc<str>,
    pub(super) held: Held,
    /// Whether series may be read in batches: not while one is evaluated.
    pub(super) takes_batches: bool,
}

/// What evaluations of parts of a query have in common.
#[derive(Clone)]
pub(super) struct Context<'a> {
    options: &'a Options<'a>,
    start_ms: i64,
    end_ms: i64,
    fixes_times: bool,
    query: Arc<str>,
    /// Samples that are held beside.
    samples: u64,
}

impl<'a> Context<'a> {
    /// An evaluation of a batch that a source gives.
    pub(super) fn evaluator<'s>(&self, source: &'s dyn SeriesSource) -> Evaluator<'s>
    where
        'a: 's,
    {
        Evaluator {
            source,
            options: self.options,
            start_ms: self.start_ms,
            end_ms: self.end_ms,
            fixes_times: self.fixes_times,
            notes: Notes::default(),
            query: self.query.clone(),
            held: Held {
                samples: self.samples,
                bytes: 0,
            },
            takes_batches: false,
        }
    }
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(
        plan: &Plan,
        (start_ms, end_ms): (i64, i64),
        source: &'a dyn SeriesSource,
        options: &'a Options<'a>,
    ) -> Self {
        Self {
            source,
            options,
            start_ms,
            end_ms,
            fixes_times: fixes_times(&plan.expr),
            notes: Notes::default(),
            query: plan.query.clone(),
            held: Held::default(),
            takes_batches: true,
        }
    }

    /// What an evaluation of a part of this one needs.
    pub(super) fn context(&self) -> Context<'a> {
        Context {
            options: self.options,
            start_ms: self.start_ms,
            end_ms: self.end_ms,
            fixes_times: self.fixes_times,
            query: self.query.clone(),
            samples: self.held.samples,
        }
    }

    /// Evaluates a node over a grid. Nodes that do not depend on the time are evaluated once.
    pub(super) fn eval(&mut self, expr: &Expr, grid: Grid) -> Result<Value, EvalError> {
        self.check_interrupt()?;
        if self.fixes_times && grid.len() > 1 && is_invariant(expr) {
            let once = self.eval(expr, Grid::single(grid.start_ms()))?;
            return self.repeat(once, grid);
        }
        let held_before = self.held;
        let value = match self.goes_in_parts(expr, grid) {
            true => Value::Vector(self.rows_in_parts(expr, grid)?),
            false => {
                let value = self.dispatch(expr, grid)?;
                if let Some(trace) = self.options.trace {
                    trace.gave(expr.span(), &value);
                }
                value
            }
        };
        self.release_to(held_before);
        match &value {
            Value::Scalar(values) => self.hold(values.len() as u64)?,
            Value::Vector(rows) => self.hold_rows(rows.len(), grid)?,
            Value::Text(_) => {}
        }
        Ok(value)
    }

    fn dispatch(&mut self, expr: &Expr, grid: Grid) -> Result<Value, EvalError> {
        match expr {
            Expr::Number(number) => self.constant(number.value, grid),
            Expr::Text(text) => Ok(Value::Text(String::from_utf8_lossy(&text.bytes).into_owned())),
            Expr::Paren(paren) => self.eval(&paren.expr, grid),
            Expr::Unary(unary) if unary.negative => self.negate(&unary.expr, grid),
            Expr::Unary(unary) => self.eval(&unary.expr, grid),
            Expr::Selector(selector) => self.instant(selector, grid).map(Value::Vector),
            Expr::Binary(binary) => self.binary(binary, grid),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, grid).map(Value::Vector),
            Expr::Call(call) => self.call(call, grid),
            Expr::Matrix(_) | Expr::Subquery(_) => Err(EvalError::Execution(
                "range vector where an instant vector is needed".to_owned(),
            )),
        }
    }

    fn constant(&mut self, number: f64, grid: Grid) -> Result<Value, EvalError> {
        self.hold(grid.len() as u64)?;
        Ok(Value::Scalar(vec![number; grid.len()]))
    }

    fn negate(&mut self, inner: &Expr, grid: Grid) -> Result<Value, EvalError> {
        match self.eval(inner, grid)? {
            Value::Scalar(mut values) => {
                values.iter_mut().for_each(|value| *value = -*value);
                Ok(Value::Scalar(values))
            }
            Value::Vector(mut rows) => {
                for row in &mut rows {
                    row.cells.update(|_, value| Some(-value));
                    if row.cells.has_histograms() {
                        row.cells.update_cells(|_, cell| Some(negated(cell)));
                    }
                    self.drop_name(row);
                }
                self.reject_after_name_drop(&rows)?;
                Ok(Value::Vector(rows))
            }
            Value::Text(_) => Err(EvalError::Execution("unary expression on a string".to_owned())),
        }
    }

    /// Repeats what was evaluated at one time over a grid.
    fn repeat(&mut self, once: Value, grid: Grid) -> Result<Value, EvalError> {
        match &once {
            Value::Vector(rows) => self.hold_rows(rows.len(), grid)?,
            _ => self.hold(grid.len() as u64)?,
        }
        Ok(match once {
            Value::Scalar(values) => Value::Scalar(vec![values[0]; grid.len()]),
            Value::Vector(mut rows) => {
                for row in &mut rows {
                    row.cells = row.cells.repeated(grid.len());
                }
                Value::Vector(rows)
            }
            text @ Value::Text(_) => text,
        })
    }

    /// Evaluates a node of type instant vector.
    pub(super) fn vector(&mut self, expr: &Expr, grid: Grid) -> Result<Vec<Row>, EvalError> {
        match self.eval(expr, grid)? {
            Value::Vector(rows) => Ok(rows),
            _ => Err(EvalError::Execution("expected an instant vector".to_owned())),
        }
    }

    /// Evaluates a node of type scalar.
    pub(super) fn scalar(&mut self, expr: &Expr, grid: Grid) -> Result<Vec<f64>, EvalError> {
        match self.eval(expr, grid)? {
            Value::Scalar(values) => Ok(values),
            _ => Err(EvalError::Execution("expected a scalar".to_owned())),
        }
    }

    /// The bytes of a node of type string, which is always a literal.
    pub(super) fn bytes<'e>(&self, expr: &'e Expr) -> Result<&'e [u8], EvalError> {
        match expr.unwrapped() {
            Expr::Text(text) => Ok(&text.bytes),
            _ => Err(EvalError::Execution("expected a string".to_owned())),
        }
    }

    /// The text of a node of type string. Labels have no other bytes than UTF-8.
    pub(super) fn text(&self, expr: &Expr) -> Result<String, EvalError> {
        let bytes = self.bytes(expr)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| {
            EvalError::Execution(format!("labels need UTF-8, got the bytes {}", go_quote(bytes)))
        })
    }

    /// Series that match, with samples in `[start_ms, end_ms]` and perhaps more.
    pub(super) fn load(
        &mut self,
        selector: &Selector,
        start_ms: i64,
        end_ms: i64,
        newest_only: bool,
    ) -> Result<Vec<Series>, EvalError> {
        let max_samples = self.options.max_samples.saturating_sub(self.held.samples);
        let series = self
            .source
            .select(
                &selector.matchers,
                &Hints {
                    start_ms,
                    end_ms,
                    max_samples,
                    newest_only,
                },
            )
            .map_err(|error| self.source_error(error))?;
        self.hold_series(&series)?;
        if let Some(trace) = self.options.trace {
            trace.read(selector.span, &series);
        }
        Ok(series)
    }

    pub(super) fn source_error(&self, error: SourceError) -> EvalError {
        match error {
            SourceError::TooManySamples => EvalError::TooManySamples,
            SourceError::OverBudget(over) => EvalError::OverBudget(over),
            SourceError::Interrupted => self.check_interrupt().err().unwrap_or(EvalError::Canceled),
            SourceError::Storage(text) => EvalError::Storage(text),
        }
    }

    /// The time that `@` fixes, if it does.
    pub(super) fn fixed_time(&self, at: Option<At>) -> Option<i64> {
        at.map(|at| match at {
            At::Start => self.start_ms,
            At::End => self.end_ms,
            At::Time(time_ms) => time_ms,
        })
    }

    /// Counts cells that are held from now on.
    pub(super) fn hold(&mut self, cells: u64) -> Result<(), EvalError> {
        self.hold_bytes(cells, cells.saturating_mul(CELL_BYTES))
    }

    /// Counts rows over a grid that are held from now on.
    pub(super) fn hold_rows(&mut self, rows: usize, grid: Grid) -> Result<(), EvalError> {
        let cells = (rows as u64).saturating_mul(grid.len() as u64);
        let bytes = cells.saturating_mul(CELL_BYTES);
        self.hold_bytes(cells, bytes.saturating_add(rows as u64 * ROW_BYTES))
    }

    fn hold_series(&mut self, series: &[Series]) -> Result<(), EvalError> {
        let samples: u64 = series.iter().map(|s| s.samples.weight()).sum();
        let bytes = samples.saturating_mul(SAMPLE_BYTES);
        self.hold_bytes(samples, bytes.saturating_add(series.len() as u64 * ROW_BYTES))
    }

    /// Counts samples or cells, and the bytes that they take.
    pub(super) fn hold_bytes(&mut self, samples: u64, bytes: u64) -> Result<(), EvalError> {
        self.held.samples = self.held.samples.saturating_add(samples);
        if self.held.samples > self.options.max_samples {
            return Err(EvalError::TooManySamples);
        }
        if let Some(memory) = self.options.memory {
            memory.take(bytes)?;
            self.held.bytes += bytes;
        }
        Ok(())
    }

    /// Takes over what an evaluation of a part holds.
    pub(super) fn hold_on(&mut self, part: Held) {
        self.held.samples = part.samples;
        self.held.bytes += part.bytes;
    }

    /// What was held since then is so no more.
    pub(super) fn release_to(&mut self, before: Held) {
        if let Some(memory) = self.options.memory {
            memory.give_back(self.held.bytes.saturating_sub(before.bytes));
        }
        self.held = before;
    }

    pub(super) fn check_interrupt(&self) -> Result<(), EvalError> {
        self.options.interrupt.map_or(Ok(()), super::Interrupt::check)
    }

    /// Takes the metric name off a row, now or at the end.
    pub(super) fn drop_name(&self, row: &mut Row) {
        if self.options.delayed_name_removal {
            row.drop_name = true;
        } else {
            row.labels = row.labels.without_metadata();
        }
    }

    /// Labels of a row whose name is dropped, and whether that is still to be done.
    pub(super) fn nameless(&self, labels: &Labels) -> (Labels, bool) {
        if self.options.delayed_name_removal {
            (labels.clone(), true)
        } else {
            (labels.without_metadata(), false)
        }
    }

    /// After names were dropped, rows may have become equal; with delayed removal that shows at the end.
    pub(super) fn reject_after_name_drop(&self, rows: &[Row]) -> Result<(), EvalError> {
        if self.options.delayed_name_removal {
            Ok(())
        } else {
            reject_duplicates(rows)
        }
    }

    /// As `reject_after_name_drop`, for functions of instant vectors: equal rows merge where their times differ.
    pub(super) fn merge_after_name_drop(&self, rows: Vec<Row>) -> Result<Vec<Row>, EvalError> {
        if self.options.delayed_name_removal {
            Ok(rows)
        } else {
            merge(rows)
        }
    }
}

/// A histogram with its sign changed; floats were changed before.
fn negated(cell: Cell) -> Cell {
    match cell {
        Cell::Histogram(histogram) => Cell::Histogram(Arc::new(histogram.times(-1.0))),
        float @ Cell::Float(_) => float,
    }
}

/// Whether `@` occurs anywhere.
fn fixes_times(expr: &Expr) -> bool {
    match expr {
        Expr::Number(_) | Expr::Text(_) => false,
        Expr::Selector(selector) => selector.at.is_some(),
        Expr::Matrix(matrix) => matrix.selector.at.is_some(),
        Expr::Subquery(subquery) => subquery.at.is_some() || fixes_times(&subquery.expr),
        Expr::Unary(unary) => fixes_times(&unary.expr),
        Expr::Paren(paren) => fixes_times(&paren.expr),
        Expr::Binary(binary) => fixes_times(&binary.lhs) || fixes_times(&binary.rhs),
        Expr::Aggregate(a) => fixes_times(&a.expr) || a.param.as_ref().is_some_and(fixes_times),
        Expr::Call(call) => call.args.iter().any(fixes_times),
    }
}

/// Whether a node gives the same at all times of a query.
fn is_invariant(expr: &Expr) -> bool {
    match expr {
        Expr::Number(_) | Expr::Text(_) => true,
        Expr::Selector(selector) => selector.at.is_some(),
        Expr::Matrix(matrix) => matrix.selector.at.is_some(),
        Expr::Subquery(subquery) => subquery.at.is_some(),
        Expr::Unary(unary) => is_invariant(&unary.expr),
        Expr::Paren(paren) => is_invariant(&paren.expr),
        Expr::Binary(binary) => is_invariant(&binary.lhs) && is_invariant(&binary.rhs),
        Expr::Aggregate(a) => is_invariant(&a.expr) && a.param.as_ref().is_none_or(is_invariant),
        Expr::Call(call) => !reads_the_time(call) && call.args.iter().all(is_invariant),
    }
}

/// Whether a function's value depends on the evaluation time beyond its arguments.
fn reads_the_time(call: &Call) -> bool {
    match call.function {
        Function::Time | Function::PredictLinear => true,
        Function::Timestamp => !matches!(call.args.first().map(Expr::unwrapped), Some(Expr::Selector(_))),
        _ => call.args.is_empty() && call.function != Function::Pi,
    }
}
