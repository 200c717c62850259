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
    let values = window.values;
    let (first_ms, last_ms) = (*window.times.first()?, *window.times.last()?);
    if values.len() < 2 {
        return None;
    }
    let resets = lost_in_resets(values).filter(|_| how.counter);
    // One by one, oldest first, as Prometheus does, so that even the last digit is the same.
    let result = resets.fold(values[values.len() - 1] - values[0], |sum, lost| sum + lost);
    let edges = window.edges.unwrap_or_else(|| {
        let of_window = (window.start_ms, window.end_ms);
        Edges::of((first_ms, last_ms), values.len(), of_window)
    });
    Some(how.over(values[0], result, &edges))
}

impl Difference {
    /// A difference between the first and the last sample of a window, resets undone, extrapolated over all of it.
    #[inline]
    pub(crate) fn over(self, first: f64, difference: f64, edges: &Edges) -> f64 {
        let grows_from_zero = self.counter && difference > 0.0 && first >= 0.0;
        let zero_share = grows_from_zero.then(|| first / difference);
        difference * edges.factor(zero_share, self.per_second)
    }
}

/// Where the samples of a window lie in it, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edges {
    /// From the first to the last sample.
    sampled: f64,
    /// How far a difference is extrapolated before the first and after the last sample.
    to_start: f64,
    to_end: f64,
    /// The window's length.
    length: f64,
}

impl Edges {
    /// Of the first and the last of two samples or more, and the ends of the window, Unix ms.
    pub(crate) fn of(
        (first_ms, last_ms): (i64, i64),
        samples: usize,
        (start_ms, end_ms): (i64, i64),
    ) -> Self {
        let seconds = |from: i64, to: i64| to.saturating_sub(from) as f64 / 1000.0;
        let sampled = seconds(first_ms, last_ms);
        let average_gap = sampled / (samples - 1) as f64;
        let within = |gap: f64| {
            if gap >= average_gap * GAP_FACTOR {
                average_gap / 2.0
            } else {
                gap
            }
        };
        Edges {
            sampled,
            to_start: within(seconds(start_ms, first_ms)),
            to_end: within(seconds(last_ms, end_ms)),
            length: seconds(start_ms, end_ms),
        }
    }

    /// What makes a difference between samples one over the whole window, or one per second. `zero_share` is for a
    /// counter: its first value as a share of its growth. Had it grown as it does here, it was zero that share of the
    /// sampled time before the first sample.
    #[inline]
    pub(crate) fn factor(self, zero_share: Option<f64>, per_second: bool) -> f64 {
        let to_start = zero_share.map_or(self.to_start, |share| self.to_start.min(self.sampled * share));
        let factor = (self.sampled + to_start + self.to_end) / self.sampled;
        if per_second { factor / self.length } else { factor }
    }
}

/// What a counter had reached before each of its resets.
fn lost_in_resets(values: &[f64]) -> impl Iterator<Item = f64> + '_ {
    values
        .windows(2)
        .filter(|pair| pair[1] < pair[0])
        .map(|pair| pair[0])
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
