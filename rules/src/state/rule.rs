//! A rule of a group at work.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use promql::{InstantSample, Labels, QueryValue};

use super::alert::{Alert, AlertState};
use super::expansion::Expansion;
use super::{GroupState, alerting, recording};
use crate::group::Rule;
use crate::storage::{Sample, Storage};

/// How a rule's last evaluation went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// There was none.
    Unknown,
    /// Well.
    Good,
    /// It failed.
    Bad,
}

impl Health {
    /// As Prometheus's API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Good => "ok",
            Self::Bad => "err",
        }
    }
}

/// A rule and what it remembers.
#[derive(Debug)]
pub struct RuleState {
    pub(super) rule: Rule,
    pub(super) expansion: Expansion,
    /// Alerts by their labels; of alerting rules only.
    pub(super) active: BTreeMap<Labels, Alert>,
    /// Series of the last evaluation that went well.
    pub(super) series: BTreeSet<Labels>,
    /// Whether its expression had a value at the last evaluation, so that its alerts are as they should be.
    pub(super) is_current: bool,
    health: Health,
    last_error: Option<String>,
    last_evaluation_ms: Option<i64>,
    duration: Duration,
    samples: usize,
}

impl RuleState {
    pub(super) fn new(rule: &Rule) -> Self {
        Self {
            expansion: Expansion::new(rule),
            rule: rule.clone(),
            active: BTreeMap::new(),
            series: BTreeSet::new(),
            is_current: false,
            health: Health::Unknown,
            last_error: None,
            last_evaluation_ms: None,
            duration: Duration::ZERO,
            samples: 0,
        }
    }

    /// The rule.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// How its last evaluation went.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Why its last evaluation failed.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Time of its last evaluation, Unix ms.
    pub fn last_evaluation_ms(&self) -> Option<i64> {
        self.last_evaluation_ms
    }

    /// How long its last evaluation took.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Samples that its last evaluation gave.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Pending and firing alerts.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.all_alerts().filter(|alert| alert.resolved_at_ms.is_none())
    }

    /// Alerts, those too that ended in the last 15 minutes.
    pub fn all_alerts(&self) -> impl Iterator<Item = &Alert> {
        self.active.values()
    }

    /// That of its most urgent alert.
    pub fn state(&self) -> AlertState {
        let states = self.active.values().map(|alert| alert.state);
        states.max().unwrap_or(AlertState::Inactive)
    }

    /// Its clock was set by so many ms.
    pub(super) fn shift(&mut self, by_ms: i64) {
        if let Some(time) = &mut self.last_evaluation_ms {
            *time = time.saturating_add(by_ms);
        }
        self.active.values_mut().for_each(|alert| alert.shift(by_ms));
    }

    /// The series that its last evaluation gave.
    pub(super) fn into_series(self) -> BTreeSet<Labels> {
        self.series
    }

    /// Stores results and ends the series that are not among them. A rule of which not all is taken is in bad health.
    fn store(
        &mut self,
        samples: Vec<Sample>,
        time_ms: i64,
        storage: &mut impl Storage,
    ) -> Result<(), String> {
        let mut series: BTreeSet<Labels> = samples.iter().map(|sample| sample.labels.clone()).collect();
        let gone = self.series.difference(&series);
        let markers = gone.map(|labels| Sample::stale(labels.clone(), time_ms));
        let count = samples.len();
        let all: Vec<Sample> = samples.into_iter().chain(markers.collect::<Vec<_>>()).collect();
        if all.is_empty() {
            return Ok(());
        }
        let refused = storage.append(&all).map_err(|error| error.to_string())?;
        let mut reason = None;
        // A marker that is not taken is no error: another rule gives the series.
        for refused in refused.into_iter().filter(|refused| refused.index < count) {
            if let Some(sample) = all.get(refused.index) {
                series.remove(&sample.labels);
            }
            reason = Some(refused.reason);
        }
        self.series = series;
        reason.map_or(Ok(()), Err)
    }
}

impl GroupState {
    /// Evaluates one rule; returns how many samples it gave.
    pub(super) fn evaluate_rule(
        &mut self,
        index: usize,
        at_ms: i64,
        storage: &mut impl Storage,
    ) -> Result<usize, String> {
        let started = storage.clock();
        let result = self.results(index, at_ms, storage);
        let time_ms = at_ms - self.query_offset_ms();
        let Some(state) = self.rules.get_mut(index) else {
            return Ok(0);
        };
        state.is_current = result.is_ok();
        let (samples, result) = match result {
            Ok(samples) => (samples.len(), state.store(samples, time_ms, storage)),
            Err(error) => (0, Err(error)),
        };
        state.samples = samples;
        state.health = if result.is_ok() { Health::Good } else { Health::Bad };
        state.last_error = result.as_ref().err().cloned();
        state.last_evaluation_ms = Some(at_ms);
        state.duration = storage.clock().saturating_sub(started);
        result.map(|()| samples)
    }

    fn results(
        &mut self,
        index: usize,
        at_ms: i64,
        storage: &mut impl Storage,
    ) -> Result<Vec<Sample>, String> {
        let (offset_ms, limit) = (self.query_offset_ms(), self.group.limit);
        let Some(state) = self.rules.get_mut(index) else {
            return Ok(Vec::new());
        };
        let vector = query(&state.rule.expr, at_ms - offset_ms, storage)?;
        match state.rule.alerting().cloned() {
            None => recording::results(&state.rule, vector, at_ms - offset_ms, limit),
            Some(alerting) => {
                let moment = alerting::Moment {
                    at_ms,
                    offset_ms,
                    limit,
                    is_restored: self.restored,
                    options: &self.options,
                };
                alerting::results(state, &alerting, vector, &moment, storage)
            }
        }
    }
}

/// An expression's value as a vector.
pub(super) fn query(
    plan: &promql::Plan,
    at_ms: i64,
    storage: &impl Storage,
) -> Result<Vec<InstantSample>, String> {
    let answer = storage.query(plan, at_ms).map_err(|error| error.to_string())?;
    vector_of(answer.value)
}

/// As Prometheus: a scalar is a series without labels.
fn vector_of(value: QueryValue) -> Result<Vec<InstantSample>, String> {
    match value {
        QueryValue::Vector(samples) => Ok(samples),
        QueryValue::Scalar { time_ms, value } => {
            Ok(vec![InstantSample::new(Labels::default(), time_ms, value)])
        }
        QueryValue::Text { .. } | QueryValue::Matrix(_) => {
            Err("rule result is not a vector or scalar".to_owned())
        }
    }
}
