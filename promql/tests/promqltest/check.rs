//! Whether an answer is the expected one: labels exactly, values within Prometheus's tolerance.

use promql::{Buckets, CounterReset, Histogram, is_stale};

use crate::outcome::{Got, Outcome, Points};
use crate::script::{Annotations, Eval, Item, Line, Shown, When};

/// Relative difference that still counts as equal.
const TOLERANCE: f64 = 1e-6;

/// Equality as promqltest defines it.
fn almost_equal(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (difference, sum) = ((a - b).abs(), a.abs() + b.abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

/// What an answer says must fit what the script says about warnings and infos.
pub(crate) fn annotations(eval: &Eval, outcome: &Outcome) -> Result<(), String> {
    kind_of_annotations("warning", &eval.warnings, &outcome.warnings)?;
    kind_of_annotations("info", &eval.infos, &outcome.infos)
}

fn kind_of_annotations(kind: &str, expected: &Annotations, got: &[String]) -> Result<(), String> {
    if expected.none && !got.is_empty() {
        return Err(format!("unexpected {kind}: {got:?}"));
    }
    if let Some(missing) = expected
        .wanted
        .iter()
        .find(|wanted| !got.iter().any(|text| wanted.accepts_annotation(text)))
    {
        return Err(format!("missing {kind} {missing:?}, got {got:?}"));
    }
    let unexpected = |text: &&String| {
        !expected
            .wanted
            .iter()
            .any(|wanted| wanted.accepts_annotation(text))
    };
    match got.iter().find(unexpected) {
        Some(text) if !expected.wanted.is_empty() => Err(format!("unexpected {kind}: {text}")),
        _ => Ok(()),
    }
}

fn same_item(expected: &Item, got: &Item) -> bool {
    match (expected, got) {
        (Item::Float(a), Item::Float(b)) => almost_equal(*a, *b),
        (Item::Histogram(a), Item::Histogram(b)) => same_histogram(a, b),
        (Item::Histogram(a), Item::Shown(b)) => shown_as(a, b),
        _ => false,
    }
}

/// Layout exactly, counts within the tolerance, what is known about resets only if the script states it.
fn same_histogram(expected: &Histogram, got: &Histogram) -> bool {
    let same_buckets = |a: &Buckets, b: &Buckets| {
        a.iter().count() == b.iter().count()
            && a.iter()
                .zip(b.iter())
                .all(|(a, b)| a.0 == b.0 && almost_equal(a.1, b.1))
    };
    let same_bounds = expected.custom_bounds.len() == got.custom_bounds.len()
        && expected
            .custom_bounds
            .iter()
            .zip(got.custom_bounds.iter())
            .all(|(a, b)| almost_equal(*a, *b));
    expected.schema == got.schema
        && same_bounds
        && almost_equal(expected.count, got.count)
        && almost_equal(expected.sum, got.sum)
        && almost_equal(expected.zero_count, got.zero_count)
        && (got.has_custom_bounds() || almost_equal(expected.zero_threshold, got.zero_threshold))
        && same_buckets(&expected.positive, &got.positive)
        && same_buckets(&expected.negative, &got.negative)
        && (expected.counter_reset == CounterReset::Unknown || expected.counter_reset == got.counter_reset)
}

/// Whether two answers are the same up to the last digits.
pub(crate) fn close(ours: &Got, theirs: &Got) -> bool {
    match (ours, theirs) {
        (Got::Scalar(a), Got::Scalar(b)) => almost_equal(*a, *b),
        (Got::Text(a), Got::Text(b)) => a == b,
        (Got::Series(a), Got::Series(b)) => {
            let same_points = |a: &[(i64, Item)], b: &[(i64, Item)]| {
                let same = |a: &(i64, Item), b: &(i64, Item)| {
                    a.0 == b.0 && (same_item(&a.1, &b.1) || does_not_add_up(&b.1))
                };
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
            };
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|(a, b)| a.0 == b.0 && same_points(&a.1, &b.1))
        }
        _ => false,
    }
}

/// Whether a histogram's buckets are not its count, as is so where Prometheus 3.5.3 adds histograms that lack different
/// buckets.
fn does_not_add_up(item: &Item) -> bool {
    match item {
        Item::Shown(shown) => {
            let total: f64 = shown.buckets.iter().map(|(_, _, count)| count).sum();
            !almost_equal(total, shown.count)
        }
        _ => false,
    }
}

/// As far as Prometheus's API shows a histogram.
fn shown_as(expected: &Histogram, got: &Shown) -> bool {
    let mut buckets: Vec<_> = expected.buckets();
    // It shows a zero bucket only if its count is positive, and no empty ones.
    let around_zero = |lower: f64, upper: f64| lower <= 0.0 && upper >= 0.0 && !expected.has_custom_bounds();
    buckets.retain(|b| {
        if around_zero(b.lower, b.upper) {
            b.count > 0.0
        } else {
            b.count != 0.0
        }
    });
    almost_equal(expected.count, got.count)
        && almost_equal(expected.sum, got.sum)
        && buckets.len() == got.buckets.len()
        && buckets
            .iter()
            .zip(&got.buckets)
            .all(|(a, (lower, upper, count))| {
                almost_equal(a.lower, *lower)
                    && almost_equal(a.upper, *upper)
                    && almost_equal(a.count, *count)
            })
}

/// Whether a value is what the script expects.
pub(crate) fn value(eval: &Eval, got: &Got) -> Result<(), String> {
    match (got, &eval.text, eval.scalar) {
        (Got::Text(text), Some(wanted), _) if text == wanted => Ok(()),
        (Got::Scalar(value), None, Some(wanted)) if almost_equal(wanted, *value) => Ok(()),
        (Got::Series(got), None, None) => series(eval, got),
        _ => Err(format!(
            "expected {:?} {:?} {:?}, got {got:?}",
            eval.text, eval.scalar, eval.series
        )),
    }
}

/// Whether these are the expected series.
pub(crate) fn series(eval: &Eval, got: &[Points]) -> Result<(), String> {
    let expected: Vec<Points> = eval.series.iter().map(|line| points(line, eval)).collect();
    if got.len() != expected.len() {
        return Err(format!(
            "expected {} series, got {}: {got:?}",
            expected.len(),
            got.len()
        ));
    }
    for (position, (labels, points)) in expected.iter().enumerate() {
        let Some(found) = got.iter().position(|(other, _)| other == labels) else {
            return Err(format!("expected series {labels}, got {got:?}"));
        };
        if eval.ordered && found != position {
            return Err(format!(
                "expected {labels} at position {position}, found it at {found}"
            ));
        }
        let same = |(expected, got): (&(i64, Item), &(i64, Item))| {
            expected.0 == got.0 && same_item(&expected.1, &got.1)
        };
        let got_points = &got[found].1;
        if got_points.len() != points.len() || !points.iter().zip(got_points).all(same) {
            return Err(format!("{labels}: expected {points:?}, got {got_points:?}"));
        }
    }
    Ok(())
}

/// An expected line with times instead of steps.
fn points((labels, items): &Line, eval: &Eval) -> Points {
    let (start, step) = match (eval.samples, eval.when) {
        (Some(grid), _) => grid,
        (None, When::Instant { at }) => (at, 0),
        (None, When::Range { start, step, .. }) => (start, step),
    };
    let timed = items
        .iter()
        .enumerate()
        .map(|(index, item)| (start + step * index as i64, item.clone()));
    (
        labels.clone(),
        timed.filter(|(_, item)| *item != Item::Absent).collect(),
    )
}
