//! Each sliding kernel gives what the plain loop over the same window gives.

use proptest::prelude::*;

use super::super::counter::extrapolated;
use super::super::{Window, over_time};
use super::*;
use crate::eval::rows::Column;

/// Values with resets, infinities, NaN and huge ones.
fn series() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![
        20 => (-50..50_i32).prop_map(|i| f64::from(i) / 4.0),
        4 => -1e6..1e6,
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(f64::MAX),
        1 => Just(1e100),
    ];
    prop::collection::vec(value, 1..120)
}

/// Windows, both ends moving forward, of changing lengths; some are empty.
fn windows(len: usize, steps: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let (mut from, mut until) = (0, 0);
    let mut windows = Vec::new();
    for (drop, add) in steps {
        until = (until + add).min(len);
        from = (from + drop).min(until);
        windows.push((from, until));
    }
    windows
}

/// The same bits; any NaN is one.
fn same(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
        (a, b) => a == b,
    }
}

/// Equal, or as close as two orders of a compensated summation can be.
fn close(a: Option<f64>, b: Option<f64>) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (a.abs() + b.abs() + 1.0);
    same(a, b) || matches!((a, b), (Some(a), Some(b)) if near(a, b))
}

/// Compares a kernel for rows with a plain one on every window; some of the windows are empty.
fn agree(
    series: &[f64],
    bounds: &[(usize, usize)],
    of_row: impl Fn(&[f64], &[WindowPlace], &mut [f64]),
    plain: impl Fn(&Window<'_>) -> Option<f64>,
    equal: fn(Option<f64>, Option<f64>) -> bool,
) -> Result<(), TestCaseError> {
    let times: Vec<i64> = (0..series.len() as i64).map(|i| i * 1000).collect();
    let windows: Vec<Window<'_>> = bounds
        .iter()
        .enumerate()
        .map(|(index, (from, until))| {
            let end_ms = *until as i64 * 1000;
            Window {
                times: &times[*from..*until],
                values: &series[*from..*until],
                histogram_times: &[],
                histograms: &[],
                edges: None,
                start_ms: *from as i64 * 1000 - 500,
                end_ms,
                eval_ms: end_ms,
                index,
            }
        })
        .collect();
    let place = |(w, (from, until)): (&Window<'_>, &(usize, usize))| {
        let edges = match w.times {
            [first, .., last] => Some(Edges::of((*first, *last), w.times.len(), (w.start_ms, w.end_ms))),
            _ => None,
        };
        WindowPlace::new(*from, *until, edges)
    };
    let places: Vec<WindowPlace> = windows.iter().zip(bounds).map(place).collect();
    let mut cells = Column::empty(windows.len());
    of_row(series, &places, cells.floats_mut());
    for window in &windows {
        let slow = Some(window).filter(|w| !w.values.is_empty()).and_then(&plain);
        let fast = cells.get(window.index);
        prop_assert!(equal(fast, slow), "{:?}: {fast:?} is not {slow:?}", window.values);
    }
    Ok(())
}

proptest! {
    #[test]
    fn sliding_kernels_equal_plain_loops(
        series in series(),
        steps in prop::collection::vec((0..4_usize, 0..4_usize), 1..80),
    ) {
        let windows = windows(series.len(), &steps);
        let rate = Difference { counter: true, per_second: true };
        agree(&series, &windows, |s, p, c| counter(rate, s, p, c), |w| extrapolated(rate, w), same)?;
        agree(&series, &windows, max, |w| Some(over_time::max(w)), same)?;
        agree(&series, &windows, min, |w| Some(over_time::min(w)), same)?;
        let changes = |s: &[f64], p: &[WindowPlace], c: &mut [f64]| count_pairs(over_time::differ, s, p, c);
        agree(&series, &windows, changes, |w| Some(over_time::changes(w)), same)?;
        let resets = |s: &[f64], p: &[WindowPlace], c: &mut [f64]| count_pairs(over_time::falls, s, p, c);
        agree(&series, &windows, resets, |w| Some(over_time::resets(w)), same)?;
        let q = vec![0.3; windows.len()];
        let quantile = |s: &[f64], p: &[WindowPlace], c: &mut [f64]| sorted_quantile(&q, s, p, c);
        agree(&series, &windows, quantile, |w| Some(over_time::quantile_over(w, 0.3)), same)?;
    }

    #[test]
    fn sliding_sums_lose_no_more_than_plain_ones(
        series in series().prop_map(|s| s.into_iter().filter(|v| v.abs() < 1e7 || !v.is_finite()).collect::<Vec<_>>()),
        steps in prop::collection::vec((0..4_usize, 0..4_usize), 1..80),
    ) {
        let windows = windows(series.len(), &steps);
        agree(&series, &windows, sum, |w| Some(over_time::sum(w)), close)?;
        agree(&series, &windows, avg, over_time::avg, close)?;
    }
}
