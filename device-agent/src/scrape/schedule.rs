//! When to scrape.
//!
//! Ticks are the wall-clock times that leave a given remainder modulo the interval. The remainder is a hash of the target
//! and the device: the load of many targets spreads over the interval, and a restart keeps every target's phase. A scrape
//! that starts a little after its tick carries the tick's time, so that intervals are exact multiples; one that is late
//! carries its true time. Ticks that passed meanwhile are skipped, never made up for.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use wire::Timestamp;

/// How far a scrape may be from its tick and still carry its time: 1 % of the interval, at most this.
const MAX_TOLERANCE_MS: i64 = 2;

/// The ticks of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    interval_ms: i64,
    phase_ms: i64,
}

impl Schedule {
    /// Ticks every `interval` (at least 1 ms), with a phase by the hash of `target`.
    pub fn new(interval: Duration, target: impl Hash) -> Self {
        let interval_ms = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
        let mut hasher = DefaultHasher::new();
        target.hash(&mut hasher);
        let phase = hasher.finish() % interval_ms.unsigned_abs();
        Schedule {
            interval_ms,
            phase_ms: i64::try_from(phase).unwrap_or(0),
        }
    }

    /// The first tick after `now`.
    pub fn next_after(&self, now: Timestamp) -> Timestamp {
        let since = now.ms().wrapping_sub(self.phase_ms).rem_euclid(self.interval_ms);
        Timestamp::from_ms(now.ms().saturating_add(self.interval_ms - since))
    }

    /// The tick to wait for at `now`, after a scrape meant for `last`. A wall clock that was set back does not stop the
    /// ticks.
    pub fn next_tick(&self, last: Timestamp, now: Timestamp) -> Timestamp {
        let set_back = last.ms().saturating_sub(now.ms()) > self.interval_ms;
        // A timer that fires a little early must not yield the same tick twice.
        self.next_after(if set_back { now } else { now.max(last) })
    }

    /// How many ticks passed in a time, ms.
    pub fn ticks_in(&self, ms: u64) -> u64 {
        ms / self.interval_ms.unsigned_abs()
    }

    /// The time that a scrape meant for `tick` and started at `now` carries.
    pub fn align(&self, tick: Timestamp, now: Timestamp) -> Timestamp {
        let tolerance = MAX_TOLERANCE_MS.min(self.interval_ms / 100);
        let late = now.ms().saturating_sub(tick.ms());
        if (-tolerance..=tolerance).contains(&late) {
            tick
        } else {
            now
        }
    }
}
