//! `backhaul serve`: broker and bridge in one process.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use tokio_util::sync::CancellationToken;
use wire::units::ByteSize;

use crate::folder::Folder;
use crate::output::Output;
use crate::server::{Server, ServerConfig};
use crate::settings::{Settings, WebArgs};
use crate::signals;

/// Arguments of `backhaul serve`; what is given here wins over the file.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Configuration file
    #[arg(long = "config.file", visible_alias = "config")]
    config: Option<PathBuf>,
    /// Folder of certificates and data; certificates are made in it if there are none
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Address for devices (MQTT over mutual TLS) [default: 0.0.0.0:8883]
    #[arg(long)]
    mqtt: Option<SocketAddr>,
    /// Folder of the store [default: DIR/data]
    #[arg(long = "storage.path")]
    storage_path: Option<PathBuf>,
    /// Bytes at which the bridge stops granting [default: 2GB]
    #[arg(long = "storage.retention.size")]
    retention_size: Option<ByteSize>,
    #[command(flatten)]
    web: WebArgs,
}

/// Serves until SIGTERM or SIGINT; SIGHUP reloads certificates and CRL.
pub(crate) async fn run(args: ServeArgs, out: &mut Output) -> Result<()> {
    let settings = match &args.config {
        Some(file) => Settings::read(file)?,
        None => Settings::default(),
    };
    let folder = Folder::new(
        args.dir
            .or(settings.dir)
            .unwrap_or_else(|| PathBuf::from("backhaul")),
    );
    let config = ServerConfig {
        http: args.web.checked(settings.http)?,
        mqtt: args
            .mqtt
            .or(settings.mqtt)
            .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 8883))),
        storage: args
            .storage_path
            .or(settings.storage_path)
            .unwrap_or_else(|| folder.data()),
        retention_size: args
            .retention_size
            .or(settings.retention_size)
            .unwrap_or(ServerConfig::RETENTION_SIZE),
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
