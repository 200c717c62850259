//! Queries as text, as Prometheus's `String()` prints them: matchers sorted, durations in their longest units.

use std::fmt;

use super::{
    Aggregate, At, Binary, Cardinality, DurationExpr, Expr, Grouping, Matrix, Number, Selector, Subquery,
    Unary,
};
use crate::duration::format_duration;
use crate::float::format_value;
use crate::labels::METRIC_NAME;
use crate::matcher::{MatchOp, Matcher, is_plain_name};
use crate::number::go_quote;

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(&go_quote(&text.bytes)),
            Self::Selector(selector) => write!(f, "{}{}", Bare(selector), Times::of(selector)),
            Self::Matrix(matrix) => matrix.fmt(f),
            Self::Subquery(subquery) => write!(f, "{}{}", subquery.expr, subquery.suffix()),
            Self::Unary(unary) => write!(f, "{}{}", unary.sign(), unary.expr),
            Self::Paren(paren) => write!(f, "({})", paren.expr),
            Self::Binary(binary) => write!(f, "{} {} {}", binary.lhs, binary.operator(), binary.rhs),
            Self::Aggregate(aggregate) => {
                write!(f, "{}(", aggregate.head())?;
                if let Some(param) = &aggregate.param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{})", aggregate.expr)
            }
            Self::Call(call) => {
                write!(f, "{}(", call.function.name())?;
                for (index, arg) in call.args.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{arg}")?;
                }
                f.write_str(")")
            }
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_duration {
            f.write_str(&format_duration((self.value * 1e3).round() as i64))
        } else {
            f.write_str(&format_value(self.value))
        }
    }
}

impl fmt::Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wrapped, text) = match self {
            Self::Literal(number) => return number.fmt(f),
            Self::Negate { inner, wrapped, .. } => (*wrapped, format!("-{inner}")),
            Self::Binary {
                op,
                lhs,
                rhs,
                wrapped,
            } => (*wrapped, format!("{lhs} {} {rhs}", op.symbol())),
        };
        if wrapped {
            write!(f, "({text})")
        } else {
            f.write_str(&text)
        }
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = length(self.range_ms, self.range_expr.as_deref());
        write!(
            f,
            "{}[{range}]{}",
            Bare(&self.selector),
            Times::of(&self.selector)
        )
    }
}

/// A duration as it was written.
fn length(ms: i64, expr: Option<&DurationExpr>) -> String {
    expr.map_or_else(|| format_duration(ms), ToString::to_string)
}

impl Unary {
    pub(super) fn sign(&self) -> char {
        if self.negative { '-' } else { '+' }
    }
}

impl Subquery {
    /// `[1h:5m] @ end() offset 1m`
    pub(super) fn suffix(&self) -> String {
        let range = length(self.range_ms, self.range_expr.as_deref());
        let step = match (self.step_ms, &self.step_expr) {
            (None, None) => String::new(),
            (ms, expr) => length(ms.unwrap_or(0), expr.as_deref()),
        };
        let times = Times {
            at: self.at,
            offset_ms: self.offset_ms,
            offset_expr: self.offset_expr.as_deref(),
        };
        format!("[{range}:{step}]{times}")
    }
}

impl Aggregate {
    /// What stands before the parentheses.
    pub(super) fn head(&self) -> String {
        let name = self.op.name();
        match &self.grouping {
            Grouping::Only(labels) if labels.is_empty() => name.to_owned(),
            Grouping::Only(labels) => format!("{name} by ({}) ", quoted_where_needed(labels)),
            Grouping::Without(labels) => format!("{name} without ({}) ", quoted_where_needed(labels)),
        }
    }
}

fn quoted_where_needed(labels: &[String]) -> String {
    let label = |label: &String| {
        if is_plain_name(&label.replace(':', "_")) {
            label.clone()
        } else {
            go_quote(label.as_bytes())
        }
    };
    labels.iter().map(label).collect::<Vec<_>>().join(", ")
}

impl Binary {
    /// The operator with all that belongs to it.
    pub(super) fn operator(&self) -> String {
        let mut text = self.op.symbol().to_owned();
        if self.return_bool {
            text.push_str(" bool");
        }
        let grouped = match self.matching.cardinality {
            Cardinality::ManyToOne => Some("group_left"),
            Cardinality::OneToMany => Some("group_right"),
            Cardinality::OneToOne | Cardinality::ManyToMany => None,
        };
        // Prometheus 3.5 quotes no labels here, and forgets `ignoring () group_left ()`; both change the meaning.
        match &self.matching.labels {
            Grouping::Only(labels) => text.push_str(&format!(" on ({})", quoted_where_needed(labels))),
            Grouping::Without(labels) if !labels.is_empty() || grouped.is_some() => {
                text.push_str(&format!(" ignoring ({})", quoted_where_needed(labels)));
            }
            Grouping::Without(_) => {}
        }
        if let Some(grouped) = grouped {
            let include = quoted_where_needed(&self.matching.include);
            text.push_str(&format!(" {grouped} ({include})"));
        }
        text
    }
}

/// A selector without `@` and `offset`.
struct Bare<'a>(&'a Selector);

impl fmt::Display for Bare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.name.as_deref().unwrap_or_default();
        let is_name = |matcher: &Matcher| {
            matcher.name() == METRIC_NAME
                && matcher.op() == MatchOp::Equal
                && matcher.value() == name
                && !name.is_empty()
        };
        let mut matchers: Vec<String> = self
            .0
            .matchers
            .iter()
            .filter(|matcher| !is_name(matcher))
            .map(ToString::to_string)
            .collect();
        matchers.sort();
        f.write_str(name)?;
        if !matchers.is_empty() || name.is_empty() {
            write!(f, "{{{}}}", matchers.join(","))?;
        }
        Ok(())
    }
}

/// ` @ 5.000 offset 1m`
struct Times<'a> {
    at: Option<At>,
    offset_ms: i64,
    offset_expr: Option<&'a DurationExpr>,
}

impl<'a> Times<'a> {
    fn of(selector: &'a Selector) -> Self {
        Self {
            at: selector.at,
            offset_ms: selector.offset_ms,
            offset_expr: selector.offset_expr.as_deref(),
        }
    }
}

impl fmt::Display for Times<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            None => {}
            Some(At::Start) => f.write_str(" @ start()")?,
            Some(At::End) => f.write_str(" @ end()")?,
            Some(At::Time(ms)) => write!(f, " @ {:.3}", ms as f64 / 1000.0)?,
        }
        if self.offset_ms != 0 || self.offset_expr.is_some() {
            let offset = length(self.offset_ms, self.offset_expr);
            if self.offset_expr.is_some_and(begins_with_literal) {
                write!(f, " offset ({offset})")?;
            } else {
                write!(f, " offset {offset}")?;
            }
        }
        Ok(())
    }
}

/// Whether a literal would be read first, where an offset ends.
fn begins_with_literal(expr: &DurationExpr) -> bool {
    match expr {
        DurationExpr::Literal(_) => true,
        DurationExpr::Negate { wrapped: true, .. } | DurationExpr::Binary { wrapped: true, .. } => false,
        DurationExpr::Negate { inner: first, .. } | DurationExpr::Binary { lhs: first, .. } => {
            begins_with_literal(first)
        }
    }
}
