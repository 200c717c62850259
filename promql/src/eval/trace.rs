//! What an evaluation did, node by node: `EXPLAIN`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::ast::{Expr, Plan, Span};
use crate::series::Series;

use super::evaluator::{SAMPLE_BYTES, Value};

/// Bytes of a node's text.
const MOST_TEXT: usize = 256;

/// What was counted of a node over all batches of series that it was evaluated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct NodeCounts {
    /// Batches for which it gave anything; 1 if it was evaluated for all series at once.
    pub batches: u64,
    /// Series that it gave.
    pub rows: u64,
    /// Values that it gave, over all times.
    pub cells: u64,
    /// Series that a selector read from storage.
    pub series: u64,
    /// Samples that a selector read.
    pub samples: u64,
    /// Bytes that those take, decoded.
    pub bytes: u64,
}

/// A node of a plan and what was counted of it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ExplainedNode {
    /// The node as a query, cut after 256 bytes.
    pub expr: String,
    /// What it is: `selector`, `rate`, `sum`, `+`, ...
    pub kind: String,
    /// Whether it goes series by series, so that it may be evaluated batch by batch.
    pub in_batches: bool,
    /// What was counted.
    pub counts: NodeCounts,
    /// Nodes whose values it takes.
    pub inputs: Vec<ExplainedNode>,
}

/// Counts while an evaluation goes on.
#[derive(Debug, Default)]
pub struct Trace(Mutex<HashMap<(usize, usize), NodeCounts>>);

impl Trace {
    fn count(&self, span: Span, add: impl FnOnce(&mut NodeCounts)) {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        add(nodes.entry((span.start, span.end)).or_default());
    }

    /// Counts what a node gave.
    pub(super) fn gave(&self, span: Span, value: &Value) {
        let (rows, cells) = match value {
            Value::Scalar(values) => (1, values.len()),
            Value::Vector(rows) => {
                let cells = rows.iter().map(|row| row.cells.indices().count());
                (rows.len(), cells.sum())
            }
            Value::Text(_) => (1, 1),
        };
        self.count(span, |node| {
            node.batches += u64::from(rows > 0);
            node.rows += rows as u64;
            node.cells += cells as u64;
        });
    }

    /// Counts what a selector read.
    pub(super) fn read(&self, span: Span, series: &[Series]) {
        let samples: u64 = series.iter().map(|series| series.samples.len() as u64).sum();
        let weight: u64 = series.iter().map(|series| series.samples.weight()).sum();
        self.count(span, |node| {
            node.series += series.len() as u64;
            node.samples += samples;
            node.bytes += weight * SAMPLE_BYTES;
        });
    }

    /// The plan with what was counted.
    pub fn explain(&self, plan: &Plan) -> ExplainedNode {
        self.node(plan.expr())
    }

    fn node(&self, expr: &Expr) -> ExplainedNode {
        let span = expr.span();
        let mut counts = self.counts(span);
        if let Expr::Matrix(matrix) = expr {
            let read = self.counts(matrix.selector.span);
            (counts.series, counts.samples, counts.bytes) = (read.series, read.samples, read.bytes);
        }
        ExplainedNode {
            expr: cut(expr.to_string()),
            kind: kind(expr),
            in_batches: super::batches::goes_by_series(expr),
            counts,
            inputs: inputs(expr).into_iter().map(|input| self.node(input)).collect(),
        }
    }

    fn counts(&self, span: Span) -> NodeCounts {
        let nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.get(&(span.start, span.end)).copied().unwrap_or_default()
    }
}

/// So that a deep query's text is not repeated whole at each level.
fn cut(mut text: String) -> String {
    if text.len() > MOST_TEXT {
        text.truncate(text.floor_char_boundary(MOST_TEXT));
        text.push_str("...");
    }
    text
}

fn kind(expr: &Expr) -> String {
    match expr {
        Expr::Number(_) => "number".to_owned(),
        Expr::Text(_) => "text".to_owned(),
        Expr::Selector(_) => "selector".to_owned(),
        Expr::Matrix(_) => "range selector".to_owned(),
        Expr::Subquery(_) => "subquery".to_owned(),
        Expr::Unary(_) => "sign".to_owned(),
        Expr::Paren(_) => "parentheses".to_owned(),
        Expr::Binary(binary) => binary.op.symbol().to_owned(),
        Expr::Aggregate(aggregate) => aggregate.op.name().to_owned(),
        Expr::Call(call) => call.function.name().to_owned(),
    }
}

fn inputs(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Number(_) | Expr::Text(_) | Expr::Selector(_) | Expr::Matrix(_) => Vec::new(),
        Expr::Subquery(subquery) => vec![&subquery.expr],
        Expr::Unary(unary) => vec![&unary.expr],
        Expr::Paren(paren) => vec![&paren.expr],
        Expr::Binary(binary) => vec![&binary.lhs, &binary.rhs],
        Expr::Aggregate(aggregate) => aggregate.param.iter().chain([&aggregate.expr]).collect(),
        Expr::Call(call) => call.args.iter().collect(),
    }
}
