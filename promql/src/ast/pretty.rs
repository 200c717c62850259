//! Queries over several lines, as Prometheus's `format_query` prints them: what is longer than a line is split, and its
//! parts are indented.

use super::{Expr, Plan};

/// Bytes that a line may have before it is split, the indent not counted.
const MAX_LINE: usize = 100;

/// The query as Prometheus's `/api/v1/format_query` prints it.
pub fn format(plan: &Plan) -> String {
    pretty(plan.expr(), 0)
}

fn pretty(expr: &Expr, level: usize) -> String {
    let indent = "  ".repeat(level);
    let line = expr.to_string();
    let short = line.len() <= MAX_LINE;
    let inner = |expr: &Expr| pretty(expr, level + 1);
    match expr {
        // Prometheus forgets the indent here.
        Expr::Subquery(_) if short => line,
        Expr::Subquery(subquery) => format!("{}{}", pretty(&subquery.expr, level), subquery.suffix()),
        Expr::Unary(unary) => {
            let operand = pretty(&unary.expr, level);
            format!("{indent}{}{}", unary.sign(), operand.trim())
        }
        _ if short => format!("{indent}{line}"),
        Expr::Paren(paren) => format!("{indent}(\n{}\n{indent})", inner(&paren.expr)),
        Expr::Binary(binary) => format!(
            "{}\n{indent}{}\n{}",
            inner(&binary.lhs),
            binary.operator(),
            inner(&binary.rhs)
        ),
        Expr::Aggregate(aggregate) => {
            let param = aggregate.param.as_ref();
            let param = param.map_or_else(String::new, |param| format!("{},\n", inner(param)));
            format!(
                "{indent}{}(\n{param}{}\n{indent})",
                aggregate.head(),
                inner(&aggregate.expr)
            )
        }
        Expr::Call(call) => {
            let args: Vec<String> = call.args.iter().map(inner).collect();
            format!(
                "{indent}{}(\n{}\n{indent})",
                call.function.name(),
                args.join(",\n")
            )
        }
        Expr::Number(_) | Expr::Text(_) | Expr::Selector(_) | Expr::Matrix(_) => format!("{indent}{line}"),
    }
}
