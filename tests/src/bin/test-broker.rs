//! A broker by itself: `test-broker DIR MQTT_PORT HTTP_PORT`.

use anyhow::{Context, Result};
use certs::ServerFiles;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let dir: std::path::PathBuf = args.next().context("DIR")?.into();
    let port: u16 = args.next().context("MQTT_PORT")?.parse()?;
    let http: u16 = args.next().context("HTTP_PORT")?.parse()?;
    let shutdown = CancellationToken::new();
    tests::part_main::follow(shutdown.clone());
    let mqtt = TcpListener::bind(("127.0.0.1", port)).await?;
    let http = TcpListener::bind(("127.0.0.1", http)).await?;
    let listeners = broker::Listeners {
        mqtt,
        unix: None,
        http: Some(http),
    };
    let config = broker::Config::new(ServerFiles::in_folder(&dir.join("certs")));
    Ok(broker::run(config, listeners, Registry::new(), shutdown).await?)
}
