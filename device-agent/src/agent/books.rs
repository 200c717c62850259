//! The agent's status and metrics, from the ledger's sums.
//!
//! Several agents of a process share the metrics, so each adds its differences.

use std::collections::BTreeMap;

use tokio::sync::watch;
use wire::ack::AckError;

use crate::agent::Status;
use crate::delivery::{Delivery, Publish, Sums};
use crate::metrics::Metrics;
use crate::wal::{Faults, Reason, Wal};

/// What was last told.
pub(super) struct Books {
    metrics: Metrics,
    status: watch::Sender<Status>,
    /// `None`: nothing yet, so that the first status is told even of an empty log.
    told: Option<Status>,
    dropped: BTreeMap<Reason, u64>,
    lost_alerts: BTreeMap<Reason, u64>,
    wal_bytes: i64,
    faults: Faults,
    sums: Sums,
    refused_series: u64,
    published_bytes: u64,
    records: u64,
}

impl Books {
    pub(super) fn new(metrics: Metrics, status: watch::Sender<Status>) -> Books {
        Books {
            metrics,
            status,
            told: None,
            dropped: BTreeMap::new(),
            lost_alerts: BTreeMap::new(),
            wal_bytes: 0,
            faults: Faults::default(),
            sums: Sums::default(),
            refused_series: 0,
            published_bytes: 0,
            records: 0,
        }
    }

    pub(super) fn connected(&self) {
        self.metrics.connects.inc();
    }

    pub(super) fn logged(&mut self, records: usize) {
        self.records += records as u64;
    }

    pub(super) fn logged_alerts(&mut self, alerts: u64) {
        self.records += alerts;
        self.metrics.alerts_logged.inc_by(alerts);
    }

    pub(super) fn published(&mut self, publish: &Publish) {
        let bytes = publish.payload.len() as u64;
        self.published_bytes += bytes;
        let channel = self
            .metrics
            .published_bytes
            .with_label_values(&[publish.channel.as_str()]);
        channel.inc_by(bytes);
    }

    pub(super) fn malformed_ack(&self, error: &AckError) {
        self.metrics.malformed_acks.inc();
        tracing::warn!(%error, "an ack cannot be read");
    }

    /// Tells what has changed.
    pub(super) fn update(&mut self, wal: &mut Wal, delivery: &Delivery) -> Status {
        let ledger = &wal.ledger;
        let (pending_records, pending) = ledger.pending();
        let dropped = ledger.dropped();
        let status = Status {
            generated: ledger.generated(),
            acked: ledger.acked(),
            dropped: dropped.values().sum(),
            pending,
            pending_records,
            gaps: ledger.gaps().iter().count() as u64,
            connected: delivery.is_open(),
            published_bytes: self.published_bytes,
            records: self.records,
        };
        if Some(status) != self.told {
            self.count(&status);
            self.told = Some(status);
            self.status.send_replace(status);
        }
        self.count_drops(dropped);
        self.count_lost_alerts(wal);
        self.count_faults(wal, delivery.sums());
        status
    }

    fn count(&self, status: &Status) {
        let (metrics, told) = (&self.metrics, self.told.unwrap_or_default());
        metrics
            .generated
            .inc_by(status.generated.saturating_sub(told.generated));
        metrics.acked.inc_by(status.acked.saturating_sub(told.acked));
        let pending = status.pending_records.wrapping_sub(told.pending_records);
        metrics.pending_records.add(pending.cast_signed());
        metrics
            .connected
            .add(i64::from(status.connected) - i64::from(told.connected));
    }

    fn count_drops(&mut self, dropped: BTreeMap<Reason, u64>) {
        for (reason, &samples) in &dropped {
            let told = self.dropped.get(reason).copied().unwrap_or(0);
            let counter = self.metrics.dropped.with_label_values(&[reason.as_str()]);
            counter.inc_by(samples.saturating_sub(told));
        }
        self.dropped = dropped;
    }

    fn count_lost_alerts(&mut self, wal: &Wal) {
        for (reason, &alerts) in wal.ledger.lost_alerts() {
            let told = self.lost_alerts.insert(*reason, alerts).unwrap_or(0);
            let counter = self.metrics.alerts_dropped.with_label_values(&[reason.as_str()]);
            counter.inc_by(alerts.saturating_sub(told));
        }
    }

    fn count_faults(&mut self, wal: &Wal, sums: Sums) {
        let bytes = i64::try_from(wal.ledger.bytes()).unwrap_or(i64::MAX);
        self.metrics.wal_bytes.add(bytes - self.wal_bytes);
        self.wal_bytes = bytes;
        self.metrics
            .resent_records
            .inc_by(sums.resent_records - self.sums.resent_records);
        self.metrics
            .refused_records
            .inc_by(sums.refused_records - self.sums.refused_records);
        self.metrics
            .held_records
            .inc_by(sums.held_records - self.sums.held_records);
        self.sums = sums;
        let (now, told) = (wal.faults, self.faults);
        let refused = (wal.refused_series(), self.refused_series);
        for (kind, now, told) in [
            ("append", now.append, told.append),
            ("meta", now.meta, told.meta),
            ("read", now.read, told.read),
            ("corrupt", now.corrupt, told.corrupt),
            ("torn_tail", now.torn, told.torn),
            ("series_limit", refused.0, refused.1),
        ] {
            if now > told {
                self.metrics
                    .wal_errors
                    .with_label_values(&[kind])
                    .inc_by(now - told);
            }
        }
        self.faults = now;
        self.refused_series = wal.refused_series();
    }
}
