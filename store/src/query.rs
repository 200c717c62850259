//! What a query gets.

use std::fmt;
use std::sync::Arc;

use wire::Labels;
use wire::message::Histogram;

/// What bounds a read. It is asked while the read goes on, by every thread of it.
#[derive(Clone, Copy)]
pub struct ReadLimits<'l> {
    /// Samples that may be read.
    pub max_samples: usize,
    /// Whether the read is to end because nobody waits for it.
    pub stop: &'l (dyn Fn() -> bool + Sync),
    /// Whether so many more bytes may be taken; asked before they are.
    pub take: &'l (dyn Fn(usize) -> bool + Sync),
}

impl fmt::Debug for ReadLimits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadLimits")
            .field("max_samples", &self.max_samples)
            .finish_non_exhaustive()
    }
}

impl ReadLimits<'static> {
    /// A limit on samples and none beside.
    pub fn samples(max_samples: usize) -> Self {
        ReadLimits {
            max_samples,
            stop: &|| false,
            take: &|_| true,
        }
    }
}

/// One series and its samples.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesSlice {
    /// Its labels, `device_id` set.
    pub labels: Labels,
    /// Times, ms since the epoch, strictly rising. Neighbours that have the same ones share them.
    pub times_ms: Arc<Vec<i64>>,
    /// As many values, bit for bit as the device sent them, stale markers included.
    pub values: Vec<f64>,
    /// Native histograms by time, ms since the epoch, strictly rising.
    pub histograms: Vec<(i64, Histogram)>,
}

impl SeriesSlice {
    /// How many samples there are.
    pub(crate) fn len(&self) -> usize {
        self.values.len() + self.histograms.len()
    }

    pub(crate) fn keep_newest_float(&mut self) {
        let before = self.times_ms.len().saturating_sub(1);
        if before > 0 {
            Arc::make_mut(&mut self.times_ms).drain(..before);
            self.values.drain(..before);
        }
    }
}

/// A device's samples as counted by reading them, not from counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadBack {
    /// Series of the device.
    pub series: u64,
    /// Samples that queries return.
    pub samples: u64,
    /// Samples of a time at which their series has another in another partition, as it moved when the hashrings changed.
    /// Queries return one of them; that the others went is not counted before.
    pub joined: u64,
    /// Samples that queries return twice for one series and time; 0 unless the store is wrong.
    pub duplicates: u64,
}
