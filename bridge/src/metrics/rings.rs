//! Thanos Receive's metrics of its hashring file.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{IntCounter, IntGauge, IntGaugeVec};
use store::Hashrings;

use super::Maker;

/// Handles of the metrics.
#[derive(Clone)]
pub(crate) struct RingMetrics {
    hash: IntGauge,
    successful: IntGauge,
    success_seconds: IntGauge,
    nodes: IntGaugeVec,
    tenants: IntGaugeVec,
    changes: IntCounter,
    errors: IntCounter,
}

impl RingMetrics {
    pub(super) fn register(make: &Maker<'_>) -> prometheus::Result<Self> {
        Ok(RingMetrics {
            hash: make.gauge("hashring_config_hash", "Hash of the hashrings that route.")?,
            successful: make.gauge(
                "hashring_config_last_reload_successful",
                "1 if the hashring file was taken when it was last read.",
            )?,
            success_seconds: make.gauge(
                "hashring_config_last_reload_success_timestamp_seconds",
                "When the hashring file was last taken.",
            )?,
            nodes: make.gauges("hashring_nodes", "Partitions of a hashring.", "name")?,
            tenants: make.gauges(
                "hashring_tenants",
                "Tenants or patterns of tenants of a hashring; 0: it is for all.",
                "name",
            )?,
            changes: make.counter("hashring_file_changes_total", "Changes of the hashrings.")?,
            errors: make.counter("hashring_file_errors_total", "Hashring files refused.")?,
        })
    }

    /// These rings route, as the file was read at `now`; `changed`: since now.
    pub(crate) fn taken(&self, rings: &Hashrings, changed: bool, now: SystemTime) {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        // 48 bits.
        self.hash.set(rings.digest() as i64);
        self.successful.set(1);
        self.success_seconds.set(now.as_secs() as i64);
        self.nodes.reset();
        self.tenants.reset();
        for ring in rings.rings() {
            let name = [ring.name()];
            self.nodes
                .with_label_values(&name)
                .set(ring.endpoints().len() as i64);
            self.tenants
                .with_label_values(&name)
                .set(ring.tenants().len() as i64);
        }
        self.changes.inc_by(u64::from(changed));
    }

    /// The file was refused.
    pub(crate) fn refused(&self) {
        self.successful.set(0);
        self.errors.inc();
    }
}
