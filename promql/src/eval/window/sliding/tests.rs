//! Each sliding kernel gives what the plain loop over the same window gives.

use proptest::prelude::*;

use super::super::{counter, over_time};
use super::*;

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

/// Windows with samples, both ends moving forward, of changing lengths.
fn windows(len: usize, steps: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let (mut from, mut until) = (0, 0);
    let mut windows = Vec::new();
    for (drop, add) in steps {
        until = (until + add).min(len);
        from = (from + drop).min(until);
        if from < until {
            windows.push((from, until));
        }
    }
    windows
}

fn same(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a == b || (a.is_nan() && b.is_nan()),
        (a, b) => a == b,
    }
}

/// Equal, or as close as two orders of a compensated summation can be.
fn close(a: Option<f64>, b: Option<f64>) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (a.abs() + b.abs() + 1.0);
    same(a, b) || matches!((a, b), (Some(a), Some(b)) if near(a, b))
}

/// Compares a sliding kernel with a plain one on every window.
fn agree(
    series: &[f64],
    windows: &[(usize, usize)],
    mut sliding: impl FnMut(&Window<'_>) -> Option<f64>,
    plain: impl Fn(&Window<'_>) -> Option<f64>,
    equal: fn(Option<f64>, Option<f64>) -> bool,
) -> Result<(), TestCaseError> {
    let times: Vec<i64> = (0..series.len() as i64).map(|i| i * 1000).collect();
    for (index, (from, until)) in windows.iter().enumerate() {
        let end_ms = *until as i64 * 1000;
        let window = Window {
            times: &times[*from..*until],
            values: &series[*from..*until],
            from: *from,
            histogram_times: &[],
            histograms: &[],
            edges: None,
            start_ms: *from as i64 * 1000 - 500,
            end_ms,
            eval_ms: end_ms,
            index,
        };
        let (fast, slow) = (sliding(&window), plain(&window));
        prop_assert!(equal(fast, slow), "{from}..{until}: {fast:?} is not {slow:?}");
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
        agree(&series, &windows, counter(rate, &series), |w| counter::extrapolated(rate, w), same)?;
        agree(&series, &windows, extreme(&series, |a, b| a > b), |w| Some(over_time::max(w)), same)?;
        agree(&series, &windows, extreme(&series, |a, b| a < b), |w| Some(over_time::min(w)), same)?;
        agree(&series, &windows, count_pairs(&series, over_time::differ), |w| Some(over_time::changes(w)), same)?;
        agree(&series, &windows, count_pairs(&series, over_time::falls), |w| Some(over_time::resets(w)), same)?;
        let q = vec![0.3; windows.len()];
        agree(&series, &windows, sorted_quantile(&series, &q), |w| Some(over_time::quantile_over(w, 0.3)), same)?;
    }

    #[test]
    fn sliding_sums_lose_no_more_than_plain_ones(
        series in series().prop_map(|s| s.into_iter().filter(|v| v.abs() < 1e7 || !v.is_finite()).collect::<Vec<_>>()),
        steps in prop::collection::vec((0..4_usize, 0..4_usize), 1..80),
    ) {
        let windows = windows(series.len(), &steps);
        agree(&series, &windows, sum(&series), |w| Some(over_time::sum(w)), close)?;
        agree(&series, &windows, avg(&series), over_time::avg, close)?;
    }
}
