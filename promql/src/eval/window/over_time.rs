//! Kernels of the `*_over_time` family, plain loops over a window that has at least one sample.

use super::Window;
use crate::eval::kahan::{Mean, Sum};
use crate::eval::quantile::{quantile, sorted};

pub(crate) fn sum(window: &Window<'_>) -> f64 {
    window
        .values
        .iter()
        .fold(Sum::default(), |sum, value| sum.plus(*value))
        .total()
}

pub(crate) fn avg(window: &Window<'_>) -> Option<f64> {
    mean(window.values)
}

pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    values
        .iter()
        .fold(Mean::default(), |mean, value| mean.plus(*value))
        .value()
}

/// The index of the greatest value; a NaN gives way to anything. Of equals the first.
fn extreme(values: &[f64], beats: impl Fn(f64, f64) -> bool) -> usize {
    (1..values.len()).fold(0, |best, i| {
        if beats(values[i], values[best]) || values[best].is_nan() {
            i
        } else {
            best
        }
    })
}

pub(crate) fn max(window: &Window<'_>) -> f64 {
    window.values[extreme(window.values, |a, b| a > b)]
}

pub(crate) fn min(window: &Window<'_>) -> f64 {
    window.values[extreme(window.values, |a, b| a < b)]
}

fn seconds(time_ms: i64) -> f64 {
    time_ms as f64 / 1000.0
}

/// Unix seconds of the greatest value, of equals the last.
pub(crate) fn time_of_max(window: &Window<'_>) -> f64 {
    seconds(window.times[extreme(window.values, |a, b| a >= b)])
}

/// Unix seconds of the least value, of equals the last.
pub(crate) fn time_of_min(window: &Window<'_>) -> f64 {
    seconds(window.times[extreme(window.values, |a, b| a <= b)])
}

pub(crate) fn time_of_first(window: &Window<'_>) -> f64 {
    seconds(window.times[0])
}

pub(crate) fn time_of_last(window: &Window<'_>) -> f64 {
    seconds(window.times[window.times.len() - 1])
}

/// Population variance by Welford's method, compensated.
pub(crate) fn stdvar(window: &Window<'_>) -> f64 {
    let (mut count, mut mean, mut squares) = (0.0, Sum::default(), Sum::default());
    for value in window.values {
        count += 1.0;
        let delta = value - mean.total();
        mean = mean.plus(delta / count);
        squares = squares.plus(delta * (value - mean.total()));
    }
    squares.total() / count
}

/// Whether a value is another one than its predecessor; NaN after NaN is not.
pub(crate) fn differ(before: f64, now: f64) -> bool {
    before != now && !(before.is_nan() && now.is_nan())
}

/// Whether a counter started anew.
pub(crate) fn falls(before: f64, now: f64) -> bool {
    now < before
}

pub(crate) fn changes(window: &Window<'_>) -> f64 {
    window
        .values
        .windows(2)
        .filter(|pair| differ(pair[0], pair[1]))
        .count() as f64
}

pub(crate) fn resets(window: &Window<'_>) -> f64 {
    window
        .values
        .windows(2)
        .filter(|pair| falls(pair[0], pair[1]))
        .count() as f64
}

pub(crate) fn quantile_over(window: &Window<'_>, q: f64) -> f64 {
    quantile(q, &sorted(window.values.to_vec()))
}

/// Median of the distances from the median.
pub(crate) fn mad(window: &Window<'_>) -> f64 {
    let median = quantile_over(window, 0.5);
    quantile(
        0.5,
        &sorted(window.values.iter().map(|value| (value - median).abs()).collect()),
    )
}
