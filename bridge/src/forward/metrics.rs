//! Metrics of destinations, `backhaul_remote_write_…`, with Prometheus's meanings (storage/remote/queue_manager.go).

use prometheus::core::Collector;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, exponential_buckets,
};

/// Of all destinations.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) samples: IntCounterVec,
    pub(crate) failed: IntCounterVec,
    pub(crate) dropped: IntCounterVec,
    pub(crate) retried: IntCounterVec,
    pub(crate) requests: IntCounterVec,
    pub(crate) bytes: IntCounterVec,
    pub(crate) pending_bytes: IntGaugeVec,
    pub(crate) highest_sent: GaugeVec,
    pub(crate) shards: IntGaugeVec,
    pub(crate) shards_max: IntGaugeVec,
    pub(crate) retrying: IntGaugeVec,
    pub(crate) gaps: IntCounterVec,
    pub(crate) damaged: IntGaugeVec,
    pub(crate) seconds: HistogramVec,
}

/// The labels of one destination.
const LABELS: [&str; 2] = ["remote_name", "url"];

impl Metrics {
    /// Makes and registers all of them.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let put = |name: &str, help: &str| Opts::new(format!("backhaul_remote_write_{name}"), help);
        let counters = |name, help, more: &[&str]| {
            let labels = [&LABELS, more].concat();
            register(registry, IntCounterVec::new(put(name, help), &labels)?)
        };
        let gauges = |name, help| register(registry, IntGaugeVec::new(put(name, help), &LABELS)?);
        let buckets = exponential_buckets(0.001, 2.0, 16)?;
        let seconds = HistogramOpts::new(
            "backhaul_remote_write_request_duration_seconds",
            "Duration of a request.",
        );
        Ok(Metrics {
            samples: counters(
                "samples_total",
                "Samples written by the destination, native histograms included.",
                &[],
            )?,
            failed: counters(
                "samples_failed_total",
                "Samples that the destination refused for good.",
                &[],
            )?,
            dropped: counters(
                "samples_dropped_total",
                "Samples that were passed and not written, by reason.",
                &["reason"],
            )?,
            retried: counters(
                "samples_retried_total",
                "Samples of requests that are to be tried again.",
                &[],
            )?,
            requests: counters("requests_total", "Answers by status; 599: none.", &["code"])?,
            bytes: counters(
                "bytes_total",
                "Bytes of request bodies, compressed, every try.",
                &[],
            )?,
            gaps: counters(
                "gaps_total",
                "Gaps that were declared because the backlog was over its budget.",
                &[],
            )?,
            pending_bytes: gauges(
                "pending_journal_bytes",
                "Bytes of journal that the destination has not got yet.",
            )?,
            shards: gauges("shards", "Requests that may be under way at once.")?,
            shards_max: gauges("shards_max", "The most that shards can be.")?,
            retrying: gauges(
                "retrying",
                "1 while the destination does not take what it is sent.",
            )?,
            damaged: gauges(
                "damaged_records",
                "Records of the journal that could not be read since the start.",
            )?,
            highest_sent: register(
                registry,
                GaugeVec::new(
                    put(
                        "highest_sent_timestamp_seconds",
                        "Latest time of a sample written by the destination.",
                    ),
                    &LABELS,
                )?,
            )?,
            seconds: register(registry, HistogramVec::new(seconds.buckets(buckets), &LABELS)?)?,
        })
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, made: C) -> prometheus::Result<C> {
    registry.register(Box::new(made.clone()))?;
    Ok(made)
}
