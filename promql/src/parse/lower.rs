//! From the grammar crate's tree to ours. Nothing else in this crate names that crate.
//!
//! What it accepts and Prometheus 3.5 does not is refused here: `or` between matchers, fill modifiers, functions of
//! later versions. Regexes are compiled anew by Go's rules.

use std::time::{Duration, SystemTime};

use promql_parser::label::{MatchOp as GrammarMatchOp, Matcher as GrammarMatcher};
use promql_parser::parser::{
    self as grammar, AtModifier, BinModifier, LabelModifier, Offset, VectorMatchCardinality, token,
};

use crate::ast::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Call, Cardinality, Expr, Function, Grouping, Matching,
    Matrix, Selector, Subquery,
};
use crate::error::ParseError;
use crate::labels::METRIC_NAME;
use crate::matcher::{MatchOp, Matcher};

use super::patterns;

/// Parses a query whose length and nesting were checked and whose patterns are hidden.
pub(super) fn lower(query: &str) -> Result<Expr, ParseError> {
    let tree = grammar::parse(query).map_err(ParseError::Syntax)?;
    expr(tree)
}

fn refuse<T>(message: impl Into<String>) -> Result<T, ParseError> {
    Err(ParseError::Syntax(message.into()))
}

fn expr(tree: grammar::Expr) -> Result<Expr, ParseError> {
    Ok(match tree {
        grammar::Expr::NumberLiteral(number) => Expr::Number(number.val),
        grammar::Expr::StringLiteral(text) => Expr::Text(text.val),
        grammar::Expr::Paren(paren) => Expr::Paren(Box::new(expr(*paren.expr)?)),
        grammar::Expr::Unary(unary) => Expr::Negate(Box::new(expr(*unary.expr)?)),
        grammar::Expr::VectorSelector(vector) => Expr::Selector(selector(vector)?),
        grammar::Expr::MatrixSelector(matrix) => Expr::Matrix(Matrix {
            selector: selector(matrix.vs)?,
            range_ms: millis(matrix.range)?,
        }),
        grammar::Expr::Subquery(subquery) => Expr::Subquery(Box::new(lower_subquery(subquery)?)),
        grammar::Expr::Binary(binary) => Expr::Binary(Box::new(lower_binary(binary)?)),
        grammar::Expr::Aggregate(aggregate) => Expr::Aggregate(Box::new(lower_aggregate(aggregate)?)),
        grammar::Expr::Call(call) => Expr::Call(lower_call(call)?),
        grammar::Expr::Extension(_) => return refuse("unknown expression"),
    })
}

fn lower_subquery(subquery: grammar::SubqueryExpr) -> Result<Subquery, ParseError> {
    let step_ms = subquery.step.map(millis).transpose()?;
    Ok(Subquery {
        expr: expr(*subquery.expr)?,
        range_ms: millis(subquery.range)?,
        step_ms: step_ms.filter(|ms| *ms > 0),
        offset_ms: offset(subquery.offset)?,
        at: subquery.at.map(at).transpose()?,
    })
}

fn lower_call(call: grammar::Call) -> Result<Call, ParseError> {
    let name = call.func.name;
    let Some(function) = Function::from_name(name) else {
        return refuse(format!("unknown function with name {name:?}"));
    };
    let args = call
        .args
        .args
        .into_iter()
        .map(|tree| expr(*tree))
        .collect::<Result<_, _>>()?;
    Ok(Call { function, args })
}

fn selector(vector: grammar::VectorSelector) -> Result<Selector, ParseError> {
    if !vector.matchers.or_matchers.is_empty() {
        return refuse("unexpected \"or\" in label matching");
    }
    let mut matchers = Vec::with_capacity(vector.matchers.matchers.len() + 1);
    if let Some(name) = vector.name {
        matchers.push(matcher(METRIC_NAME, MatchOp::Equal, name)?);
    }
    for GrammarMatcher { op, name, value } in vector.matchers.matchers {
        let (op, value) = match op {
            GrammarMatchOp::Equal => (MatchOp::Equal, value),
            GrammarMatchOp::NotEqual => (MatchOp::NotEqual, value),
            GrammarMatchOp::Re(_) => (MatchOp::Regex, patterns::reveal(&value)?),
            GrammarMatchOp::NotRe(_) => (MatchOp::NotRegex, patterns::reveal(&value)?),
        };
        matchers.push(matcher(&name, op, value)?);
    }
    // The grammar crate saw other patterns, so this is ours to check.
    if matchers.iter().all(|matcher| matcher.matches("")) {
        return refuse("vector selector must contain at least one non-empty matcher");
    }
    Ok(Selector {
        matchers,
        offset_ms: offset(vector.offset)?,
        at: vector.at.map(at).transpose()?,
    })
}

fn matcher(name: &str, op: MatchOp, value: String) -> Result<Matcher, ParseError> {
    Matcher::new(name, op, value).map_err(|error| ParseError::Syntax(error.to_string()))
}

/// Durations as Prometheus takes them: what fits Go's ns in an i64.
fn millis(duration: Duration) -> Result<i64, ParseError> {
    match i64::try_from(duration.as_nanos()) {
        Ok(nanos) => Ok(nanos / 1_000_000),
        Err(_) => refuse("duration out of range"),
    }
}

fn offset(offset: Option<Offset>) -> Result<i64, ParseError> {
    match offset {
        None => Ok(0),
        Some(Offset::Pos(ahead)) => millis(ahead),
        Some(Offset::Neg(behind)) => Ok(-millis(behind)?),
    }
}

fn at(modifier: AtModifier) -> Result<At, ParseError> {
    let time = match modifier {
        AtModifier::Start => return Ok(At::Start),
        AtModifier::End => return Ok(At::End),
        AtModifier::At(time) => time,
    };
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => Ok(At::Time(millis(after)?)),
        Err(before) => Ok(At::Time(-millis(before.duration())?)),
    }
}

fn grouping(modifier: Option<LabelModifier>, absent: Grouping) -> Grouping {
    match modifier {
        None => absent,
        Some(LabelModifier::Include(labels)) => Grouping::Only(labels.labels),
        Some(LabelModifier::Exclude(labels)) => Grouping::Without(labels.labels),
    }
}

fn lower_binary(binary: grammar::BinaryExpr) -> Result<Binary, ParseError> {
    let Some(op) = binary_op(binary.op.id()) else {
        return refuse(format!("unknown operator {}", binary.op));
    };
    let BinModifier {
        card,
        matching,
        return_bool,
        fill_values,
    } = binary.modifier.unwrap_or_default();
    if fill_values.lhs.is_some() || fill_values.rhs.is_some() {
        return refuse("unexpected fill modifier");
    }
    let (cardinality, include) = match card {
        _ if op.is_set() => (Cardinality::ManyToMany, Vec::new()),
        VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => {
            (Cardinality::OneToOne, Vec::new())
        }
        VectorMatchCardinality::ManyToOne(labels) => (Cardinality::ManyToOne, labels.labels),
        VectorMatchCardinality::OneToMany(labels) => (Cardinality::OneToMany, labels.labels),
    };
    Ok(Binary {
        op,
        lhs: expr(*binary.lhs)?,
        rhs: expr(*binary.rhs)?,
        matching: Matching {
            labels: grouping(matching, Grouping::Without(Vec::new())),
            cardinality,
            include,
        },
        return_bool,
    })
}

fn binary_op(id: token::TokenId) -> Option<BinaryOp> {
    Some(match id {
        token::T_ADD => BinaryOp::Add,
        token::T_SUB => BinaryOp::Sub,
        token::T_MUL => BinaryOp::Mul,
        token::T_DIV => BinaryOp::Div,
        token::T_MOD => BinaryOp::Mod,
        token::T_POW => BinaryOp::Pow,
        token::T_ATAN2 => BinaryOp::Atan2,
        token::T_EQLC => BinaryOp::Eq,
        token::T_NEQ => BinaryOp::Ne,
        token::T_GTR => BinaryOp::Gt,
        token::T_LSS => BinaryOp::Lt,
        token::T_GTE => BinaryOp::Ge,
        token::T_LTE => BinaryOp::Le,
        token::T_LAND => BinaryOp::And,
        token::T_LOR => BinaryOp::Or,
        token::T_LUNLESS => BinaryOp::Unless,
        _ => return None,
    })
}

fn lower_aggregate(aggregate: grammar::AggregateExpr) -> Result<Aggregate, ParseError> {
    let Some(op) = aggregate_op(aggregate.op.id()) else {
        return refuse(format!("unknown aggregation {}", aggregate.op));
    };
    Ok(Aggregate {
        op,
        expr: expr(*aggregate.expr)?,
        param: aggregate.param.map(|tree| expr(*tree)).transpose()?,
        grouping: grouping(aggregate.modifier, Grouping::Only(Vec::new())),
    })
}

fn aggregate_op(id: token::TokenId) -> Option<AggregateOp> {
    Some(match id {
        token::T_SUM => AggregateOp::Sum,
        token::T_AVG => AggregateOp::Avg,
        token::T_COUNT => AggregateOp::Count,
        token::T_MIN => AggregateOp::Min,
        token::T_MAX => AggregateOp::Max,
        token::T_GROUP => AggregateOp::Group,
        token::T_STDDEV => AggregateOp::Stddev,
        token::T_STDVAR => AggregateOp::Stdvar,
        token::T_TOPK => AggregateOp::Topk,
        token::T_BOTTOMK => AggregateOp::Bottomk,
        token::T_QUANTILE => AggregateOp::Quantile,
        token::T_COUNT_VALUES => AggregateOp::CountValues,
        token::T_LIMITK => AggregateOp::Limitk,
        token::T_LIMIT_RATIO => AggregateOp::LimitRatio,
        _ => return None,
    })
}
