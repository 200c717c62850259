//! Metrics of the rule files that devices are to evaluate, and of their pushes.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{IntCounter, IntGauge};

use super::Maker;

/// Handles of the metrics.
#[derive(Clone)]
pub(crate) struct DeviceRuleMetrics {
    successful: IntGauge,
    success_seconds: IntGauge,
    /// Configurations handed to the broker.
    pub(crate) published: IntCounter,
    /// Those that no broker was there for.
    pub(crate) dropped: IntCounter,
}

impl DeviceRuleMetrics {
    pub(super) fn register(make: &Maker<'_>) -> prometheus::Result<Self> {
        Ok(DeviceRuleMetrics {
            successful: make.gauge(
                "device_rules_last_reload_successful",
                "1 if the rule files of devices were taken when they were last read.",
            )?,
            success_seconds: make.gauge(
                "device_rules_last_reload_success_timestamp_seconds",
                "When rule files of devices were last taken.",
            )?,
            published: make.counter(
                "device_configs_published_total",
                "Configurations pushed to devices.",
            )?,
            dropped: make.counter(
                "device_configs_dropped_total",
                "Configurations not pushed for want of a broker; they are pushed later.",
            )?,
        })
    }

    /// They were taken.
    pub(crate) fn taken(&self, now: SystemTime) {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.successful.set(1);
        self.success_seconds
            .set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    }

    /// They were refused.
    pub(crate) fn refused(&self) {
        self.successful.set(0);
    }
}
