//! Arithmetic on the cumulative buckets of one classic histogram at one time.

/// One bucket: how many observations were at most `upper_bound`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bucket {
    pub(super) upper_bound: f64,
    pub(super) count: f64,
}

/// What had to be done so that counts do not fall from bucket to bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repair {
    None,
    /// A fall beyond what floating point explains.
    Forced,
}

/// Falls and rises this small, relative to the counts, are noise of floating point.
const NOISE: f64 = 1e-12;

/// Sorts buckets and adds up those with the same bound.
pub(super) fn prepare(buckets: &mut Vec<Bucket>) {
    buckets.sort_by(|a, b| a.upper_bound.total_cmp(&b.upper_bound));
    buckets.dedup_by(|later, earlier| {
        let same = later.upper_bound == earlier.upper_bound;
        if same {
            earlier.count += later.count;
        }
        same
    });
}

/// Makes the counts of prepared buckets monotonic.
pub(super) fn repair(buckets: &mut [Bucket]) -> Repair {
    let mut repair = Repair::None;
    let Some(mut highest) = buckets.first().map(|bucket| bucket.count) else {
        return repair;
    };
    for bucket in buckets.iter_mut().skip(1) {
        let difference = (bucket.count - highest).abs();
        if bucket.count == highest {
            continue;
        }
        if difference / (bucket.count.abs() + highest.abs()) < NOISE {
            bucket.count = highest;
        } else if bucket.count < highest {
            bucket.count = highest;
            repair = Repair::Forced;
        } else {
            highest = bucket.count;
        }
    }
    repair
}

/// The last bucket, if the histogram is complete: `+Inf` and a bucket below it.
fn total(buckets: &[Bucket]) -> Option<f64> {
    let last = buckets.last()?;
    (last.upper_bound == f64::INFINITY && buckets.len() >= 2).then_some(last.count)
}

/// The quantile of prepared buckets, linear within a bucket; NaN if there is nothing to tell.
pub(super) fn quantile(q: f64, buckets: &[Bucket]) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let Some(observations) = total(buckets) else {
        return f64::NAN;
    };
    if observations == 0.0 {
        return f64::NAN;
    }
    let rank = q * observations;
    let last = buckets.len() - 1;
    // Counts that are NaN reach no rank, so that the last bound is the answer, as in Prometheus.
    let reaches = |bucket: &Bucket| bucket.count >= rank;
    let at = buckets[..last].partition_point(|bucket| !reaches(bucket));
    if at == last {
        return buckets[last - 1].upper_bound;
    }
    let Bucket { upper_bound, count } = buckets[at];
    if at == 0 && upper_bound <= 0.0 {
        return upper_bound;
    }
    let below = if at == 0 {
        Bucket {
            upper_bound: 0.0,
            count: 0.0,
        }
    } else {
        buckets[at - 1]
    };
    below.upper_bound + (upper_bound - below.upper_bound) * ((rank - below.count) / (count - below.count))
}

/// The share of observations between two bounds.
pub(super) fn fraction(lower: f64, upper: f64, buckets: &[Bucket]) -> f64 {
    let Some(observations) = total(buckets) else {
        return f64::NAN;
    };
    if observations == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    // Without repair a bucket may count more than the last one.
    let rank = |bound: f64| rank_of(bound, buckets).min(observations);
    (rank(upper) - rank(lower)) / observations
}

/// How many observations are at most `bound`, linear within a bucket.
fn rank_of(bound: f64, buckets: &[Bucket]) -> f64 {
    let last = buckets.len() - 1;
    let at = buckets.partition_point(|bucket| bucket.upper_bound < bound);
    if at > last {
        return buckets[last].count;
    }
    let Bucket { upper_bound, count } = buckets[at];
    let below = match at.checked_sub(1) {
        Some(below) => buckets[below],
        // Observations of the lowest bucket lie between 0 and its bound if that is positive, else at its bound.
        None if upper_bound > 0.0 => Bucket {
            upper_bound: 0.0,
            count: 0.0,
        },
        None => Bucket {
            upper_bound: f64::NEG_INFINITY,
            count: 0.0,
        },
    };
    if bound == upper_bound {
        return count;
    }
    if bound <= below.upper_bound || below.upper_bound == f64::NEG_INFINITY {
        return below.count;
    }
    if upper_bound == f64::INFINITY {
        return below.count;
    }
    below.count + (count - below.count) * ((bound - below.upper_bound) / (upper_bound - below.upper_bound))
}
