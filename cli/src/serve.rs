//! `backhaul serve`: broker and bridge in one process.

use std::net::SocketAddr;

use anyhow::Result;
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::output::Output;
use crate::server::{Server, ServerConfig};
use crate::settings::SiteArgs;
use crate::signals;
use crate::storage::StorageArgs;
use crate::web::QueryArgs;

/// Arguments of `backhaul serve`; certificates are made in DIR/certs if there are none.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    site: SiteArgs,
    /// Address for devices (MQTT over mutual TLS) [default: 0.0.0.0:8883]
    #[arg(long)]
    mqtt: Option<SocketAddr>,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    query: QueryArgs,
}

/// Serves until SIGTERM or SIGINT; SIGHUP reloads certificates, CRL, hashrings, destinations and the web
/// configuration.
pub(crate) async fn run(args: ServeArgs, out: &mut Output) -> Result<()> {
    let (settings, folder) = args.site.read()?;
    let config = ServerConfig {
        web: args.site.web(&settings)?,
        query: args.query,
        mqtt: settings.mqtt(args.mqtt),
        storage: args.storage.resolve(&settings.storage, &folder),
        destinations: args.site.destinations(&settings),
        folder,
    };
    let shutdown = CancellationToken::new();
    let server = Server::start(config, shutdown.clone(), out).await?;
    tracing::info!(http = %server.http(), mqtt = %server.mqtt(), "serving");
    let stop = signals::until_stop(server.reload());
    tokio::select! {
        () = stop => shutdown.cancel(),
        () = shutdown.cancelled() => {}
    }
    server.join().await
}
