//! What the engine reads: series of labels and samples, and the trait that storage implements.
//!
//! Samples are columns (times in one, values in the other) in ascending time. A value may be any f64 bit for bit;
//! one NaN, [`STALE_NAN_BITS`], marks the end of a series and is never returned to a user.

use std::sync::Arc;

use crate::error::SourceError;
use crate::histogram::{CounterReset, Histogram};
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

/// Unix times in ms, strictly ascending.
#[derive(Debug, Clone, Default)]
pub struct Times(Arc<Vec<i64>>);

impl Times {
    /// `None` if they do not ascend.
    pub fn new(times_ms: Arc<Vec<i64>>) -> Option<Self> {
        is_ascending(&times_ms).then_some(Times(times_ms))
    }

    /// Whether they are this very list.
    pub fn are(&self, times_ms: &Arc<Vec<i64>>) -> bool {
        Arc::ptr_eq(&self.0, times_ms)
    }
}

/// Samples of one series: floats and native histograms in columns of their own, each ascending in time, no time in both.
/// Series that are sampled together share their times.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    times_ms: Arc<Vec<i64>>,
    values: Vec<f64>,
    histogram_times_ms: Vec<i64>,
    histograms: Vec<Arc<Histogram>>,
}

impl Samples {
    /// Float samples: Unix times in ms, strictly ascending, and as many values. `None` if lengths or order are wrong.
    pub fn from_floats(times_ms: Vec<i64>, values: Vec<f64>) -> Option<Self> {
        Samples::at_times(&Times::new(Arc::new(times_ms))?, values)
    }

    /// The same at times that other series may have, too: their windows are found once if such series follow one another.
    pub fn at_times(Times(times_ms): &Times, values: Vec<f64>) -> Option<Self> {
        let fit = times_ms.len() == values.len();
        fit.then(|| Self::of_grid(times_ms, values))
    }

    /// Adds native histograms to a series that has none: Unix times in ms, strictly ascending, none of them that of a
    /// float. `None` if lengths or times are wrong.
    pub fn with_histograms(self, times_ms: Vec<i64>, histograms: Vec<Arc<Histogram>>) -> Option<Self> {
        let fresh = times_ms
            .iter()
            .all(|time| self.times_ms.binary_search(time).is_err());
        let good = fresh && is_ascending(&times_ms) && times_ms.len() == histograms.len();
        good.then_some(Self {
            histogram_times_ms: times_ms,
            histograms,
            ..self
        })
    }

    /// Floats at the times of a grid, one for each.
    pub(crate) fn of_grid(times_ms: &Arc<Vec<i64>>, values: Vec<f64>) -> Self {
        Self {
            times_ms: Arc::clone(times_ms),
            values,
            ..Self::default()
        }
    }

    /// Unix times of the floats in ms.
    pub fn times_ms(&self) -> &[i64] {
        &self.times_ms
    }

    /// The same, as series share them.
    pub(crate) fn shared_times(&self) -> &Arc<Vec<i64>> {
        &self.times_ms
    }

    /// Floats, one per time.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Unix times of the native histograms in ms.
    pub fn histogram_times_ms(&self) -> &[i64] {
        &self.histogram_times_ms
    }

    /// Native histograms, one per time.
    pub fn histograms(&self) -> &[Arc<Histogram>] {
        &self.histograms
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.times_ms.len() + self.histogram_times_ms.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.times_ms.is_empty() && self.histogram_times_ms.is_empty()
    }

    /// What the samples count for against a query's limit.
    pub(crate) fn weight(&self) -> u64 {
        self.times_ms.len() as u64 + self.histograms.iter().map(|h| h.weight()).sum::<u64>()
    }

    /// Adds a float later than all others; the caller's loop ascends in time.
    pub(crate) fn push(&mut self, time_ms: i64, value: f64) {
        Arc::make_mut(&mut self.times_ms).push(time_ms);
        self.values.push(value);
    }

    /// Adds a histogram later than all others; the caller's loop ascends in time.
    pub(crate) fn push_histogram(&mut self, time_ms: i64, histogram: Arc<Histogram>) {
        self.histogram_times_ms.push(time_ms);
        self.histograms.push(histogram);
    }

    /// Forgets what histograms say about resets: a grid may skip the sample that says it, or repeat it.
    pub(crate) fn forget_resets(&mut self) {
        for histogram in &mut self.histograms {
            if matches!(
                histogram.counter_reset,
                CounterReset::Reset | CounterReset::NotReset
            ) {
                Arc::make_mut(histogram).counter_reset = CounterReset::Unknown;
            }
        }
    }

    /// Without stale markers, as range selectors see a series.
    pub(crate) fn drop_stale(&mut self) {
        // Without a way out, as that would be a branch for each. The highest bit of `other` is 0 only of the marker, which
        // processors without a comparison of 64 bits find out for two values at once.
        let others = self.values.iter().fold(u64::MAX, |others, value| {
            let other = value.to_bits() ^ STALE_NAN_BITS;
            others & (other | other.wrapping_neg())
        });
        if others >> 63 == 0 {
            let floats = self
                .times_ms
                .iter()
                .zip(&self.values)
                .filter(|(_, value)| !is_stale(**value));
            let (times_ms, values) = floats.map(|(time, value)| (*time, *value)).unzip();
            (self.times_ms, self.values) = (Arc::new(times_ms), values);
        }
        if self.histograms.iter().any(|h| h.is_stale()) {
            let kept = self
                .histogram_times_ms
                .iter()
                .zip(&self.histograms)
                .filter(|(_, h)| !h.is_stale());
            (self.histogram_times_ms, self.histograms) = kept.map(|(time, h)| (*time, h.clone())).unzip();
        }
    }
}

fn is_ascending(times_ms: &[i64]) -> bool {
    // Without a way out, as that would be a branch for each.
    times_ms.windows(2).fold(true, |so_far, w| so_far & (w[0] < w[1]))
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
    /// Of a series' floats only the newest is needed.
    pub newest_only: bool,
}

/// Storage, as the engine sees it.
pub trait SeriesSource {
    /// All series that satisfy every matcher and have samples in `[start_ms, end_ms]`, stale markers included.
    /// No two may have equal labels; their order is free.
    ///
    /// # Errors
    /// Too many samples, or a failure of storage.
    fn select(&self, matchers: &[Matcher], hints: &Hints) -> Result<Vec<Series>, SourceError>;

    /// The same series in batches, for what need not see them all at once; `None` if this source has no batches.
    ///
    /// # Errors
    /// A failure of storage.
    fn batches(
        &self,
        _matchers: &[Matcher],
        _hints: &Hints,
    ) -> Result<Option<Box<dyn Batches + '_>>, SourceError> {
        Ok(None)
    }
}

/// A selection that is read a batch of series at a time, in any order, by several threads at once.
pub trait Batches: Sync {
    /// How many batches there are. What they are depends on the data alone, not on who reads them.
    fn count(&self) -> usize;

    /// The series of a batch below [`Batches::count`], as [`SeriesSource::select`] gives them; none is in two batches.
    ///
    /// # Errors
    /// More samples than `max_samples` in this batch, or a failure of storage.
    fn read(&self, batch: usize, max_samples: u64) -> Result<Vec<Series>, SourceError>;
}
