//! Broker and bridge in one process, for serve and demo.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bridge::HashringFile;
use broker::ReloadSignal;
use certs::ServerFiles;
use prometheus::Registry;
use store::Store;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::destinations::Destinations;
use crate::folder::{Folder, SocketFolder};
use crate::output::Output;
use crate::replay;
use crate::storage::Storage;
use crate::web::{QueryArgs, Web};

/// What a server needs to know.
#[derive(Debug)]
pub(crate) struct ServerConfig {
    /// DIR: certificates, and the bridge's socket.
    pub(crate) folder: Folder,
    /// The store.
    pub(crate) storage: Storage,
    /// The HTTP API.
    pub(crate) web: Web,
    /// Limits of queries.
    pub(crate) query: QueryArgs,
    /// Address for devices.
    pub(crate) mqtt: SocketAddr,
    /// Where everything is sent on to.
    pub(crate) destinations: Destinations,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    http: SocketAddr,
    mqtt: SocketAddr,
    reload: ReloadSignal,
    rings: Option<Arc<Notify>>,
    web: Web,
    destinations: Arc<Destinations>,
    shutdown: CancellationToken,
    broker: JoinHandle<Result<(), broker::BrokerError>>,
    bridge: JoinHandle<Result<(), bridge::BridgeError>>,
    broker_stop: CancellationToken,
    _socket: SocketFolder,
}

/// The bridge's name in `serve`: what the front accepts on its Unix socket.
pub(crate) fn bridge_name() -> Result<wire::DeviceName> {
    Ok(format!("{}.bridge", wire::name::OWN_TENANT).parse()?)
}

/// Binds an address, or says which flag to change.
pub(crate) async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} ({flag})"))
}

/// Opens a store while a person watches.
pub(crate) async fn open_store(storage: &Storage, out: &Output) -> Result<Arc<Store>> {
    let rings = storage.hashrings.as_ref().map(HashringFile::read).transpose();
    let config = store::Config {
        hashrings: rings.context("--receive.hashrings-file")?.unwrap_or_default(),
        ..storage.config.clone()
    };
    let path = storage.path.clone();
    let mut progress = replay::Progress::new(out.is_watched());
    let opened =
        tokio::task::spawn_blocking(move || Store::open(&path, config, &mut |step| progress.show(step)));
    Ok(Arc::new(opened.await??))
}

impl Server {
    /// Makes certificates where there are none, binds, opens the store, starts both halves.
    pub(crate) async fn start(
        config: ServerConfig,
        shutdown: CancellationToken,
        out: &mut Output,
    ) -> Result<Server> {
        if config.folder.ensure_certs()? {
            tracing::info!(folder = %config.folder.certs().display(), "made certificates");
        }
        let mqtt = bind(config.mqtt, "--mqtt").await?;
        let http = bind(config.web.http, "--web.listen-address").await?;
        let (mqtt_address, http_address) = (mqtt.local_addr()?, http.local_addr()?);
        let store = open_store(&config.storage, out).await?;

        let socket = config.folder.socket_folder()?;
        let unix = bind_socket(&socket.socket())?;
        let registry = Registry::new();
        device_agent::process::register(&registry, "backhaul")?;
        let broker_config = broker::Config::new(ServerFiles::in_folder(&config.folder.certs()));
        let reload = broker_config.reload.clone();
        // The broker ends after the bridge, so that the last acks still reach the devices.
        let broker_stop = CancellationToken::new();
        let listeners = broker::Listeners {
            mqtt,
            unix: Some(unix),
            http: None,
        };
        let broker = broker::run(broker_config, listeners, registry.clone(), broker_stop.clone());
        let rings = config
            .storage
            .hashrings
            .as_ref()
            .map(|file| Arc::clone(&file.reload));
        let bridge_config = config.storage.configure(bridge::Config::new(bridge_name()?));
        let bridge_config = config.query.configure(bridge_config);
        let bridge_config = config.web.configure(bridge_config, &config.storage.config);
        let bridge_config = config.destinations.configure(bridge_config)?;
        let bridge = bridge::run(
            bridge_config,
            bridge::Listeners { http },
            store,
            bridge::MqttEndpoint::Unix(socket.socket()),
            registry,
            shutdown.clone(),
        );
        Ok(Server {
            http: http_address,
            mqtt: mqtt_address,
            reload,
            rings,
            web: config.web,
            destinations: config.destinations.into(),
            broker: tokio::spawn(cancelling(shutdown.clone(), broker)),
            bridge: tokio::spawn(cancelling(shutdown.clone(), bridge)),
            shutdown,
            broker_stop,
            _socket: socket,
        })
    }

    /// Address of the HTTP API.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// Address for devices.
    pub(crate) fn mqtt(&self) -> SocketAddr {
        self.mqtt
    }

    /// Reloads certificates, CRL, hashrings, destinations and the web configuration when called.
    pub(crate) fn reload(&self) -> impl Fn() + use<> {
        let (certificates, rings) = (self.reload.clone(), self.rings.clone());
        let (destinations, web) = (self.destinations.clone(), self.web.clone());
        move || {
            web.reload();
            certificates.fire();
            destinations.reload();
            if let Some(rings) = &rings {
                rings.notify_one();
            }
        }
    }

    /// Whether a half ended, for good or ill.
    pub(crate) fn has_ended(&self) -> bool {
        self.broker.is_finished() || self.bridge.is_finished()
    }

    /// Waits for both halves to end; the first error wins.
    pub(crate) async fn join(self) -> Result<()> {
        self.shutdown.cancelled().await;
        let bridge = self.bridge.await;
        self.broker_stop.cancel();
        let broker = self.broker.await;
        bridge.context("the bridge panicked")??;
        broker.context("the broker panicked")??;
        Ok(())
    }
}

/// Cancels the shutdown token when one half ends, so that the other one ends too.
async fn cancelling<T>(shutdown: CancellationToken, half: impl Future<Output = T>) -> T {
    let _guard = shutdown.drop_guard();
    half.await
}

/// Binds the socket, over the remains of a process that was killed.
fn bind_socket(path: &Path) -> Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!("another process serves this folder: {} answers", path.display());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", path.display()));
        }
        _ => {}
    }
    UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))
}
