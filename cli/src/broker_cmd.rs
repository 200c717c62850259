//! `backhaul broker`: the front in a process of its own.

use std::net::SocketAddr;

use anyhow::Result;
use certs::ServerFiles;
use clap::Args;
use prometheus::Registry;
use tokio_util::sync::CancellationToken;

use crate::server::bind;
use crate::settings::SiteArgs;
use crate::signals;

/// The default address of a separate broker's HTTP listener.
const HTTP: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 7492));

/// Arguments of `backhaul broker`.
#[derive(Debug, Args)]
pub(crate) struct BrokerArgs {
    #[command(flatten)]
    site: SiteArgs,
    /// Address for devices and bridges (MQTT over mutual TLS) [default: 0.0.0.0:8883]
    #[arg(long)]
    mqtt: Option<SocketAddr>,
}

/// Runs until SIGTERM or SIGINT; SIGHUP reloads certificates and CRL.
pub(crate) async fn run(args: BrokerArgs) -> Result<()> {
    let (settings, folder) = args.site.read()?;
    let mqtt = bind(settings.mqtt(args.mqtt), "--mqtt").await?;
    let http = bind(args.site.broker_http(&settings, HTTP)?, "--web.listen-address").await?;
    tracing::info!(mqtt = %mqtt.local_addr()?, http = %http.local_addr()?, "serving");

    let registry = Registry::new();
    device_agent::process::register(&registry, "backhaul broker")?;
    let config = broker::Config::new(ServerFiles::in_folder(&folder.certs()));
    let shutdown = CancellationToken::new();
    let reload = config.reload.clone();
    let stop = signals::until_stop(move || reload.fire());
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
