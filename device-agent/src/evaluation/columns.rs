//! The samples of one series within a window, ascending in time.

use std::collections::VecDeque;

use promql::Samples;

/// How much longer than asked samples are kept, ms: an evaluation may be that much behind the newest sample.
pub(super) const MARGIN: i64 = 60_000;

/// Memory of one sample, bytes.
pub(super) const SAMPLE: usize = 16;

/// Times and values.
#[derive(Debug, Default)]
pub(super) struct Columns {
    times: VecDeque<i64>,
    values: VecDeque<f64>,
}

impl Columns {
    /// Memory that it takes, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.times.capacity() * SAMPLE
    }

    /// Memory that one more sample takes, bytes; none while there is room.
    pub(super) fn growth(&self) -> usize {
        match self.times.len() < self.times.capacity() {
            true => 0,
            false => self.step() * SAMPLE,
        }
    }

    fn step(&self) -> usize {
        (self.times.capacity() / 4).max(4)
    }

    /// The newest time.
    pub(super) fn last(&self) -> Option<i64> {
        self.times.back().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Adds a sample that is newer than all others.
    pub(super) fn push(&mut self, time: i64, value: f64) {
        if self.growth() > 0 {
            let step = self.step();
            self.times.reserve_exact(step);
            self.values.reserve_exact(step);
        }
        self.times.push_back(time);
        self.values.push_back(value);
    }

    /// Drops what is older than a window at a time.
    pub(super) fn trim(&mut self, now_ms: i64, back_ms: i64) {
        let limit = now_ms.saturating_sub(back_ms).saturating_sub(MARGIN);
        let old = self.times.partition_point(|&time| time < limit);
        self.times.drain(..old);
        self.values.drain(..old);
    }

    /// Moves all times.
    pub(super) fn shift(&mut self, by_ms: i64) {
        let shifted = |time: &mut i64| *time = time.saturating_add(by_ms);
        self.times.iter_mut().for_each(shifted);
    }

    /// The samples between two times, both inclusive.
    pub(super) fn between(&self, start_ms: i64, end_ms: i64) -> Option<Samples> {
        let from = self.times.partition_point(|&time| time < start_ms);
        let to = self.times.partition_point(|&time| time <= end_ms).max(from);
        let times = self.times.range(from..to).copied().collect();
        Samples::from_floats(times, self.values.range(from..to).copied().collect())
    }
}
