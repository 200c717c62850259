//! A group at work: which alerts are pending or firing, which series its rules gave, how its rules fare.
//!
//! Transitions are Prometheus's (its `rules/group.go` and `rules/alerting.go`). Times are Unix ms and come from the
//! caller, who evaluates a group at [`GroupState::next_at`] and sends what is [`GroupState::due`] after that.

use std::time::Duration;

use promql::Labels;

use crate::group::Group;
use crate::storage::{Sample, Storage};

mod alert;
mod alerting;
mod carry;
mod due;
mod expansion;
mod persist;
mod recording;
mod restore;
mod rule;
mod shift;

pub use alert::{Alert, AlertState};
pub use due::DueAlert;
pub use persist::{MAX_STATE_BYTES, StateError};
pub use rule::{Health, RuleState};

/// Settings of groups. The default is Prometheus's.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Labels that alerts get where they are sent; templates can read them.
    pub external_labels: Labels,
    /// Where people reach this server, without a slash at its end.
    pub external_url: String,
    /// Interval in ms of groups that name none (`evaluation_interval`).
    pub interval_ms: i64,
    /// Query offset in ms of groups that name none (`rule_query_offset`).
    pub query_offset_ms: i64,
    /// How often, in ms, an alert that stays as it is is sent (`--rules.alert.resend-delay`).
    pub resend_delay_ms: i64,
    /// How far back, in ms, state is looked for after a restart (`--rules.alert.for-outage-tolerance`).
    pub outage_tolerance_ms: i64,
    /// Least time, in ms, before a restored alert fires (`--rules.alert.for-grace-period`).
    pub for_grace_period_ms: i64,
    /// Whether pending times are restored from the series `ALERTS_FOR_STATE` after the second evaluation. Until then
    /// neither that series nor `ALERTS` is written.
    pub restore: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            external_labels: Labels::default(),
            external_url: String::new(),
            interval_ms: 60_000,
            query_offset_ms: 0,
            resend_delay_ms: 60_000,
            outage_tolerance_ms: 3_600_000,
            for_grace_period_ms: 600_000,
            restore: true,
        }
    }
}

/// A group and all that it remembers between evaluations.
#[derive(Debug)]
pub struct GroupState {
    group: Group,
    options: Options,
    rules: Vec<RuleState>,
    /// Series of rules that are gone, to be marked stale.
    stale: Vec<Labels>,
    evaluations: u64,
    restored: bool,
    last_evaluation_ms: Option<i64>,
    duration: Duration,
}

/// What an evaluation did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// Samples that the rules gave.
    pub samples: usize,
    /// Rules that failed, by their index, and why.
    pub failures: Vec<(usize, String)>,
    /// How long it took.
    pub duration: Duration,
}

impl GroupState {
    /// A group that was never evaluated.
    pub fn new(group: Group, options: Options) -> Self {
        let rules = group.rules.iter().map(RuleState::new).collect();
        Self {
            restored: !options.restore,
            group,
            options,
            rules,
            stale: Vec::new(),
            evaluations: 0,
            last_evaluation_ms: None,
            duration: Duration::ZERO,
        }
    }

    /// The group.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Rules and their state, in order.
    pub fn rules(&self) -> &[RuleState] {
        &self.rules
    }

    /// Time of the last evaluation, Unix ms.
    pub fn last_evaluation_ms(&self) -> Option<i64> {
        self.last_evaluation_ms
    }

    /// How long the last evaluation took.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// How often the group is evaluated, in ms.
    pub fn interval_ms(&self) -> i64 {
        self.group.interval_ms.unwrap_or(self.options.interval_ms).max(1)
    }

    /// How far before an evaluation's time its queries and results lie, in ms.
    pub fn query_offset_ms(&self) -> i64 {
        self.group.query_offset_ms.unwrap_or(self.options.query_offset_ms)
    }

    /// The first of the group's own evaluation times after `now_ms`.
    pub fn next_at(&self, now_ms: i64) -> i64 {
        self.group.next_at(now_ms, self.interval_ms())
    }

    /// Evaluates all rules in order at a time. A rule that fails keeps its alerts and series and stops no other.
    pub fn evaluate(&mut self, at_ms: i64, storage: &mut impl Storage) -> Evaluation {
        let started = storage.clock();
        let mut evaluation = Evaluation::default();
        for index in 0..self.rules.len() {
            match self.evaluate_rule(index, at_ms, storage) {
                Ok(samples) => evaluation.samples += samples,
                Err(error) => evaluation.failures.push((index, error)),
            }
        }
        self.mark_stale(at_ms, storage);
        self.last_evaluation_ms = Some(at_ms);
        self.evaluations += 1;
        // The first evaluation may have lacked data that the second one has.
        if !self.restored && self.evaluations >= 2 {
            self.restore(at_ms, storage);
        }
        self.duration = storage.clock().saturating_sub(started);
        evaluation.duration = self.duration;
        evaluation
    }

    /// Ends the series of rules that are gone. What storage does not take here, another rule gives.
    fn mark_stale(&mut self, at_ms: i64, storage: &mut impl Storage) {
        let time_ms = at_ms - self.query_offset_ms();
        let markers: Vec<Sample> = self
            .stale
            .iter()
            .map(|labels| Sample::stale(labels.clone(), time_ms))
            .collect();
        if markers.is_empty() || storage.append(&markers).is_ok() {
            self.stale.clear();
        }
    }

    /// The markers that end all series of a group that goes away. Prometheus stores them two intervals after its last
    /// evaluation, when a group of another name may have taken the series over.
    pub fn retire(self, at_ms: i64) -> Vec<Sample> {
        let time_ms = at_ms - self.query_offset_ms();
        let series = self.rules.into_iter().flat_map(RuleState::into_series);
        let all = series.chain(self.stale);
        all.map(|labels| Sample::stale(labels, time_ms)).collect()
    }
}

#[cfg(test)]
mod tests;
