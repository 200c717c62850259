//! What an expression gave or should give.

use promql::notation::{Item, format_histogram, parse_items, parse_metric};
use promql::{EvalError, InstantSample, Labels, ParseOptions, QueryValue, parse_with};

use super::file::{ExprTest, RawSample};
use super::memory::Memory;
use super::show;
use crate::storage::Storage;

/// A sample to compare.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ResultSample {
    pub(super) labels: Labels,
    pub(super) value: f64,
    /// In the notation; the value counts for nothing then.
    pub(super) histogram: Option<String>,
}

impl ResultSample {
    fn got(sample: InstantSample) -> Self {
        let histogram = sample.histogram.as_deref().map(format_histogram);
        Self {
            value: if histogram.is_some() { 0.0 } else { sample.value },
            labels: sample.labels,
            histogram,
        }
    }

    fn expected(raw: &RawSample) -> Result<Self, String> {
        let labels = match raw.labels.trim() {
            "" => Labels::default(),
            text => parse_metric(text).map_err(|error| error.to_string())?,
        };
        if raw.histogram.is_empty() {
            return Ok(Self {
                labels,
                value: raw.value,
                histogram: None,
            });
        }
        let items = parse_items(&raw.histogram).map_err(|error| error.to_string())?;
        match items.as_slice() {
            [Item::Histogram(histogram)] => Ok(Self {
                labels,
                value: 0.0,
                histogram: Some(format_histogram(histogram)),
            }),
            [other] => Err(format!("expected histogram, got {other:?}")),
            items => Err(format!("expected 1 value, got {}", items.len())),
        }
    }

    fn equals(&self, other: &Self, is_fuzzy: bool) -> bool {
        let near = |a: f64, b: f64| a == b || a.next_down() == b || a.next_up() == b;
        let is_value_equal = match is_fuzzy {
            true => near(self.value, other.value),
            false => self.value == other.value,
        };
        is_value_equal && self.labels == other.labels && self.histogram == other.histogram
    }
}

/// Evaluates an expression of a test; says what is wrong with its value.
pub(super) fn check(
    test: &ExprTest,
    start_ms: i64,
    memory: &Memory,
    parse_options: ParseOptions,
    is_fuzzy: bool,
) -> Result<(), String> {
    let head = format!(
        "    expr: {}, time: {}",
        promql::go_quote(test.expr.as_bytes()),
        promql::format_duration(test.at_ms)
    );
    let mut got = evaluate(&test.expr, start_ms + test.at_ms, memory, parse_options)
        .map_err(|error| format!("{head}, err: {error}"))?;
    let mut expected = Vec::with_capacity(test.expected.len());
    for raw in &test.expected {
        let sample = ResultSample::expected(raw);
        expected.push(sample.map_err(|error| format!("{head}, err: labels {:?}: {error}", raw.labels))?);
    }
    got.sort_by(|a, b| a.labels.cmp(&b.labels));
    expected.sort_by(|a, b| a.labels.cmp(&b.labels));
    let mut both = expected.iter().zip(&got);
    if expected.len() == got.len() && both.all(|(expected, got)| expected.equals(got, is_fuzzy)) {
        return Ok(());
    }
    Err(format!(
        "{head},\n        exp: {}\n        got: {}",
        show::samples(&expected),
        show::samples(&got)
    ))
}

fn evaluate(
    expr: &str,
    at_ms: i64,
    memory: &Memory,
    parse_options: ParseOptions,
) -> Result<Vec<ResultSample>, String> {
    let plan = parse_with(expr, parse_options).map_err(|error| error.to_string())?;
    let answer = memory
        .query(&plan, at_ms)
        .map_err(|error: EvalError| error.to_string())?;
    match answer.value {
        QueryValue::Vector(samples) => Ok(samples.into_iter().map(ResultSample::got).collect()),
        QueryValue::Scalar { value, .. } => Ok(vec![ResultSample {
            labels: Labels::default(),
            value,
            histogram: None,
        }]),
        QueryValue::Text { .. } | QueryValue::Matrix(_) => {
            Err("rule result is not a vector or scalar".to_owned())
        }
    }
}
