//! Starting and stopping the broker.

use certs::{ServerTlsSource, TlsError};
use prometheus::Registry;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Listeners};

/// Why the broker did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// No TLS configuration could be made from the files.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The registry holds metrics of these names already.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Serves until `shutdown` is cancelled, then closes every connection and returns.
pub async fn run(
    config: Config,
    listeners: Listeners,
    registry: Registry,
    shutdown: CancellationToken,
) -> Result<(), BrokerError> {
    let (_source, _tls) = ServerTlsSource::open(config.files.clone(), config.tls.clone())?;
    let _ = (listeners, registry);
    tokio::select! {
        () = config.reload.fired() => {}
        () = shutdown.cancelled() => {}
    }
    Ok(())
}
