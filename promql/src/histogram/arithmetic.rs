//! Sums, differences and multiples of histograms, and what tells a counter's reset.
//!
//! Two exponential histograms meet at the coarser of their schemas and at a zero bucket wide enough for both, and that
//! no populated bucket of either straddles.

use thiserror::Error;

use super::{Buckets, CounterReset, Histogram};

/// Why two histograms have no sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// One has exponential buckets, the other bounds of its own.
    #[error("exponential and custom buckets")]
    Mixed,
    /// Both have bounds of their own, but different ones.
    #[error("different custom bounds")]
    Bounds,
}

impl Histogram {
    /// The sum of two histograms.
    ///
    /// # Errors
    /// Layouts that do not fit.
    pub fn plus(&self, other: &Self) -> Result<Self, LayoutError> {
        self.combined(other, 1.0)
    }

    /// The difference of two histograms; counts may be negative.
    ///
    /// # Errors
    /// Layouts that do not fit.
    pub fn minus(&self, other: &Self) -> Result<Self, LayoutError> {
        self.combined(other, -1.0)
    }

    /// Every count and the sum multiplied. A counter stays one also with a negative factor, as in Prometheus 3.5.
    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        self.map(|count| count * factor)
    }

    /// Every count and the sum divided; by zero, no bucket is left but the zero bucket.
    #[must_use]
    pub fn divided_by(&self, divisor: f64) -> Self {
        let mut result = self.map(|count| count / divisor);
        if divisor == 0.0 {
            result.positive = Buckets::default();
            result.negative = Buckets::default();
        }
        result
    }

    fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        Self {
            zero_count: change(self.zero_count),
            count: change(self.count),
            sum: change(self.sum),
            positive: self.positive.map(&change),
            negative: self.negative.map(&change),
            ..self.clone()
        }
    }

    /// Refuses layouts that have no common form.
    pub(crate) fn check_layout(&self, other: &Self) -> Result<(), LayoutError> {
        match (self.has_custom_bounds(), other.has_custom_bounds()) {
            (false, false) => Ok(()),
            (true, true) if self.custom_bounds == other.custom_bounds => Ok(()),
            (true, true) => Err(LayoutError::Bounds),
            _ => Err(LayoutError::Mixed),
        }
    }

    fn combined(&self, other: &Self, sign: f64) -> Result<Self, LayoutError> {
        self.check_layout(other)?;
        let (mut left, mut right) = (self.clone(), other.clone());
        left.counter_reset = combined_reset(self.counter_reset, other.counter_reset);
        if !self.has_custom_bounds() {
            let schema = self.schema.min(other.schema);
            left = left.at_schema(schema);
            right = right.at_schema(schema);
            let differ = |a: f64, b: f64| a.partial_cmp(&b).is_some_and(std::cmp::Ordering::is_ne);
            // A NaN is no order, and ends it.
            while differ(left.zero_threshold, right.zero_threshold) {
                let wider = left.zero_threshold.max(right.zero_threshold);
                left.widen_zero(wider);
                right.widen_zero(wider);
            }
        }
        left.zero_count += sign * right.zero_count;
        left.count += sign * right.count;
        left.sum += sign * right.sum;
        left.positive = joined(&left.positive, &right.positive, sign);
        left.negative = joined(&left.negative, &right.negative, sign);
        Ok(left)
    }

    /// The same histogram at a coarser schema.
    pub(crate) fn at_schema(&self, schema: i32) -> Self {
        if schema >= self.schema || self.has_custom_bounds() {
            return self.clone();
        }
        let shift = self.schema.saturating_sub(schema).clamp(0, 31);
        let coarser = |buckets: &Buckets| {
            Buckets::new(
                buckets
                    .iter()
                    .map(|(index, count)| ((index.saturating_sub(1) >> shift).saturating_add(1), count))
                    .collect(),
            )
        };
        Self {
            schema,
            positive: coarser(&self.positive),
            negative: coarser(&self.negative),
            ..self.clone()
        }
    }

    /// Widens the zero bucket to `threshold` at least; further where a populated bucket would be cut.
    fn widen_zero(&mut self, threshold: f64) {
        if threshold.is_nan() || threshold <= self.zero_threshold {
            return;
        }
        let mut threshold = threshold;
        // Each round includes one more bucket at least, or ends.
        loop {
            let cut = |buckets: &Buckets| {
                let inside = buckets
                    .iter()
                    .filter(|(index, _)| self.upper_bound(index.saturating_sub(1)) < threshold);
                inside
                    .map(|(index, _)| self.upper_bound(index))
                    .fold(threshold, f64::max)
            };
            let wider = cut(&self.positive).max(cut(&self.negative));
            if wider == threshold {
                break;
            }
            threshold = wider;
        }
        let schema_bounds = self.clone();
        let mut swallowed = 0.0;
        for buckets in [&mut self.positive, &mut self.negative] {
            buckets.0.retain(|(index, count)| {
                let inside = schema_bounds.upper_bound(*index) <= threshold;
                if inside {
                    swallowed += count;
                }
                !inside
            });
        }
        self.zero_count += swallowed;
        self.zero_threshold = threshold;
    }

    /// Whether a counter that was at `previous` must have been reset to be here now.
    pub fn is_reset_after(&self, previous: &Self) -> bool {
        match self.counter_reset {
            CounterReset::Reset => return true,
            CounterReset::NotReset => return false,
            CounterReset::Unknown | CounterReset::Gauge => {}
        }
        if self.count < previous.count || self.check_layout(previous).is_err() {
            return true;
        }
        if !self.has_custom_bounds() {
            if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
                return true;
            }
            let mut before = previous.at_schema(self.schema);
            before.widen_zero(self.zero_threshold);
            return before.zero_threshold != self.zero_threshold || self.has_less_than(&before);
        }
        self.has_less_than(previous)
    }

    /// Whether any bucket holds less than that of a histogram of the same layout.
    fn has_less_than(&self, before: &Self) -> bool {
        let less = |now: &Buckets, before: &Buckets| {
            let count_now = |index: i32| {
                now.0
                    .binary_search_by_key(&index, |b| b.0)
                    .map_or(0.0, |at| now.0[at].1)
            };
            before.iter().any(|(index, count)| count_now(index) < count)
        };
        self.zero_count < before.zero_count
            || less(&self.positive, &before.positive)
            || less(&self.negative, &before.negative)
    }
}

/// Buckets added index by index.
fn joined(left: &Buckets, right: &Buckets, sign: f64) -> Buckets {
    Buckets::new(
        left.iter()
            .chain(right.iter().map(|(index, count)| (index, sign * count)))
            .collect(),
    )
}

/// What is known about resets of a sum: a gauge in it makes it one, different knowledge is none.
fn combined_reset(left: CounterReset, right: CounterReset) -> CounterReset {
    match (left, right) {
        (left, right) if left == right => left,
        (CounterReset::Gauge, _) | (_, CounterReset::Gauge) => CounterReset::Gauge,
        _ => CounterReset::Unknown,
    }
}

#[cfg(test)]
mod tests;
