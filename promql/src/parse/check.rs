//! Types, and what else only a whole tree shows. Faults come in Prometheus's order: children mostly first.

use crate::ast::{
    Aggregate, AggregateOp, Binary, Call, Cardinality, Expr, Function, Grouping, Matching, Selector, Span,
    ValueType,
};
use crate::labels::METRIC_NAME;
use crate::number::go_quote;

/// A fault: where, and what.
pub(super) type Fault = (Span, String);

type Checked = Result<(), Fault>;

fn fail(span: Span, message: impl Into<String>) -> Checked {
    Err((span, message.into()))
}

/// Checks a whole tree and completes it: set operators match many to many, and an operator with a scalar not at all.
pub(super) fn check(expr: &mut Expr, query: &str) -> Checked {
    match expr {
        Expr::Number(_) | Expr::Text(_) => Ok(()),
        Expr::Selector(selector) => check_selector(selector, selector.span, false),
        Expr::Matrix(matrix) => check_selector(&matrix.selector, matrix.selector.span, false),
        Expr::Paren(paren) => check(&mut paren.expr, query),
        Expr::Unary(unary) => {
            check(&mut unary.expr, query)?;
            match unary.expr.value_type() {
                ValueType::Scalar | ValueType::Vector => Ok(()),
                other => fail(
                    unary.span,
                    format!(
                        "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
                        other.documented()
                    ),
                ),
            }
        }
        Expr::Subquery(subquery) => {
            check(&mut subquery.expr, query)?;
            match subquery.expr.value_type() {
                ValueType::Vector => Ok(()),
                other => fail(
                    subquery.span,
                    format!(
                        "subquery is only allowed on instant vector, got {} instead",
                        other.name()
                    ),
                ),
            }
        }
        Expr::Binary(binary) => check_binary(binary, query),
        Expr::Aggregate(aggregate) => check_aggregate(aggregate, query),
        Expr::Call(call) => check_call(call, query),
    }
}

fn check_selector(selector: &Selector, span: Span, may_be_empty: bool) -> Checked {
    if let Some(name) = &selector.name {
        let inside = selector
            .matchers
            .split_last()
            .map_or(&[][..], |(_, inside)| inside);
        return match inside.iter().find(|matcher| matcher.name() == METRIC_NAME) {
            None => Ok(()),
            Some(other) => fail(
                span,
                format!(
                    "metric name must not be set twice: {} or {}",
                    go_quote(name.as_bytes()),
                    go_quote(other.value().as_bytes())
                ),
            ),
        };
    }
    if may_be_empty || selector.matchers.iter().any(|matcher| !matcher.matches("")) {
        return Ok(());
    }
    fail(span, super::EMPTY_SELECTOR)
}

/// Where the operator stands: what is between both sides.
fn operator_span(binary: &Binary, query: &str) -> Span {
    let blank = |at: usize| matches!(query.as_bytes().get(at), Some(b' ' | b'\t' | b'\n' | b'\r'));
    let mut start = binary.lhs.span().end;
    while blank(start) {
        start += 1;
    }
    Span {
        start,
        end: binary.rhs.span().start,
    }
}

fn check_binary(binary: &mut Binary, query: &str) -> Checked {
    check(&mut binary.lhs, query)?;
    check(&mut binary.rhs, query)?;
    let (left, right) = (binary.lhs.value_type(), binary.rhs.value_type());
    let op = binary.op;
    if binary.return_bool && !op.is_comparison() {
        return fail(
            operator_span(binary, query),
            "bool modifier can only be used on comparison operators",
        );
    }
    let scalars = (left, right) == (ValueType::Scalar, ValueType::Scalar);
    if op.is_comparison() && !binary.return_bool && scalars {
        return fail(
            operator_span(binary, query),
            "comparisons between scalars must use BOOL modifier",
        );
    }
    if op.is_set() && binary.matching.cardinality == Cardinality::OneToOne {
        binary.matching.cardinality = Cardinality::ManyToMany;
    }
    if let Grouping::Only(on) = &binary.matching.labels
        && let Some(label) = on.iter().find(|label| binary.matching.include.contains(label))
    {
        let label = go_quote(label.as_bytes());
        return fail(
            operator_span(binary, query),
            format!("label {label} must not occur in ON and GROUP clause at once"),
        );
    }
    for (side, value_type) in [(&binary.lhs, left), (&binary.rhs, right)] {
        if !matches!(value_type, ValueType::Scalar | ValueType::Vector) {
            return fail(
                side.span(),
                "binary expression must contain only scalar and instant vector types",
            );
        }
    }
    check_matching(binary, left, right)
}

fn check_matching(binary: &mut Binary, left: ValueType, right: ValueType) -> Checked {
    let (op, span) = (binary.op, binary.span);
    let of_vectors = (left, right) == (ValueType::Vector, ValueType::Vector);
    if !of_vectors {
        let (Grouping::Only(labels) | Grouping::Without(labels)) = &binary.matching.labels;
        if !labels.is_empty() {
            return fail(span, "vector matching only allowed between instant vectors");
        }
        binary.matching = Matching {
            labels: Grouping::Without(Vec::new()),
            cardinality: Cardinality::OneToOne,
            include: Vec::new(),
        };
    } else if op.is_set() && binary.matching.cardinality != Cardinality::ManyToMany {
        return fail(
            span,
            format!("no grouping allowed for {:?} operation", op.symbol()),
        );
    }
    if !of_vectors && op.is_set() {
        return fail(
            span,
            format!(
                "set operator {:?} not allowed in binary scalar expression",
                op.symbol()
            ),
        );
    }
    Ok(())
}

/// Checks a node and that it has a type.
fn expect(expr: &mut Expr, wanted: ValueType, place: &str, query: &str) -> Checked {
    check(expr, query)?;
    let got = expr.value_type();
    if got == wanted {
        return Ok(());
    }
    fail(
        expr.span(),
        format!(
            "expected type {} in {place}, got {}",
            wanted.documented(),
            got.documented()
        ),
    )
}

fn check_aggregate(aggregate: &mut Aggregate, query: &str) -> Checked {
    expect(
        &mut aggregate.expr,
        ValueType::Vector,
        "aggregation expression",
        query,
    )?;
    let wanted = match aggregate.op {
        AggregateOp::CountValues => ValueType::String,
        _ => ValueType::Scalar,
    };
    match &mut aggregate.param {
        Some(param) => expect(param, wanted, "aggregation parameter", query),
        None => Ok(()),
    }
}

fn check_call(call: &mut Call, query: &str) -> Checked {
    let signature = call.function.signature();
    let (wanted, got) = (signature.args.len(), call.args.len());
    let name = call.function.name();
    let count_problem = match signature.variadic {
        0 if wanted != got => Some(format!(
            "expected {wanted} argument(s) in call to {name:?}, got {got}"
        )),
        0 => None,
        _ if got < wanted - 1 => Some(format!(
            "expected at least {} argument(s) in call to {name:?}, got {got}",
            wanted - 1
        )),
        more => match usize::try_from(more) {
            Ok(more) if got > wanted - 1 + more => Some(format!(
                "expected at most {} argument(s) in call to {name:?}, got {got}",
                wanted - 1 + more
            )),
            _ => None,
        },
    };
    if let Some(problem) = count_problem {
        return fail(call.span, problem);
    }
    let of_info = call.function == Function::Info;
    let last = wanted.saturating_sub(1);
    for (index, arg) in call.args.iter_mut().enumerate() {
        let wanted = signature.args[index.min(last)];
        match arg {
            Expr::Selector(selector) if of_info && index == 1 => {
                if selector.name.is_some() {
                    return fail(
                        selector.span,
                        "expected label selectors only, got vector selector instead",
                    );
                }
                check_selector(selector, selector.span, true)?;
            }
            _ => {
                expect(arg, wanted, &format!("call to function {name:?}"), query)?;
                if of_info && index == 1 {
                    return fail(arg.span(), "expected label selectors only");
                }
            }
        }
    }
    Ok(())
}
