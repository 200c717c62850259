//! What says at which times: `offset`, `@`, ranges and subqueries.

use crate::ast::{At, BinaryOp, DurationExpr, Expr, Matrix, Number, Selector, Span, Subquery, millis_of};

use super::parser::{Parsed, Parser};
use super::token::Kind;

/// The largest time that fits ms in an i64, in seconds, as Prometheus bounds it.
const MAX_SECONDS: f64 = i64::MAX as f64;

/// A duration as it was written, and in ms.
pub(super) struct Length {
    pub(super) ms: i64,
    pub(super) expr: Option<Box<DurationExpr>>,
}

/// Parts of a selector or subquery that modifiers change.
struct Modified<'e> {
    offset_ms: &'e mut i64,
    offset_expr: &'e mut Option<Box<DurationExpr>>,
    at: &'e mut Option<At>,
    end: &'e mut usize,
}

fn modified(expr: &mut Expr) -> Option<Modified<'_>> {
    match expr {
        Expr::Selector(selector) => Some(Modified {
            offset_ms: &mut selector.offset_ms,
            offset_expr: &mut selector.offset_expr,
            at: &mut selector.at,
            end: &mut selector.span.end,
        }),
        Expr::Matrix(Matrix { selector, span, .. }) => Some(Modified {
            offset_ms: &mut selector.offset_ms,
            offset_expr: &mut selector.offset_expr,
            at: &mut selector.at,
            end: &mut span.end,
        }),
        Expr::Subquery(subquery) => Some(Modified {
            offset_ms: &mut subquery.offset_ms,
            offset_expr: &mut subquery.offset_expr,
            at: &mut subquery.at,
            end: &mut subquery.span.end,
        }),
        _ => None,
    }
}

impl Parser<'_> {
    pub(super) fn offset(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.take()?;
        let length = self.offset_length()?;
        let (span, end) = (expr.span(), self.last_closing);
        match modified(&mut expr) {
            None => self.report(
                span,
                "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            ),
            Some(modified) => {
                let twice = *modified.offset_ms != 0 || modified.offset_expr.is_some();
                *modified.offset_ms = length.ms;
                *modified.offset_expr = length.expr;
                *modified.end = end;
                if twice {
                    self.report(span, "offset may not be set multiple times");
                }
            }
        }
        Ok(expr)
    }

    pub(super) fn at(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.take()?;
        let at = self.fixed_time(expr.span())?;
        let (span, end) = (expr.span(), self.last_closing);
        match modified(&mut expr) {
            None => self.report(
                span,
                "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            ),
            Some(Modified { at: Some(_), .. }) => {
                self.report(span, "@ <timestamp> may not be set multiple times");
            }
            Some(modified) => {
                *modified.at = Some(at);
                *modified.end = end;
            }
        }
        Ok(expr)
    }

    /// What follows `@`: `start()`, `end()` or a number of seconds with or without a sign.
    fn fixed_time(&mut self, span: Span) -> Parsed<At> {
        const PLACE: &str = " in @, expected timestamp";
        let at = match self.peek()?.kind {
            Kind::AtStart => At::Start,
            Kind::AtEnd => At::End,
            _ => {
                let sign = match self.peek()?.kind {
                    Kind::Operator(BinaryOp::Add) => self.take().map(|_| 1.0)?,
                    Kind::Operator(BinaryOp::Sub) => self.take().map(|_| -1.0)?,
                    _ => 1.0,
                };
                if !matches!(self.peek()?.kind, Kind::Number | Kind::Duration) {
                    return self.unexpected(PLACE);
                }
                let seconds = sign * self.number()?.value;
                if !(seconds > -MAX_SECONDS && seconds < MAX_SECONDS) {
                    let shown = if seconds.is_finite() {
                        format!("{seconds:.6}")
                    } else {
                        crate::float::format_value(seconds)
                    };
                    self.report(span, format!("timestamp out of bounds for @ modifier: {shown}"));
                }
                return Ok(At::Time((seconds * 1000.0).round() as i64));
            }
        };
        self.take()?;
        for kind in [Kind::LeftParen, Kind::RightParen] {
            if self.take_if(kind)?.is_none() {
                return self.unexpected(PLACE);
            }
        }
        Ok(at)
    }

    /// What follows `[`.
    pub(super) fn range(&mut self, expr: Expr) -> Parsed<Expr> {
        const FIRST: &str = " in subquery selector, expected number or duration";
        let open = self.take()?;
        let range = self.positive_length(FIRST)?;
        if let Some(close) = self.take_if(Kind::RightBracket)? {
            return Ok(self.matrix(expr, range, open.span.to(close.span)));
        }
        if self.take_if(Kind::Colon)?.is_none() {
            return self.unexpected(" in subquery or range, expected \":\" or \"]\"");
        }
        let step = match self.peek()?.kind {
            Kind::RightBracket => Length { ms: 0, expr: None },
            _ => self.positive_length(" in subquery selector, expected number or duration or \"]\"")?,
        };
        let Some(close) = self.take_if(Kind::RightBracket)? else {
            return self.unexpected(" in subquery selector, expected \"]\"");
        };
        let span = expr.span().to(close.span);
        Ok(Expr::Subquery(Box::new(Subquery {
            expr,
            range_ms: range.ms,
            range_expr: range.expr,
            step_ms: Some(step.ms).filter(|ms| *ms > 0),
            step_expr: step.expr,
            offset_ms: 0,
            offset_expr: None,
            at: None,
            span,
        })))
    }

    fn matrix(&mut self, expr: Expr, range: Length, brackets: Span) -> Expr {
        let problem = match &expr {
            Expr::Selector(selector) if selector.offset_ms != 0 && selector.offset_expr.is_none() => {
                Some("no offset modifiers allowed before range")
            }
            Expr::Selector(Selector {
                at: Some(At::Time(_)),
                ..
            }) => Some("no @ modifiers allowed before range"),
            Expr::Selector(_) => None,
            _ => Some("ranges only allowed for vector selectors"),
        };
        if let Some(problem) = problem {
            self.report(brackets, problem);
        }
        let span = expr.span().to(brackets);
        match expr {
            Expr::Selector(selector) => Expr::Matrix(Matrix {
                selector,
                range_ms: range.ms,
                range_expr: range.expr,
                span,
            }),
            // A fault was reported; only the end matters.
            other => other,
        }
    }

    /// A literal must be positive; what is computed is looked at when it is evaluated.
    fn positive_length(&mut self, place: &str) -> Parsed<Length> {
        let expr = self.duration_expr(place)?;
        if let DurationExpr::Literal(number) = &expr
            && number.value <= 0.0
        {
            self.report(number.span, "duration must be greater than 0");
        }
        Ok(self.length(expr))
    }

    fn offset_length(&mut self) -> Parsed<Length> {
        let expr = self.offset_expr(" in offset, expected number or duration")?;
        Ok(self.length(expr))
    }

    fn length(&mut self, expr: DurationExpr) -> Length {
        match expr {
            DurationExpr::Literal(Number { value, .. }) => Length {
                // Out of range is reported where the literal is read.
                ms: millis_of(value).unwrap_or(0),
                expr: None,
            },
            computed => Length {
                // What cannot be computed is an error of evaluation.
                ms: computed.millis(true).unwrap_or(0),
                expr: Some(Box::new(computed)),
            },
        }
    }
}
