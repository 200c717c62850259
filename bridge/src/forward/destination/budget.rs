//! What happens when a destination is too far behind.

use wire::Timestamp;

use super::Desk;
use crate::blocking::blocking;

/// Samples that are passed over in one go.
const SKIP: u64 = 1_000_000;

impl Desk {
    pub(super) fn is_over_budget(&self, oldest: Option<Timestamp>) -> bool {
        let config = &self.to.config;
        let late = config.max_backlog_age.zip(oldest);
        late.is_some_and(|(age, oldest)| oldest < self.now().minus(age))
            || self.pending > config.max_backlog_bytes
    }

    /// Passes over what is beyond the budget, an eighth of it more, so that there is some room again.
    pub(super) async fn skip(&mut self) {
        let config = self.to.config.clone();
        let budget = config.max_backlog_bytes;
        let is_long = self.pending > budget;
        let before = config
            .max_backlog_age
            .map_or(Timestamp::from_ms(i64::MIN), |age| self.now().minus(age));
        let store = self.to.store.clone();
        let below = match is_long {
            true => blocking(move || store.journal_last_bytes(budget - budget / 8)).await,
            false => 0,
        };
        loop {
            let passed = self.with_tail(move |tail| {
                let skipped = tail.skip(below, before, SKIP)?;
                Ok((skipped, tail.place()))
            });
            let Some((skipped, place)) = passed.await else {
                return;
            };
            let (pending, store, number) = (self.pending, self.to.store.clone(), place.number);
            let after = blocking(move || store.journal_bytes_from(number)).await;
            self.declare(skipped.samples, skipped.times, pending.saturating_sub(after));
            self.pass(place).await;
            if skipped.done {
                return;
            }
        }
    }

    /// A gap, or more of the one before.
    pub(super) fn declare(&mut self, samples: u64, times: Option<(i64, i64)>, bytes: u64) {
        if samples == 0 {
            return;
        }
        if !self.gap_open {
            let (remote_name, samples) = (&self.to.config.name, samples);
            tracing::warn!(
                remote_name,
                samples,
                "the backlog is over its budget; the oldest samples are not sent"
            );
        }
        let now = self.now();
        self.to.instruments.gap(samples, self.gap_open);
        self.totals.gap(samples, times, bytes, now, self.gap_open);
        self.gap_open = true;
    }
}
