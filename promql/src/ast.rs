//! A checked query: what the parser makes of a text, and all that the evaluator knows.
//!
//! Types are already checked: an argument has the type its function wants, set operators have vectors on both
//! sides, comparisons of two scalars carry `bool`. Durations and offsets are ms; times are Unix ms. Every node knows
//! where it stands in the text.

use std::sync::Arc;

use crate::matcher::Matcher;

mod function;
mod length;
mod ops;
mod pretty;
mod print;
mod signature;
mod span;
mod tree;

pub use function::Function;
pub use length::DurationExpr;
pub(crate) use length::millis_of;
pub use ops::{AggregateOp, BinaryOp};
pub use pretty::format;
pub use signature::ValueType;
pub use span::Span;
pub use tree::parse_tree_json;

/// A parsed and checked query.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub(crate) expr: Expr,
    pub(crate) query: Arc<str>,
}

impl Plan {
    /// The query's root.
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// The text that was parsed.
    pub fn query(&self) -> &str {
        &self.query
    }

    /// The same query with an expression changed after parsing, for example with other times on its selectors.
    #[must_use]
    pub fn with_expr(&self, expr: Expr) -> Self {
        Self {
            expr,
            query: self.query.clone(),
        }
    }
}

/// A node of a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// A number.
    Number(Number),
    /// A text.
    Text(Text),
    /// An instant vector selector.
    Selector(Selector),
    /// A range vector selector.
    Matrix(Matrix),
    /// A range vector made by evaluating an instant expression on a grid.
    Subquery(Box<Subquery>),
    /// A sign before a scalar or vector.
    Unary(Box<Unary>),
    /// An expression in parentheses.
    Paren(Box<Paren>),
    /// An operator between two expressions.
    Binary(Box<Binary>),
    /// An aggregation over a vector.
    Aggregate(Box<Aggregate>),
    /// A function call.
    Call(Call),
}

impl Expr {
    /// The expression without parentheses around it.
    pub(crate) fn unwrapped(&self) -> &Self {
        let mut expr = self;
        while let Self::Paren(paren) = expr {
            expr = &paren.expr;
        }
        expr
    }

    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            Self::Number(number) => number.span,
            Self::Text(text) => text.span,
            Self::Selector(selector) => selector.span,
            Self::Matrix(matrix) => matrix.span,
            Self::Subquery(subquery) => subquery.span,
            Self::Unary(unary) => unary.span,
            Self::Paren(paren) => paren.span,
            Self::Binary(binary) => binary.span,
            Self::Aggregate(aggregate) => aggregate.span,
            Self::Call(call) => call.span,
        }
    }

    /// What it gives.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Number(_) => ValueType::Scalar,
            Self::Text(_) => ValueType::String,
            Self::Selector(_) | Self::Aggregate(_) => ValueType::Vector,
            Self::Matrix(_) | Self::Subquery(_) => ValueType::Matrix,
            Self::Unary(unary) => unary.expr.value_type(),
            Self::Paren(paren) => paren.expr.value_type(),
            Self::Binary(binary) => match (binary.lhs.value_type(), binary.rhs.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::Vector,
            },
            Self::Call(call) => call.function.signature().returns,
        }
    }
}

/// A number, or a duration as seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number {
    /// Its value.
    pub value: f64,
    /// Whether it was written as a duration, such as `5m`.
    pub is_duration: bool,
    /// Where it stands.
    pub span: Span,
}

/// A text. PromQL's are bytes; where text is needed, others than UTF-8 are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Where it stands.
    pub span: Span,
}

/// A sign.
#[derive(Debug, Clone, PartialEq)]
pub struct Unary {
    /// Whether it is a minus.
    pub negative: bool,
    /// What it stands before.
    pub expr: Expr,
    /// Where both stand.
    pub span: Span,
}

/// Parentheses.
#[derive(Debug, Clone, PartialEq)]
pub struct Paren {
    /// What they hold.
    pub expr: Expr,
    /// Where they stand.
    pub span: Span,
}

/// The time that `@` fixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// `@ start()`: the query's first time.
    Start,
    /// `@ end()`: the query's last time.
    End,
    /// `@ 1609746000`, in Unix ms.
    Time(i64),
}

/// Which series, and at which time relative to the evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    /// The metric's name before the braces.
    pub name: Option<String>,
    /// All must match; the name before the braces is the last of them, as `__name__`.
    pub matchers: Vec<Matcher>,
    /// `offset` in ms, positive into the past.
    pub offset_ms: i64,
    /// What `offset_ms` was computed from, if it is no literal.
    pub offset_expr: Option<Box<DurationExpr>>,
    /// `@`.
    pub at: Option<At>,
    /// Where it stands.
    pub span: Span,
}

/// A selector and the length of the window before each time.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Which series.
    pub selector: Selector,
    /// Window in ms.
    pub range_ms: i64,
    /// What `range_ms` was computed from, if it is no literal.
    pub range_expr: Option<Box<DurationExpr>>,
    /// Where it stands, with the selector.
    pub span: Span,
}

/// An instant expression evaluated on a grid of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Subquery {
    /// What is evaluated.
    pub expr: Expr,
    /// Window in ms.
    pub range_ms: i64,
    /// What `range_ms` was computed from, if it is no literal.
    pub range_expr: Option<Box<DurationExpr>>,
    /// Step in ms; `None` is the default evaluation interval.
    pub step_ms: Option<i64>,
    /// What `step_ms` was computed from, if it is no literal.
    pub step_expr: Option<Box<DurationExpr>>,
    /// `offset` in ms.
    pub offset_ms: i64,
    /// What `offset_ms` was computed from, if it is no literal.
    pub offset_expr: Option<Box<DurationExpr>>,
    /// `@`.
    pub at: Option<At>,
    /// Where it stands.
    pub span: Span,
}

/// `on`/`ignoring` or `by`/`without`, with label names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grouping {
    /// Only these labels.
    Only(Vec<String>),
    /// All but these labels (and the metric name).
    Without(Vec<String>),
}

/// How many series of each side may match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cardinality {
    /// One on each side.
    OneToOne,
    /// `group_left`: many on the left.
    ManyToOne,
    /// `group_right`: many on the right.
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// How the vectors on both sides of an operator find each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matching {
    /// `on` or `ignoring`.
    pub labels: Grouping,
    /// Cardinality.
    pub cardinality: Cardinality,
    /// Labels that `group_left`/`group_right` copies from the one side.
    pub include: Vec<String>,
}

/// An operator between two expressions.
#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// Left side.
    pub lhs: Expr,
    /// Right side.
    pub rhs: Expr,
    /// How vectors match; used only when both sides are vectors.
    pub matching: Matching,
    /// A comparison gives 0 or 1 instead of filtering.
    pub return_bool: bool,
    /// Where it stands, with both sides.
    pub span: Span,
}

/// An aggregation.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// The operator.
    pub op: AggregateOp,
    /// The vector.
    pub expr: Expr,
    /// k, the quantile, the ratio or the label name.
    pub param: Option<Expr>,
    /// `by` or `without`.
    pub grouping: Grouping,
    /// Where it stands.
    pub span: Span,
}

/// A function call; optional arguments may be missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The function.
    pub function: Function,
    /// Its arguments.
    pub args: Vec<Expr>,
    /// Where it stands.
    pub span: Span,
}
