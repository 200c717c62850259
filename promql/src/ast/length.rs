//! Durations that are computed: `[5m * 2]`, `offset (1h + 5m)`; Prometheus's feature `promql-duration-expr`.

use super::{BinaryOp, Expr, Number, Plan, Selector, Span};
use crate::error::EvalError;

/// A computed duration, in seconds.
#[derive(Debug, Clone, PartialEq)]
pub enum DurationExpr {
    /// A number of seconds or a duration.
    Literal(Number),
    /// A minus sign.
    Negate {
        /// What follows it.
        inner: Box<DurationExpr>,
        /// Whether parentheses stand around it.
        wrapped: bool,
        /// Where it stands.
        span: Span,
    },
    /// One of `+ - * / % ^`.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Left side.
        lhs: Box<DurationExpr>,
        /// Right side.
        rhs: Box<DurationExpr>,
        /// Whether parentheses stand around it.
        wrapped: bool,
    },
}

impl DurationExpr {
    /// Where it stands, parentheses not counted.
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Literal(number) => number.span,
            Self::Negate { span, .. } => *span,
            Self::Binary { lhs, rhs, .. } => lhs.span().to(rhs.span()),
        }
    }

    /// The same in parentheses; a literal does not remember them.
    pub(crate) fn wrap(mut self) -> Self {
        if let Self::Negate { wrapped, .. } | Self::Binary { wrapped, .. } = &mut self {
            *wrapped = true;
        }
        self
    }

    fn seconds(&self) -> Result<f64, &'static str> {
        match self {
            Self::Literal(number) => Ok(number.value),
            Self::Negate { inner, .. } => Ok(-inner.seconds()?),
            Self::Binary { op, lhs, rhs, .. } => match (op, lhs.seconds()?, rhs.seconds()?) {
                (BinaryOp::Div, _, 0.0) => Err("division by zero"),
                (BinaryOp::Mod, _, 0.0) => Err("modulo by zero"),
                (op, lhs, rhs) => Ok(op.apply(lhs, rhs)),
            },
        }
    }

    /// The duration in ms.
    ///
    /// # Errors
    /// In Prometheus's words, with the bytes that it concerns.
    pub(crate) fn millis(&self, may_be_negative: bool) -> Result<i64, String> {
        let place = |message: &str| {
            let Span { start, end } = self.span();
            format!("{start}:{end}: {message}")
        };
        let seconds = self.seconds().map_err(place)?;
        if seconds <= 0.0 && !may_be_negative {
            return Err(place("duration must be greater than 0"));
        }
        millis_of(seconds).ok_or_else(|| place("duration is out of range"))
    }
}

/// Seconds as whole ms, if they fit Go's count of ns in an i64.
pub(crate) fn millis_of(seconds: f64) -> Option<i64> {
    let limit = i64::MAX as f64 / 1e9;
    // Prometheus makes ns of the seconds first, then cuts them to ms.
    let nanos = || (seconds * 1e9).round() as i64;
    (-limit..=limit).contains(&seconds).then(|| nanos() / 1_000_000)
}

impl Plan {
    /// Whether every duration of the query can be computed; an evaluation begins with it. Prometheus finds such faults
    /// behind the parser, which accepts them.
    ///
    /// # Errors
    /// [`EvalError::BadRange`] in Prometheus's words, with the bytes that it concerns.
    pub fn check_durations(&self) -> Result<(), EvalError> {
        check(&self.expr).map_err(EvalError::BadRange)
    }
}

fn check(expr: &Expr) -> Result<(), String> {
    match expr {
        Expr::Number(_) | Expr::Text(_) => Ok(()),
        Expr::Selector(selector) => check_offset(selector),
        Expr::Matrix(matrix) => {
            check_length(matrix.range_expr.as_deref(), false)?;
            check_offset(&matrix.selector)
        }
        Expr::Subquery(subquery) => {
            check_length(subquery.offset_expr.as_deref(), true)?;
            check_length(subquery.step_expr.as_deref(), false)?;
            check_length(subquery.range_expr.as_deref(), false)?;
            check(&subquery.expr)
        }
        Expr::Unary(unary) => check(&unary.expr),
        Expr::Paren(paren) => check(&paren.expr),
        Expr::Binary(binary) => check(&binary.lhs).and_then(|()| check(&binary.rhs)),
        Expr::Aggregate(aggregate) => {
            check(&aggregate.expr)?;
            aggregate.param.as_ref().map_or(Ok(()), check)
        }
        Expr::Call(call) => call.args.iter().try_for_each(check),
    }
}

fn check_offset(selector: &Selector) -> Result<(), String> {
    check_length(selector.offset_expr.as_deref(), true)
}

fn check_length(expr: Option<&DurationExpr>, may_be_negative: bool) -> Result<(), String> {
    expr.map_or(Ok(()), |expr| expr.millis(may_be_negative).map(|_| ()))
}
