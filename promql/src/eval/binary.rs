//! Operators between two expressions: of scalars, of a vector and a scalar, of two vectors.

use crate::ast::{Binary, BinaryOp};
use crate::error::EvalError;

use super::evaluator::{Evaluator, Value};
use super::grid::Grid;
use super::notes::Notes;
use super::rows::{Cell, Row};

mod cells;
mod sets;
mod vectors;

impl Evaluator<'_> {
    pub(super) fn binary(&mut self, binary: &Binary, grid: Grid) -> Result<Value, EvalError> {
        let lhs = self.eval(&binary.lhs, grid)?;
        let rhs = self.eval(&binary.rhs, grid)?;
        match (lhs, rhs) {
            (Value::Scalar(mut left), Value::Scalar(right)) => {
                left.iter_mut()
                    .zip(right)
                    .for_each(|(l, r)| *l = binary.op.apply(*l, r));
                Ok(Value::Scalar(left))
            }
            (Value::Vector(rows), Value::Scalar(scalars)) => {
                self.with_scalar(binary, rows, &scalars, false).map(Value::Vector)
            }
            (Value::Scalar(scalars), Value::Vector(rows)) => {
                self.with_scalar(binary, rows, &scalars, true).map(Value::Vector)
            }
            (Value::Vector(left), Value::Vector(right)) if binary.op.is_set() => {
                self.set_operator(binary, left, right, grid).map(Value::Vector)
            }
            (Value::Vector(left), Value::Vector(right)) => {
                self.matched(binary, left, right, grid).map(Value::Vector)
            }
            _ => Err(EvalError::Execution("operator on a string".to_owned())),
        }
    }

    /// A vector and a scalar, which is on the left if `scalar_first`.
    fn with_scalar(
        &mut self,
        binary: &Binary,
        rows: Vec<Row>,
        scalars: &[f64],
        scalar_first: bool,
    ) -> Result<Vec<Row>, EvalError> {
        let mut results = Vec::with_capacity(rows.len());
        for mut row in rows {
            if row.cells.has_histograms() {
                row.cells.update_cells(|index, cell| {
                    let scalar = Cell::Float(scalars[index]);
                    let (left, right) = if scalar_first {
                        (&scalar, &cell)
                    } else {
                        (&cell, &scalar)
                    };
                    noted(
                        binary,
                        cells::operate(binary, left, right, &cell),
                        self.notes.at(binary.span),
                    )
                });
            } else {
                row.cells.update(|index, value| {
                    let scalar = scalars[index];
                    let (left, right) = if scalar_first {
                        (scalar, value)
                    } else {
                        (value, scalar)
                    };
                    result_of(binary, left, right, value)
                });
            }
            if row.cells.is_blank() {
                continue;
            }
            if changes_quantity(binary) {
                self.drop_name(&mut row);
            }
            results.push(row);
        }
        if changes_quantity(binary) {
            self.merge_after_name_drop(results)
        } else {
            Ok(results)
        }
    }
}

/// Notes why an operator has no value for histograms.
fn noted(binary: &Binary, outcome: Result<Option<Cell>, cells::Refusal>, notes: &mut Notes) -> Option<Cell> {
    match outcome {
        Ok(cell) => cell,
        Err(cells::Refusal::Layout) => {
            notes.layouts_in_operator(binary.op.symbol());
            None
        }
        Err(cells::Refusal::Types(left, right)) => {
            notes.types_in_operator(left, binary.op.symbol(), right);
            None
        }
    }
}

/// The operator's value; a comparison without `bool` keeps `kept` or nothing.
fn result_of(binary: &Binary, left: f64, right: f64, kept: f64) -> Option<f64> {
    let value = binary.op.apply(left, right);
    if binary.op.is_comparison() && !binary.return_bool {
        return (value == 1.0).then_some(kept);
    }
    Some(value)
}

/// Whether the result is another quantity than the operand, so that the metric's name no longer fits.
fn changes_quantity(binary: &Binary) -> bool {
    binary.return_bool || !(binary.op.is_comparison() || binary.op.is_set())
}

/// Whether the operator itself changes the quantity; `bool` apart.
fn changes_schema(op: BinaryOp) -> bool {
    !(op.is_comparison() || op.is_set())
}
