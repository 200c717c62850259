//! `backhaul-agent`: flags, log, config, then inputs, agent and HTTP until SIGTERM; stopped in that order.

mod args;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use certs::PeerCertificate;
use clap::Parser;
use device_agent::config::{self, Config};
use device_agent::input::{self, InputMetrics};
use device_agent::{AgentConfig, Backoff, DeliveryConfig, Metrics, Status, http, process, tls};
use prometheus::Registry;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Rows between the inputs and the log.
const ROWS: usize = 256;

/// How long SIGTERM waits for acks; what is not acked is in the log.
const DRAIN: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    let args = args::Args::parse();
    args.log.init()?;
    let config = config::load(&args.config_file)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(run(config, args.listen_address))
}

async fn run(config: Config, listen: SocketAddr) -> Result<()> {
    let agent = agent_config(&config)?;
    let own = agent.name.clone();
    let registry = Registry::new();
    process::register(&registry, "backhaul-agent")?;
    let metrics = Metrics::new(&registry)?;
    let (status, watched) = watch::channel(Status::default());
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; set --web.listen-address"))?;
    let stop = CancellationToken::new();
    let server = tokio::spawn(http::serve(listener, registry.clone(), watched, stop.clone()));

    let (rows, inlet) = input::channel(ROWS);
    let stop_inputs = CancellationToken::new();
    let inputs = TaskTracker::new();
    let input_metrics = InputMetrics::register(&registry)?;
    let device = own.device();
    input::start(
        &config.inputs,
        device,
        &registry,
        &input_metrics,
        &rows,
        &stop_inputs,
        &inputs,
    )?;
    drop(rows);

    let stop_agent = CancellationToken::new();
    let mut running = tokio::spawn(device_agent::run(
        agent,
        inlet,
        metrics,
        status,
        stop_agent.clone(),
    ));
    tracing::info!(name = %own, http = %listen, version = env!("CARGO_PKG_VERSION"), "backhaul-agent runs");
    let ended = tokio::select! {
        ended = &mut running => Some(ended),
        () = signalled() => None,
    };
    stop_inputs.cancel();
    inputs.close();
    inputs.wait().await;
    stop_agent.cancel();
    let ended = match ended {
        Some(ended) => ended,
        None => running.await,
    };
    stop.cancel();
    server.await.ok();
    let last = ended.context("the agent died")??;
    tracing::info!(pending = last.pending, "backhaul-agent stops");
    Ok(())
}

fn agent_config(config: &Config) -> Result<AgentConfig> {
    let own: PeerCertificate = certs::own_certificate(&config.tls)?;
    let mut client = certs::client_config(&config.tls)?;
    if let Some(name) = &config.server_name {
        let mut roots = rustls::RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(&config.tls.ca)? {
            roots.add(root?)?;
        }
        client = tls::with_server_name(&client, roots, name)?;
    }
    Ok(AgentConfig {
        name: own.identity().name().clone(),
        brokers: config.brokers.clone(),
        tls: client,
        certificate_expiry: own.not_after().ms() / 1000,
        wal: config.wal.clone(),
        delivery: DeliveryConfig::default(),
        backoff: Backoff::default(),
        drain: DRAIN,
    })
}

/// SIGTERM or SIGINT.
async fn signalled() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("cannot listen for signals");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
