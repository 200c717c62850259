//! An alerting rule: each series of its expression is an alert.

use std::collections::BTreeMap;

use promql::{InstantSample, Labels, METRIC_NAME, parse};

use super::alert::{Alert, AlertState};
use super::rule::{RuleState, query};
use super::{Options, restore};
use crate::group::{Alerting, Rule};
use crate::storage::{Sample, Storage};
use crate::template::{Site, Subject};

/// The label with an alert's name.
pub(super) const ALERT_NAME: &str = "alertname";
/// The series that says which alerts are pending or firing.
const ALERTS: &str = "ALERTS";

/// One evaluation.
pub(super) struct Moment<'m> {
    pub(super) at_ms: i64,
    pub(super) offset_ms: i64,
    pub(super) limit: Option<usize>,
    pub(super) is_restored: bool,
    pub(super) options: &'m Options,
}

/// Brings a rule's alerts to a moment; returns the series `ALERTS` and `ALERTS_FOR_STATE`.
pub(super) fn results(
    state: &mut RuleState,
    alerting: &Alerting,
    vector: Vec<InstantSample>,
    moment: &Moment<'_>,
    storage: &impl Storage,
) -> Result<Vec<Sample>, String> {
    let present = alerts(state, vector, moment, storage)?;
    let samples = step(state, alerting, present, moment);
    let active = state
        .active
        .values()
        .filter(|alert| alert.state != AlertState::Inactive)
        .count();
    match moment.limit {
        Some(limit) if active > limit => {
            state.active.clear();
            Err(format!("exceeded limit of {limit} with {active} alerts"))
        }
        _ => Ok(samples),
    }
}

/// The alerts of the expression's series, all of them as if new.
fn alerts(
    state: &RuleState,
    vector: Vec<InstantSample>,
    moment: &Moment<'_>,
    storage: &impl Storage,
) -> Result<BTreeMap<Labels, Alert>, String> {
    let mut alerts = BTreeMap::new();
    let mut ask = |text: &str| {
        let plan = parse(text).map_err(|error| error.to_string())?;
        query(&plan, moment.at_ms, storage)
    };
    let site = Site {
        external_labels: &moment.options.external_labels,
        external_url: &moment.options.external_url,
    };
    for sample in vector {
        let histogram = sample.histogram.as_deref();
        let subject = Subject::new(&sample.labels, sample.value, histogram, site);
        let own = state.expansion.labels(&subject, &mut ask);
        let labels = own
            .iter()
            .fold(sample.labels.with(METRIC_NAME, ""), |labels, (name, value)| {
                labels.with(name, value)
            })
            .with(ALERT_NAME, &state.rule.name);
        let annotations = state.expansion.annotations(&subject, &mut ask);
        let value = sample.histogram.as_ref().map_or(sample.value, |_| 0.0);
        let alert = Alert::new(labels.clone(), annotations, value, moment.at_ms);
        if alerts.insert(labels, alert).is_some() {
            return Err(
                "vector contains metrics with the same labelset after applying alert labels".to_owned(),
            );
        }
    }
    Ok(alerts)
}

/// Moves all alerts of a rule on; `present` are those whose series are there.
fn step(
    state: &mut RuleState,
    alerting: &Alerting,
    present: BTreeMap<Labels, Alert>,
    moment: &Moment<'_>,
) -> Vec<Sample> {
    let at_ms = moment.at_ms;
    state.active.retain(|labels, alert| {
        present.contains_key(labels)
            || alert.absent(at_ms, alerting.keep_firing_for_ms)
            || !alert.is_over(at_ms)
    });
    for (labels, alert) in present {
        let known = state.active.entry(labels).or_insert_with(|| alert.clone());
        match known.state {
            AlertState::Inactive => *known = alert,
            AlertState::Pending | AlertState::Firing => {
                (known.value, known.annotations) = (alert.value, alert.annotations);
            }
        }
        known.present(at_ms, alerting.for_ms);
    }
    if !moment.is_restored {
        return Vec::new();
    }
    let active = state
        .active
        .values()
        .filter(|alert| alert.state != AlertState::Inactive);
    let time_ms = at_ms - moment.offset_ms;
    active
        .flat_map(|alert| series(&state.rule, alert, time_ms))
        .collect()
}

/// `ALERTS` and `ALERTS_FOR_STATE` of an alert.
fn series(rule: &Rule, alert: &Alert, time_ms: i64) -> [Sample; 2] {
    let pairs = rule
        .labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let base: Labels = pairs.chain(alert.labels.iter()).collect();
    let named = |name| base.with(METRIC_NAME, name).with(ALERT_NAME, &rule.name);
    let state = named(ALERTS).with("alertstate", alert.state.as_str());
    // Whole seconds, as Prometheus has it.
    let since = alert.active_at_ms.div_euclid(1000) as f64;
    [
        Sample::float(state, time_ms, 1.0),
        Sample::float(named(restore::ALERTS_FOR_STATE), time_ms, since),
    ]
}
