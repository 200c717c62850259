//! The bridge's own metrics, `backhaul_bridge_…`. They have no device_id: what concerns one device is a series in that
//! device's tenant (`device_series`).

mod device_rules;
mod rings;

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    exponential_buckets,
};

pub(crate) use device_rules::DeviceRuleMetrics;
pub(crate) use rings::RingMetrics;

/// Handles of every metric.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) messages: IntCounterVec,
    pub(crate) message_bytes: IntCounterVec,
    pub(crate) ignored: IntCounterVec,
    pub(crate) refused_messages: IntCounterVec,
    pub(crate) refused_rows: IntCounterVec,
    pub(crate) wanting_rows: IntCounter,
    pub(crate) held_messages: IntCounter,
    pub(crate) stored_rows: IntCounter,
    pub(crate) stored_samples: IntCounter,
    pub(crate) redelivered_rows: IntCounter,
    pub(crate) commits: IntCounter,
    pub(crate) commit_failures: IntCounter,
    pub(crate) commit_bytes: IntCounter,
    pub(crate) commit_seconds: Histogram,
    pub(crate) acks: IntCounter,
    pub(crate) acks_dropped: IntCounter,
    pub(crate) credit_outstanding: IntGauge,
    pub(crate) credit_waiting: IntGauge,
    pub(crate) devices_connected: IntGauge,
    pub(crate) store: StoreMetrics,
    pub(crate) mqtt_connected: IntGauge,
    pub(crate) mqtt_connections: IntCounter,
    pub(crate) metadata_refused: IntCounter,
    pub(crate) queries: IntCounterVec,
    pub(crate) queries_running: IntGaugeVec,
    pub(crate) queries_waiting: IntGaugeVec,
    pub(crate) query_memory_bytes: IntGaugeVec,
    pub(crate) query_seconds: Histogram,
    pub(crate) rings: RingMetrics,
    pub(crate) device_rules: DeviceRuleMetrics,
    pub(crate) alert_delay_seconds: Histogram,
}

/// Those of the store.
#[derive(Clone)]
pub(crate) struct StoreMetrics {
    pub(crate) pressure: IntGauge,
    pub(crate) seals: IntCounter,
    pub(crate) merged: IntCounter,
    pub(crate) expired: IntCounter,
    pub(crate) damaged: IntCounter,
    pub(crate) failures: IntCounter,
    pub(crate) free_bytes: IntGauge,
    pub(crate) min_free_bytes: IntGauge,
    pub(crate) blocks: IntGauge,
    pub(crate) block_bytes: IntGauge,
    pub(crate) journal_files: IntGauge,
    pub(crate) journal_bytes: IntGauge,
    pub(crate) dictionary_bytes: IntGauge,
    pub(crate) series: IntGauge,
    pub(crate) head_bytes: IntGauge,
    pub(crate) late_bytes: IntGauge,
    pub(crate) label_bytes: IntGauge,
}

/// Registers as it makes, so that none is forgotten.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn put<C: prometheus::core::Collector + Clone + 'static>(&self, made: C) -> prometheus::Result<C> {
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.put(IntCounter::new(format!("backhaul_bridge_{name}"), help)?)
    }

    fn counters(&self, name: &str, help: &str, label: &str) -> prometheus::Result<IntCounterVec> {
        self.put(IntCounterVec::new(
            Opts::new(format!("backhaul_bridge_{name}"), help),
            &[label],
        )?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.put(IntGauge::new(format!("backhaul_bridge_{name}"), help)?)
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> prometheus::Result<IntGaugeVec> {
        self.put(IntGaugeVec::new(
            Opts::new(format!("backhaul_bridge_{name}"), help),
            &[label],
        )?)
    }

    fn seconds(&self, name: &str, help: &str, first: f64) -> prometheus::Result<Histogram> {
        let buckets = exponential_buckets(first, 2.0, 16)?;
        let opts = HistogramOpts::new(format!("backhaul_bridge_{name}"), help).buckets(buckets);
        self.put(Histogram::with_opts(opts)?)
    }
}

impl Metrics {
    /// Makes and registers all of them.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let make = Maker(registry);
        Ok(Metrics {
            messages: make.counters("messages_total", "Messages of devices taken in.", "channel")?,
            message_bytes: make.counters("message_bytes_total", "Payload bytes taken in.", "channel")?,
            ignored: make.counters("messages_ignored_total", "Messages without effect.", "reason")?,
            refused_messages: make.counters(
                "messages_refused_total",
                "Messages refused for good, also those whose records could not be told.",
                "reason",
            )?,
            refused_rows: make.counters("rows_refused_total", "Records refused for good.", "reason")?,
            wanting_rows: make.counter(
                "rows_wanting_total",
                "Records that lacked a dictionary or key when they came.",
            )?,
            held_messages: make.counter("messages_held_total", "Messages of a later format version.")?,
            stored_rows: make.counter("rows_stored_total", "Records committed to the journal.")?,
            stored_samples: make.counter("samples_stored_total", "Samples committed to the journal.")?,
            redelivered_rows: make
                .counter("rows_redelivered_total", "Records that had been settled before.")?,
            commits: make.counter("commits_total", "Journal commits.")?,
            commit_failures: make.counter("commit_failures_total", "Journal commits that failed.")?,
            commit_bytes: make.counter("commit_bytes_total", "Bytes of records committed.")?,
            commit_seconds: make.seconds("commit_duration_seconds", "Duration of a commit.", 0.000_5)?,
            acks: make.counter("acks_total", "Acks published.")?,
            acks_dropped: make.counter("acks_dropped_total", "Acks not published for want of a broker.")?,
            credit_outstanding: make.gauge(
                "credit_outstanding_bytes",
                "Bytes granted to devices and not committed.",
            )?,
            credit_waiting: make.gauge("credit_waiting_lanes", "Lanes of devices that wait for credit.")?,
            devices_connected: make.gauge("devices_connected", "Devices connected to the broker.")?,
            store: StoreMetrics::register(&make)?,
            mqtt_connected: make.gauge(
                "mqtt_connected",
                "1 while the bridge is subscribed at the broker.",
            )?,
            mqtt_connections: make.counter("mqtt_connections_total", "Connections made to the broker.")?,
            metadata_refused: make.counter(
                "metadata_refused_total",
                "Metadata of metrics that did not fit into its tenant's budget.",
            )?,
            queries: make.counters("queries_total", "Queries answered, by outcome.", "outcome")?,
            queries_running: make.gauges("queries_running", "Queries being evaluated.", "queue")?,
            queries_waiting: make.gauges("queries_waiting", "Queries that wait for a slot.", "queue")?,
            query_memory_bytes: make.gauges(
                "query_memory_bytes",
                "Memory that queries held when one of them last ended.",
                "queue",
            )?,
            query_seconds: make.seconds("query_duration_seconds", "Duration of an evaluation.", 0.001)?,
            rings: RingMetrics::register(&make)?,
            device_rules: DeviceRuleMetrics::register(&make)?,
            alert_delay_seconds: make.seconds(
                "alert_delivery_delay_seconds",
                "From when a device logged an alert until it came here.",
                0.125,
            )?,
        })
    }
}

impl StoreMetrics {
    fn register(make: &Maker<'_>) -> prometheus::Result<Self> {
        Ok(StoreMetrics {
            pressure: make.gauge(
                "store_pressure",
                "1 while the store takes no backlog, 2 while nothing is granted.",
            )?,
            seals: make.counter("store_windows_sealed_total", "Windows written into blocks.")?,
            merged: make.counter("store_blocks_merged_total", "Blocks written into larger ones.")?,
            expired: make.counter("store_blocks_expired_total", "Blocks removed by the retention.")?,
            damaged: make.counter("store_blocks_damaged_total", "Blocks set aside.")?,
            failures: make.counter(
                "store_maintenance_failures_total",
                "Steps of the store's maintenance that the disk refused.",
            )?,
            free_bytes: make.gauge("store_free_bytes", "Free bytes of the store's file system.")?,
            min_free_bytes: make.gauge(
                "store_min_free_bytes",
                "Free bytes below which nothing is taken in.",
            )?,
            blocks: make.gauge("store_blocks", "Blocks on disk.")?,
            block_bytes: make.gauge("store_block_bytes", "Bytes of blocks.")?,
            journal_files: make.gauge("store_journal_files", "Files of the journal.")?,
            journal_bytes: make.gauge("store_journal_bytes", "Bytes of the journal's files on disk.")?,
            dictionary_bytes: make.gauge("store_dictionary_bytes", "Bytes of the dictionaries' file.")?,
            series: make.gauge("store_series", "Series in memory or in blocks.")?,
            head_bytes: make.gauge("store_head_bytes", "Bytes of rows in memory, roughly.")?,
            late_bytes: make.gauge(
                "store_late_bytes",
                "Bytes of rows in memory that came when their hour was long over, roughly.",
            )?,
            label_bytes: make.gauge(
                "store_label_bytes",
                "Bytes of labels in memory and what finds them, roughly.",
            )?,
        })
    }
}
