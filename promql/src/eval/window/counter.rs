//! rate, increase, delta, irate, idelta: what changed over a window, extrapolated to its ends as Prometheus does.

use super::Window;

/// A gap at a window's end counts as "the series ended here" from this many average gaps on.
const GAP_FACTOR: f64 = 1.1;

/// How the difference over a window is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Difference {
    /// A fall is a restart of the counter, and a counter was never below zero.
    pub(crate) counter: bool,
    /// Divide by the window's length in seconds.
    pub(crate) per_second: bool,
}

/// The difference between the first and last sample, extrapolated over the whole window.
pub(crate) fn extrapolated(how: Difference, window: &Window<'_>) -> Option<f64> {
    extrapolate(
        how,
        window,
        if how.counter {
            lost_in_resets(window.values)
        } else {
            0.0
        },
    )
}

/// As [`extrapolated`], where what the counter lost in resets is known.
pub(crate) fn extrapolate(how: Difference, window: &Window<'_>, lost_in_resets: f64) -> Option<f64> {
    let (times, values) = (window.times, window.values);
    let (first, last) = (*times.first()?, *times.last()?);
    if times.len() < 2 {
        return None;
    }
    let result = values[values.len() - 1] - values[0] + lost_in_resets;
    let seconds = |from: i64, to: i64| to.saturating_sub(from) as f64 / 1000.0;
    let sampled = seconds(first, last);
    let average_gap = sampled / (times.len() - 1) as f64;
    let within = |gap: f64| {
        if gap >= average_gap * GAP_FACTOR {
            average_gap / 2.0
        } else {
            gap
        }
    };
    let mut to_start = within(seconds(window.start_ms, first));
    if how.counter && result > 0.0 && values[0] >= 0.0 {
        // The counter was zero this long before the first sample, had it grown as it does here.
        let to_zero = sampled * (values[0] / result);
        to_start = to_start.min(to_zero);
    }
    let to_end = within(seconds(last, window.end_ms));
    let mut factor = (sampled + to_start + to_end) / sampled;
    if how.per_second {
        factor /= seconds(window.start_ms, window.end_ms);
    }
    Some(result * factor)
}

/// What a counter had reached before each of its resets.
fn lost_in_resets(values: &[f64]) -> f64 {
    values
        .windows(2)
        .filter(|pair| pair[1] < pair[0])
        .fold(0.0, |lost, pair| lost + pair[0])
}

/// The difference between the last two samples, per second for a counter.
pub(crate) fn instant(how: Difference, window: &Window<'_>) -> Option<f64> {
    let [.., before, now] = window.values else {
        return None;
    };
    let [.., earlier, later] = window.times else {
        return None;
    };
    let difference = if how.counter && now < before {
        *now
    } else {
        now - before
    };
    let gap_ms = later.saturating_sub(*earlier);
    if gap_ms == 0 {
        return None;
    }
    Some(if how.per_second {
        difference / (gap_ms as f64 / 1000.0)
    } else {
        difference
    })
}
