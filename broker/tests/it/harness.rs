//! A broker in a temporary folder, and clients that say exactly what a test wants.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use broker::{BrokerError, Config, Limits, Listeners, ReloadSignal};
use bytes::{Bytes, BytesMut};
use certs::{Authority, CertsFolder, InitOptions, IssuedPem, ServerFiles};
use prometheus::Registry;
use prost::Message as _;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{self, Packet};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use wire::message::{Ack, State};
use wire::topic::{Down, Up};
use wire::{DeviceName, Identity, Timestamp, Topic, payload};

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
        Ok(Client::new(Box::new(stream)))
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
        let mut client = Client::new(Box::new(stream));
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

pub(crate) fn connect(client_id: &str) -> Vec<u8> {
    let mut connect = v4::Connect::new(client_id);
    connect.keep_alive = 60;
    connect_with(&connect)
}

pub(crate) fn connect_with(connect: &v4::Connect) -> Vec<u8> {
    let mut out = BytesMut::new();
    connect.write(&mut out).unwrap();
    out.to_vec()
}

pub(crate) fn publish_packet(topic: &str, pkid: u16, payload: &[u8]) -> Vec<u8> {
    let mut publish = v4::Publish::new(topic, QoS::AtLeastOnce, payload);
    publish.pkid = pkid;
    if pkid == 0 {
        publish.qos = QoS::AtMostOnce;
    }
    let mut out = BytesMut::new();
    publish.write(&mut out).unwrap();
    out.to_vec()
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An MQTT client of the plainest kind.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    input: BytesMut,
    pkid: u16,
}

impl Client {
    fn new(stream: Box<dyn Stream>) -> Self {
        Client {
            stream,
            input: BytesMut::new(),
            pkid: 0,
        }
    }

    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        self.try_say(bytes).await.unwrap();
    }

    pub(crate) async fn try_say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// The next packet; `None`: the stream ended.
    pub(crate) async fn packet(&mut self) -> Option<Packet> {
        timeout(PATIENCE, self.read())
            .await
            .expect("a packet or an end in time")
    }

    async fn read(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.input, usize::MAX) {
                Ok(packet) => return Some(packet),
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("the broker sent {error}"),
            }
            if !matches!(self.stream.read_buf(&mut self.input).await, Ok(n) if n > 0) {
                return None;
            }
        }
    }

    pub(crate) async fn accepted(&mut self) {
        match self.packet().await {
            Some(Packet::ConnAck(ack)) => assert_eq!(ack.code, v4::ConnectReturnCode::Success),
            other => panic!("expected CONNACK, got {other:?}"),
        }
    }

    pub(crate) async fn closed(&mut self) {
        let left = self.packet().await;
        assert_eq!(left, None, "expected the end of the stream");
    }

    /// Nothing comes, and the stream stays open.
    pub(crate) async fn quiet(&mut self) {
        if let Ok(packet) = timeout(SOON, self.read()).await {
            panic!("expected silence, got {packet:?}");
        }
    }

    pub(crate) async fn subscribe(&mut self, filters: &[&str], qos: QoS) {
        self.say(&subscribe_packet(filters, qos)).await;
        match self.packet().await {
            Some(Packet::SubAck(ack)) => assert_eq!(ack.return_codes.len(), filters.len()),
            other => panic!("expected SUBACK, got {other:?}"),
        }
    }

    /// Publishes with QoS 1 and waits for the PUBACK.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &[u8]) {
        let pkid = self.send1(topic, payload).await;
        assert_eq!(self.packet().await, Some(Packet::PubAck(v4::PubAck { pkid })));
    }

    /// Publishes with QoS 1.
    pub(crate) async fn send1(&mut self, topic: &str, payload: &[u8]) -> u16 {
        self.pkid += 1;
        let packet = publish_packet(topic, self.pkid, payload);
        self.say(&packet).await;
        self.pkid
    }

    pub(crate) async fn publish0(&mut self, topic: &str, payload: &[u8]) {
        self.say(&publish_packet(topic, 0, payload)).await;
    }

    /// The next message, confirmed at once.
    pub(crate) async fn message(&mut self) -> v4::Publish {
        let publish = self.unconfirmed().await;
        if publish.pkid != 0 {
            self.confirm(publish.pkid).await;
        }
        publish
    }

    /// The next message.
    pub(crate) async fn unconfirmed(&mut self) -> v4::Publish {
        match self.packet().await {
            Some(Packet::Publish(publish)) => publish,
            other => panic!("expected PUBLISH, got {other:?}"),
        }
    }

    pub(crate) async fn confirm(&mut self, pkid: u16) {
        let mut out = BytesMut::new();
        v4::PubAck { pkid }.write(&mut out).unwrap();
        self.say(&out).await;
    }

    pub(crate) async fn ping(&mut self) {
        self.say(&[0xc0, 0x00]).await;
        assert_eq!(self.packet().await, Some(Packet::PingResp));
    }
}

pub(crate) fn subscribe_packet(filters: &[&str], qos: QoS) -> Vec<u8> {
    let filters = filters.iter().map(|f| v4::SubscribeFilter {
        path: (*f).to_owned(),
        qos,
    });
    let mut subscribe = v4::Subscribe::new_many(filters);
    subscribe.pkid = 1;
    let mut out = BytesMut::new();
    subscribe.write(&mut out).unwrap();
    out.to_vec()
}

pub(crate) fn texts(messages: &[v4::Publish]) -> Vec<Bytes> {
    messages.iter().map(|m| m.payload.clone()).collect()
}
