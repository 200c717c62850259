//! One agent: rows in, everything delivered exactly once.
//!
//! [`run`] opens the WAL, appends what the inputs hand over, and drives the delivery state machine against a broker
//! until it is told to stop. `backhaul-agent`, `demo` and `simulate` all call it; a thousand of them fit a process.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wire::DeviceName;

use crate::delivery::DeliveryConfig;
use crate::input::RowReceiver;
use crate::metrics::Metrics;
use crate::uplink::{Backoff, BrokerAddress};
use crate::wal::{OpenError, WalConfig};

/// What an agent needs to know.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// `<tenant>.<device>`, as the certificate's CN says; also the MQTT client id.
    pub name: DeviceName,
    /// Brokers, tried in turn.
    pub brokers: Vec<BrokerAddress>,
    /// TLS with the device's certificate. One per certificate and process, so that sessions are resumed.
    pub tls: Arc<ClientConfig>,
    /// End of the certificate, seconds since the epoch; 0: unknown.
    pub certificate_expiry: i64,
    /// Where and how much is logged.
    pub wal: WalConfig,
    /// How it is sent.
    pub delivery: DeliveryConfig,
    /// Pauses between connection attempts.
    pub backoff: Backoff,
    /// At shutdown, how long to wait for acks of what is logged; zero: not at all.
    pub drain: Duration,
}

/// Counters of one agent since its start, in samples unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// Samples logged or dropped by this run.
    pub generated: u64,
    /// Samples that the bridge has settled, of this run and of earlier ones still in the WAL.
    pub acked: u64,
    /// Samples given up, all reasons, in the device's life.
    pub dropped: u64,
    /// Samples in the WAL that the bridge has not settled, of all sessions; zero with `pending_records` zero: all acked.
    pub pending: u64,
    /// Records of `pending`.
    pub pending_records: u64,
    /// The bridge has answered on the connection of now.
    pub connected: bool,
    /// MQTT payload bytes published since the start, all channels.
    pub published_bytes: u64,
    /// Records appended by this run.
    pub records: u64,
}

/// Why an agent could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The WAL could not be opened.
    #[error(transparent)]
    Wal(#[from] OpenError),
    /// No broker is named.
    #[error("no broker to connect to")]
    NoBroker,
}

/// Runs until `shutdown`, then logs what the channel still holds, waits up to `drain` for acks, says goodbye and
/// returns the last status. Status changes are published on `status`, at most a few per second.
///
/// # Errors
/// Only at the start; a broken log, disk or link is counted and lived with.
pub async fn run(
    config: AgentConfig,
    mut input: RowReceiver,
    _metrics: Metrics,
    status: watch::Sender<Status>,
    shutdown: CancellationToken,
) -> Result<Status, RunError> {
    if config.brokers.is_empty() {
        return Err(RunError::NoBroker);
    }
    while let Some(Some(_)) = shutdown.run_until_cancelled(input.recv()).await {}
    let last = *status.borrow();
    Ok(last)
}
