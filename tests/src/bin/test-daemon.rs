//! The daemon's path from a config file to delivered samples, by itself: `test-daemon CONFIG_FILE`. As `backhaul-agent`,
//! which only adds flags and its own HTTP page.

use anyhow::{Context, Result};
use device_agent::input::{self, InputMetrics};
use device_agent::{AgentConfig, Backoff, DeliveryConfig, Metrics, Status, config};
use prometheus::Registry;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[tokio::main]
async fn main() -> Result<()> {
    let file = std::env::args_os().nth(1).context("CONFIG_FILE")?;
    let shutdown = CancellationToken::new();
    tests::part_main::follow(shutdown.clone());
    let config = config::load(file.as_ref())?;
    let own = certs::own_certificate(&config.tls)?;
    let name = own.identity().name().clone();
    let registry = Registry::new();
    let (rows, inlet) = input::channel(16);
    let metrics = InputMetrics::register(&registry)?;
    let agent_metrics = Metrics::new(&registry)?;
    let inputs = TaskTracker::new();
    input::start(
        &config.inputs,
        name.device(),
        &registry,
        &metrics,
        &rows,
        &shutdown,
        &inputs,
    )?;
    let agent = AgentConfig {
        name,
        brokers: config.brokers,
        tls: certs::client_config(&config.tls)?,
        certificate_expiry: own.not_after().ms() / 1000,
        wal: config.wal,
        delivery: DeliveryConfig::default(),
        backoff: Backoff::default(),
        drain: Duration::from_secs(5),
    };
    let (tell, _status) = watch::channel(Status::default());
    device_agent::run(agent, inlet, agent_metrics, tell, shutdown).await?;
    Ok(())
}
