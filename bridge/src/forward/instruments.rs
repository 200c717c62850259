//! One destination's part of the metrics.

use std::sync::Arc;

use prometheus::{Gauge, Histogram, HistogramTimer, IntCounter, IntGauge};

use super::config::RemoteWrite;
use super::cursor::{BACKLOG, Totals};
use super::metrics::Metrics;

/// Handles of one destination.
#[derive(Debug, Clone)]
pub(crate) struct Instruments {
    all: Metrics,
    labels: Arc<[String; 2]>,
    samples: IntCounter,
    failed: IntCounter,
    retried: IntCounter,
    bytes: IntCounter,
    gaps: IntCounter,
    pending_bytes: IntGauge,
    shards: IntGauge,
    retrying: IntGauge,
    damaged: IntGauge,
    highest_sent: Gauge,
    seconds: Histogram,
}

impl Instruments {
    /// Counters begin where the destination's durable totals stand.
    pub(crate) fn new(all: &Metrics, config: &RemoteWrite, totals: &Totals) -> Self {
        let labels = [config.name.clone(), config.shown_url()];
        let values = [labels[0].as_str(), labels[1].as_str()];
        let made = Instruments {
            samples: all.samples.with_label_values(&values),
            failed: all.failed.with_label_values(&values),
            retried: all.retried.with_label_values(&values),
            bytes: all.bytes.with_label_values(&values),
            gaps: all.gaps.with_label_values(&values),
            pending_bytes: all.pending_bytes.with_label_values(&values),
            shards: all.shards.with_label_values(&values),
            retrying: all.retrying.with_label_values(&values),
            damaged: all.damaged.with_label_values(&values),
            highest_sent: all.highest_sent.with_label_values(&values),
            seconds: all.seconds.with_label_values(&values),
            all: all.clone(),
            labels: labels.clone().into(),
        };
        let most = i64::try_from(config.queue.max_shards).unwrap_or(i64::MAX);
        all.shards_max.with_label_values(&values).set(most);
        if made.samples.get() == 0 {
            made.samples.inc_by(totals.sent);
            made.gaps.inc_by(totals.gaps.len() as u64);
            for (reason, samples) in &totals.dropped {
                made.dropped(reason, *samples);
            }
        }
        made.shards(config.queue.min_shards);
        made
    }

    fn labels(&self) -> [&str; 2] {
        [&self.labels[0], &self.labels[1]]
    }

    pub(crate) fn sent(&self, samples: u64) {
        self.samples.inc_by(samples);
    }

    pub(crate) fn dropped(&self, reason: &str, samples: u64) {
        if samples == 0 {
            return;
        }
        let [name, url] = self.labels();
        self.all
            .dropped
            .with_label_values(&[name, url, reason])
            .inc_by(samples);
        if reason == "refused" {
            self.failed.inc_by(samples);
        }
    }

    pub(crate) fn retried(&self, samples: u64) {
        self.retried.inc_by(samples);
    }

    pub(crate) fn request(&self, bytes: usize) {
        self.bytes.inc_by(bytes as u64);
    }

    pub(crate) fn answer(&self, status: u16) {
        let [name, url] = self.labels();
        self.all
            .requests
            .with_label_values(&[name, url, &status.to_string()])
            .inc();
    }

    pub(crate) fn gap(&self, samples: u64, goes_on: bool) {
        self.dropped(BACKLOG, samples);
        self.gaps.inc_by(u64::from(!goes_on));
    }

    pub(crate) fn pending(&self, bytes: u64) {
        self.pending_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn shards(&self, shards: usize) {
        self.shards.set(i64::try_from(shards).unwrap_or(i64::MAX));
    }

    pub(crate) fn retrying(&self, retrying: bool) {
        self.retrying.set(i64::from(retrying));
    }

    pub(crate) fn damaged(&self, records: u64) {
        self.damaged.set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    pub(crate) fn latest(&self, time_ms: i64) {
        let seconds = time_ms as f64 / 1000.0;
        if seconds > self.highest_sent.get() {
            self.highest_sent.set(seconds);
        }
    }

    pub(crate) fn timer(&self) -> HistogramTimer {
        self.seconds.start_timer()
    }
}
