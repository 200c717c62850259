//! Metrics of rule groups, with the names and meanings of Prometheus's (its `rules/group.go`) after `backhaul_`.

use prometheus::core::Collector;
use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};
use rules::{Evaluation, GroupState};
use store::Recorded;

/// Of all groups.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    evaluations: IntCounterVec,
    failures: IntCounterVec,
    iterations: IntCounterVec,
    missed: IntCounterVec,
    incomplete: IntCounterVec,
    again: IntCounterVec,
    overwritten: IntCounter,
    dropped: IntCounterVec,
    interval: GaugeVec,
    last_seconds: GaugeVec,
    last_time: GaugeVec,
    samples: IntGaugeVec,
    rules: IntGaugeVec,
    rule_seconds: GaugeVec,
}

const GROUP: [&str; 1] = ["rule_group"];

impl Metrics {
    /// Makes and registers all of them.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let opts = |name: &str, help: &str| Opts::new(format!("backhaul_rule_{name}"), help);
        let counters = |name, help| put(registry, IntCounterVec::new(opts(name, help), &GROUP)?);
        let gauges = |name, help, labels: &[&str]| put(registry, GaugeVec::new(opts(name, help), labels)?);
        let ints = |name, help| put(registry, IntGaugeVec::new(opts(name, help), &GROUP)?);
        Ok(Metrics {
            evaluations: counters("evaluations_total", "Evaluations of rules.")?,
            failures: counters("evaluation_failures_total", "Evaluations of rules that failed.")?,
            iterations: counters(
                "group_iterations_total",
                "Evaluations of the group that were due, missed ones too.",
            )?,
            missed: counters(
                "group_iterations_missed_total",
                "Evaluations of the group that were left out, as the one before took too long.",
            )?,
            incomplete: counters(
                "group_iterations_incomplete_total",
                "Evaluations of the group that began before as many devices had delivered as it waits for.",
            )?,
            again: counters(
                "group_late_evaluations_total",
                "Windows evaluated again for late data.",
            )?,
            overwritten: put(
                registry,
                IntCounter::with_opts(opts(
                    "samples_overwritten_total",
                    "Results that replaced an earlier one.",
                ))?,
            )?,
            dropped: put(
                registry,
                IntCounterVec::new(
                    opts("samples_dropped_total", "Results that are not stored, by reason."),
                    &["reason"],
                )?,
            )?,
            interval: gauges("group_interval_seconds", "The interval of the group.", &GROUP)?,
            last_seconds: gauges(
                "group_last_duration_seconds",
                "Duration of the last evaluation.",
                &GROUP,
            )?,
            last_time: gauges(
                "group_last_evaluation_timestamp_seconds",
                "Time of the last evaluation.",
                &GROUP,
            )?,
            samples: ints(
                "group_last_evaluation_samples",
                "Samples that the last evaluation gave.",
            )?,
            rules: ints("group_rules", "Rules of the group.")?,
            rule_seconds: gauges(
                "last_duration_seconds",
                "Duration of a rule's last evaluation.",
                &["rule_group", "rule"],
            )?,
        })
    }

    /// A group is there.
    pub(super) fn group(&self, group: &str, state: &GroupState) {
        self.interval
            .with_label_values(&[group])
            .set(state.interval_ms() as f64 / 1000.0);
        self.rules
            .with_label_values(&[group])
            .set(state.rules().len() as i64);
        for counters in [&self.evaluations, &self.failures, &self.iterations, &self.missed] {
            counters.with_label_values(&[group]).inc_by(0);
        }
    }

    /// The configuration changes; counters stay.
    pub(super) fn forget_groups(&self) {
        for gauges in [
            &self.interval,
            &self.last_seconds,
            &self.last_time,
            &self.rule_seconds,
        ] {
            gauges.reset();
        }
        self.samples.reset();
        self.rules.reset();
    }

    pub(super) fn evaluated(&self, group: &str, state: &GroupState, evaluation: &Evaluation) {
        let of = [group];
        self.iterations.with_label_values(&of).inc();
        self.evaluations
            .with_label_values(&of)
            .inc_by(state.rules().len() as u64);
        self.failures
            .with_label_values(&of)
            .inc_by(evaluation.failures.len() as u64);
        self.samples.with_label_values(&of).set(evaluation.samples as i64);
        self.last_seconds
            .with_label_values(&of)
            .set(evaluation.duration.as_secs_f64());
        let at_ms = state.last_evaluation_ms().unwrap_or(0);
        self.last_time.with_label_values(&of).set(at_ms as f64 / 1000.0);
        for (n, rule) in state.rules().iter().enumerate() {
            // Names repeat within a group.
            let name = format!("{n}:{}", rule.rule().name);
            self.rule_seconds
                .with_label_values(&[group, &name])
                .set(rule.duration().as_secs_f64());
        }
    }

    pub(super) fn missed(&self, group: &str, iterations: i64) {
        let iterations = u64::try_from(iterations).unwrap_or(0);
        self.missed.with_label_values(&[group]).inc_by(iterations);
        self.iterations.with_label_values(&[group]).inc_by(iterations);
    }

    pub(super) fn incomplete(&self, group: &str) {
        self.incomplete.with_label_values(&[group]).inc();
    }

    pub(super) fn evaluated_again(&self, group: &str) {
        self.again.with_label_values(&[group]).inc();
    }

    pub(super) fn recorded(&self, recorded: &Recorded) {
        self.overwritten.inc_by(recorded.overwritten);
        self.dropped("out_of_retention", recorded.out_of_retention);
        self.dropped("future", recorded.future);
        self.dropped("limit", recorded.limit);
    }

    /// Results are not stored.
    pub(super) fn dropped(&self, reason: &str, samples: u64) {
        self.dropped.with_label_values(&[reason]).inc_by(samples);
    }
}

fn put<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
