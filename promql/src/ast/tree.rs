//! Queries as JSON trees, as Prometheus's `parse_query` gives them: keys in order, `<`, `>` and `&` escaped.

use super::{
    Aggregate, At, Binary, Call, Cardinality, DurationExpr, Expr, Grouping, Plan, Selector, Subquery,
    ValueType,
};
use crate::float::format_value;
use crate::matcher::Matcher;

/// The query's tree as Prometheus's `/api/v1/parse_query` gives it in `data`.
pub fn parse_tree_json(plan: &Plan) -> String {
    let mut out = String::new();
    push_expr(plan.expr(), &mut out);
    out
}

/// A string literal of JSON.
fn quoted(text: &str) -> String {
    quoted_bytes(text.as_bytes())
}

/// A string literal of JSON; what is not UTF-8 becomes U+FFFD.
fn quoted_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        push_json(chunk.valid(), &mut out);
        for _ in chunk.invalid() {
            out.push_str("\\ufffd");
        }
    }
    out.push('"');
    out
}

fn push_json(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

fn names(labels: &[String]) -> String {
    list(labels.iter().map(|label| quoted(label)))
}

fn push_expr(expr: &Expr, out: &mut String) {
    match expr {
        Expr::Number(number) => {
            let value = format_value(number.value);
            out.push_str(&format!(r#"{{"type":"numberLiteral","val":"{value}"}}"#));
        }
        Expr::Text(text) => {
            let value = quoted_bytes(&text.bytes);
            out.push_str(&format!(r#"{{"type":"stringLiteral","val":{value}}}"#));
        }
        Expr::Selector(selector) => {
            out.push_str(&format!(
                r#"{{{},"type":"vectorSelector"}}"#,
                selector_fields(selector, "")
            ));
        }
        Expr::Matrix(matrix) => {
            let range = millis(matrix.range_ms, matrix.range_expr.as_deref());
            let fields = selector_fields(&matrix.selector, &format!(r#""range":{range},"#));
            out.push_str(&format!(r#"{{{fields},"type":"matrixSelector"}}"#));
        }
        Expr::Subquery(subquery) => push_subquery(subquery, out),
        Expr::Unary(unary) => {
            out.push_str("{\"expr\":");
            push_expr(&unary.expr, out);
            out.push_str(&format!(r#","op":"{}","type":"unaryExpr"}}"#, unary.sign()));
        }
        Expr::Paren(paren) => {
            out.push_str("{\"expr\":");
            push_expr(&paren.expr, out);
            out.push_str(r#","type":"parenExpr"}"#);
        }
        Expr::Binary(binary) => push_binary(binary, out),
        Expr::Aggregate(aggregate) => push_aggregate(aggregate, out),
        Expr::Call(call) => push_call(call, out),
    }
}

fn push_subquery(subquery: &Subquery, out: &mut String) {
    out.push_str("{\"expr\":");
    push_expr(&subquery.expr, out);
    out.push_str(&format!(
        r#","offset":{},"range":{},{},"step":{},{},"type":"subquery"}}"#,
        millis(subquery.offset_ms, subquery.offset_expr.as_deref()),
        millis(subquery.range_ms, subquery.range_expr.as_deref()),
        start_or_end(subquery.at),
        millis(subquery.step_ms.unwrap_or(0), subquery.step_expr.as_deref()),
        timestamp(subquery.at),
    ));
}

fn push_aggregate(aggregate: &Aggregate, out: &mut String) {
    out.push_str("{\"expr\":");
    push_expr(&aggregate.expr, out);
    let (labels, without) = match &aggregate.grouping {
        Grouping::Only(labels) => (labels, false),
        Grouping::Without(labels) => (labels, true),
    };
    let (labels, op) = (names(labels), aggregate.op.name());
    out.push_str(&format!(r#","grouping":{labels},"op":"{op}","param":"#));
    match &aggregate.param {
        Some(param) => push_expr(param, out),
        None => out.push_str("null"),
    }
    out.push_str(&format!(r#","type":"aggregation","without":{without}}}"#));
}

fn push_call(call: &Call, out: &mut String) {
    out.push_str("{\"args\":[");
    for (index, arg) in call.args.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_expr(arg, out);
    }
    let signature = call.function.signature();
    out.push_str(&format!(
        r#"],"func":{{"argTypes":{},"name":"{}","returnType":"{}","variadic":{}}},"type":"call"}}"#,
        list(signature.args.iter().map(|arg| quoted(arg.name()))),
        call.function.name(),
        signature.returns.name(),
        signature.variadic,
    ));
}

fn push_binary(binary: &Binary, out: &mut String) {
    out.push_str(&format!(r#"{{"bool":{},"lhs":"#, binary.return_bool));
    push_expr(&binary.lhs, out);
    let of_vectors = [&binary.lhs, &binary.rhs]
        .iter()
        .all(|side| side.value_type() == ValueType::Vector);
    let matching = if of_vectors {
        let card = match binary.matching.cardinality {
            Cardinality::OneToOne => "one-to-one",
            Cardinality::ManyToOne => "many-to-one",
            Cardinality::OneToMany => "one-to-many",
            Cardinality::ManyToMany => "many-to-many",
        };
        let (labels, on) = match &binary.matching.labels {
            Grouping::Only(labels) => (labels, true),
            Grouping::Without(labels) => (labels, false),
        };
        let (include, labels) = (names(&binary.matching.include), names(labels));
        format!(r#"{{"card":"{card}","include":{include},"labels":{labels},"on":{on}}}"#)
    } else {
        "null".to_owned()
    };
    out.push_str(&format!(
        r#","matching":{matching},"op":{},"rhs":"#,
        quoted(binary.op.symbol())
    ));
    push_expr(&binary.rhs, out);
    out.push_str(r#","type":"binaryExpr"}"#);
}

/// The fields that both kinds of selector have, in order; `between` comes behind `offset`.
fn selector_fields(selector: &Selector, between: &str) -> String {
    let matcher = |matcher: &Matcher| {
        format!(
            r#"{{"name":{},"type":"{}","value":{}}}"#,
            quoted(matcher.name()),
            matcher.op(),
            quoted(matcher.value())
        )
    };
    format!(
        r#""matchers":{},"name":{},"offset":{},{between}{},{}"#,
        list(selector.matchers.iter().map(matcher)),
        quoted(selector.name.as_deref().unwrap_or_default()),
        millis(selector.offset_ms, selector.offset_expr.as_deref()),
        start_or_end(selector.at),
        timestamp(selector.at),
    )
}

/// What is computed is not known to Prometheus's tree.
fn millis(ms: i64, expr: Option<&DurationExpr>) -> i64 {
    if expr.is_some() { 0 } else { ms }
}

fn start_or_end(at: Option<At>) -> String {
    let word = match at {
        Some(At::Start) => "\"start\"",
        Some(At::End) => "\"end\"",
        Some(At::Time(_)) | None => "null",
    };
    format!("\"startOrEnd\":{word}")
}

fn timestamp(at: Option<At>) -> String {
    match at {
        Some(At::Time(ms)) => format!("\"timestamp\":{ms}"),
        _ => "\"timestamp\":null".to_owned(),
    }
}
