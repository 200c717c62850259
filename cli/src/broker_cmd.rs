//! `backhaul broker`: the front in a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use certs::ServerFiles;
use clap::Args;
use prometheus::Registry;
use tokio_util::sync::CancellationToken;

use crate::folder::Folder;
use crate::process_metrics;
use crate::server::bind;
use crate::settings::{Settings, WebArgs};
use crate::signals;

/// The default address of a separate broker's HTTP listener.
const HTTP: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 7492));

/// Arguments of `backhaul broker`.
#[derive(Debug, Args)]
pub(crate) struct BrokerArgs {
    /// Configuration file
    #[arg(long = "config.file", visible_alias = "config")]
    config: Option<PathBuf>,
    /// Folder whose certs/ holds the CA, the CRL and the server's certificate
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Address for devices and bridges (MQTT over mutual TLS) [default: 0.0.0.0:8883]
    #[arg(long)]
    mqtt: Option<SocketAddr>,
    #[command(flatten)]
    web: WebArgs,
}

/// Runs until SIGTERM or SIGINT; SIGHUP reloads certificates and CRL.
pub(crate) async fn run(args: BrokerArgs) -> Result<()> {
    let settings = match &args.config {
        Some(file) => Settings::read(file)?,
        None => Settings::default(),
    };
    let folder = Folder::new(
        args.dir
            .or(settings.dir)
            .unwrap_or_else(|| PathBuf::from("backhaul")),
    );
    let mqtt = args
        .mqtt
        .or(settings.mqtt)
        .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 8883)));
    let mqtt = bind(mqtt, "--mqtt").await?;
    let http = bind(args.web.checked_or(settings.http, HTTP)?, "--web.listen-address").await?;
    tracing::info!(mqtt = %mqtt.local_addr()?, http = %http.local_addr()?, "serving");

    let registry = Registry::new();
    process_metrics::register(&registry, "backhaul broker")?;
    let config = broker::Config::new(ServerFiles::in_folder(&folder.certs()));
    let shutdown = CancellationToken::new();
    let stop = signals::until_stop(config.reload.clone());
    let listeners = broker::Listeners {
        mqtt,
        unix: None,
        http: Some(http),
    };
    let broker = broker::run(config, listeners, registry, shutdown.clone());
    tokio::pin!(broker);
    tokio::select! {
        () = stop => {}
        ended = &mut broker => return Ok(ended?),
    }
    shutdown.cancel();
    Ok(broker.await?)
}
