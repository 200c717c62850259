//! Samples of one series as they are read.

use prost::Message;
use wire::Labels;
use wire::message::Histogram;

use super::merge::Merged;
use super::times::Before;
use crate::query::SeriesSlice;

/// Floats, and native histograms as (time, protobuf). Of one time the one that was added last holds.
#[derive(Default)]
pub(super) struct Column {
    pub(super) floats: Merged,
    pub(super) histograms: Vec<(i64, Vec<u8>)>,
}

impl Column {
    /// How many samples there are.
    pub(super) fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    /// Adds what is newer in the journal, and is to be finished with the rest.
    pub(super) fn append(&mut self, newer: Column) {
        self.floats.append(newer.floats);
        self.histograms.extend(newer.histograms);
    }

    /// Adds what another partition has.
    pub(super) fn add(&mut self, other: Column) {
        self.append(other);
        self.finish();
    }

    /// Leaves the last added of each time, in order of time.
    pub(super) fn finish(&mut self) {
        self.floats.finish();
        if self.histograms.len() > 1 {
            self.histograms.sort_by_key(|(time, _)| *time);
            self.histograms.reverse();
            self.histograms.dedup_by_key(|(time, _)| *time);
            self.histograms.reverse();
        }
    }

    /// The samples as they are handed out. Times that are those of the series before, which `before` has, are shared with it.
    pub(super) fn slice(self, labels: Labels, before: &mut Before) -> SeriesSlice {
        let (times_ms, values) = self.floats.into_columns(before);
        let histograms = self.histograms.into_iter();
        SeriesSlice {
            labels,
            times_ms,
            values,
            histograms: histograms
                .filter_map(|(time, bytes)| Some((time, Histogram::decode(bytes.as_slice()).ok()?)))
                .collect(),
        }
    }
}
