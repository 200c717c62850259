//! Duration expressions: `+ - * / % ^`, signs and parentheses between numbers and durations.

use crate::ast::{BinaryOp, DurationExpr, Number, millis_of};

use super::parser::{Parsed, Parser, Power};
use super::token::Kind;

const OUT_OF_RANGE: &str = "duration out of range";

impl Parser<'_> {
    /// What follows `offset`. A literal, with or without a sign, ends there: `m offset 5m + 1` adds to `m`.
    pub(super) fn offset_expr(&mut self, place: &str) -> Parsed<DurationExpr> {
        match self.peek()?.kind {
            Kind::Number | Kind::Duration => self.literal(),
            Kind::Operator(op @ (BinaryOp::Add | BinaryOp::Sub)) => {
                let sign = self.take()?;
                if let Kind::Number | Kind::Duration = self.peek()?.kind {
                    let number = self.number()?;
                    return Ok(self.signed(op == BinaryOp::Sub, sign.span, DurationExpr::Literal(number)));
                }
                let inner = self.duration_operand(place, Power::Sign)?;
                let first = self.signed(op == BinaryOp::Sub, sign.span, inner);
                self.duration_rest(first, place, Power::Lowest)
            }
            _ => self.duration_expr(place),
        }
    }

    /// A whole duration expression. `place` is as for [`Parser::unexpected`].
    pub(super) fn duration_expr(&mut self, place: &str) -> Parsed<DurationExpr> {
        self.duration_operand(place, Power::Lowest)
    }

    fn duration_operand(&mut self, place: &str, least: Power) -> Parsed<DurationExpr> {
        let token = self.peek()?;
        let first = match token.kind {
            Kind::Number | Kind::Duration => self.literal()?,
            Kind::Operator(op @ (BinaryOp::Add | BinaryOp::Sub)) => {
                self.take()?;
                let inner = self.duration_operand(place, Power::Sign)?;
                self.signed(op == BinaryOp::Sub, token.span, inner)
            }
            Kind::LeftParen => {
                self.take()?;
                let inner = self.duration_operand(place, Power::Lowest)?;
                if self.take_if(Kind::RightParen)?.is_none() {
                    return self.unexpected(place);
                }
                self.need_option(&inner);
                inner.wrap()
            }
            _ => return self.unexpected(place),
        };
        self.duration_rest(first, place, least)
    }

    /// The operators behind an operand that bind at least as tightly as `least`.
    fn duration_rest(&mut self, first: DurationExpr, place: &str, least: Power) -> Parsed<DurationExpr> {
        let mut left = first;
        loop {
            let token = self.peek()?;
            let op = match token.kind {
                Kind::Operator(op) if is_arithmetic(op) && Power::of(op) >= least => op,
                _ => return Ok(left),
            };
            self.take()?;
            let right = self.duration_operand(place, Power::right_of(op))?;
            self.need_option(&left);
            let by_zero = matches!(&right, DurationExpr::Literal(number) if number.value == 0.0);
            match op {
                BinaryOp::Div if by_zero => self.report(token.span, "division by zero"),
                BinaryOp::Mod if by_zero => self.report(token.span, "modulo by zero"),
                _ => {}
            }
            left = DurationExpr::Binary {
                op,
                lhs: Box::new(left),
                rhs: Box::new(right),
                wrapped: false,
            };
        }
    }

    fn literal(&mut self) -> Parsed<DurationExpr> {
        let number = self.number()?;
        if millis_of(number.value).is_none() {
            self.report(number.span, OUT_OF_RANGE);
        }
        Ok(DurationExpr::Literal(number))
    }

    fn signed(&mut self, negative: bool, sign: crate::ast::Span, inner: DurationExpr) -> DurationExpr {
        match inner {
            DurationExpr::Literal(number) => {
                let value = if negative { -number.value } else { number.value };
                if millis_of(value).is_none() {
                    self.report(sign, OUT_OF_RANGE);
                }
                DurationExpr::Literal(Number {
                    value,
                    span: sign.to(number.span),
                    ..number
                })
            }
            inner if negative => DurationExpr::Negate {
                span: sign.to(inner.span()),
                inner: Box::new(inner),
                wrapped: false,
            },
            inner => inner,
        }
    }

    fn need_option(&mut self, expr: &DurationExpr) {
        if !self.options.duration_expressions {
            self.report(expr.span(), "experimental duration expression is not enabled");
        }
    }
}

fn is_arithmetic(op: BinaryOp) -> bool {
    !(op.is_comparison() || op.is_set() || op == BinaryOp::Atan2)
}
