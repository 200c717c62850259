//! Figures of one native histogram. Within a bucket, observations spread evenly over its logarithm; in the zero bucket
//! and in buckets with bounds of their own, evenly over its width.

use crate::eval::kahan::Sum;
use crate::histogram::{Bucket, Histogram};

/// Populated buckets with the ends that interpolation uses: the zero bucket of a histogram with one sign begins at zero,
/// and so does a lowest bucket without a lower bound.
fn interpolated_buckets(histogram: &Histogram) -> Vec<Bucket> {
    let mut buckets = histogram.buckets();
    for bucket in &mut buckets {
        if histogram.has_custom_bounds() {
            if bucket.lower == f64::NEG_INFINITY && bucket.upper > 0.0 {
                bucket.lower = 0.0;
            }
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            match (histogram.negative.is_empty(), histogram.positive.is_empty()) {
                (true, false) => bucket.lower = 0.0,
                (false, true) => bucket.upper = 0.0,
                _ => {}
            }
        }
    }
    buckets
}

fn is_linear(histogram: &Histogram, bucket: &Bucket) -> bool {
    histogram.has_custom_bounds() || (bucket.lower <= 0.0 && bucket.upper >= 0.0)
}

/// The value below which a share `q` of the observations lies.
pub(super) fn quantile(q: f64, histogram: &Histogram) -> f64 {
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    if histogram.count == 0.0 || q.is_nan() {
        return f64::NAN;
    }
    let buckets = interpolated_buckets(histogram);
    // From the nearer end, which loses less precision; but NaN observations are in no bucket, as if above all.
    let forward = histogram.sum.is_nan() || q < 0.5;
    let rank = if forward {
        q * histogram.count
    } else {
        (1.0 - q) * histogram.count
    };
    let mut passed = 0.0;
    let mut reached = None;
    let mut visit = |bucket: &Bucket| {
        passed += bucket.count;
        reached = Some(*bucket);
        passed >= rank
    };
    if forward {
        buckets.iter().any(&mut visit);
    } else {
        buckets.iter().rev().any(&mut visit);
    }
    let Some(bucket) = reached else { return f64::NAN };
    if bucket.lower == f64::NEG_INFINITY {
        return bucket.upper;
    }
    if histogram.has_custom_bounds() && bucket.upper == f64::INFINITY {
        return bucket.lower;
    }
    let passed = passed.min(histogram.count);
    if passed < rank {
        return if histogram.sum.is_nan() {
            f64::NAN
        } else {
            bucket.upper
        };
    }
    let inside = if forward {
        rank - (passed - bucket.count)
    } else {
        passed - rank
    };
    interpolate(histogram, &bucket, inside / bucket.count)
}

/// The value at a share of a bucket.
fn interpolate(histogram: &Histogram, bucket: &Bucket, share: f64) -> f64 {
    if is_linear(histogram, bucket) {
        return bucket.lower + (bucket.upper - bucket.lower) * share;
    }
    let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    if bucket.lower > 0.0 {
        (lower + (upper - lower) * share).exp2()
    } else {
        -(upper + (lower - upper) * (1.0 - share)).exp2()
    }
}

/// The share of a bucket that lies below a value inside of it.
fn share_below(histogram: &Histogram, bucket: &Bucket, value: f64) -> f64 {
    if is_linear(histogram, bucket) {
        return (value - bucket.lower) / (bucket.upper - bucket.lower);
    }
    let [lower, upper, value_log] = [bucket.lower, bucket.upper, value].map(|v| v.abs().log2());
    if value > 0.0 {
        (value_log - lower) / (upper - lower)
    } else {
        1.0 - (value_log - upper) / (lower - upper)
    }
}

/// The share of all observations between two values.
pub(super) fn fraction(lower: f64, upper: f64, histogram: &Histogram) -> f64 {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let buckets = interpolated_buckets(histogram);
    let limit = if histogram.sum.is_nan() {
        histogram.bucket_total()
    } else {
        histogram.count
    };
    let rank = |value: f64| rank_of(value, histogram, &buckets).unwrap_or(limit).min(limit);
    (rank(upper) - rank(lower)) / histogram.count
}

/// How many observations lie below a value; `None` if all do.
fn rank_of(value: f64, histogram: &Histogram, buckets: &[Bucket]) -> Option<f64> {
    let mut rank = 0.0;
    for bucket in buckets {
        if bucket.lower >= value {
            return Some(rank);
        }
        if bucket.upper > value {
            if bucket.lower == f64::NEG_INFINITY || bucket.upper == f64::INFINITY {
                return Some(rank);
            }
            return Some(rank + bucket.count * share_below(histogram, bucket, value));
        }
        rank += bucket.count;
    }
    None
}

/// Variance, each bucket taken at the middle of its width or of its logarithm.
pub(super) fn stdvar(histogram: &Histogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut squares = Sum::default();
    for bucket in histogram.buckets() {
        let middle = if histogram.has_custom_bounds() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            let middle = (bucket.upper * bucket.lower).sqrt();
            if bucket.upper < 0.0 { -middle } else { middle }
        };
        let distance = middle - mean;
        squares = squares.plus(bucket.count * distance * distance);
    }
    squares.total() / histogram.count
}
