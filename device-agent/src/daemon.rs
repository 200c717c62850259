//! The whole daemon on one config: inputs, agent, HTTP; stopped in that order.

use std::path::PathBuf;
use std::time::Duration;

use certs::TlsError;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::DeviceId;

use crate::agent::{self, AgentConfig, RunError, Status};
use crate::alerts::{AlertApi, Desk, DeskHandle, DeskMetrics};
use crate::config::Config;
use crate::delivery::DeliveryConfig;
use crate::evaluation::{self, Engine, EngineConfig, RuleMetrics};
use crate::input::{self, Inlets, InputMetrics, Moment};
use crate::metrics::Metrics;
use crate::scrape::http::FetchError;
use crate::tls::{self, ServerNameError};
use crate::uplink::Backoff;
use crate::wal::Storage;
use crate::{http, process};

/// Rows between the inputs and the log.
const ROWS: usize = 256;

/// How long a stop waits for acks; what is not acked is in the log.
const DRAIN: Duration = Duration::from_secs(5);

/// Longest wait for the first evaluation of rules.
const MAX_WARM_UP: Duration = Duration::from_secs(600);

/// Why a daemon did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Certificate, key or CA.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// `tls_config.server_name`.
    #[error(transparent)]
    ServerName(#[from] ServerNameError),
    /// A metric's name is taken in the registry.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The HTTP client of the scrapes.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The agent.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The agent's task panicked.
    #[error("the agent died: {0}")]
    Died(#[from] tokio::task::JoinError),
}

/// Runs until `shutdown`: then the inputs stop, the agent logs what they left and waits a little for acks, and HTTP goes
/// last. Returns the agent's last status.
///
/// # Errors
/// At the start only; see [`DaemonError`].
pub async fn run(
    config: &Config,
    web: TcpListener,
    shutdown: CancellationToken,
) -> Result<Status, DaemonError> {
    let agent = agent_config(config)?;
    let registry = Registry::new();
    process::register(&registry, "backhaul-agent")?;
    let metrics = Metrics::new(&registry)?;
    let input_metrics = InputMetrics::register(&registry)?;
    let device = agent.name.device().clone();
    let (status, watched) = watch::channel(Status::default());
    let (rows, inlet) = input::channel(ROWS);
    let (alert_log, alerts) = input::alert_channel();
    let folder = match &agent.wal.storage {
        Storage::Folder(folder) => Some(folder.clone()),
        Storage::Memory => None,
    };
    let (desk, handle) = Desk::new(folder.clone(), alert_log, DeskMetrics::register(&registry)?);
    let stop_inputs = CancellationToken::new();
    let inputs = TaskTracker::new();
    input::start(
        &config.inputs,
        &device,
        &registry,
        &input_metrics,
        &rows,
        &stop_inputs,
        &inputs,
    )?;
    drop(rows);
    let mut inlets = Inlets {
        rows: inlet,
        alerts: Some(alerts),
        rules: None,
    };
    let rules = rule_task(config, &device, &registry, &handle, folder, &mut inlets)?;

    let stop_web = CancellationToken::new();
    let api = AlertApi::new(handle, config.inputs.external_labels.clone());
    let stop_agent = CancellationToken::new();
    tracing::info!(name = %agent.name, version = env!("CARGO_PKG_VERSION"), "backhaul-agent runs");
    let mut running = tokio::spawn(agent::run(agent, inlets, metrics, status, stop_agent.clone()));
    let desk = desk.run(stop_inputs.clone());
    tokio::spawn(inputs.track_future(once_open(watched.clone(), desk)));
    if let Some(rules) = rules {
        tokio::spawn(inputs.track_future(once_open(watched.clone(), rules.run())));
    }
    let server = tokio::spawn(http::serve(web, registry, watched, api, stop_web.clone()));
    let ended = tokio::select! {
        ended = &mut running => Some(ended),
        () = shutdown.cancelled() => None,
    };
    stop_inputs.cancel();
    inputs.close();
    inputs.wait().await;
    stop_agent.cancel();
    let ended = match ended {
        Some(ended) => ended,
        None => running.await,
    };
    stop_web.cancel();
    // A page that could not be served to its end is nobody's loss now.
    let _ = server.await;
    Ok(ended??)
}

/// Does something once the log is open, as the first status says: then its folder is ours.
async fn once_open(mut status: watch::Receiver<Status>, work: impl Future<Output = ()>) {
    if status.changed().await.is_ok() {
        work.await;
    }
}

/// The task that evaluates rules, put between the inputs and the log; `None` without rules.
fn rule_task(
    config: &Config,
    device: &DeviceId,
    registry: &Registry,
    desk: &DeskHandle,
    folder: Option<PathBuf>,
    inlets: &mut Inlets,
) -> Result<Option<evaluation::Task>, prometheus::Error> {
    if config.rules.is_empty() {
        return Ok(None);
    }
    let metrics = RuleMetrics::register(registry)?;
    let engine_config = engine_config(config, device);
    let engine = Engine::new(config.rules.clone(), engine_config, Moment::now());
    let (log, logged) = input::channel(ROWS);
    let (told, watched) = watch::channel(engine.summary());
    inlets.rules = Some(watched);
    tracing::info!(rules = config.rules.count(), "rules are evaluated");
    Ok(Some(evaluation::Task {
        engine,
        rows: std::mem::replace(&mut inlets.rows, logged),
        log,
        desk: desk.clone(),
        folder,
        metrics,
        told,
    }))
}

fn engine_config(config: &Config, device: &DeviceId) -> EngineConfig {
    let intervals = config.inputs.targets.iter().map(|target| target.interval);
    let slowest = intervals
        .chain([config.inputs.interval])
        .max()
        .unwrap_or_default();
    EngineConfig {
        device: device.clone(),
        external_labels: config.inputs.external_labels.clone(),
        // Host and agent are two more.
        first_target: u32::try_from(config.inputs.targets.len() + 2).unwrap_or(u32::MAX),
        // Every target has been scraped twice by then, so that nothing seems absent, and rates have their two samples.
        warm_up: (slowest * 2).min(MAX_WARM_UP),
    }
}

fn agent_config(config: &Config) -> Result<AgentConfig, DaemonError> {
    let own = certs::own_certificate(&config.tls)?;
    let client = certs::client_config(&config.tls)?;
    let tls = match &config.server_name {
        Some(name) => tls::with_server_name(&client, certs::client_roots(&config.tls)?, name)?,
        None => client,
    };
    Ok(AgentConfig {
        name: own.identity().name().clone(),
        brokers: config.brokers.clone(),
        tls,
        certificate_expiry: own.not_after().ms() / 1000,
        wal: config.wal.clone(),
        delivery: DeliveryConfig::default(),
        backoff: Backoff::default(),
        drain: DRAIN,
    })
}
