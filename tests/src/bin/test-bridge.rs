//! A bridge by itself: `test-bridge DIR MQTT_PORT HTTP_PORT`. It follows the hashring file `DIR/hashrings.json` if there is
//! one at its start.

use std::sync::Arc;

use anyhow::{Context, Result};
use bridge::{HashringFile, MqttEndpoint};
use certs::{ClientFiles, client_config};
use prometheus::Registry;
use store::Store;
use store::ring::Algorithm;
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
    let path = dir.join("hashrings.json");
    let hashrings = path.is_file().then(|| HashringFile {
        path,
        algorithm: Algorithm::Hashmod,
        reload: Arc::default(),
    });
    let rings = hashrings.as_ref().map(HashringFile::read).transpose()?;
    let store_config = store::Config {
        hashrings: rings.unwrap_or_default(),
        ..store::Config::default()
    };
    let store = Arc::new(Store::open(&dir.join("data"), store_config, &mut |_| {})?);
    let http = TcpListener::bind(("127.0.0.1", http)).await?;
    let tls = client_config(&ClientFiles::in_folder(&dir.join("certs"), "bridge"))?;
    let endpoint = MqttEndpoint::Tls {
        host: "127.0.0.1".to_owned(),
        port,
        tls,
    };
    let config = bridge::Config {
        hashrings,
        ..bridge::Config::new("_backhaul.bridge".parse()?)
    };
    Ok(bridge::run(
        config,
        bridge::Listeners { http },
        store,
        endpoint,
        Registry::new(),
        shutdown,
    )
    .await?)
}
