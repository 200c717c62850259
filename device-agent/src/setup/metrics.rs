//! What became of the agent's config and of what was pushed, the former under Prometheus's names behind the agent's prefix.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, IntCounterVec, IntGauge, Opts, Registry};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct SetupMetrics {
    successful: IntGauge,
    success_time: Gauge,
    pushed: IntCounterVec,
}

impl SetupMetrics {
    /// Registers everything, for a config that has been loaded.
    pub(crate) fn register(registry: &Registry) -> Result<SetupMetrics, prometheus::Error> {
        let successful = IntGauge::new(
            "backhaul_agent_config_last_reload_successful",
            "Whether the last attempt to read the config was successful.",
        )?;
        registry.register(Box::new(successful.clone()))?;
        let success_time = Gauge::new(
            "backhaul_agent_config_last_reload_success_timestamp_seconds",
            "When the config was last read successfully.",
        )?;
        registry.register(Box::new(success_time.clone()))?;
        let pushed = Opts::new(
            "backhaul_agent_pushed_configs_total",
            "Configurations that the bridge pushed: taken, refused, or known already.",
        );
        let pushed = IntCounterVec::new(pushed, &["outcome"])?;
        registry.register(Box::new(pushed.clone()))?;
        for outcome in ["taken", "refused", "known"] {
            pushed.with_label_values(&[outcome]);
        }
        let metrics = SetupMetrics {
            successful,
            success_time,
            pushed,
        };
        metrics.loaded();
        Ok(metrics)
    }

    pub(super) fn loaded(&self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.successful.set(1);
        self.success_time.set(since.as_secs_f64());
    }

    pub(super) fn failed(&self) {
        self.successful.set(0);
    }

    pub(super) fn pushed(&self, outcome: &str) {
        self.pushed.with_label_values(&[outcome]).inc();
    }

    #[cfg(test)]
    pub(super) fn outcomes(&self, outcome: &str) -> u64 {
        self.pushed.with_label_values(&[outcome]).get()
    }

    #[cfg(test)]
    pub(super) fn is_successful(&self) -> bool {
        self.successful.get() == 1
    }
}
