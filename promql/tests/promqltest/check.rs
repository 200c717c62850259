//! Whether an answer is the expected one: labels exactly, values within Prometheus's tolerance.

use promql::{Answer, Labels, QueryValue, is_stale};

use crate::script::{Annotations, Eval, Item, Line, When};

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
pub(crate) fn annotations(eval: &Eval, answer: &Answer) -> Result<(), String> {
    kind_of_annotations("warning", &eval.warnings, &answer.warnings)?;
    kind_of_annotations("info", &eval.infos, &answer.infos)
}

fn kind_of_annotations(kind: &str, expected: &Annotations, got: &[String]) -> Result<(), String> {
    if expected.none && !got.is_empty() {
        return Err(format!("unexpected {kind}: {got:?}"));
    }
    if let Some(missing) = expected
        .wanted
        .iter()
        .find(|wanted| !got.iter().any(|text| wanted.accepts(text)))
    {
        return Err(format!("missing {kind} {missing:?}, got {got:?}"));
    }
    let unexpected = |text: &&String| !expected.wanted.iter().any(|wanted| wanted.accepts(text));
    match got.iter().find(unexpected) {
        Some(text) if !expected.wanted.is_empty() => Err(format!("unexpected {kind}: {text}")),
        _ => Ok(()),
    }
}

/// An answer as series of (time, value), whatever its type.
pub(crate) fn as_series(value: &QueryValue) -> Vec<(Labels, Vec<(i64, f64)>)> {
    match value {
        QueryValue::Scalar { time_ms, value } => vec![(Labels::default(), vec![(*time_ms, *value)])],
        QueryValue::Text { .. } => Vec::new(),
        QueryValue::Vector(samples) => samples
            .iter()
            .map(|s| (s.labels.clone(), vec![(s.time_ms, s.value)]))
            .collect(),
        QueryValue::Matrix(series) => series
            .iter()
            .map(|s| {
                let points = s
                    .samples
                    .times_ms()
                    .iter()
                    .copied()
                    .zip(s.samples.values().iter().copied());
                (s.labels.clone(), points.collect())
            })
            .collect(),
    }
}

/// Whether a value is what the script expects.
pub(crate) fn value(eval: &Eval, value: &QueryValue) -> Result<(), String> {
    if let Some(wanted) = &eval.text {
        return match value {
            QueryValue::Text { value, .. } if value == wanted => Ok(()),
            other => Err(format!("expected the text {wanted:?}, got {other:?}")),
        };
    }
    if let (Some(wanted), QueryValue::Scalar { value, .. }) = (eval.scalar, value) {
        let good = almost_equal(wanted, *value);
        return if good {
            Ok(())
        } else {
            Err(format!("expected {wanted}, got {value}"))
        };
    }
    if eval.scalar.is_some() != matches!(value, QueryValue::Scalar { .. }) {
        return Err(format!(
            "expected {:?} {:?}, got {value:?}",
            eval.scalar, eval.series
        ));
    }
    series(eval, &as_series(value))
}

/// Whether these are the expected series.
pub(crate) fn series(eval: &Eval, got: &[(Labels, Vec<(i64, f64)>)]) -> Result<(), String> {
    let expected: Vec<(Labels, Vec<(i64, Item)>)> =
        eval.series.iter().map(|line| points(line, eval.when)).collect();
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
        let same = |((time, item), (got_time, value)): (&(i64, Item), &(i64, f64))| {
            time == got_time && matches!(item, Item::Float(wanted) if almost_equal(*wanted, *value))
        };
        let got_points = &got[found].1;
        if got_points.len() != points.len() || !points.iter().zip(got_points).all(same) {
            return Err(format!("{labels}: expected {points:?}, got {got_points:?}"));
        }
    }
    Ok(())
}

/// An expected line with times instead of steps.
fn points((labels, items): &Line, when: When) -> (Labels, Vec<(i64, Item)>) {
    let (start, step) = match when {
        When::Instant { at } => (at, 0),
        When::Range { start, step, .. } => (start, step),
    };
    let timed = items
        .iter()
        .enumerate()
        .map(|(index, item)| (start + step * index as i64, *item));
    (
        labels.clone(),
        timed.filter(|(_, item)| *item != Item::Absent).collect(),
    )
}
