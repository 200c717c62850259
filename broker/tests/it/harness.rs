//! A broker in a temporary folder, and what its peers say.

mod client;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use broker::{BrokerError, Config, Limits, Listeners, ReloadSignal};
use certs::{Authority, CertsFolder, InitOptions, IssuedPem, ServerFiles};
use prometheus::Registry;
use prost::Message as _;
use rumqttc::mqttbytes::QoS;
use rustls::ClientConfig;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use wire::message::{Ack, State};
use wire::topic::{Down, Up};
use wire::{DeviceName, Identity, Timestamp, Topic, payload};

pub(crate) use self::client::{Client, connect, connect_with, publish_packet, subscribe_packet, texts};

/// Longer than anything here takes, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough for something that would come at once, were it to come.
pub(crate) const SOON: Duration = Duration::from_millis(300);

pub(crate) const BRIDGE: &str = "_backhaul/bridge/bridge";

pub(crate) fn now() -> Timestamp {
    Timestamp::from_ms(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64)
}

pub(crate) fn identity(path: &str) -> Identity {
    Identity::from_uri(&format!("spiffe://backhaul/{path}")).unwrap()
}

pub(crate) fn name(text: &str) -> DeviceName {
    text.parse().unwrap()
}

pub(crate) fn up(device: &str, channel: Up) -> String {
    Topic::Up(name(device), channel).to_string()
}

pub(crate) fn down(device: &str, channel: Down) -> String {
    Topic::Down(name(device), channel).to_string()
}

pub(crate) fn state(nonce: u64) -> Vec<u8> {
    payload::seal(
        &State {
            version: 1,
            nonce,
            connected: true,
            ..State::default()
        }
        .encode_to_vec(),
    )
}

pub(crate) fn ack(nonce: u64, fresh_credit: u64, backlog_credit: u64) -> Vec<u8> {
    let ack = Ack {
        version: 1,
        epoch: 1,
        nonce,
        fresh_credit,
        backlog_credit,
        ..Ack::default()
    };
    payload::seal(&ack.encode_to_vec())
}

pub(crate) struct Broker {
    pub(crate) port: u16,
    pub(crate) unix: PathBuf,
    pub(crate) http: u16,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) folder: CertsFolder,
    pub(crate) authority: Authority,
    pub(crate) registry: Registry,
    pub(crate) reload: ReloadSignal,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), BrokerError>>,
}

impl Broker {
    pub(crate) async fn start() -> Self {
        Broker::start_with(Limits::default()).await
    }

    pub(crate) async fn start_with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = CertsFolder::new(dir.path().join("certs"));
        folder.init(&InitOptions::default(), now()).unwrap();
        let authority = folder.authority().unwrap();
        let unix = dir.path().join("bridge.sock");
        let listeners = Listeners {
            mqtt: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            unix: Some(UnixListener::bind(&unix).unwrap()),
            http: Some(TcpListener::bind("127.0.0.1:0").await.unwrap()),
        };
        let port = listeners.mqtt.local_addr().unwrap().port();
        let http = listeners.http.as_ref().unwrap().local_addr().unwrap().port();
        let (registry, shutdown) = (Registry::new(), CancellationToken::new());
        let config = Config {
            limits,
            ..Config::new(ServerFiles::in_folder(folder.path()))
        };
        let reload = config.reload.clone();
        let task = tokio::spawn(broker::run(config, listeners, registry.clone(), shutdown.clone()));
        Broker {
            port,
            unix,
            http,
            dir,
            folder,
            authority,
            registry,
            reload,
            shutdown,
            task,
        }
    }

    pub(crate) fn issue(&self, path: &str) -> IssuedPem {
        self.authority.issue(&identity(path), &[], 30, now()).unwrap()
    }

    pub(crate) fn tls(&self, path: &str) -> Arc<ClientConfig> {
        self.tls_of(&self.issue(path))
    }

    pub(crate) fn tls_of(&self, issued: &IssuedPem) -> Arc<ClientConfig> {
        let (cert, key) = (issued.cert_pem.as_bytes(), issued.key_pem.as_bytes());
        certs::client_config_from_pem(self.authority.ca_pem().as_bytes(), cert, key).unwrap()
    }

    /// TLS only; no CONNECT yet.
    pub(crate) async fn shake(&self, tls: Arc<ClientConfig>) -> io::Result<Client> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let stream = TlsConnector::from(tls)
            .connect("localhost".try_into().unwrap(), tcp)
            .await?;
        Ok(Client::new(stream))
    }

    /// A peer with a good certificate, connected.
    pub(crate) async fn connect(&self, path: &str) -> Client {
        let mut client = self.shake(self.tls(path)).await.unwrap();
        client.say(&connect(&identity(path).name().to_string())).await;
        client.accepted().await;
        client
    }

    /// A device, connected and subscribed to its acks.
    pub(crate) async fn device(&self, device: &str) -> Client {
        let (tenant, id) = device.split_once('.').unwrap();
        let mut client = self.connect(&format!("{tenant}/device/{id}")).await;
        client
            .subscribe(&[&down(device, Down::Ack)], QoS::AtMostOnce)
            .await;
        client
    }

    /// A device whose state the bridge has answered with credit for both lanes.
    pub(crate) async fn granted(&self, device: &str, bridge: &mut Client, nonce: u64, credit: u64) -> Client {
        let mut client = self.device(device).await;
        client.publish(&up(device, Up::State), &state(nonce)).await;
        let said = bridge.message().await;
        assert_eq!(said.topic, up(device, Up::State));
        bridge
            .publish0(&down(device, Down::Ack), &ack(nonce, credit, credit))
            .await;
        assert_eq!(client.message().await.topic, down(device, Down::Ack));
        client
    }

    /// The bridge on the Unix socket, connected and subscribed to all channels.
    pub(crate) async fn bridge(&self) -> Client {
        let stream = UnixStream::connect(&self.unix).await.unwrap();
        let mut client = Client::new(stream);
        client.say(&connect("_backhaul.bridge")).await;
        client.accepted().await;
        let filters: Vec<String> = Up::ALL
            .iter()
            .map(|c| format!("bh/1/+/{}/+", c.as_str()))
            .collect();
        let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
        client.subscribe(&filters, QoS::AtLeastOnce).await;
        client
    }

    /// A metric's value; 0 if it was never counted.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let families = self.registry.gather();
        let family = families
            .iter()
            .find(|f| f.name() == format!("backhaul_broker_{name}"));
        let metrics = family.into_iter().flat_map(|f| f.get_metric());
        let wanted = metrics.filter(|m| label.is_empty() || m.get_label().iter().any(|l| l.value() == label));
        wanted
            .map(|m| m.get_counter().get_value() + m.get_gauge().get_value())
            .sum()
    }

    /// Waits until a metric has a value.
    pub(crate) async fn counted(&self, name: &str, label: &str, value: f64) {
        let start = Instant::now();
        while self.metric(name, label) != value {
            let found = self.metric(name, label);
            assert!(
                start.elapsed() < PATIENCE,
                "{name}{{{label}}} is {found}, not {value}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether a device that came before and one that comes now both reach the bridge and hear from it.
    pub(crate) async fn assert_serves(&self, device: (&str, &mut Client, u64), bridge: &mut Client) {
        let (name, client, nonce) = device;
        client.publish(&up(name, Up::State), &state(nonce)).await;
        assert_eq!(bridge.message().await.topic, up(name, Up::State));
        bridge.publish0(&down(name, Down::Ack), &ack(nonce, 10, 10)).await;
        assert_eq!(client.message().await.topic, down(name, Down::Ack));
        let mut newcomer = self.granted("acme.newcomer", bridge, 77, 100).await;
        newcomer.publish(&up("acme.newcomer", Up::Batch), b"later").await;
        assert_eq!(bridge.message().await.payload, "later");
        newcomer.say(&[0xe0, 0x00]).await;
        newcomer.closed().await;
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
