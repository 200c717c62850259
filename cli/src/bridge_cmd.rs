//! `backhaul bridge`: the bridge in a process of its own, on any MQTT 3.1.1 broker.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bridge::MqttEndpoint;
use certs::{ClientFiles, client_config};
use clap::Args;
use prometheus::Registry;
use tokio_util::sync::CancellationToken;

use crate::output::Output;
use crate::server::{bind, bridge_name, open_store};
use crate::settings::SiteArgs;
use crate::signals;
use crate::storage::StorageArgs;
use crate::web::QueryArgs;

/// Arguments of `backhaul bridge`.
#[derive(Debug, Args)]
pub(crate) struct BridgeArgs {
    #[command(flatten)]
    site: SiteArgs,
    /// Broker to consume from, as mqtts://HOST:PORT
    #[arg(long, default_value = "mqtts://localhost:8883")]
    broker: String,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    query: QueryArgs,
}

/// Runs until SIGTERM or SIGINT; SIGHUP reloads hashrings, destinations and the web configuration.
pub(crate) async fn run(args: BridgeArgs, out: &mut Output) -> Result<()> {
    let (settings, folder) = args.site.read()?;
    let web = args.site.web(&settings)?;
    let http = bind(web.http, "--web.listen-address").await?;
    let (host, port) = host_and_port(&args.broker)?;
    let tls = client_config(&ClientFiles::in_folder(&folder.certs(), "bridge"))?;
    let storage = args.storage.resolve(&settings.storage, &folder);
    let store = open_store(&storage, out).await?;
    tracing::info!(http = %http.local_addr()?, broker = %args.broker, "serving");

    let registry = Registry::new();
    device_agent::process::register(&registry, "backhaul bridge")?;
    let shutdown = CancellationToken::new();
    let rings = storage.hashrings.as_ref().map(|file| Arc::clone(&file.reload));
    let destinations = args.site.destinations(&settings);
    let config = storage.configure(bridge::Config::new(bridge_name()?));
    let config = web.configure(args.query.configure(config), &storage.config);
    let config = destinations.configure(config)?;
    let stop = signals::until_stop(move || {
        destinations.reload();
        web.reload();
        if let Some(rings) = &rings {
            rings.notify_one();
        }
    });
    let bridge = bridge::run(
        config,
        bridge::Listeners { http },
        store,
        MqttEndpoint::Tls { host, port, tls },
        registry,
        shutdown.clone(),
    );
    tokio::pin!(bridge);
    tokio::select! {
        () = stop => {}
        ended = &mut bridge => return Ok(ended?),
    }
    shutdown.cancel();
    Ok(bridge.await?)
}

/// `mqtts://host:port`, port 8883 if it is left out.
fn host_and_port(url: &str) -> Result<(String, u16)> {
    let Some(rest) = url.strip_prefix("mqtts://") else {
        bail!("--broker {url}: write it as mqtts://HOST:PORT; devices' data is not sent without TLS");
    };
    let rest = rest.trim_end_matches('/');
    match rest.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !host.ends_with(':') => {
            let port = port
                .parse()
                .with_context(|| format!("--broker {url}: {port:?} is no port"))?;
            Ok((host.trim_matches(['[', ']']).to_owned(), port))
        }
        _ => Ok((rest.to_owned(), 8883)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_an_mqtts_url() {
        assert_eq!(
            host_and_port("mqtts://a.example:1883").unwrap(),
            ("a.example".to_owned(), 1883)
        );
        assert_eq!(
            host_and_port("mqtts://a.example").unwrap(),
            ("a.example".to_owned(), 8883)
        );
        assert_eq!(
            host_and_port("mqtts://[::1]:8883").unwrap(),
            ("::1".to_owned(), 8883)
        );
        assert!(host_and_port("mqtt://a.example").is_err());
        assert!(host_and_port("mqtts://a:b").is_err());
    }
}
