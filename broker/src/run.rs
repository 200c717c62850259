//! Starting and stopping the broker.

use std::sync::Arc;

use arc_swap::ArcSwap;
use certs::{ServerTlsSource, TlsError};
use prometheus::Registry;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accept::Acceptor;
use crate::config::{Config, Listeners};
use crate::fault::Fault;
use crate::front::Front;
use crate::metrics::Metrics;
use crate::router::{self, RouterHandle};
use crate::{http, tls};

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// No TLS configuration could be made from the files.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The registry holds metrics of these names already.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Serves until `shutdown` is cancelled, then closes every connection and returns, at the latest after
/// `limits.shutdown_time`. Its metrics (`backhaul_broker_*`) are registered in `registry`, which `/metrics` shows whole.
pub async fn run(
    config: Config,
    listeners: Listeners,
    registry: Registry,
    shutdown: CancellationToken,
) -> Result<(), BrokerError> {
    let (source, loaded) = ServerTlsSource::open(config.files, config.tls)?;
    let current = Arc::new(ArcSwap::from_pointee(loaded));
    let metrics = Metrics::new(&registry)?;
    let router = RouterHandle::new();
    let front = Arc::new(Front::new(config.limits, metrics.clone(), router.clone()));
    let tasks = TaskTracker::new();

    let shown = Arc::clone(&front);
    let states = move || shown.states();
    let died = move || metrics.router_restarts.inc();
    tasks.spawn(router::supervise(router, shutdown.clone(), states, died));
    tasks.spawn(tls::watch(
        source,
        Arc::clone(&current),
        Arc::clone(&front),
        config.reload,
        shutdown.clone(),
    ));
    let acceptor = Acceptor::new(Arc::clone(&front), current, tasks.clone(), shutdown.clone());
    tasks.spawn(acceptor.clone().tcp(listeners.mqtt));
    if let Some(unix) = listeners.unix {
        tasks.spawn(acceptor.unix(unix));
    }
    if let Some(listener) = listeners.http {
        tasks.spawn(http::serve(listener, registry, shutdown.clone()));
    }

    shutdown.cancelled().await;
    tasks.close();
    front.cut_all(Fault::Shutdown);
    if tokio::time::timeout(front.limits.shutdown_time, tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!(tasks = tasks.len(), "connections did not end in time");
    }
    Ok(())
}
