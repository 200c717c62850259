//! Operators where native histograms take part.

use std::sync::Arc;

use super::result_of;
use crate::ast::{Binary, BinaryOp};
use crate::eval::rows::Cell;

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The operator does not know these types.
    Types(&'static str, &'static str),
    /// The histograms' buckets do not fit.
    Layout,
}

/// The operator's value for two cells; a comparison without `bool` keeps `kept` or nothing.
pub(super) fn operate(
    binary: &Binary,
    left: &Cell,
    right: &Cell,
    kept: &Cell,
) -> Result<Option<Cell>, Refusal> {
    let refused = || Refusal::Types(type_name(left), type_name(right));
    let histogram = |result| Ok(Some(Cell::Histogram(Arc::new(result))));
    match (left, right) {
        (Cell::Float(l), Cell::Float(r)) => {
            let kept = if let Cell::Float(kept) = kept {
                *kept
            } else {
                f64::NAN
            };
            Ok(result_of(binary, *l, *r, kept).map(Cell::Float))
        }
        (Cell::Histogram(h), Cell::Float(factor)) | (Cell::Float(factor), Cell::Histogram(h))
            if binary.op == BinaryOp::Mul =>
        {
            histogram(h.times(*factor))
        }
        (Cell::Histogram(h), Cell::Float(divisor)) if binary.op == BinaryOp::Div => {
            histogram(h.divided_by(*divisor))
        }
        (Cell::Histogram(l), Cell::Histogram(r)) => match binary.op {
            BinaryOp::Add => histogram(l.plus(r).map_err(|_| Refusal::Layout)?),
            BinaryOp::Sub => histogram(l.minus(r).map_err(|_| Refusal::Layout)?),
            BinaryOp::Eq => Ok(compared(binary, l == r, kept)),
            BinaryOp::Ne => Ok(compared(binary, l != r, kept)),
            _ => Err(refused()),
        },
        _ => Err(refused()),
    }
}

fn compared(binary: &Binary, holds: bool, kept: &Cell) -> Option<Cell> {
    if binary.return_bool {
        return Some(Cell::Float(if holds { 1.0 } else { 0.0 }));
    }
    holds.then(|| kept.clone())
}

fn type_name(cell: &Cell) -> &'static str {
    match cell {
        Cell::Float(_) => "float",
        Cell::Histogram(_) => "histogram",
    }
}
