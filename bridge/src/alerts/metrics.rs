//! Metrics of alerts, with the meanings of Prometheus's notifier where it has them.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramTimer, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, exponential_buckets,
};

use super::book::{Census, Source};
use super::life::Noted;

/// Of all alerts.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    received: IntCounterVec,
    dropped: IntCounterVec,
    alerts: IntGaugeVec,
    sent: IntCounterVec,
    errors: IntCounterVec,
    seconds: HistogramVec,
    delay: Histogram,
    discovered: IntGauge,
}

impl Metrics {
    /// Makes and registers all of them.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let opts = |name: &str, help: &str| Opts::new(format!("backhaul_bridge_{name}"), help);
        let counters =
            |name, help, labels: &[&str]| put(registry, IntCounterVec::new(opts(name, help), labels)?);
        let seconds = HistogramOpts::new(
            "backhaul_bridge_notifications_latency_seconds",
            "Duration of a request to an Alertmanager.",
        );
        let delay = HistogramOpts::new(
            "backhaul_bridge_alerts_delivery_delay_seconds",
            "Time from an alert's start until an Alertmanager first took it as firing.",
        );
        Ok(Metrics {
            received: counters(
                "alerts_received_total",
                "Reports of alerts, by source (device, rules, http) and what became of them.",
                &["source", "outcome"],
            )?,
            dropped: counters(
                "alerts_dropped_total",
                "Alerts that are not sent, by reason.",
                &["reason"],
            )?,
            alerts: put(
                registry,
                IntGaugeVec::new(
                    opts("alerts", "Alerts, by what Alertmanagers are shown."),
                    &["state"],
                )?,
            )?,
            sent: counters(
                "notifications_sent_total",
                "Alerts that an Alertmanager took.",
                &["alertmanager"],
            )?,
            errors: counters(
                "notifications_errors_total",
                "Alerts in requests that an Alertmanager did not take.",
                &["alertmanager"],
            )?,
            seconds: put(
                registry,
                HistogramVec::new(
                    seconds.buckets(exponential_buckets(0.001, 2.0, 15)?),
                    &["alertmanager"],
                )?,
            )?,
            delay: put(
                registry,
                Histogram::with_opts(delay.buckets(exponential_buckets(0.1, 4.0, 11)?))?,
            )?,
            discovered: put(
                registry,
                IntGauge::with_opts(opts(
                    "notifications_alertmanagers_discovered",
                    "Alertmanagers that are told.",
                ))?,
            )?,
        })
    }

    pub(crate) fn received(&self, source: Source<'_>, noted: Option<Noted>) {
        let source = match source {
            Source::Device(_) => "device",
            Source::Group(_) => "rules",
            Source::Http => "http",
        };
        let outcome = match noted {
            Some(Noted::Raised) => "raised",
            Some(Noted::Collapsed) => "collapsed",
            Some(Noted::Ended) => "ended",
            Some(Noted::Same) => "same",
            Some(Noted::Superseded) => "superseded",
            None => "no_room",
        };
        self.received.with_label_values(&[source, outcome]).inc();
        if noted.is_none() {
            self.dropped("no_room", 1);
        }
    }

    pub(crate) fn dropped(&self, reason: &str, alerts: usize) {
        self.dropped.with_label_values(&[reason]).inc_by(alerts as u64);
    }

    pub(crate) fn census(&self, census: &Census) {
        for (state, alerts) in [
            ("firing", census.firing),
            ("resolved", census.resolved),
            ("withheld", census.withheld),
        ] {
            self.alerts.with_label_values(&[state]).set(alerts as i64);
        }
    }

    pub(crate) fn taken(&self, alertmanager: &str, alerts: usize, delays_ms: &[i64]) {
        self.sent.with_label_values(&[alertmanager]).inc_by(alerts as u64);
        for delay in delays_ms {
            self.delay.observe(*delay as f64 / 1000.0);
        }
    }

    pub(crate) fn failed(&self, alertmanager: &str, alerts: usize) {
        self.errors
            .with_label_values(&[alertmanager])
            .inc_by(alerts as u64);
    }

    pub(crate) fn timer(&self, alertmanager: &str) -> HistogramTimer {
        self.seconds.with_label_values(&[alertmanager]).start_timer()
    }

    pub(crate) fn discovered(&self, alertmanagers: usize) {
        self.discovered.set(alertmanagers as i64);
    }
}

fn put<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
