//! Which expressions go series by series: what they give of a batch of series does not depend on the others.

use crate::ast::{Call, Expr, Function, Selector};
use crate::labels::METRIC_NAME;
use crate::matcher::MatchOp;

/// An expression over one selector that goes series by series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape<'e> {
    selector: &'e Selector,
    /// Names go, so that series may become equal.
    drops_names: bool,
}

impl<'e> Shape<'e> {
    /// The shape of an expression; `None` if it looks at several series at once, or at several selectors.
    pub(super) fn of(expr: &'e Expr) -> Option<Self> {
        match expr {
            Expr::Selector(selector) => Some(Shape::plain(selector)),
            Expr::Matrix(matrix) => Some(Shape::plain(&matrix.selector)),
            Expr::Subquery(subquery) => Shape::of(&subquery.expr),
            Expr::Paren(paren) => Shape::of(&paren.expr),
            Expr::Unary(unary) => Some(Shape::of(&unary.expr)?.dropping(unary.negative)),
            Expr::Binary(binary) if binary.op.is_set() => None,
            Expr::Binary(binary) => {
                let shape = match (reads_nothing(&binary.lhs), reads_nothing(&binary.rhs)) {
                    (true, false) => Shape::of(&binary.rhs)?,
                    (false, true) => Shape::of(&binary.lhs)?,
                    _ => return None,
                };
                Some(shape.dropping(!binary.op.is_comparison() || binary.return_bool))
            }
            Expr::Call(call) => Shape::of_call(call),
            Expr::Aggregate(_) | Expr::Number(_) | Expr::Text(_) => None,
        }
    }

    fn plain(selector: &'e Selector) -> Self {
        Shape {
            selector,
            drops_names: false,
        }
    }

    fn of_call(call: &'e Call) -> Option<Self> {
        if looks_at_many(call.function) {
            return None;
        }
        let mut reading = call.args.iter().filter(|arg| !reads_nothing(arg));
        let (argument, others) = (reading.next()?, reading.next());
        let keeps = matches!(call.function, Function::LastOverTime | Function::FirstOverTime);
        match others {
            None => Some(Shape::of(argument)?.dropping(!keeps)),
            Some(_) => None,
        }
    }

    fn dropping(self, drops: bool) -> Self {
        Shape {
            drops_names: self.drops_names || drops,
            ..self
        }
    }

    /// Whether series may become equal by losing their names.
    pub(super) fn may_collide(self) -> bool {
        let is_name =
            |matcher: &crate::Matcher| matcher.name() == METRIC_NAME && matcher.op() == MatchOp::Equal;
        self.drops_names && !self.selector.matchers.iter().any(is_name)
    }

    /// Whether labels that describe the metric go.
    pub(super) fn drops_names(self) -> bool {
        self.drops_names
    }
}

/// Functions whose value for one series depends on others, or that give a scalar.
fn looks_at_many(function: Function) -> bool {
    use Function as F;
    matches!(
        function,
        F::Absent
            | F::AbsentOverTime
            | F::HistogramFraction
            | F::HistogramQuantile
            | F::Info
            | F::LabelJoin
            | F::LabelReplace
            | F::Scalar
            | F::Sort
            | F::SortByLabel
            | F::SortByLabelDesc
            | F::SortDesc
            | F::Vector
    )
}

/// Whether an expression has no selector and is a scalar or a text.
fn reads_nothing(expr: &Expr) -> bool {
    match expr {
        Expr::Number(_) | Expr::Text(_) => true,
        Expr::Paren(paren) => reads_nothing(&paren.expr),
        Expr::Unary(unary) => reads_nothing(&unary.expr),
        Expr::Binary(binary) => reads_nothing(&binary.lhs) && reads_nothing(&binary.rhs),
        Expr::Call(call) => matches!(call.function, Function::Time | Function::Pi),
        Expr::Selector(_) | Expr::Matrix(_) | Expr::Subquery(_) | Expr::Aggregate(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{ParseOptions, parse_with};

    #[test]
    fn what_goes_series_by_series() {
        let shape = |query: &str| {
            let plan = parse_with(query, ParseOptions::ALL).unwrap();
            Shape::of(plan.expr()).map(|shape| (shape.drops_names(), shape.may_collide()))
        };
        for (query, expected) in [
            ("m", Some((false, false))),
            ("rate(m[5m])", Some((true, false))),
            ("rate({__name__=~\"m.*\"}[5m])", Some((true, true))),
            ("last_over_time({a=\"b\"}[5m])", Some((false, false))),
            ("2 * -(m) > time()", Some((true, false))),
            ("max_over_time(rate(m[5m])[1h:1m] offset 5m)", Some((true, false))),
            ("quantile_over_time(0.5, m[5m])", Some((true, false))),
            ("clamp(m, 1, 2)", Some((true, false))),
            ("m > 1", Some((false, false))),
            ("m * scalar(m)", None),
            ("m / m", None),
            ("m and m", None),
            ("sum(m)", None),
            ("absent(m)", None),
            ("vector(1)", None),
            ("hour()", None),
            ("1", None),
            ("label_replace(m, \"a\", \"b\", \"c\", \"d\")", None),
        ] {
            assert_eq!(shape(query), expected, "{query}");
        }
    }
}
