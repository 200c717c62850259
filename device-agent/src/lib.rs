//! The device daemon: inputs, WAL, uplink.

pub mod agent;
mod alerts;
pub mod config;
pub mod daemon;
pub mod delivery;
mod durable;
pub mod evaluation;
pub mod exposition;
mod host;
mod http;
pub mod input;
pub mod metrics;
pub mod process;
pub mod scrape;
mod setup;
pub mod tls;
pub mod uplink;
pub mod wal;

pub use agent::{AgentConfig, RunError, Status, run};
pub use delivery::{ClockTrust, DeliveryConfig};
pub use metrics::Metrics;
pub use uplink::{Backoff, BrokerAddress};
pub use wal::{Storage, SyncPolicy, WalConfig};
