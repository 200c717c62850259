//! Function calls and aggregations.

use crate::ast::{Aggregate, AggregateOp, Call, Expr, Function, Grouping, Span};
use crate::number::go_quote;

use super::parser::{Context, Parsed, Parser, Power, Stop};
use super::token::{Kind, Token};

/// What Prometheus calls its feature.
const EXPERIMENTAL: &str =
    "is experimental and must be enabled with --enable-feature=promql-experimental-functions";

impl Parser<'_> {
    /// A call of the function whose name was taken.
    pub(super) fn call(&mut self, name: Token<'_>) -> Parsed<Expr> {
        let args = self.args()?;
        let function = Function::from_name(name.text);
        match function {
            None => {
                let quoted = go_quote(name.text.as_bytes());
                self.report(name.span, format!("unknown function with name {quoted}"));
            }
            Some(function) if function.is_experimental() && !self.options.experimental_functions => {
                let quoted = go_quote(name.text.as_bytes());
                self.report(name.span, format!("function {quoted} is not enabled"));
            }
            Some(_) => {}
        }
        let span = Span {
            start: name.span.start,
            end: self.last_closing,
        };
        Ok(Expr::Call(Call {
            // Of an unknown one, only the end matters.
            function: function.unwrap_or(Function::Abs),
            args,
            span,
        }))
    }

    /// Arguments in parentheses.
    fn args(&mut self) -> Parsed<Vec<Expr>> {
        self.take()?;
        let mut args = Vec::new();
        if self.take_if(Kind::RightParen)?.is_some() {
            return Ok(args);
        }
        args.push(self.expr(Power::Lowest)?);
        loop {
            if self.take_if(Kind::RightParen)?.is_some() {
                return Ok(args);
            }
            let Some(comma) = self.take_if(Kind::Comma)? else {
                return self.unexpected_here();
            };
            if !self.peek()?.begins_expr() {
                self.report(comma.span, "trailing commas not allowed in function call args");
                continue;
            }
            args.push(self.expr(Power::Lowest)?);
        }
    }

    /// What begins with an aggregation operator, which was taken: an aggregation, or a selector of that name.
    pub(super) fn aggregate_or_name(&mut self, name: Token<'_>, op: AggregateOp) -> Parsed<Expr> {
        if !matches!(self.peek()?.kind, Kind::LeftParen | Kind::By | Kind::Without) {
            return self.selector(Some(name));
        }
        let outer = std::mem::replace(&mut self.context, Context::Aggregation);
        let before = self.grouping()?;
        if self.peek()?.kind != Kind::LeftParen {
            return self.unexpected_here();
        }
        let args = self.args()?;
        self.context = outer;
        let grouping = match before {
            Some(grouping) => Some(grouping),
            None => self.grouping()?,
        };
        let span = Span {
            start: name.span.start,
            end: self.last_closing,
        };
        self.aggregate(op, args, grouping, span)
    }

    fn aggregate(
        &mut self,
        op: AggregateOp,
        args: Vec<Expr>,
        grouping: Option<Grouping>,
        span: Span,
    ) -> Parsed<Expr> {
        let wanted = if op.has_param() { 2 } else { 1 };
        let got = args.len();
        let mut args = args.into_iter();
        if got == 0 {
            self.report(span, "no arguments for aggregate expression provided");
        } else if op.is_experimental() && !self.options.experimental_functions {
            self.report(span, format!("{}() {EXPERIMENTAL}", op.name()));
        } else if got != wanted {
            self.report(
                span,
                format!(
                    "wrong number of arguments for aggregate expression provided, expected {wanted}, got {got}"
                ),
            );
        }
        let param = if op.has_param() { args.next() } else { None };
        let Some(expr) = args.next() else {
            // Reported already; there is no tree to go on with.
            return Err(Stop);
        };
        Ok(Expr::Aggregate(Box::new(Aggregate {
            op,
            expr,
            param,
            grouping: grouping.unwrap_or(Grouping::Only(Vec::new())),
            span,
        })))
    }
}
