//! A group as the HTTP API shows it.

use promql::Labels;
use rules::{Alert, AlertState, GroupState, Health, RuleState};

/// A group after an evaluation.
#[derive(Debug, Clone)]
pub(crate) struct GroupView {
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) interval_ms: i64,
    pub(crate) limit: usize,
    pub(crate) last_evaluation_ms: Option<i64>,
    pub(crate) evaluation_seconds: f64,
    pub(crate) rules: Vec<RuleView>,
}

/// A rule.
#[derive(Debug, Clone)]
pub(crate) struct RuleView {
    pub(crate) name: String,
    pub(crate) query: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) health: Health,
    pub(crate) last_error: Option<String>,
    pub(crate) last_evaluation_ms: Option<i64>,
    pub(crate) evaluation_seconds: f64,
    /// Of an alerting rule.
    pub(crate) alerting: Option<AlertingView>,
}

/// What only an alerting rule has.
#[derive(Debug, Clone)]
pub(crate) struct AlertingView {
    pub(crate) for_ms: i64,
    pub(crate) keep_firing_for_ms: i64,
    pub(crate) annotations: Vec<(String, String)>,
    pub(crate) state: AlertState,
    pub(crate) alerts: Vec<AlertView>,
}

/// An alert.
#[derive(Debug, Clone)]
pub(crate) struct AlertView {
    pub(crate) labels: Labels,
    pub(crate) annotations: Vec<(String, String)>,
    pub(crate) state: AlertState,
    pub(crate) active_at_ms: i64,
    pub(crate) keep_firing_since_ms: Option<i64>,
    pub(crate) value: f64,
}

impl GroupView {
    pub(super) fn of(state: &GroupState) -> Self {
        let group = state.group();
        GroupView {
            name: group.name.clone(),
            file: group.file.clone(),
            interval_ms: state.interval_ms(),
            limit: group.limit.unwrap_or(0),
            last_evaluation_ms: state.last_evaluation_ms(),
            evaluation_seconds: state.duration().as_secs_f64(),
            rules: state.rules().iter().map(RuleView::of).collect(),
        }
    }
}

impl RuleView {
    fn of(state: &RuleState) -> Self {
        let rule = state.rule();
        let alerting = rule.alerting().map(|alerting| AlertingView {
            for_ms: alerting.for_ms,
            keep_firing_for_ms: alerting.keep_firing_for_ms,
            annotations: alerting.annotations.clone(),
            state: state.state(),
            alerts: state.alerts().map(AlertView::of).collect(),
        });
        RuleView {
            name: rule.name.clone(),
            query: rule.query(),
            labels: rule.labels.clone(),
            health: state.health(),
            last_error: state.last_error().map(str::to_owned),
            last_evaluation_ms: state.last_evaluation_ms(),
            evaluation_seconds: state.duration().as_secs_f64(),
            alerting,
        }
    }
}

impl AlertView {
    fn of(alert: &Alert) -> Self {
        AlertView {
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            state: alert.state,
            active_at_ms: alert.active_at_ms,
            keep_firing_since_ms: alert.keep_firing_since_ms,
            value: alert.value,
        }
    }
}
