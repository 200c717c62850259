//! What a query gets.

use wire::Labels;

/// One series and its samples.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesSlice {
    /// Its labels, `device_id` set.
    pub labels: Labels,
    /// Times, ms since the epoch, strictly rising.
    pub times_ms: Vec<i64>,
    /// As many values, bit for bit as the device sent them, stale markers included.
    pub values: Vec<f64>,
}

/// A device's samples as counted by reading the heads, not from counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadBack {
    /// Series of the device.
    pub series: u64,
    /// Samples that queries return.
    pub samples: u64,
    /// Samples that queries return twice for one series and time; 0 unless the store is wrong.
    pub duplicates: u64,
}
