//! Native histograms: sparse buckets of exponential width, or with bounds of their own.
//!
//! Exponential schemas -4..=8 divide each power of two into `2^schema` buckets; bucket `i` ends at `2^(i * 2^-schema)`.
//! The zero bucket holds what lies within `zero_threshold` of zero. Schema [`CUSTOM_SCHEMA`] has explicit upper bounds
//! and positive buckets only, numbered from 0; its last bucket is unbounded. Counts are absolute floats.

use std::fmt;
use std::sync::Arc;

use crate::float::format_general;
use crate::series::is_stale;

mod arithmetic;

pub use arithmetic::LayoutError;

/// The schema of histograms with explicit bounds.
pub const CUSTOM_SCHEMA: i32 = -53;

/// What is known about a counter's reset between a histogram and the one before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CounterReset {
    /// Nothing: buckets must be compared.
    #[default]
    Unknown,
    /// It was reset.
    Reset,
    /// It was not.
    NotReset,
    /// It is no counter.
    Gauge,
}

/// Populated buckets of one sign: index and count, indices ascending, no count of zero.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Buckets(Vec<(i32, f64)>);

impl Buckets {
    /// Buckets in any order; counts of the same index add up, zeros are left out.
    pub fn new(mut buckets: Vec<(i32, f64)>) -> Self {
        buckets.sort_by_key(|(index, _)| *index);
        let mut merged: Vec<(i32, f64)> = Vec::with_capacity(buckets.len());
        for (index, count) in buckets {
            match merged.last_mut() {
                Some(last) if last.0 == index => last.1 += count,
                _ => merged.push((index, count)),
            }
        }
        merged.retain(|(_, count)| *count != 0.0);
        Self(merged)
    }

    /// Index and count, indices ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (i32, f64)> + '_ {
        self.0.iter().copied()
    }

    /// Whether no bucket is populated.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        Self::new(
            self.0
                .iter()
                .map(|(index, count)| (*index, change(*count)))
                .collect(),
        )
    }

    fn total(&self) -> f64 {
        self.0.iter().map(|(_, count)| count).sum()
    }
}

/// A native histogram sample.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    /// What is known about a reset.
    pub counter_reset: CounterReset,
    /// -4..=8, or [`CUSTOM_SCHEMA`].
    pub schema: i32,
    /// Half the width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Sum of all observations; the stale marker marks a stale histogram.
    pub sum: f64,
    /// Buckets above zero, or all of a histogram with bounds of its own.
    pub positive: Buckets,
    /// Buckets below zero.
    pub negative: Buckets,
    /// Upper bounds, ascending, of [`CUSTOM_SCHEMA`]; `+Inf` is not among them.
    pub custom_bounds: Arc<[f64]>,
}

/// One bucket as intervals of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Whether the lower end belongs to it.
    pub lower_inclusive: bool,
    /// Whether the upper end belongs to it.
    pub upper_inclusive: bool,
    /// Observations in it.
    pub count: f64,
}

impl Histogram {
    /// Whether buckets have bounds of their own.
    pub fn has_custom_bounds(&self) -> bool {
        self.schema == CUSTOM_SCHEMA
    }

    /// Whether this marks the end of a series.
    pub fn is_stale(&self) -> bool {
        is_stale(self.sum)
    }

    /// Populated buckets from the lowest to the highest.
    pub fn buckets(&self) -> Vec<Bucket> {
        let mut buckets = Vec::with_capacity(self.negative.0.len() + self.positive.0.len() + 1);
        for (index, count) in self.negative.iter().rev() {
            let (lower, upper) = (
                -self.upper_bound(index),
                -self.upper_bound(index.saturating_sub(1)),
            );
            buckets.push(Bucket {
                lower,
                upper,
                lower_inclusive: true,
                upper_inclusive: false,
                count,
            });
        }
        if self.zero_count != 0.0 {
            buckets.push(Bucket {
                lower: -self.zero_threshold,
                upper: self.zero_threshold,
                lower_inclusive: true,
                upper_inclusive: true,
                count: self.zero_count,
            });
        }
        for (index, count) in self.positive.iter() {
            let (lower, upper) = (self.upper_bound(index.saturating_sub(1)), self.upper_bound(index));
            buckets.push(Bucket {
                lower,
                upper,
                lower_inclusive: false,
                upper_inclusive: true,
                count,
            });
        }
        buckets
    }

    /// The upper end of a positive bucket.
    fn upper_bound(&self, index: i32) -> f64 {
        if !self.has_custom_bounds() {
            return (f64::from(index) * (-f64::from(self.schema)).exp2()).exp2();
        }
        match usize::try_from(index) {
            Ok(index) => self.custom_bounds.get(index).copied().unwrap_or(f64::INFINITY),
            Err(_) => f64::NEG_INFINITY,
        }
    }

    /// Observations in all buckets: NaN observations are in none, but in `count`.
    pub(crate) fn bucket_total(&self) -> f64 {
        self.negative.total() + self.zero_count + self.positive.total()
    }

    /// How many float samples it counts for against a query's limit.
    pub(crate) fn weight(&self) -> u64 {
        8 + (self.positive.0.len() + self.negative.0.len()) as u64
    }
}

impl PartialEq for Histogram {
    /// Equal buckets, counts and layout, as `==` in PromQL; what is known about resets does not matter.
    fn eq(&self, other: &Self) -> bool {
        self.schema == other.schema
            && self.zero_threshold == other.zero_threshold
            && self.zero_count == other.zero_count
            && self.count == other.count
            && self.sum == other.sum
            && self.custom_bounds == other.custom_bounds
            && self.positive == other.positive
            && self.negative == other.negative
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.lower_inclusive { '[' } else { '(' };
        let close = if self.upper_inclusive { ']' } else { ')' };
        let [lower, upper, count] = [self.lower, self.upper, self.count].map(format_general);
        write!(f, "{open}{lower},{upper}{close}:{count}")
    }
}

impl fmt::Display for Histogram {
    /// As Prometheus prints it: `{count:3, sum:4, [-0.001,0.001]:1, (0.5,1]:2}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{{count:{}, sum:{}",
            format_general(self.count),
            format_general(self.sum)
        )?;
        for bucket in self.buckets() {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}
