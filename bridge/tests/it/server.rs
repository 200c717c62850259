//! A bridge on real sockets with a real store, and a plain HTTP client that keeps nothing alive.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bridge::{BridgeError, Config, Listeners, MqttEndpoint};
use prometheus::Registry;
use store::{BatchEntry, Entry, Lane, Seen, Store};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wire::batch::{Batch, Encoding, Group, Header, Row};
use wire::dict::{Dictionary, SeriesId};
use wire::message::{Gap, SessionState};
use wire::{BootId, DeviceName, Labels, Seq, SessionId, Timestamp};

/// 2026-11-22T00:00:00Z.
pub(crate) const START_MS: i64 = 1_795_305_600_000;

pub(crate) const SESSION: SessionId = SessionId::new(77);

/// Unix ms as the API prints them.
pub(crate) fn seconds(ms: i64) -> String {
    match ms % 1000 {
        0 => format!("{}", ms / 1000),
        part => format!("{}.{part:03}", ms / 1000),
    }
}

pub(crate) fn device() -> DeviceName {
    "default.gw-1".parse().unwrap()
}

/// `load1` and `up`, both of job `node`.
pub(crate) fn dictionary() -> Dictionary {
    let mut dictionary = Dictionary::new();
    for metric in ["load1", "up"] {
        dictionary
            .append(Labels::new([("__name__", metric), ("job", "node")]).unwrap())
            .unwrap();
    }
    dictionary
}

/// Two records a second apart, the last at `START_MS`: load1 NaN, 0.25; up 1, 1.
pub(crate) fn batch(dictionary: &Dictionary) -> Batch {
    let row = |seq, ms| Row {
        seq: Seq::new(seq),
        time: Timestamp::from_ms(ms),
        mono_ms: seq,
    };
    let group = Group {
        series: [SeriesId::new(0), SeriesId::new(1)].into(),
        rows: vec![row(1, START_MS - 1000), row(2, START_MS)],
        values: vec![f64::NAN, 0.25, 1.0, 1.0],
        ..Group::default()
    };
    let header = Header {
        session: SESSION,
        boot: BootId::new(1),
        dict: dictionary.hash(),
        total: 4,
        clock_error_ms: 0,
    };
    Batch {
        header,
        groups: vec![group],
    }
}

fn entry(batch: Batch, received: Timestamp) -> Entry {
    let payload = wire::batch::encode(&batch, Encoding::SelfContained).payload;
    Entry::Batch(BatchEntry {
        device: device(),
        lane: Lane::Fresh,
        received,
        payload: payload.into(),
        batch,
        keyed: None,
        defines: None,
    })
}

/// This machine's time.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::from_ms(since.unwrap().as_millis() as i64)
}

/// A bridge, and how to talk to it.
pub(crate) struct Api {
    address: SocketAddr,
    store: Arc<Store>,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), BridgeError>>,
    _folder: TempDir,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Api {
    /// A bridge whose broker does not exist, over a store with one device's batch.
    pub(crate) async fn start() -> Api {
        let api = Api::at(PathBuf::from("/nonexistent/broker.sock")).await;
        api.fill();
        api
    }

    /// As [`Api::start`], five seconds after the batch, with some settings changed.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Api {
        let api = Api::launch(PathBuf::from("/nonexistent/broker.sock"), |config| {
            config.clock = || Timestamp::from_ms(START_MS + 5000);
            change(config);
        });
        let api = api.await;
        api.fill();
        api
    }

    /// A bridge with an empty store at a broker's socket.
    pub(crate) async fn at(broker: PathBuf) -> Api {
        Api::launch(broker, |_| {}).await
    }

    async fn launch(broker: PathBuf, change: impl FnOnce(&mut Config)) -> Api {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), store::Config::default(), &mut |_| {}).unwrap();
        let store = Arc::new(store);
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = http.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let mut config = Config::new("_backhaul.bridge".parse().unwrap());
        change(&mut config);
        let running = tokio::spawn(bridge::run(
            config,
            Listeners { http },
            Arc::clone(&store),
            MqttEndpoint::Unix(broker),
            Registry::new(),
            shutdown.clone(),
        ));
        Api {
            address,
            store,
            shutdown,
            running,
            _folder: folder,
        }
    }

    /// Stops the bridge in order.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        (&mut self.running).await.unwrap().unwrap();
    }

    fn fill(&self) {
        let dictionary = dictionary();
        let batch = batch(&dictionary);
        self.store.put_dictionary(&device(), dictionary).unwrap();
        let received = Timestamp::from_ms(START_MS);
        let state = SessionState {
            session: SESSION.get(),
            oldest: 1,
            last: 2,
            total: 4,
            ..SessionState::default()
        };
        let entries = vec![
            entry(batch, received),
            Entry::SessionSeen {
                device: device(),
                received,
                state,
            },
            Entry::DeviceSeen {
                device: device(),
                received,
                seen: Seen::default(),
            },
        ];
        self.store.commit(entries).unwrap();
    }

    /// The device delivers a group of its own series, received at `START_MS`.
    pub(crate) fn deliver(&self, dictionary: Dictionary, group: Group) {
        self.deliver_as(&device().to_string(), dictionary, group);
    }

    /// As [`Api::deliver`], another device.
    pub(crate) fn deliver_as(&self, device: &str, dictionary: Dictionary, group: Group) {
        let device: DeviceName = device.parse().unwrap();
        let mut batch = batch(&dictionary);
        self.store.put_dictionary(&device, dictionary).unwrap();
        batch.groups = vec![group];
        let received = Timestamp::from_ms(START_MS);
        let entries = match entry(batch, received) {
            Entry::Batch(of_ours) => vec![Entry::Batch(BatchEntry { device, ..of_ours })],
            other => vec![other],
        };
        self.store.commit(entries).unwrap();
    }

    /// The device delivers a record that is a day ahead of this machine's clock.
    pub(crate) fn ahead(&self, seq: u64) {
        let received = now();
        let row = Row {
            seq: Seq::new(seq),
            time: received.plus(std::time::Duration::from_secs(86_400)),
            mono_ms: seq,
        };
        let mut batch = batch(&dictionary());
        batch.header.total = 2 * seq;
        batch.groups[0].rows = vec![row];
        batch.groups[0].values = vec![1.5, 1.0];
        self.store.commit(vec![entry(batch, received)]).unwrap();
    }

    /// The device declares that it dropped records 3 to 5.
    pub(crate) fn gap(&self, from_ms: i64, to_ms: i64, samples: u64) {
        let reason = "wal_bytes".to_owned();
        let gap = Gap {
            session: SESSION.get(),
            first: 3,
            last: 5,
            from_ms,
            to_ms,
            samples,
            reason,
            alerts: 0,
        };
        let received = Timestamp::from_ms(START_MS);
        self.store
            .commit(vec![Entry::Gap {
                device: device(),
                received,
                gap,
            }])
            .unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.get_as(path, &[]).await
    }

    pub(crate) async fn get_as(&self, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n"
        ))
        .await
    }

    pub(crate) async fn post(&self, path: &str, form: &str) -> (u16, String) {
        let kind = match form {
            "" => "",
            _ => "content-type: application/x-www-form-urlencoded\r\n",
        };
        let len = form.len();
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{kind}content-length: {len}\r\n\r\n{form}"
        ))
        .await
    }

    /// A POST of bytes, and the whole answer: code, head, body.
    pub(crate) async fn post_bytes(&self, path: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let len = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n");
        self.exchange(&[head.as_bytes(), body].concat()).await
    }

    async fn ask(&self, request: &str) -> (u16, String) {
        let (code, _, body) = self.exchange(request.as_bytes()).await;
        (code, String::from_utf8(body).unwrap())
    }

    /// Code, head and body of the answer to a whole request.
    pub(crate) async fn exchange(&self, request: &[u8]) -> (u16, String, Vec<u8>) {
        exchange(self.address, request).await.unwrap()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Code, head and body of a server's answer to a whole request, after which it closes.
pub(crate) async fn exchange(server: SocketAddr, request: &[u8]) -> std::io::Result<(u16, String, Vec<u8>)> {
    let mut socket = TcpStream::connect(server).await?;
    socket.write_all(request).await?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok((code, head, answer[end + 4..].to_vec()))
}
