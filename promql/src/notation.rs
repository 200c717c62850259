//! Series in the short notation of Prometheus's tests: `metric{label="value"} 1 2+1x3 _ stale {{count:1}}`.
//!
//! One item per step: `_` is no sample, `a+bxn` is `a` and n more of which each adds `b`, `axn` repeats `a` n times
//! more, `_xn` is n steps without a sample. Native histograms stand between double braces, and may be added too.

use std::sync::Arc;

use thiserror::Error;

use crate::error::ParseError;
use crate::histogram::Histogram;
use crate::labels::Labels;
use crate::matcher::MatchOp;
use crate::parse::parse_selector;
use crate::series::stale_nan;

mod histogram;

pub use histogram::{format_histogram, parse_histogram};

/// Steps that one series may have.
const MAX_ITEMS: usize = 10_000_000;

/// What a series has at one step.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// No sample.
    Absent,
    /// A float, or the stale marker.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

/// Why a text is no series in this notation.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum NotationError {
    /// The metric cannot be read.
    #[error("{metric}: {error}")]
    Metric {
        /// The text.
        metric: String,
        /// Why.
        error: ParseError,
    },
    /// The metric has other matchers than `=`.
    #[error("not a metric: {0}")]
    NoMetric(String),
    /// An item is neither number nor word.
    #[error("not a sample: {0}")]
    Sample(String),
    /// A histogram, or an addition of two.
    #[error("histogram {text}: {reason}")]
    Histogram {
        /// The text.
        text: String,
        /// Why.
        reason: String,
    },
    /// A series of more steps than may be.
    #[error("a series may have at most {MAX_ITEMS} samples")]
    TooLong,
}

/// Reads a series: labels, and one item per step.
///
/// # Errors
/// A text of another form.
pub fn parse_series(line: &str) -> Result<(Labels, Vec<Item>), NotationError> {
    let (metric, items) = line.split_at(metric_len(line));
    Ok((parse_metric(metric.trim())?, parse_items(items)?))
}

/// Reads the labels of a series, such as `up{job="a"}`.
///
/// # Errors
/// A selector of other matchers than `=`, or none at all.
pub fn parse_metric(metric: &str) -> Result<Labels, NotationError> {
    if metric == "{}" {
        return Ok(Labels::default());
    }
    let matchers = match parse_selector(metric) {
        Ok(matchers) => matchers,
        Err(error) => {
            let metric = metric.to_owned();
            return Err(NotationError::Metric { metric, error });
        }
    };
    if matchers.iter().any(|matcher| matcher.op() != MatchOp::Equal) {
        return Err(NotationError::NoMetric(metric.to_owned()));
    }
    Ok(matchers
        .iter()
        .map(|matcher| (matcher.name(), matcher.value()))
        .collect())
}

/// Reads the items of a series, with spaces between them.
///
/// # Errors
/// An item of another form, or too many.
pub fn parse_items(text: &str) -> Result<Vec<Item>, NotationError> {
    let mut items = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = if rest.starts_with("{{") {
            histogram_len(rest)?
        } else {
            word_len(rest)
        };
        item(&rest[..end], &mut items)?;
        rest = rest[end..].trim_start();
    }
    Ok(items)
}

/// Reads a number as the notation writes it: with a sign, in hex, `Inf`, `NaN`.
pub fn parse_number(text: &str) -> Option<f64> {
    let unsigned = text.trim_start_matches(['+', '-']);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    if let Some(hex) = unsigned.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).ok().map(|n| sign * n as f64);
    }
    let first = unsigned.chars().next()?;
    (first.is_ascii_digit() || first == '.' || ["Inf", "inf", "NaN", "nan"].contains(&unsigned))
        .then(|| unsigned.parse::<f64>().ok())
        .flatten()
        .map(|value| sign * value)
}

/// Bytes of the metric at the start of a line: up to the closing brace, or to the first space if there is none.
pub fn metric_len(line: &str) -> usize {
    let mut quote = None;
    let mut braces = false;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '{') => braces = true,
            (None, '}') => return at + 1,
            (None, c) if c.is_whitespace() && !braces && !labels_follow(&line[at..]) => return at,
            _ => {}
        }
    }
    line.len()
}

/// Whether a space stands before a metric's labels (and not before a histogram).
fn labels_follow(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.starts_with('{') && !rest.starts_with("{{")
}

fn word_len(text: &str) -> usize {
    text.find(char::is_whitespace).unwrap_or(text.len())
}

/// `{{..}}`, `{{..}}xN`, `{{..}}+{{..}}xN`.
fn histogram_len(text: &str) -> Result<usize, NotationError> {
    let mut end = 0;
    loop {
        let close = text[end..]
            .find("}}")
            .ok_or_else(|| histogram_error(text, "it has no end"))?;
        end += close + 2;
        let tail = &text[end..];
        if !(tail.starts_with("+{{") || tail.starts_with("-{{")) {
            return Ok(end + word_len(tail));
        }
    }
}

fn histogram_error(text: &str, reason: impl Into<String>) -> NotationError {
    NotationError::Histogram {
        text: text.to_owned(),
        reason: reason.into(),
    }
}

/// A sequence's count behind its last `x`.
fn times(text: &str) -> Option<(&str, usize)> {
    let (body, count) = text.rsplit_once('x')?;
    Some((body, count.parse().ok()?))
}

/// Whether so many more items may come.
fn room(items: &[Item], more: usize) -> Result<(), NotationError> {
    match more.checked_add(items.len()).is_some_and(|all| all < MAX_ITEMS) {
        true => Ok(()),
        false => Err(NotationError::TooLong),
    }
}

fn item(text: &str, items: &mut Vec<Item>) -> Result<(), NotationError> {
    let bad = || NotationError::Sample(text.to_owned());
    if text.starts_with("{{") {
        return histograms(text, items);
    }
    // `0x10` is ten more zeros, as in Prometheus.
    let sequence_of = times(text);
    room(items, sequence_of.map_or(1, |(_, count)| count))?;
    match (text, sequence_of) {
        ("_", _) => items.push(Item::Absent),
        ("stale", _) => items.push(Item::Float(stale_nan())),
        (_, Some(("_", count))) => items.extend(std::iter::repeat_n(Item::Absent, count)),
        (_, Some(("stale", count))) => items.extend(std::iter::repeat_n(Item::Float(stale_nan()), count + 1)),
        (_, Some((body, count))) => {
            let (mut value, delta) = sequence(body).ok_or_else(bad)?;
            for _ in 0..=count {
                items.push(Item::Float(value));
                value += delta;
            }
        }
        (_, None) => items.push(Item::Float(parse_number(text).ok_or_else(bad)?)),
    }
    Ok(())
}

/// `a`, `a+b` or `a-b`: first value and difference.
fn sequence(body: &str) -> Option<(f64, f64)> {
    if let Some(value) = parse_number(body) {
        return Some((value, 0.0));
    }
    let signs = body.char_indices().skip(1).filter(|(_, c)| "+-".contains(*c));
    signs
        .map(|(at, _)| body.split_at(at))
        .find_map(|(first, delta)| Some((parse_number(first)?, parse_number(delta)?)))
}

/// `{{..}}`, `{{..}}xN`, `{{..}}+{{..}}xN`: one histogram, or N+1 of which each adds the second one.
fn histograms(text: &str, items: &mut Vec<Item>) -> Result<(), NotationError> {
    let (body, count) = match text.rsplit_once("}}x") {
        Some((body, count)) => {
            let count = count
                .parse::<usize>()
                .map_err(|error| histogram_error(text, error.to_string()))?;
            (format!("{body}}}}}"), count)
        }
        None => (text.to_owned(), 0),
    };
    room(items, count)?;
    let (first, delta, sign) = match (body.split_once("}}+{{"), body.split_once("}}-{{")) {
        (Some((first, delta)), _) => (first, Some(delta), 1.0),
        (None, Some((first, delta))) => (first, Some(delta), -1.0),
        (None, None) => (body.as_str(), None, 1.0),
    };
    let bare = |text: &str| text.trim_start_matches('{').trim_end_matches('}').to_owned();
    let mut value = parse_histogram(&bare(first))?;
    let delta = delta.map(|delta| parse_histogram(&bare(delta))).transpose()?;
    for _ in 0..=count {
        items.push(Item::Histogram(Arc::new(value.clone())));
        if let Some(delta) = &delta {
            let step = if sign < 0.0 {
                value.minus(delta)
            } else {
                value.plus(delta)
            };
            value = step.map_err(|error| histogram_error(text, error.to_string()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(text: &str) -> Vec<Option<f64>> {
        let items = parse_items(text).unwrap();
        items
            .into_iter()
            .map(|item| match item {
                Item::Float(value) => Some(value),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn sequences_are_written_out() {
        let some = |values: &[f64]| values.iter().copied().map(Some).collect::<Vec<_>>();
        assert_eq!(floats("1+2x3"), some(&[1.0, 3.0, 5.0, 7.0]));
        assert_eq!(floats("-2-1x2 1e3x1"), some(&[-2.0, -3.0, -4.0, 1000.0, 1000.0]));
        assert_eq!(floats("_x2 0x1 _"), [None, None, Some(0.0), Some(0.0), None]);
        assert_eq!(parse_items("stale").unwrap().len(), 1);
        for bad in ["a", "1+x", "1x1000000000000", "1x9999999 1", "{{", "{{nope:1}}"] {
            assert!(parse_items(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn series_have_labels_and_items() {
        let (labels, items) =
            parse_series("a{b=\"x y}\"} 1 {{schema:1 sum:3 count:2 buckets:[1 1]}}x2").unwrap();
        assert_eq!(labels.to_string(), "{__name__=\"a\", b=\"x y}\"}");
        assert_eq!(items.len(), 4);
        let Item::Histogram(histogram) = &items[3] else {
            panic!("no histogram")
        };
        assert_eq!(
            format_histogram(histogram),
            "{{schema:1 count:2 sum:3 buckets:[1 1]}}"
        );
        assert!(parse_series("a{b!=\"x\"} 1").is_err());
    }
}
