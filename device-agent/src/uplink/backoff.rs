//! Pauses between connection attempts: full jitter, so that a fleet does not come back at once.

use std::time::Duration;

/// A connection that lived this long was a good one.
const GOOD: Duration = Duration::from_secs(30);

/// Pauses between connection attempts: anything between zero and a bound that doubles from `first` to `most`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Bound after the first failure.
    pub first: Duration,
    /// Largest bound.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff {
            first: Duration::from_secs(1),
            most: Duration::from_secs(60),
        }
    }
}

/// The attempts so far.
#[derive(Debug)]
pub(super) struct Attempts {
    backoff: Backoff,
    failures: u32,
}

impl Attempts {
    pub(super) fn new(backoff: Backoff) -> Attempts {
        Attempts { backoff, failures: 0 }
    }

    /// A connection ended that the broker had accepted for so long; zero: never.
    pub(super) fn ended(&mut self, lived: Duration) {
        self.failures = match lived >= GOOD {
            true => 0,
            false => self.failures.saturating_add(1).min(31),
        };
    }

    /// The bound of the next pause.
    fn bound(&self) -> Duration {
        let doubled = self
            .backoff
            .first
            .saturating_mul(1 << self.failures.saturating_sub(1).min(20));
        doubled.min(self.backoff.most)
    }

    /// How long to wait now.
    pub(super) fn pause(&self) -> Duration {
        self.bound().mul_f64(fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_most_and_starts_again_after_a_good_connection() {
        let mut attempts = Attempts::new(Backoff::default());
        let bounds: Vec<u64> = (0..8)
            .map(|_| {
                attempts.ended(Duration::ZERO);
                attempts.bound().as_secs()
            })
            .collect();
        assert_eq!(bounds, [1, 2, 4, 8, 16, 32, 60, 60]);
        attempts.ended(GOOD);
        assert_eq!(attempts.bound().as_secs(), 1);
        assert!(attempts.pause() <= Duration::from_secs(1));
    }
}
