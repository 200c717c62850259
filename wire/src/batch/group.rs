//! A group: rows that share a list of series.

use std::sync::Arc;

use crate::batch::presence::Presence;
use crate::dict::SeriesId;
use crate::message::{ExemplarCell, HistogramCell, Metadata};
use crate::number::Seq;
use crate::time::Timestamp;

/// What one record has for a group's series. Rows of the same seq are parts of one record, and travel in one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The record.
    pub seq: Seq,
    /// Time of the samples.
    pub time: Timestamp,
    /// Monotonic time of the record, ms since the boot.
    pub mono_ms: u64,
}

/// Rows that share a list of series.
///
/// `values` and `present` have a cell for every series and row, series-major: that of series `s` (a position in
/// `series`) in row `r` is at `s * rows.len() + r`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Group {
    /// The series, in rising order; those of a keyed batch are the key's.
    pub series: Arc<[SeriesId]>,
    /// The rows, in any order; at least one.
    pub rows: Vec<Row>,
    /// The float values; what stands in an absent cell means nothing (0 after decoding).
    pub values: Vec<f64>,
    /// Which cells have a float; `None`: all.
    pub present: Option<Presence>,
    /// Native histograms, at most one a cell, where no float is.
    pub histograms: Vec<HistogramCell>,
    /// Exemplars.
    pub exemplars: Vec<ExemplarCell>,
    /// Metadata that became known with a row.
    pub metadata: Vec<Metadata>,
}

impl Group {
    /// The float of a series (its position) in a row, if there is one.
    pub fn value(&self, series: usize, row: usize) -> Option<f64> {
        let cell = self.cell(series, row)?;
        self.has(cell).then(|| self.values[cell])
    }

    /// How many samples (floats and histograms) there are.
    pub fn samples(&self) -> u64 {
        let floats = self.present.as_ref().map_or(self.values.len(), Presence::count);
        (floats + self.histograms.len()) as u64
    }

    /// How many samples (floats and histograms) a row has.
    pub fn samples_of_row(&self, row: usize) -> u64 {
        let floats = (0..self.series.len())
            .filter(|&s| self.cell(s, row).is_some_and(|cell| self.has(cell)))
            .count();
        let histograms = self
            .histograms
            .iter()
            .filter(|cell| cell.row as usize == row)
            .count();
        (floats + histograms) as u64
    }

    fn cell(&self, series: usize, row: usize) -> Option<usize> {
        let within = series < self.series.len() && row < self.rows.len();
        within.then(|| series * self.rows.len() + row)
    }

    fn has(&self, cell: usize) -> bool {
        self.present.as_ref().is_none_or(|present| present.get(cell))
    }
}
