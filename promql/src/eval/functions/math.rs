//! Functions of one value, clamp and round.

use crate::ast::{Call, Function};
use crate::error::EvalError;
use crate::eval::evaluator::Evaluator;
use crate::eval::grid::Grid;
use crate::eval::rows::Row;

use super::argument;

/// The function of one value, if it is one.
pub(super) fn unary(function: Function) -> Option<fn(f64) -> f64> {
    use Function as F;
    Some(match function {
        F::Abs => f64::abs,
        F::Ceil => f64::ceil,
        F::Floor => f64::floor,
        F::Exp => f64::exp,
        F::Sqrt => f64::sqrt,
        F::Ln => f64::ln,
        F::Log2 => f64::log2,
        F::Log10 => f64::log10,
        F::Sin => f64::sin,
        F::Cos => f64::cos,
        F::Tan => f64::tan,
        F::Asin => f64::asin,
        F::Acos => f64::acos,
        F::Atan => f64::atan,
        F::Sinh => f64::sinh,
        F::Cosh => f64::cosh,
        F::Tanh => f64::tanh,
        F::Asinh => f64::asinh,
        F::Acosh => f64::acosh,
        F::Atanh => f64::atanh,
        F::Rad => |degrees| degrees * std::f64::consts::PI / 180.0,
        F::Deg => |radians| radians * 180.0 / std::f64::consts::PI,
        F::Sgn => sign,
        _ => return None,
    })
}

/// -1, 1, or the value itself where it is zero or NaN.
fn sign(value: f64) -> f64 {
    if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    }
}

/// The lesser, but NaN if either is and neither is the least of all, as Go's `math.Min`.
fn least(a: f64, b: f64) -> f64 {
    match a.is_nan() || b.is_nan() {
        true if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY => f64::NEG_INFINITY,
        true => f64::NAN,
        false => a.min(b),
    }
}

/// The greater, as Go's `math.Max`.
fn greatest(a: f64, b: f64) -> f64 {
    -least(-a, -b)
}

impl Evaluator<'_> {
    pub(super) fn clamp(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let rows = self.vector(argument(call, 0)?, grid)?;
        let first = self.scalar(argument(call, 1)?, grid)?;
        match call.function {
            Function::ClampMin => self.map_rows(rows, |i, value| Some(greatest(first[i], value))),
            Function::ClampMax => self.map_rows(rows, |i, value| Some(least(first[i], value))),
            _ => {
                let second = self.scalar(argument(call, 2)?, grid)?;
                self.map_rows(rows, |i, value| {
                    let (low, high) = (first[i], second[i]);
                    // Bounds the wrong way round select nothing.
                    if high < low {
                        None
                    } else {
                        Some(greatest(low, least(high, value)))
                    }
                })
            }
        }
    }

    pub(super) fn round(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let rows = self.vector(argument(call, 0)?, grid)?;
        let to = match call.args.get(1) {
            Some(to) => self.scalar(to, grid)?,
            None => vec![1.0; grid.len()],
        };
        self.map_rows(rows, |index, value| {
            // As Prometheus computes it: dividing by the inverse rounds halves up.
            let inverse = 1.0 / to[index];
            Some((value * inverse + 0.5).floor() / inverse)
        })
    }
}
