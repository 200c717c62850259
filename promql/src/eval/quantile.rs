//! Quantiles of plain values, by linear interpolation between the closest ranks.

use std::cmp::Ordering;

/// Ascending order with NaN before everything.
pub(crate) fn nan_first(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// Sorts values, NaN first.
pub(crate) fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(|a, b| nan_first(*a, *b));
    values
}

/// The quantile of sorted values: NaN of nothing, infinite outside of [0, 1].
pub(crate) fn quantile(q: f64, sorted: &[f64]) -> f64 {
    if sorted.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let rank = q * (sorted.len() - 1) as f64;
    let lower = rank.floor();
    let weight = rank - lower;
    // rank lies in [0, len - 1]
    let lower = lower as usize;
    let upper = (lower + 1).min(sorted.len() - 1);
    sorted[lower] * (1.0 - weight) + sorted[upper] * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_and_sort_nan_first() {
        let values = sorted(vec![3.0, f64::NAN, 1.0, 2.0]);
        assert!(values[0].is_nan());
        assert_eq!(quantile(1.0, &values), 3.0);
        assert_eq!(quantile(0.25, &[0.0, 2.0]), 0.5);
        assert_eq!(quantile(-0.1, &[0.0]), f64::NEG_INFINITY);
        assert_eq!(quantile(1.1, &[0.0]), f64::INFINITY);
        assert!(quantile(0.5, &[]).is_nan());
    }
}
