//! Counts what a read takes against its limits, before memory is taken where that can be known.

use crate::error::SelectError;
use crate::query::ReadLimits;

/// Bytes of a sample as it is read: time and value.
const SAMPLE_BYTES: usize = 16;

/// Bytes that a series takes beside its samples, label set included; roughly.
const SERIES_BYTES: usize = 512;

/// One read, or a part of it.
pub(super) struct Meter<'l> {
    limits: &'l ReadLimits<'l>,
    /// Samples that may be read; more than the limit where some may be there twice until they are merged.
    most: usize,
    samples: usize,
    halted: Option<SelectError>,
}

impl<'l> Meter<'l> {
    pub(super) fn new(limits: &'l ReadLimits<'l>) -> Self {
        Meter {
            limits,
            most: limits.max_samples.saturating_mul(2),
            samples: 0,
            halted: None,
        }
    }

    /// Makes room for series and, at most, so many samples; false if the read is to end.
    pub(super) fn reserve(&mut self, series: usize, samples: usize) -> bool {
        let bytes = series
            .saturating_mul(SERIES_BYTES)
            .saturating_add(samples.saturating_mul(SAMPLE_BYTES));
        if self.goes_on() && !(self.limits.take)(bytes) {
            self.halted = Some(SelectError::TooMuchMemory);
        }
        self.halted.is_none()
    }

    /// Counts samples that were read.
    pub(super) fn count(&mut self, samples: usize) {
        self.samples += samples;
        if self.samples > self.most && self.halted.is_none() {
            self.halted = Some(self.too_many());
        }
    }

    /// Whether the read goes on: nothing is exceeded, and somebody waits for it.
    pub(super) fn goes_on(&mut self) -> bool {
        if self.halted.is_none() && (self.limits.stop)() {
            self.halted = Some(SelectError::Interrupted);
        }
        self.halted.is_none()
    }

    pub(super) fn too_many(&self) -> SelectError {
        SelectError::TooManySamples {
            limit: self.limits.max_samples,
        }
    }

    /// Why the read ended early, if it did.
    pub(super) fn outcome(self) -> Result<(), SelectError> {
        self.halted.map_or(Ok(()), Err)
    }
}
