//! Times of samples.

mod rfc3339;

use std::fmt;
use std::time::Duration;

pub use rfc3339::{civil, parse_rfc3339, rfc3339_of};

/// Milliseconds since 1970-01-01T00:00:00Z, as Prometheus counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_ms(ms: i64) -> Self {
        Timestamp(ms)
    }

    /// Milliseconds since the epoch.
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// Seconds since the epoch, as the HTTP API prints them.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Later by a duration; saturates.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Timestamp(
            self.0
                .saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// Earlier by a duration; saturates.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Timestamp(
            self.0
                .saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}
