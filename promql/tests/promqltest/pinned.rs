//! The same query with its times fixed by `@`, which must give the same value whenever it is evaluated.

use promql::{At, Expr, Function, Plan};

/// The query with `@ time` on every selector and outermost subquery that has none; `None` if the value of one of its
/// functions depends on the evaluation time.
pub(crate) fn pinned(plan: &Plan, time_ms: i64) -> Option<String> {
    let mut expr = plan.expr().clone();
    pin(&mut expr, time_ms).then(|| expr.to_string())
}

/// Other times at which a pinned query is evaluated.
pub(crate) fn other_times(time_ms: i64) -> Vec<i64> {
    if time_ms == 0 {
        return vec![-1000, 0, 1000];
    }
    vec![-10 * time_ms, 0, time_ms / 5, time_ms, 10 * time_ms]
}

fn depends_on_time(function: Function) -> bool {
    matches!(
        function,
        Function::DaysInMonth
            | Function::DayOfMonth
            | Function::DayOfWeek
            | Function::DayOfYear
            | Function::Hour
            | Function::Minute
            | Function::Month
            | Function::Year
            | Function::PredictLinear
            | Function::Time
            | Function::Timestamp
    )
}

fn pin(expr: &mut Expr, time_ms: i64) -> bool {
    match expr {
        Expr::Number(_) | Expr::Text(_) => true,
        Expr::Selector(selector) => {
            selector.at.get_or_insert(At::Time(time_ms));
            true
        }
        Expr::Matrix(matrix) => {
            matrix.selector.at.get_or_insert(At::Time(time_ms));
            true
        }
        Expr::Subquery(subquery) => {
            subquery.at.get_or_insert(At::Time(time_ms));
            !reads_time_inside(&subquery.expr)
        }
        Expr::Unary(unary) => pin(&mut unary.expr, time_ms),
        Expr::Paren(paren) => pin(&mut paren.expr, time_ms),
        Expr::Binary(binary) => pin(&mut binary.lhs, time_ms) && pin(&mut binary.rhs, time_ms),
        Expr::Aggregate(aggregate) => {
            aggregate.param.as_mut().is_none_or(|param| pin(param, time_ms))
                && pin(&mut aggregate.expr, time_ms)
        }
        Expr::Call(call) => {
            !depends_on_time(call.function) && call.args.iter_mut().all(|argument| pin(argument, time_ms))
        }
    }
}

/// Inside of a subquery nothing is pinned; only the functions matter.
fn reads_time_inside(expr: &Expr) -> bool {
    !pin(&mut expr.clone(), 0)
}
