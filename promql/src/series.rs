//! What the engine reads: series of labels and samples, and the trait that storage implements.
//!
//! Samples are columns (times in one, values in the other) in ascending time. A value may be any f64 bit for bit;
//! one NaN, [`STALE_NAN_BITS`], marks the end of a series and is never returned to a user.

use crate::error::SourceError;
use crate::labels::Labels;
use crate::matcher::Matcher;

/// Bits of Prometheus's stale marker.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The stale marker as a value.
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Whether a value is the stale marker (any other NaN is a value).
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// Samples of one series, ascending in time. Fields are private so that a histogram column can join them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    times_ms: Vec<i64>,
    values: Vec<f64>,
}

impl Samples {
    /// Float samples: Unix times in ms, strictly ascending, and as many values. `None` if lengths or order are wrong.
    pub fn from_floats(times_ms: Vec<i64>, values: Vec<f64>) -> Option<Self> {
        let ordered = times_ms.windows(2).all(|w| w[0] < w[1]);
        (ordered && times_ms.len() == values.len()).then_some(Self { times_ms, values })
    }

    /// Unix times in ms.
    pub fn times_ms(&self) -> &[i64] {
        &self.times_ms
    }

    /// Values, one per time.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.times_ms.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.times_ms.is_empty()
    }

    /// Adds a sample later than all others; the caller's loop ascends in time.
    pub(crate) fn push(&mut self, time_ms: i64, value: f64) {
        self.times_ms.push(time_ms);
        self.values.push(value);
    }

    /// Without stale markers, as range selectors see a series.
    pub(crate) fn drop_stale(&mut self) {
        if !self.values.iter().any(|v| is_stale(*v)) {
            return;
        }
        let mut fresh = Self::default();
        for (time, value) in self.times_ms.iter().zip(&self.values) {
            if !is_stale(*value) {
                fresh.push(*time, *value);
            }
        }
        *self = fresh;
    }
}

/// One series: its labels and some of its samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Labels, metric name included.
    pub labels: Labels,
    /// Samples in ascending time.
    pub samples: Samples,
}

/// What a selection needs; storage may return more samples than that, never fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hints {
    /// First Unix ms wanted, inclusive.
    pub start_ms: i64,
    /// Last Unix ms wanted, inclusive.
    pub end_ms: i64,
    /// Samples that the query may still load; beyond them return [`SourceError::TooManySamples`].
    pub max_samples: u64,
}

/// Storage, as the engine sees it.
pub trait SeriesSource {
    /// All series that satisfy every matcher and have samples in `[start_ms, end_ms]`, stale markers included.
    /// No two may have equal labels; their order is free.
    ///
    /// # Errors
    /// Too many samples, or a failure of storage.
    fn select(&self, matchers: &[Matcher], hints: &Hints) -> Result<Vec<Series>, SourceError>;
}
