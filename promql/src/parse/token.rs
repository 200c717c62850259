//! Tokens, and how Prometheus's messages name them.

use crate::ast::{AggregateOp, BinaryOp, Span};
use crate::number::{go_quote, go_quote_prefix};

/// What a token is. Words that are keywords are found by their lower-case text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The end of the text, or an error of the lexer, which is already reported.
    End,
    /// `foo`
    Identifier,
    /// `foo:bar`
    MetricIdentifier,
    Number,
    Duration,
    String,
    Operator(BinaryOp),
    Aggregator(AggregateOp),
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Offset,
    Bool,
    AtStart,
    AtEnd,
    /// `@`
    At,
    /// `=` and its kin between braces; `!=` is an operator.
    Equal,
    EqualRegex,
    NotRegex,
    Comma,
    Colon,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
}

/// A token and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'q> {
    pub(super) kind: Kind,
    pub(super) text: &'q str,
    pub(super) span: Span,
}

impl Token<'_> {
    /// The token as `unexpected ...` names it.
    pub(super) fn description(&self) -> String {
        let text = self.text;
        let quoted = || go_quote(text.as_bytes());
        match self.kind {
            Kind::End => "end of input".to_owned(),
            Kind::Identifier => format!("identifier {}", quoted()),
            Kind::MetricIdentifier => format!("metric identifier {}", quoted()),
            Kind::Number => format!("number {}", shortened(text)),
            Kind::Duration => format!("duration {}", shortened(text)),
            Kind::String => format!("string {}", shortened(text)),
            // Prometheus has no name for it and prints the number of its token.
            Kind::At => "\"<Item 57400>\" <op:@>".to_owned(),
            Kind::Operator(_) | Kind::EqualRegex | Kind::NotRegex => format!("<op:{text}>"),
            Kind::Aggregator(_) => format!("<aggr:{text}>"),
            Kind::By
            | Kind::Without
            | Kind::On
            | Kind::Ignoring
            | Kind::GroupLeft
            | Kind::GroupRight
            | Kind::Offset
            | Kind::Bool => format!("<{text}>"),
            _ => quoted(),
        }
    }

    /// Whether an expression can begin with it.
    pub(super) fn begins_expr(&self) -> bool {
        match self.kind {
            Kind::Number | Kind::Duration | Kind::String | Kind::LeftParen | Kind::LeftBrace => true,
            Kind::Operator(BinaryOp::Add | BinaryOp::Sub) => true,
            _ => self.is_metric_name(),
        }
    }

    /// Whether it can be a metric's name in an expression.
    pub(super) fn is_metric_name(&self) -> bool {
        match self.kind {
            Kind::Operator(op) => op.is_set(),
            Kind::Identifier
            | Kind::MetricIdentifier
            | Kind::Aggregator(_)
            | Kind::By
            | Kind::Without
            | Kind::Offset
            | Kind::AtStart
            | Kind::AtEnd => true,
            _ => false,
        }
    }

    /// Whether it can be a label's name in `by`, `on` and their kin.
    pub(super) fn is_label_name(&self) -> bool {
        match self.kind {
            Kind::Operator(op) => op.is_set() || op == BinaryOp::Atan2,
            Kind::Without => false,
            Kind::On | Kind::Ignoring | Kind::GroupLeft | Kind::GroupRight | Kind::Bool => true,
            _ => self.is_metric_name(),
        }
    }
}

/// Quoted, and cut to ten characters if it has more than ten bytes.
fn shortened(text: &str) -> String {
    if text.len() > 10 {
        format!("{}...", go_quote_prefix(text, 10))
    } else {
        go_quote(text.as_bytes())
    }
}

/// The keyword that a word is, if it is one.
pub(super) fn keyword(word: &str) -> Option<Kind> {
    let lower = word.to_ascii_lowercase();
    let kind = match lower.as_str() {
        "by" => Kind::By,
        "without" => Kind::Without,
        "on" => Kind::On,
        "ignoring" => Kind::Ignoring,
        "group_left" => Kind::GroupLeft,
        "group_right" => Kind::GroupRight,
        "offset" => Kind::Offset,
        "bool" => Kind::Bool,
        "start" => Kind::AtStart,
        "end" => Kind::AtEnd,
        "inf" | "nan" => Kind::Number,
        "and" => Kind::Operator(BinaryOp::And),
        "or" => Kind::Operator(BinaryOp::Or),
        "unless" => Kind::Operator(BinaryOp::Unless),
        "atan2" => Kind::Operator(BinaryOp::Atan2),
        name => return AggregateOp::from_name(name).map(Kind::Aggregator),
    };
    Some(kind)
}
