//! One agent: rows in, everything delivered exactly once.
//!
//! [`run`] opens the WAL, appends what the inputs hand over, and drives the delivery state machine against a broker
//! until it is told to stop. `backhaul-agent`, `demo` and `simulate` all call it; a thousand of them fit a process.

mod books;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::{BootId, DeviceName, SessionId};

use crate::delivery::{Delivery, DeliveryConfig};
use crate::input::{Inlets, Moment};
use crate::metrics::Metrics;
use crate::uplink::{self, Backoff, BrokerAddress, UplinkConfig};
use crate::wal::{OpenError, Storage, Wal, WalConfig};
use books::Books;
use turn::{Agent, Next};

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

/// Counters of one agent, in samples unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// Samples logged in the log's life.
    pub generated: u64,
    /// Samples that the bridge has settled since this start.
    pub acked: u64,
    /// Samples given up in the log's life, all reasons.
    pub dropped: u64,
    /// Samples in the WAL that the bridge has not settled, of all sessions.
    pub pending: u64,
    /// Records of `pending`; zero: all acked.
    pub pending_records: u64,
    /// Gaps that the bridge has not settled; zero together with `pending_records`: the bridge knows everything.
    pub gaps: u64,
    /// The bridge has answered on the connection of now.
    pub connected: bool,
    /// MQTT payload bytes published since the start, all channels.
    pub published_bytes: u64,
    /// Records logged since the start.
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
    /// The runtime is shutting down, or a thread of it died.
    #[error("the WAL's thread ended")]
    WalThread,
}

/// How long the goodbye to the bridge may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Runs until `shutdown`, then logs what the channel still holds, waits up to `drain` for acks, says goodbye and
/// returns the last status. The first status and every change of it are published on `status`. When all senders of
/// rows are gone, rows that wait for a whole batch are sent as they are.
///
/// # Errors
/// Only at the start; a broken log, disk or link is counted and lived with.
pub async fn run(
    config: AgentConfig,
    inlets: impl Into<Inlets>,
    metrics: Metrics,
    status: watch::Sender<Status>,
    shutdown: CancellationToken,
) -> Result<Status, RunError> {
    if config.brokers.is_empty() {
        return Err(RunError::NoBroker);
    }
    let mut wal = open(config.wal.clone()).await?;
    let delivery = Delivery::new(
        config.delivery.clone(),
        config.certificate_expiry,
        &wal.ledger,
        fastrand::u64(..),
    );
    let uplink_config = UplinkConfig {
        name: config.name.clone(),
        brokers: config.brokers.clone(),
        tls: config.tls.clone(),
        backoff: config.backoff,
        agent_version: config.delivery.agent_version.clone(),
    };
    let stop_uplink = CancellationToken::new();
    let _stop_on_return = stop_uplink.clone().drop_guard();
    let (uplink, task) = uplink::start(uplink_config, stop_uplink.clone());
    let mut agent = Agent::new(delivery, uplink, inlets.into(), Books::new(metrics, status));
    loop {
        let (back, next) = agent.turn(wal, &shutdown).await?;
        wal = back;
        if next == Next::Stop {
            break;
        }
    }
    wal = agent.drain(wal, Instant::now() + config.drain).await?;
    wal = agent.goodbye(wal, Instant::now() + GOODBYE).await?;
    stop_uplink.cancel();
    task.await.ok();
    let (mut wal, ()) = turn::off_loop(wal, Wal::close).await?;
    Ok(agent.last_status(&mut wal))
}

async fn open(config: WalConfig) -> Result<Wal, RunError> {
    let session = SessionId::new(random());
    let open = move || Wal::open(config, session, boot(), Moment::now());
    let opened = tokio::task::spawn_blocking(open).await;
    Ok(opened.map_err(|_| RunError::WalThread)??)
}

/// 64 random bits; of the second-best generator where the system has none at early boot.
fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| fastrand::u64(..))
}

/// This boot, as the kernel names it; without /proc, a number of this start.
pub(crate) fn boot() -> BootId {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    match u128::from_str_radix(&digits, 16) {
        Ok(id) => BootId::new((id >> 64) as u64 ^ id as u64),
        Err(_) => BootId::new(random()),
    }
}

/// Whether calls into the log may block.
fn blocks(wal: &Wal) -> bool {
    matches!(wal.config.storage, Storage::Folder(_))
}
