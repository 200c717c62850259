//! A unit-test file, as it is written and checked.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use thiserror::Error;
use wire::time::parse_rfc3339;

use crate::group::Pairs;
use crate::yaml::{self, Span};

/// Default of `evaluation_interval` in ms.
const DEFAULT_INTERVAL_MS: i64 = 60_000;

/// Why a unit-test file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TestFileError {
    /// Its YAML, or a value in it.
    #[error("{file}:{line}: {reason}")]
    File {
        /// The file.
        file: String,
        /// Line, from 1; 0 if none is to blame.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A group twice in `group_eval_order`.
    #[error("group name repeated in evaluation order: {0}")]
    RepeatedGroup(String),
}

/// A unit-test file.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitTests {
    /// Patterns of rule files, relative to the file's folder.
    pub rule_files: Vec<String>,
    pub(super) interval_ms: i64,
    pub(super) is_fuzzy: bool,
    pub(super) group_order: Vec<String>,
    pub(super) tests: Vec<Test>,
}

/// One test: series and expectations.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Test {
    pub(super) name: String,
    pub(super) interval_ms: i64,
    pub(super) start_ms: i64,
    /// Lines of the notation.
    pub(super) input: Vec<String>,
    pub(super) alerts: Vec<AlertTest>,
    pub(super) exprs: Vec<ExprTest>,
    pub(super) external_labels: Pairs,
    pub(super) external_url: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct AlertTest {
    /// Since the start, in ms.
    pub(super) at_ms: i64,
    pub(super) name: String,
    /// Labels and annotations.
    pub(super) expected: Vec<(Pairs, Pairs)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct ExprTest {
    pub(super) expr: String,
    /// Since the start, in ms.
    pub(super) at_ms: i64,
    pub(super) expected: Vec<RawSample>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    rule_files: Option<Vec<String>>,
    evaluation_interval: Option<Span>,
    group_eval_order: Option<Vec<String>>,
    tests: Option<Vec<RawTest>>,
    #[serde(default)]
    fuzzy_compare: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTest {
    interval: Option<Span>,
    input_series: Option<Vec<RawSeries>>,
    alert_rule_test: Option<Vec<RawAlertTest>>,
    promql_expr_test: Option<Vec<RawExprTest>>,
    external_labels: Option<BTreeMap<String, Option<String>>>,
    external_url: Option<String>,
    name: Option<String>,
    start_timestamp: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSeries {
    #[serde(default)]
    series: String,
    #[serde(default)]
    values: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAlertTest {
    eval_time: Option<Span>,
    #[serde(default)]
    alertname: String,
    exp_alerts: Option<Vec<Option<RawAlert>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAlert {
    exp_labels: Option<BTreeMap<String, Option<String>>>,
    exp_annotations: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExprTest {
    #[serde(default)]
    expr: String,
    eval_time: Option<Span>,
    exp_samples: Option<Vec<RawSample>>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSample {
    #[serde(default)]
    pub(super) labels: String,
    #[serde(default)]
    pub(super) value: f64,
    /// The value is ignored if there is one.
    #[serde(default)]
    pub(super) histogram: String,
}

impl UnitTests {
    /// Reads a file; `file` is its name for errors.
    ///
    /// # Errors
    /// Its YAML, unknown keys, a group that is ordered twice.
    pub fn parse(text: &str, file: &str) -> Result<Self, TestFileError> {
        let whole = |line, reason| TestFileError::File {
            file: file.to_owned(),
            line,
            reason,
        };
        let raw: RawFile = yaml::read(text).map_err(|(line, reason)| whole(line, reason))?;
        let group_order = raw.group_eval_order.unwrap_or_default();
        let mut seen = BTreeSet::new();
        if let Some(name) = group_order.iter().find(|name| !seen.insert(*name)) {
            return Err(TestFileError::RepeatedGroup(name.clone()));
        }
        let positive = |span: Option<Span>| span.map(|span| span.0).filter(|ms| *ms > 0);
        let interval_ms = positive(raw.evaluation_interval).unwrap_or(DEFAULT_INTERVAL_MS);
        let mut tests = Vec::new();
        for test in raw.tests.unwrap_or_default() {
            let start_ms = match test.start_timestamp.as_deref().map(start_of) {
                None => 0,
                Some(Ok(start_ms)) => start_ms,
                Some(Err(reason)) => return Err(whole(0, reason)),
            };
            let interval_ms = positive(test.interval).unwrap_or(interval_ms);
            tests.push(test.checked(interval_ms, start_ms));
        }
        Ok(Self {
            rule_files: raw.rule_files.unwrap_or_default(),
            interval_ms,
            is_fuzzy: raw.fuzzy_compare,
            group_order,
            tests,
        })
    }
}

/// A text that is left out is empty.
fn texts(map: Option<BTreeMap<String, Option<String>>>) -> BTreeMap<String, String> {
    let map = map.into_iter().flatten();
    map.map(|(name, text)| (name, text.unwrap_or_default())).collect()
}

/// Unix seconds or RFC 3339, in ms.
fn start_of(text: &str) -> Result<i64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.abs() < 1e12);
    let ms = match seconds {
        Some(seconds) => Some((seconds * 1000.0).round() as i64),
        None => parse_rfc3339(text),
    };
    ms.ok_or_else(|| format!("start_timestamp: cannot parse {text:?} to a valid timestamp"))
}

impl RawTest {
    fn checked(self, interval_ms: i64, start_ms: i64) -> Test {
        let input = self.input_series.unwrap_or_default().into_iter();
        let alerts = self.alert_rule_test.unwrap_or_default().into_iter();
        let exprs = self.promql_expr_test.unwrap_or_default().into_iter();
        Test {
            name: self.name.unwrap_or_default(),
            interval_ms,
            start_ms,
            input: input
                .map(|series| format!("{} {}", series.series.trim(), series.values))
                .collect(),
            alerts: alerts.map(RawAlertTest::checked).collect(),
            exprs: exprs
                .map(|test| ExprTest {
                    expr: test.expr,
                    at_ms: test.eval_time.map_or(0, |span| span.0),
                    expected: test.exp_samples.unwrap_or_default(),
                })
                .collect(),
            external_labels: texts(self.external_labels).into_iter().collect(),
            external_url: self.external_url.unwrap_or_default(),
        }
    }
}

impl RawAlertTest {
    fn checked(self) -> AlertTest {
        let name = self.alertname;
        let expected = self.exp_alerts.into_iter().flatten().map(|alert| {
            let alert = alert.unwrap_or_default();
            let mut labels = texts(alert.exp_labels);
            // Nobody writes this one down.
            labels.insert("alertname".to_owned(), name.clone());
            let annotations = texts(alert.exp_annotations);
            (labels.into_iter().collect(), annotations.into_iter().collect())
        });
        AlertTest {
            at_ms: self.eval_time.map_or(0, |span| span.0),
            expected: expected.collect(),
            name,
        }
    }
}
