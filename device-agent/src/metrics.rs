//! What an agent counts about itself, for /metrics.
//!
//! Registered once and cloned: agents of one process share the counters.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Handles of the agent's metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) generated: IntCounter,
    pub(crate) acked: IntCounter,
    pub(crate) dropped: IntCounterVec,
    pub(crate) alerts_logged: IntCounter,
    pub(crate) alerts_dropped: IntCounterVec,
    pub(crate) pending_records: IntGauge,
    pub(crate) wal_bytes: IntGauge,
    pub(crate) wal_errors: IntCounterVec,
    pub(crate) connected: IntGauge,
    pub(crate) connects: IntCounter,
    pub(crate) published_bytes: IntCounterVec,
    pub(crate) resent_records: IntCounter,
    pub(crate) refused_records: IntCounter,
    pub(crate) held_records: IntCounter,
    pub(crate) malformed_acks: IntCounter,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// A name is taken in this registry.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("backhaul_agent_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let counters = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(format!("backhaul_agent_{name}"), help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("backhaul_agent_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Metrics {
            generated: counter("samples_generated_total", "Samples handed to the WAL.")?,
            acked: counter("samples_acked_total", "Samples that the bridge has settled.")?,
            dropped: counters(
                "samples_dropped_total",
                "Samples given up before they were delivered.",
                "reason",
            )?,
            alerts_logged: counter("alerts_logged_total", "Records of alerts in the WAL.")?,
            alerts_dropped: counters(
                "alerts_dropped_total",
                "Records of alerts given up before they were known to be delivered.",
                "reason",
            )?,
            pending_records: gauge("wal_pending_records", "Records in the WAL that are not settled.")?,
            wal_bytes: gauge("wal_bytes", "Bytes of the WAL's segments.")?,
            wal_errors: counters(
                "wal_errors_total",
                "Faults of the WAL: append, meta, read, torn_tail, corrupt; and values of series over the limit.",
                "kind",
            )?,
            connected: gauge("uplink_connected", "Connections that a bridge has answered on.")?,
            connects: counter("uplink_connects_total", "Connections accepted by a broker.")?,
            published_bytes: counters(
                "uplink_published_bytes_total",
                "Payload bytes given to the MQTT client.",
                "channel",
            )?,
            resent_records: counter("uplink_resent_records_total", "Records published again.")?,
            refused_records: counter(
                "records_refused_total",
                "Records that the bridge refused for good.",
            )?,
            held_records: counter("records_held_total", "Records that wait for a newer bridge.")?,
            malformed_acks: counter("uplink_malformed_acks_total", "Acks that could not be read.")?,
        })
    }
}
