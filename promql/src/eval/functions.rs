//! Functions: which evaluation each one gets.

use crate::ast::{Call, Expr, Function};
use crate::error::EvalError;
use crate::labels::Labels;

use super::evaluator::{Evaluator, Value};
use super::grid::Grid;
use super::rows::{Cell, Column, Row};

mod absent;
mod dates;
mod histogram;
mod info;
mod labels;
mod math;
mod ranges;
mod sorting;

/// An argument that the grammar guarantees.
fn argument(call: &Call, index: usize) -> Result<&Expr, EvalError> {
    call.args
        .get(index)
        .ok_or_else(|| EvalError::Execution(format!("{}: missing argument", call.function.name())))
}

impl Evaluator<'_> {
    pub(super) fn call(&mut self, call: &Call, grid: Grid) -> Result<Value, EvalError> {
        use Function as F;
        if let Some(compute) = math::unary(call.function) {
            let rows = self.vector(argument(call, 0)?, grid)?;
            return self
                .map_rows(rows, |_, value| Some(compute(value)))
                .map(Value::Vector);
        }
        if let Some(part) = dates::part(call.function) {
            return self.date_part(call, grid, part).map(Value::Vector);
        }
        match call.function {
            F::Time => self.times(grid),
            F::Pi => Ok(Value::Scalar(vec![std::f64::consts::PI; grid.len()])),
            F::Scalar => self.as_scalar(call, grid),
            F::Vector => self.as_vector(call, grid).map(Value::Vector),
            F::Timestamp => self.timestamp(call, grid).map(Value::Vector),
            F::Clamp | F::ClampMin | F::ClampMax => self.clamp(call, grid).map(Value::Vector),
            F::Round => self.round(call, grid).map(Value::Vector),
            F::Absent => self.absent(call, grid).map(Value::Vector),
            F::AbsentOverTime => self.absent_over_time(call, grid).map(Value::Vector),
            F::LabelReplace => self.label_replace(call, grid).map(Value::Vector),
            F::LabelJoin => self.label_join(call, grid).map(Value::Vector),
            F::Sort | F::SortDesc => self.sort_by_value(call, grid).map(Value::Vector),
            F::SortByLabel | F::SortByLabelDesc => self.sort_by_label(call, grid).map(Value::Vector),
            F::HistogramQuantile => self.histogram_quantile(call, grid).map(Value::Vector),
            F::HistogramFraction => self.histogram_fraction(call, grid).map(Value::Vector),
            F::HistogramAvg
            | F::HistogramCount
            | F::HistogramSum
            | F::HistogramStddev
            | F::HistogramStdvar => self.histogram_figure(call, grid).map(Value::Vector),
            F::Info => self.info(call, grid).map(Value::Vector),
            _ => self.range_function(call, grid).map(Value::Vector),
        }
    }

    /// Replaces the values of rows and drops their names.
    fn map_rows(
        &mut self,
        rows: Vec<Row>,
        change: impl Fn(usize, f64) -> Option<f64>,
    ) -> Result<Vec<Row>, EvalError> {
        let mut results = Vec::with_capacity(rows.len());
        for mut row in rows {
            row.cells.drop_histograms();
            row.cells.update(&change);
            if !row.cells.is_blank() {
                self.drop_name(&mut row);
                results.push(row);
            }
        }
        self.merge_after_name_drop(results)
    }

    fn times(&mut self, grid: Grid) -> Result<Value, EvalError> {
        self.hold(grid.len() as u64)?;
        Ok(Value::Scalar(
            grid.times_ms().map(|ms| ms as f64 / 1000.0).collect(),
        ))
    }

    /// The only value at each time, or NaN if there is none or more than one.
    fn as_scalar(&mut self, call: &Call, grid: Grid) -> Result<Value, EvalError> {
        let rows = self.vector(argument(call, 0)?, grid)?;
        let mut values = vec![f64::NAN; grid.len()];
        let mut counts = vec![0_u32; grid.len()];
        for (index, value) in rows.iter().flat_map(|row| row.cells.present()) {
            counts[index] += 1;
            values[index] = if counts[index] == 1 { value } else { f64::NAN };
        }
        Ok(Value::Scalar(values))
    }

    fn as_vector(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let values = self.scalar(argument(call, 0)?, grid)?;
        Ok(vec![Row {
            labels: Labels::default(),
            drop_name: false,
            cells: Column::full(values),
        }])
    }

    /// Times of samples for a selector, of the evaluation for anything else.
    fn timestamp(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        if let Expr::Selector(selector) = argument(call, 0)?.unwrapped() {
            let rows = self.sample_times(selector, grid)?;
            return self.map_rows(rows, |_, value| Some(value));
        }
        let mut rows = self.vector(argument(call, 0)?, grid)?;
        let seconds = |index: usize| Cell::Float(grid.time_ms(index) as f64 / 1000.0);
        rows.iter_mut()
            .for_each(|row| row.cells.update_cells(|index, _| Some(seconds(index))));
        self.map_rows(rows, |_, value| Some(value))
    }
}
