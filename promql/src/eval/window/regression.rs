//! deriv, predict_linear and double exponential smoothing.

use super::Window;
use crate::eval::kahan::Sum;

/// Slope per second and value at `origin_ms` of the least-squares line through a window.
pub(crate) fn line(window: &Window<'_>, origin_ms: i64) -> (f64, f64) {
    let first = window.values[0];
    if window.values.iter().skip(1).all(|value| *value == first) {
        return if first.is_infinite() {
            (f64::NAN, f64::NAN)
        } else {
            (0.0, first)
        };
    }
    let (mut x, mut y) = (Sum::default(), Sum::default());
    let (mut xy, mut xx) = (Sum::default(), Sum::default());
    for (time, value) in window.times.iter().zip(window.values) {
        let seconds = time.saturating_sub(origin_ms) as f64 / 1000.0;
        x = x.plus(seconds);
        y = y.plus(*value);
        xy = xy.plus(seconds * value);
        xx = xx.plus(seconds * seconds);
    }
    let n = window.values.len() as f64;
    let (x, y, xy, xx) = (x.total(), y.total(), xy.total(), xx.total());
    let covariance = xy - x * y / n;
    let variance = xx - x * x / n;
    let slope = covariance / variance;
    (slope, y / n - slope * x / n)
}

/// Slope per second; two samples at least.
pub(crate) fn deriv(window: &Window<'_>) -> Option<f64> {
    (window.values.len() >= 2).then(|| line(window, window.times[0]).0)
}

/// The line's value `seconds` after the evaluation time; two samples at least.
pub(crate) fn predict(window: &Window<'_>, seconds: f64) -> Option<f64> {
    (window.values.len() >= 2).then(|| {
        let (slope, intercept) = line(window, window.eval_ms);
        slope * seconds + intercept
    })
}

/// Holt's double exponential smoothing; two samples at least.
pub(crate) fn smoothed(window: &Window<'_>, smoothing: f64, trend_factor: f64) -> Option<f64> {
    let [first, second, ..] = window.values else {
        return None;
    };
    let (mut previous, mut current) = (0.0, *first);
    let mut trend = second - first;
    for (index, value) in window.values.iter().enumerate().skip(1) {
        if index > 1 {
            trend = trend_factor * (current - previous) + (1.0 - trend_factor) * trend;
        }
        let level = smoothing * value + (1.0 - smoothing) * (current + trend);
        (previous, current) = (current, level);
    }
    Some(current)
}
