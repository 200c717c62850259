//! Windows that late data touched, for which recording rules are evaluated again.
//!
//! What tells of late data is a device's `complete until`: when it jumps by more than a device that is on time moves, the
//! time between was filled in just now.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use promql::{EvalError, QueryValue, RangeSeries, Samples};
use rules::{GroupState, Sample, SampleValue};
use store::Recorded;
use wire::{DeviceId, Tenant, Timestamp};

use super::Shared;
use super::storage::{options, record};
use crate::admission::Running;

/// What a device that is on time may move at once.
const ON_TIME: Duration = Duration::from_secs(90);

/// Late data is waited for so long after some came, so that a fleet that comes back is one evaluation.
const SETTLE: Duration = Duration::from_secs(60);

/// The longest window that is evaluated again at once; older parts come first, the rest follows.
const MOST: Duration = Duration::from_secs(6 * 3600);

/// Watches the devices of a tenant.
#[derive(Debug)]
pub(super) struct Late {
    on_time_ms: i64,
    seen: HashMap<DeviceId, i64>,
    /// What was filled in and is not evaluated again yet, and when it last grew.
    touched: Option<(i64, i64, i64)>,
}

fn ms(span: Duration) -> i64 {
    crate::millis(span)
}

impl Late {
    pub(super) fn new(interval: Duration) -> Self {
        Late {
            on_time_ms: ms(ON_TIME.max(interval * 3)),
            seen: HashMap::new(),
            touched: None,
        }
    }

    /// The window to evaluate again now, Unix ms, both ends included, given until when each device's data is complete.
    pub(super) fn look(&mut self, complete: &[(DeviceId, Timestamp)], now: Timestamp) -> Option<(i64, i64)> {
        for (device, until) in complete {
            let until_ms = until.ms();
            let before = self.seen.insert(device.clone(), until_ms);
            let jumped = before.filter(|before| until_ms - before > self.on_time_ms);
            if let Some(from_ms) = jumped {
                let (from, to) = self.touched.map_or((from_ms, until_ms), |(from, to, _)| {
                    (from.min(from_ms), to.max(until_ms))
                });
                self.touched = Some((from, to, now.ms()));
            }
        }
        let (from, to, grew) = self.touched?;
        if now.ms() - grew < ms(SETTLE).min(2 * self.on_time_ms) {
            return None;
        }
        let end = to.min(from + ms(MOST));
        self.touched = (end < to).then_some((end, to, grew));
        Some((from, end))
    }
}

/// Why recording rules could not be evaluated again.
#[derive(Debug, thiserror::Error)]
pub(super) enum AgainError {
    #[error(transparent)]
    Query(#[from] EvalError),
    #[error(transparent)]
    Commit(#[from] store::CommitError),
}

/// Evaluates the recording rules of a group at the group's own times in a window, in order, and stores what they give.
pub(super) fn evaluate_again(
    shared: &Shared,
    tenant: &Tenant,
    state: &GroupState,
    (from_ms, to_ms): (i64, i64),
    running: &Running,
) -> Result<Recorded, AgainError> {
    let (step_ms, offset_ms) = (state.interval_ms(), state.query_offset_ms());
    let first = state.next_at(from_ms) - offset_ms;
    // What is not evaluated yet is not evaluated early.
    let last = to_ms.min(state.last_evaluation_ms().unwrap_or(from_ms)) - offset_ms;
    let mut all = Recorded::default();
    if last < first {
        return Ok(all);
    }
    for rule in state.rules().iter().map(|state| state.rule()) {
        if rule.alerting().is_some() {
            continue;
        }
        let source = crate::http::TenantSource::new(&shared.store, tenant, running);
        let options = options(shared, running);
        let answer = promql::eval_range(&rule.expr, first, last, step_ms, &source, &options)?;
        let samples = samples(rule, &answer.value, step_ms, last);
        let recorded = record(&shared.store, tenant, &samples)?;
        all.overwritten += recorded.overwritten;
        all.refused += recorded.refused;
        all.out_of_retention += recorded.out_of_retention;
        all.future += recorded.future;
        all.limit += recorded.limit;
    }
    Ok(all)
}

/// Results as they are recorded; a series that ends within the window is ended by a stale marker.
fn samples(rule: &rules::Rule, value: &QueryValue, step_ms: i64, last_ms: i64) -> Vec<Sample> {
    let QueryValue::Matrix(matrix) = value else {
        return Vec::new();
    };
    matrix
        .iter()
        .flat_map(|series| of_series(rule, series, step_ms, last_ms))
        .collect()
}

fn of_series(rule: &rules::Rule, series: &RangeSeries, step_ms: i64, last_ms: i64) -> Vec<Sample> {
    let labels = rule.recorded(&series.labels);
    let points = points(&series.samples);
    let mut samples = Vec::with_capacity(points.len());
    for (n, (time_ms, value)) in points.iter().enumerate() {
        samples.push(Sample {
            labels: labels.clone(),
            time_ms: *time_ms,
            value: value.clone(),
        });
        let next = time_ms + step_ms;
        if next <= last_ms && points.get(n + 1).is_none_or(|(time, _)| *time != next) {
            samples.push(Sample::stale(labels.clone(), next));
        }
    }
    samples
}

/// Floats and histograms in order of time.
fn points(samples: &Samples) -> Vec<(i64, SampleValue)> {
    let floats = samples.times_ms().iter().zip(samples.values());
    let floats = floats.map(|(time, value)| (*time, SampleValue::Float(*value)));
    let histograms = samples.histogram_times_ms().iter().zip(samples.histograms());
    let histograms = histograms.map(|(time, value)| (*time, SampleValue::Histogram(Arc::clone(value))));
    let mut points: Vec<_> = floats.chain(histograms).collect();
    points.sort_by_key(|(time, _)| *time);
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_of_a_device_is_a_window_once_it_has_settled() {
        let mut late = Late::new(Duration::from_secs(15));
        let device = DeviceId::new("a").unwrap();
        let mut look = |until_s: i64, now_s: i64| {
            let complete = [(device.clone(), Timestamp::from_ms(until_s * 1000))];
            late.look(&complete, Timestamp::from_ms(now_s * 1000))
        };
        assert_eq!(look(1_000, 1_010), None);
        assert_eq!(look(1_060, 1_070), None);
        // It was away for an hour, and comes back in two steps.
        assert_eq!(look(3_000, 4_700), None);
        assert_eq!(look(4_690, 4_710), None);
        assert_eq!(look(4_690, 4_769), None);
        assert_eq!(look(4_690, 4_770), Some((1_060_000, 4_690_000)));
        assert_eq!(look(4_750, 4_790), None);
    }

    #[test]
    fn a_long_absence_is_evaluated_part_by_part() {
        let mut late = Late::new(Duration::from_secs(15));
        let device = DeviceId::new("a").unwrap();
        let mut look = |until_ms: i64, now_ms: i64| {
            late.look(
                &[(device.clone(), Timestamp::from_ms(until_ms))],
                Timestamp::from_ms(now_ms),
            )
        };
        let day = 86_400_000;
        assert_eq!(look(0, 0), None);
        assert_eq!(look(day, day), None);
        let parts: Vec<_> = (0..5).filter_map(|_| look(day, day + 60_000)).collect();
        let quarter = day / 4;
        let expected: Vec<_> = (0..4).map(|n| (n * quarter, (n + 1) * quarter)).collect();
        assert_eq!(parts, expected);
    }
}
