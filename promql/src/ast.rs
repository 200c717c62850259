//! A checked query: what `lower()` makes of the parser's tree, and all that the evaluator knows.
//!
//! Types are already checked: an argument has the type its function wants, set operators have vectors on both
//! sides, comparisons of two scalars carry `bool`. Durations and offsets are ms; times are Unix ms.

use crate::matcher::Matcher;

mod function;
mod ops;

pub use function::Function;
pub use ops::{AggregateOp, BinaryOp};

/// A parsed and checked query.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan(pub(crate) Expr);

impl Plan {
    /// The query's root.
    pub fn expr(&self) -> &Expr {
        &self.0
    }

    /// A plan from an expression changed after parsing, for example with other times on its selectors.
    pub fn from_expr(expr: Expr) -> Self {
        Self(expr)
    }
}

/// A node of a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// An instant vector selector.
    Selector(Selector),
    /// A range vector selector.
    Matrix(Matrix),
    /// A range vector made by evaluating an instant expression on a grid.
    Subquery(Box<Subquery>),
    /// A minus sign before a scalar or vector.
    Negate(Box<Expr>),
    /// An expression in parentheses.
    Paren(Box<Expr>),
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
        while let Self::Paren(inner) = expr {
            expr = inner;
        }
        expr
    }
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
    /// All must match; `__name__` is among them where the selector names a metric.
    pub matchers: Vec<Matcher>,
    /// `offset` in ms, positive into the past.
    pub offset_ms: i64,
    /// `@`.
    pub at: Option<At>,
}

/// A selector and the length of the window before each time.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Which series.
    pub selector: Selector,
    /// Window in ms.
    pub range_ms: i64,
}

/// An instant expression evaluated on a grid of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Subquery {
    /// What is evaluated.
    pub expr: Expr,
    /// Window in ms.
    pub range_ms: i64,
    /// Step in ms; `None` is the default evaluation interval.
    pub step_ms: Option<i64>,
    /// `offset` in ms.
    pub offset_ms: i64,
    /// `@`.
    pub at: Option<At>,
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
}

/// A function call; optional arguments may be missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The function.
    pub function: Function,
    /// Its arguments.
    pub args: Vec<Expr>,
}
