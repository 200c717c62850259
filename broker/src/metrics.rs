//! The broker's metrics, registered once; totals only, no device names.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use wire::Role;
use wire::topic::Up;

use crate::fault::Fault;

/// Why a message was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drop {
    /// Another connection of a bridge took over the device before the message was passed.
    BridgeChanged,
    /// Passed to a bridge that went away without confirming it.
    BridgeGone,
    /// The device came back with a new connection.
    DeviceReconnected,
    /// To a device that is not connected.
    NotConnected,
    /// To a device that has not subscribed to the channel.
    NotSubscribed,
    /// To a device that takes its messages too slowly.
    OutboxFull,
    /// A configuration beyond the bounds of the table.
    ConfigTable,
    /// To the router, which is busy or dead.
    Router,
}

impl Drop {
    fn reason(self) -> &'static str {
        match self {
            Drop::BridgeChanged => "bridge_changed",
            Drop::BridgeGone => "bridge_gone",
            Drop::DeviceReconnected => "device_reconnected",
            Drop::NotConnected => "not_connected",
            Drop::NotSubscribed => "not_subscribed",
            Drop::OutboxFull => "outbox_full",
            Drop::ConfigTable => "config_table",
            Drop::Router => "router",
        }
    }
}

/// Families of metrics.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    accepted: IntCounter,
    connections: IntGaugeVec,
    closed: IntCounterVec,
    refused: IntCounterVec,
    received: IntCounterVec,
    received_bytes: IntCounterVec,
    dropped: IntCounterVec,
    pub(crate) passed: IntCounter,
    pub(crate) down: IntCounter,
    pub(crate) queued_bytes: IntGauge,
    pub(crate) in_flight: IntGauge,
    pub(crate) takeovers: IntCounter,
    pub(crate) expired: IntGauge,
    pub(crate) handshakes: IntCounterVec,
    pub(crate) reloads: IntCounterVec,
    pub(crate) router_restarts: IntCounter,
}

impl Metrics {
    /// Registers every family.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let register = Register(registry);
        Ok(Metrics {
            accepted: register.counter("connections_accepted_total", "Connections accepted, before TLS.")?,
            connections: register.gauges("connections", "Connections that are open, by role.", "role")?,
            closed: register.counters(
                "connections_closed_total",
                "Connections closed, by reason.",
                "reason",
            )?,
            refused: register.counters(
                "connections_refused_total",
                "Connections that did not get as far as an accepted CONNECT, by reason.",
                "reason",
            )?,
            received: register.counters(
                "messages_received_total",
                "Messages of devices, by channel.",
                "channel",
            )?,
            received_bytes: register.counters(
                "message_bytes_received_total",
                "Payload bytes of messages of devices, by channel.",
                "channel",
            )?,
            dropped: register.counters("messages_dropped_total", "Messages dropped, by reason.", "reason")?,
            passed: register.counter("messages_passed_total", "Messages of devices passed to a bridge.")?,
            down: register.counter("messages_down_total", "Messages passed to devices.")?,
            queued_bytes: register
                .gauge("queued_bytes", "Payload bytes of devices that wait for a bridge.")?,
            in_flight: register.gauge("in_flight_messages", "Messages to bridges that wait for PUBACK.")?,
            takeovers: register.counter(
                "takeovers_total",
                "Connections closed as another one of the same name came.",
            )?,
            expired: register.gauge(
                "expired_certificate_connections",
                "Open connections of devices whose certificate is expired and in its grace.",
            )?,
            handshakes: register.counters(
                "tls_handshakes_total",
                "TLS handshakes that succeeded.",
                "kind",
            )?,
            reloads: register.counters("tls_reloads_total", "Reloads of certificates and CRL.", "result")?,
            router_restarts: register.counter("router_restarts_total", "Times that the router died.")?,
        })
    }

    pub(crate) fn accepted(&self) {
        self.accepted.inc();
    }

    pub(crate) fn opened(&self, role: Role) {
        self.connections.with_label_values(&[role.as_str()]).inc();
    }

    pub(crate) fn closed(&self, role: Role, fault: Fault) {
        self.connections.with_label_values(&[role.as_str()]).dec();
        self.closed.with_label_values(&[fault.reason()]).inc();
    }

    pub(crate) fn refused(&self, fault: Fault) {
        self.refused.with_label_values(&[fault.reason()]).inc();
    }

    pub(crate) fn received(&self, channel: Up, bytes: usize) {
        self.received.with_label_values(&[channel.as_str()]).inc();
        self.received_bytes
            .with_label_values(&[channel.as_str()])
            .inc_by(bytes as u64);
    }

    pub(crate) fn dropped(&self, reason: Drop, messages: usize) {
        if messages > 0 {
            self.dropped
                .with_label_values(&[reason.reason()])
                .inc_by(messages as u64);
        }
    }
}

struct Register<'a>(&'a Registry);

impl Register<'_> {
    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        let counter = IntCounter::with_opts(opts(name, help))?;
        self.0.register(Box::new(counter.clone())).map(|()| counter)
    }

    fn counters(&self, name: &str, help: &str, label: &str) -> Result<IntCounterVec, prometheus::Error> {
        let counters = IntCounterVec::new(opts(name, help), &[label])?;
        self.0.register(Box::new(counters.clone())).map(|()| counters)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        let gauge = IntGauge::with_opts(opts(name, help))?;
        self.0.register(Box::new(gauge.clone())).map(|()| gauge)
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> Result<IntGaugeVec, prometheus::Error> {
        let gauges = IntGaugeVec::new(opts(name, help), &[label])?;
        self.0.register(Box::new(gauges.clone())).map(|()| gauges)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("backhaul").subsystem("broker")
}
