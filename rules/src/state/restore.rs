//! What a restart may not forget: since when alerts are pending.
//!
//! Prometheus's `RestoreForState`: the series `ALERTS_FOR_STATE` holds each alert's first time. The time in which
//! nobody evaluated does not count; an alert that would fire soon after the restart waits for the grace period.

use promql::{Hints, METRIC_NAME, MatchOp, Matcher, is_stale};

use super::alert::{Alert, AlertState};
use super::alerting::ALERT_NAME;
use super::rule::RuleState;
use super::{GroupState, Options};
use crate::storage::Storage;

/// The series of alerts' first times, in Unix seconds.
pub(super) const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";
/// Samples that a restore may read per rule.
const MAX_SAMPLES: u64 = 1_000_000;

impl GroupState {
    /// Whether pending times are restored, and the series of alerts are written.
    pub fn is_restored(&self) -> bool {
        self.restored
    }

    /// Looks up since when the pending alerts were pending before a restart.
    pub(super) fn restore(&mut self, now_ms: i64, storage: &impl Storage) {
        self.restored = true;
        let options = &self.options;
        for state in &mut self.rules {
            let Some(for_ms) = state.rule.alerting().map(|alerting| alerting.for_ms) else {
                continue;
            };
            // To restore would make such an alert wait longer than it does anyway.
            if for_ms < options.for_grace_period_ms || state.active.is_empty() {
                continue;
            }
            for (labels, down_ms, active_ms) in last_known(state, now_ms, options, storage) {
                if let Some(alert) = state.active.get_mut(&labels) {
                    alert.active_at_ms = resumed(active_ms, down_ms, now_ms, for_ms, options);
                }
            }
        }
    }
}

/// Labels, last time and first time (both Unix ms) of a rule's alerts that were active when they were last seen. What
/// storage cannot give is not restored; there is no second try.
fn last_known(
    state: &RuleState,
    now_ms: i64,
    options: &Options,
    storage: &impl Storage,
) -> Vec<(promql::Labels, i64, i64)> {
    let names = [
        (METRIC_NAME, ALERTS_FOR_STATE),
        (ALERT_NAME, state.rule.name.as_str()),
    ];
    let pairs = state.expansion.fixed_labels(&state.rule).chain(names);
    let matchers: Result<Vec<Matcher>, _> = pairs
        .map(|(name, value)| Matcher::new(name, MatchOp::Equal, value))
        .collect();
    let hints = Hints {
        start_ms: now_ms - options.outage_tolerance_ms,
        end_ms: now_ms,
        max_samples: MAX_SAMPLES,
        newest_only: true,
    };
    let Some(series) = matchers
        .ok()
        .and_then(|matchers| storage.select(&matchers, &hints).ok())
    else {
        return Vec::new();
    };
    let known = series.into_iter().filter_map(|series| {
        let time_ms = *series.samples.times_ms().last()?;
        let since = *series.samples.values().last()?;
        let is_time = !is_stale(since) && since.is_finite();
        is_time.then(|| {
            let labels = series.labels.with(METRIC_NAME, "");
            (labels, time_ms, (since as i64).saturating_mul(1000))
        })
    });
    known.collect()
}

/// The first time that an alert gets which was active since `active_ms` and last seen at `down_ms`.
fn resumed(active_ms: i64, down_ms: i64, now_ms: i64, for_ms: i64, options: &Options) -> i64 {
    let spent = (down_ms - down_ms.rem_euclid(1000)).saturating_sub(active_ms);
    let remaining = for_ms.saturating_sub(spent);
    let grace = options.for_grace_period_ms;
    if remaining <= 0 {
        // It was firing; it is so again at the next evaluation.
        active_ms
    } else if remaining < grace {
        now_ms + grace - for_ms
    } else {
        active_ms.saturating_add(now_ms - (down_ms - down_ms.rem_euclid(1000)))
    }
}

impl Alert {
    /// Goes on after a time in which nobody evaluated, of which the alert's own device knows. A pending one is held
    /// to the time that it was watched, or begins anew after too long; a firing one fires until an evaluation.
    pub(super) fn resume(&mut self, down_ms: i64, now_ms: i64, options: &Options) -> bool {
        if self.state != AlertState::Pending {
            return true;
        }
        let away = (now_ms - down_ms).max(0);
        self.active_at_ms = self.active_at_ms.saturating_add(away);
        away <= options.outage_tolerance_ms
    }
}
