//! What evaluations count, under Prometheus's names behind the agent's prefix.

use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::engine::{Engine, Round};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct RuleMetrics {
    evaluations: IntCounterVec,
    failures: IntCounterVec,
    missed: IntCounterVec,
    duration: GaugeVec,
    alerts: IntGaugeVec,
    memory: IntGauge,
    refused: IntCounter,
    pub(super) save_errors: IntCounter,
}

impl RuleMetrics {
    /// Registers everything.
    pub(crate) fn register(registry: &Registry) -> Result<RuleMetrics, prometheus::Error> {
        let counters = |name: &str, help: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &["rule_group"])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let duration = Opts::new(
            "backhaul_agent_rule_group_last_duration_seconds",
            "How long the last evaluation of a group took.",
        );
        let duration = GaugeVec::new(duration, &["rule_group"])?;
        registry.register(Box::new(duration.clone()))?;
        let alerts = Opts::new("backhaul_agent_rule_alerts", "Alerts of the device's own rules.");
        let alerts = IntGaugeVec::new(alerts, &["alertstate"])?;
        registry.register(Box::new(alerts.clone()))?;
        let memory = IntGauge::new(
            "backhaul_agent_rules_memory_bytes",
            "Memory of the samples that rules read.",
        )?;
        registry.register(Box::new(memory.clone()))?;
        Ok(RuleMetrics {
            evaluations: counters(
                "backhaul_agent_rule_evaluations_total",
                "Evaluations of rules, failed ones included.",
            )?,
            failures: counters(
                "backhaul_agent_rule_evaluation_failures_total",
                "Rules that failed.",
            )?,
            missed: counters(
                "backhaul_agent_rule_group_iterations_missed_total",
                "Evaluations of groups left out because the one before took too long or the device slept.",
            )?,
            duration,
            alerts,
            memory,
            refused: counter(
                "backhaul_agent_rules_memory_refused_samples_total",
                "Samples that rules read and that found no room in rules_memory; the rules fail.",
            )?,
            save_errors: counter(
                "backhaul_agent_rules_save_errors_total",
                "Writes of the rules' state that failed.",
            )?,
        })
    }

    pub(super) fn evaluated(&self, round: &Round) {
        let group = &[round.group.as_str()];
        self.evaluations
            .with_label_values(group)
            .inc_by(round.rules as u64);
        self.failures
            .with_label_values(group)
            .inc_by(round.failures.len() as u64);
        self.missed.with_label_values(group).inc_by(round.missed);
        self.duration
            .with_label_values(group)
            .set(round.duration.as_secs_f64());
    }

    /// A group is gone.
    pub(super) fn forget(&self, group: &str) {
        for counter in [&self.evaluations, &self.failures, &self.missed] {
            // One that was never evaluated has none.
            counter.remove_label_values(&[group]).ok();
        }
        self.duration.remove_label_values(&[group]).ok();
    }

    pub(super) fn tell(&self, engine: &Engine) {
        let (pending, firing) = engine.active();
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.alerts.with_label_values(&["pending"]).set(count(pending));
        self.alerts.with_label_values(&["firing"]).set(count(firing));
        let (bytes, refused) = engine.memory();
        self.memory.set(count(bytes));
        self.refused.inc_by(refused.saturating_sub(self.refused.get()));
    }
}
