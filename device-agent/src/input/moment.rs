//! An instant by both clocks of the device.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use wire::Timestamp;

/// An instant by the wall clock, which may be wrong or jump, and by the boot clock, which does neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Wall clock.
    pub wall: Timestamp,
    /// Milliseconds since boot, suspended time included (CLOCK_BOOTTIME).
    pub mono_ms: u64,
}

impl Moment {
    /// Reads both clocks.
    pub fn now() -> Self {
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Timestamp::default().plus(since),
            Err(before) => Timestamp::default().minus(before.duration()),
        };
        // Linux has this clock since 2.6.39; it cannot fail with a valid id.
        let mono =
            clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |t| t.tv_sec() * 1000 + t.tv_nsec() / 1_000_000);
        Moment {
            wall,
            mono_ms: u64::try_from(mono).unwrap_or(0),
        }
    }

    /// The same instant if the wall clock had shown `wall`.
    #[must_use]
    pub fn at_wall(self, wall: Timestamp) -> Self {
        let shift = wall.ms().saturating_sub(self.wall.ms());
        Moment {
            wall,
            mono_ms: self.mono_ms.saturating_add_signed(shift),
        }
    }
}
