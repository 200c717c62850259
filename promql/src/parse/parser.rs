//! A Pratt parser of PromQL. What it accepts, the order in which it finds faults, and the words in which it reports
//! them are those of Prometheus 3.5's grammar.
//!
//! Only the first fault counts. One of meaning (a bad regex) is remembered and parsing goes on, for the tree is still
//! needed to find out where things end; one of syntax ends it. A message names the innermost construct that is not yet
//! complete, which [`Context`] remembers.

use crate::ast::{Binary, BinaryOp, Expr, Number, Paren, Span, Text, Unary};
use crate::error::ParseError;
use crate::matcher::PatternCache;

use super::lexer::Lexer;
use super::token::{Kind, Token};
use super::{ParseOptions, number, text};

/// A fault of syntax was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop;

pub(super) type Parsed<T> = Result<T, Stop>;

/// What is being read, for messages; each construct may say what it expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    Query,
    Aggregation,
}

/// How tightly operators bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Power {
    Lowest,
    Or,
    And,
    Comparison,
    Sum,
    Product,
    Sign,
    Exponent,
}

impl Power {
    pub(super) fn of(op: BinaryOp) -> Self {
        match op {
            BinaryOp::Or => Self::Or,
            BinaryOp::And | BinaryOp::Unless => Self::And,
            op if op.is_comparison() => Self::Comparison,
            BinaryOp::Add | BinaryOp::Sub => Self::Sum,
            BinaryOp::Pow => Self::Exponent,
            _ => Self::Product,
        }
    }

    /// The least power of an operator to the right that takes the right operand away.
    pub(super) fn right_of(op: BinaryOp) -> Self {
        match Self::of(op) {
            Self::Or => Self::And,
            Self::And => Self::Comparison,
            Self::Comparison => Self::Sum,
            Self::Sum => Self::Product,
            Self::Product => Self::Sign,
            // Powers lean to the right.
            other => other,
        }
    }
}

/// The state of parsing one text.
pub(super) struct Parser<'q> {
    pub(super) query: &'q str,
    pub(super) options: ParseOptions,
    lexer: Lexer<'q>,
    ahead: Option<Token<'q>>,
    /// The first fault.
    fault: Option<ParseError>,
    /// The end of the last token that can end a selector with modifiers.
    pub(super) last_closing: usize,
    pub(super) context: Context,
    /// Regexes so far.
    pub(super) patterns: usize,
    pub(super) cache: Option<&'q PatternCache>,
}

impl<'q> Parser<'q> {
    pub(super) fn new(query: &'q str, options: ParseOptions) -> Self {
        Self {
            query,
            options,
            lexer: Lexer::new(query),
            ahead: None,
            fault: None,
            last_closing: 0,
            context: Context::Query,
            patterns: 0,
            cache: None,
        }
    }

    /// Takes patterns that are compiled already from a cache.
    pub(super) fn with_cache(self, cache: Option<&'q PatternCache>) -> Self {
        Self { cache, ..self }
    }

    /// The next token, which stays.
    pub(super) fn peek(&mut self) -> Parsed<Token<'q>> {
        if let Some(token) = self.ahead {
            return Ok(token);
        }
        let token = match self.lexer.next() {
            Ok(token) => token,
            Err(error) => {
                self.report(error.span, error.message);
                return Err(Stop);
            }
        };
        if let Kind::RightBrace | Kind::RightParen | Kind::RightBracket | Kind::Duration | Kind::Number =
            token.kind
        {
            self.last_closing = token.span.end;
        }
        self.ahead = Some(token);
        Ok(token)
    }

    /// The next token, taken.
    pub(super) fn take(&mut self) -> Parsed<Token<'q>> {
        let token = self.peek()?;
        self.ahead = None;
        Ok(token)
    }

    /// Takes the next token if it is of a kind.
    pub(super) fn take_if(&mut self, kind: Kind) -> Parsed<Option<Token<'q>>> {
        if self.peek()?.kind == kind {
            self.take().map(Some)
        } else {
            Ok(None)
        }
    }

    /// Remembers a fault, if it is the first.
    pub(super) fn report(&mut self, span: Span, message: impl Into<String>) {
        if self.fault.is_none() {
            self.fault = Some(ParseError::Syntax {
                position: span.position(self.query).to_string(),
                message: message.into(),
            });
        }
    }

    /// Ends with the next token as the fault. `place` is as ` in offset, expected number or duration`.
    pub(super) fn unexpected<T>(&mut self, place: &str) -> Parsed<T> {
        let token = self.peek()?;
        self.report(token.span, format!("unexpected {}{place}", token.description()));
        Err(Stop)
    }

    /// As [`Parser::unexpected`], where nothing more is known than what encloses it.
    pub(super) fn unexpected_here<T>(&mut self) -> Parsed<T> {
        match self.context {
            Context::Query => self.unexpected(""),
            Context::Aggregation => self.unexpected(" in aggregation"),
        }
    }

    /// The first fault, if there was one.
    pub(super) fn into_fault(self) -> Option<ParseError> {
        self.fault
    }

    /// A whole query.
    pub(super) fn query(&mut self) -> Parsed<Expr> {
        if self.peek()?.kind == Kind::End {
            self.report(Span::default(), "no expression found in input");
            return Err(Stop);
        }
        let expr = self.expr(Power::Lowest)?;
        match self.peek()?.kind {
            Kind::End => Ok(expr),
            _ => self.unexpected_here(),
        }
    }

    /// An expression, up to an operator that binds less tightly than `least`.
    pub(super) fn expr(&mut self, least: Power) -> Parsed<Expr> {
        let mut left = self.operand()?;
        loop {
            left = match self.peek()?.kind {
                Kind::Offset => self.offset(left)?,
                Kind::At => self.at(left)?,
                Kind::LeftBracket => self.range(left)?,
                Kind::Operator(op) if Power::of(op) >= least => self.binary(left, op)?,
                _ => return Ok(left),
            };
        }
    }

    /// An expression without an operator or modifier behind it.
    fn operand(&mut self) -> Parsed<Expr> {
        let token = self.peek()?;
        match token.kind {
            Kind::Number | Kind::Duration => self.number().map(Expr::Number),
            Kind::String => self.string().map(Expr::Text),
            Kind::LeftParen => self.paren(),
            Kind::Operator(op @ (BinaryOp::Add | BinaryOp::Sub)) => self.unary(op == BinaryOp::Sub),
            Kind::LeftBrace => self.selector(None),
            Kind::Aggregator(op) => {
                self.take()?;
                self.aggregate_or_name(token, op)
            }
            Kind::Identifier => {
                self.take()?;
                match self.peek()?.kind {
                    Kind::LeftParen => self.call(token),
                    _ => self.selector(Some(token)),
                }
            }
            _ if token.is_metric_name() => {
                self.take()?;
                self.selector(Some(token))
            }
            _ => self.unexpected_here(),
        }
    }

    /// A number or duration.
    pub(super) fn number(&mut self) -> Parsed<Number> {
        let token = self.take()?;
        let is_duration = token.kind == Kind::Duration;
        let value = if is_duration {
            number::duration_ms(token.text).map(|ms| (ms / 1000) as f64 + (ms % 1000) as f64 / 1e3)
        } else {
            number::value(token.text)
        };
        let value = value.unwrap_or_else(|message| {
            self.report(token.span, message);
            0.0
        });
        Ok(Number {
            value,
            is_duration,
            span: token.span,
        })
    }

    fn string(&mut self) -> Parsed<Text> {
        let token = self.take()?;
        Ok(Text {
            bytes: self.unquoted(token),
            span: token.span,
        })
    }

    /// The bytes of a string token.
    pub(super) fn unquoted(&mut self, token: Token<'_>) -> Vec<u8> {
        text::unquote(token.text).unwrap_or_else(|message| {
            self.report(token.span, message);
            Vec::new()
        })
    }

    fn paren(&mut self) -> Parsed<Expr> {
        let open = self.take()?;
        let expr = self.expr(Power::Lowest)?;
        let Some(close) = self.take_if(Kind::RightParen)? else {
            return self.unexpected_here();
        };
        let span = open.span.to(close.span);
        Ok(Expr::Paren(Box::new(Paren { expr, span })))
    }

    /// A sign binds as tightly as a product, but a number takes it in.
    fn unary(&mut self, negative: bool) -> Parsed<Expr> {
        let sign = self.take()?;
        Ok(match self.expr(Power::Sign)? {
            Expr::Number(mut number) => {
                if negative {
                    number.value = -number.value;
                }
                number.span = sign.span.to(number.span);
                Expr::Number(number)
            }
            expr => {
                let span = sign.span.to(expr.span());
                Expr::Unary(Box::new(Unary { negative, expr, span }))
            }
        })
    }

    fn binary(&mut self, lhs: Expr, op: BinaryOp) -> Parsed<Expr> {
        self.take()?;
        let (return_bool, matching) = self.modifiers()?;
        let rhs = self.expr(Power::right_of(op))?;
        let span = lhs.span().to(rhs.span());
        Ok(Expr::Binary(Box::new(Binary {
            op,
            lhs,
            rhs,
            matching,
            return_bool,
            span,
        })))
    }
}
