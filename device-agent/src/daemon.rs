//! The whole daemon on one config: inputs, agent, HTTP; stopped in that order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certs::TlsError;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::DeviceId;
use wire::message::RulesState;

use crate::agent::{self, AgentConfig, RunError, Status};
use crate::alerts::{AlertApi, Desk, DeskHandle, DeskMetrics};
use crate::config::Config;
use crate::delivery::DeliveryConfig;
use crate::evaluation::{self, Change, Engine, RuleMetrics, Surroundings};
use crate::input::{self, Inlets, InputMetrics, Inputs, Moment, Pushes, RowReceiver};
use crate::metrics::Metrics;
use crate::process::Signals;
use crate::scrape::http::FetchError;
use crate::setup::{Setup, SetupMetrics, StoredConfig};
use crate::tls::{self, ServerNameError};
use crate::uplink::Backoff;
use crate::wal::Storage;
use crate::{http, process, setup};

/// Rows between the inputs and the log.
const ROWS: usize = 256;

/// How long a stop waits for acks; what is not acked is in the log.
const DRAIN: Duration = Duration::from_secs(5);

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

/// Rows into the evaluation of rules, and what comes out beside rows for the log.
struct Ruling {
    evaluation: evaluation::Task,
    changes: mpsc::Sender<Change>,
    logged: RowReceiver,
    told: watch::Receiver<Option<RulesState>>,
}

/// What runs beside the agent, and what it takes in from there.
struct Beside {
    desk: Desk,
    evaluation: evaluation::Task,
    setup: Setup,
    api: AlertApi,
    inlets: Inlets,
}

/// Runs on the config of a file until the shutdown: then the inputs stop, the agent logs what they left and waits a little
/// for acks, and HTTP goes last. Returns the agent's last status. When a reload is asked for, the file is read again.
///
/// # Errors
/// At the start only; see [`DaemonError`].
pub async fn run(
    file: &Path,
    config: Config,
    web: TcpListener,
    signals: Signals,
) -> Result<Status, DaemonError> {
    let agent = agent_config(&config)?;
    let registry = Registry::new();
    process::register(&registry, "backhaul-agent")?;
    let metrics = Metrics::new(&registry)?;
    let (status, watched) = watch::channel(Status::default());
    let (stop_inputs, tasks) = (CancellationToken::new(), TaskTracker::new());
    let of = (agent.name.device(), &registry);
    let beside = beside(file, config, of, (&stop_inputs, &tasks)).await?;

    let stop_web = CancellationToken::new();
    let stop_agent = CancellationToken::new();
    tracing::info!(name = %agent.name, version = env!("CARGO_PKG_VERSION"), "backhaul-agent runs");
    let running = agent::run(agent, beside.inlets, metrics, status, stop_agent.clone());
    let mut running = tokio::spawn(running);
    let desk = beside.desk.run(stop_inputs.clone());
    tasks.spawn(once_open(watched.clone(), desk));
    tasks.spawn(once_open(watched.clone(), beside.evaluation.run()));
    tasks.spawn(beside.setup.run(signals.reload, stop_inputs.clone()));
    let server = http::serve(web, registry, watched, beside.api, stop_web.clone());
    let server = tokio::spawn(server);
    let ended = tokio::select! {
        ended = &mut running => Some(ended),
        () = signals.shutdown.cancelled() => None,
    };
    stop_inputs.cancel();
    tasks.close();
    tasks.wait().await;
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

/// Starts the inputs, and makes what else runs beside the agent.
async fn beside(
    file: &Path,
    config: Config,
    (device, registry): (&DeviceId, &Registry),
    (stop, tasks): (&CancellationToken, &TaskTracker),
) -> Result<Beside, DaemonError> {
    let folder = match &config.wal.storage {
        Storage::Folder(folder) => Some(folder.clone()),
        Storage::Memory => None,
    };
    let (alert_log, alerts) = input::alert_channel();
    let (desk, handle) = Desk::new(folder.clone(), alert_log, DeskMetrics::register(registry)?);
    let (labels, external_labels) = watch::channel(Arc::new(config.inputs.external_labels.clone()));
    let api = AlertApi::new(handle.clone(), external_labels);
    let (rows, scraped) = input::channel(ROWS);
    let input_metrics = InputMetrics::register(registry)?;
    let mut inputs = Inputs::new(device, (registry, &input_metrics), rows, (stop, tasks));
    inputs.set(&config.inputs).await?;

    let stored = folder.as_deref().map(StoredConfig::in_folder);
    let (rules, pushed, state) = setup::initial(&config, stored.as_ref());
    tracing::info!(rules = rules.count(), "rules that are evaluated");
    let engine = Engine::new(rules, setup::engine_config(&config, device), Moment::now());
    let ruling = ruling(engine, scraped, handle, folder, RuleMetrics::register(registry)?);
    let (received, pushes) = watch::channel(Bytes::new());
    let (told, state) = watch::channel(state);
    Ok(Beside {
        desk,
        evaluation: ruling.evaluation,
        setup: Setup {
            file: file.to_owned(),
            device: device.clone(),
            changes: ruling.changes,
            external_labels: labels,
            received: pushes,
            metrics: SetupMetrics::register(registry)?,
            config,
            pushed,
            stored,
            inputs,
            told,
        },
        api,
        inlets: Inlets {
            rows: ruling.logged,
            alerts: Some(alerts),
            rules: Some(ruling.told),
            pushes: Some(Pushes { received, state }),
        },
    })
}

/// Puts an engine between the inputs and the log.
fn ruling(
    engine: Engine,
    rows: RowReceiver,
    desk: DeskHandle,
    folder: Option<PathBuf>,
    metrics: RuleMetrics,
) -> Ruling {
    let (tell, told) = watch::channel(engine.summary());
    let (changes, changed) = mpsc::channel(1);
    let (log, logged) = input::channel(ROWS);
    let surroundings = Surroundings {
        rows,
        log,
        desk,
        folder,
        metrics,
        told: tell,
        changes: changed,
    };
    Ruling {
        evaluation: evaluation::Task { engine, surroundings },
        changes,
        logged,
        told,
    }
}

/// Does something once the log is open, as the first status says: then its folder is ours.
async fn once_open(mut status: watch::Receiver<Status>, work: impl Future<Output = ()>) {
    if status.changed().await.is_ok() {
        work.await;
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
