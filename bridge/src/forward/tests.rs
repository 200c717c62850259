//! Destinations against a receiver in this process: what requests carry, and what a reload does.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use store::{BatchEntry, Entry, Lane};
use wire::batch::{Batch, Encoding, Group, Header, Row, encode, peek};
use wire::dict::{Dictionary, SeriesId};
use wire::{BootId, DeviceName, Labels, Seq, SessionId};

use super::*;
use crate::ingest::wall_clock;

/// Answers by a script, then 204; keeps the headers of every request.
#[derive(Default)]
struct Receiver {
    script: Mutex<VecDeque<u16>>,
    /// If set, others than this `Authorization` get 401.
    authorization: Mutex<Option<String>>,
    seen: Mutex<Vec<HeaderMap>>,
}

async fn receive(State(own): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert!(snap::raw::Decoder::new().decompress_vec(&body).is_ok());
    let wanted = own.authorization.lock().unwrap().clone();
    let given = headers.get("authorization").and_then(|value| value.to_str().ok());
    let allowed = wanted.is_none() || wanted.as_deref() == given;
    own.seen.lock().unwrap().push(headers);
    let next = own.script.lock().unwrap().pop_front().unwrap_or(204);
    let status = if allowed { next } else { 401 };
    StatusCode::from_u16(status).unwrap()
}

/// A receiver and its URL.
async fn receiver(script: &[u16]) -> (Arc<Receiver>, String) {
    let own = Arc::new(Receiver::default());
    own.script.lock().unwrap().extend(script);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/w", listener.local_addr().unwrap());
    let router = Router::new().route("/w", post(receive)).with_state(own.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (own, url)
}

/// Commits rows of two series for a device, so many from a seq on.
fn fill(store: &Store, name: &str, first: u64, rows: u64) {
    let device: DeviceName = name.parse().unwrap();
    let mut dict = Dictionary::new();
    for metric in ["up", "load1"] {
        dict.append(Labels::new([("__name__", metric)]).unwrap()).unwrap();
    }
    store.put_dictionary(&device, dict.clone()).unwrap();
    let now = wall_clock();
    let row = |seq| Row {
        seq: Seq::new(seq),
        time: now.plus(Duration::from_millis(seq)),
        mono_ms: seq,
    };
    let batch = Batch {
        header: Header {
            session: SessionId::new(7),
            boot: BootId::new(1),
            dict: dict.hash(),
            total: 2 * (first + rows - 1),
            clock_error_ms: 0,
        },
        groups: vec![Group {
            series: [SeriesId::new(0), SeriesId::new(1)].into(),
            rows: (first..first + rows).map(row).collect(),
            values: vec![1.5; 2 * rows as usize],
            ..Group::default()
        }],
    };
    let payload = encode(&batch, Encoding::SelfContained).payload;
    let decoded = peek(&payload).unwrap().decode(2, None).unwrap();
    let entry = BatchEntry {
        device,
        lane: Lane::Fresh,
        received: now,
        payload: payload.into(),
        batch: decoded.batch,
        keyed: None,
        defines: None,
    };
    store.commit(vec![Entry::Batch(entry)]).unwrap();
}

/// Destinations at work on a store.
struct Bench {
    store: Arc<Store>,
    status: Arc<Destinations>,
    configs: watch::Sender<Vec<RemoteWrite>>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("data"), store::Config::default(), &mut |_| {});
        let store = Arc::new(store.unwrap());
        let status = Arc::new(Destinations::default());
        let (configs, watched) = watch::channel(Vec::new());
        let shutdown = CancellationToken::new();
        let forward =
            Forward::new(store.clone(), &Registry::new(), status.clone(), None, wall_clock).unwrap();
        let running = tokio::spawn(forward.run(watched, shutdown.clone()));
        Bench {
            store,
            status,
            configs,
            shutdown,
            running,
            dir,
        }
    }

    fn configure(&self, json: &str) {
        let section = serde_json::from_str(json).unwrap();
        self.configs
            .send_replace(check(section, self.dir.path()).unwrap());
    }

    fn sent(&self, name: &str) -> u64 {
        let all = self.status.list();
        let found = all.into_iter().find(|(n, _)| n == name);
        found.map_or(0, |(_, status)| status.totals.sent)
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        for _ in 0..600 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("waited in vain: {what}; {:?}", self.status.list());
    }

    async fn end(self) -> (Arc<Store>, tempfile::TempDir) {
        self.shutdown.cancel();
        self.running.await.unwrap();
        (self.store, self.dir)
    }
}

fn section(url: &str, name: &str, more: &str) -> String {
    format!(
        r#"[{{"url": "{url}", "name": "{name}", "queue_config": {{"batch_send_deadline": "50ms"}}{more}}}]"#
    )
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers
        .get(name)
        .map(|value| value.to_str().unwrap().to_owned())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_carry_what_the_configuration_says() {
    let (receiver, url) = receiver(&[415, 503]).await;
    let bench = Bench::new();
    fill(&bench.store, "acme.gw-1", 1, 3);
    fill(&bench.store, "other.gw-1", 1, 2);
    let more = r#", "headers": {"X-Site": "a"}, "tenant_header": "THANOS-TENANT",
        "basic_auth": {"username": "u", "password": "p"}"#;
    bench.configure(&section(&url, "r", more));
    bench.until("everything is sent", || bench.sent("r") == 10).await;
    let seen = receiver.seen.lock().unwrap().clone();
    let types: Vec<String> = seen.iter().map(|headers| text(headers, "content-type")).collect();
    assert_eq!(
        types[0],
        "application/x-protobuf;proto=io.prometheus.write.v2.Request"
    );
    assert!(
        types[1..].iter().all(|kind| kind == "application/x-protobuf"),
        "{types:?}"
    );
    assert_eq!(text(&seen[0], "x-prometheus-remote-write-version"), "2.0.0");
    assert_eq!(text(&seen[1], "x-prometheus-remote-write-version"), "0.1.0");
    assert_eq!(text(&seen[2], "retry-attempt"), "1");
    let mut tenants: Vec<String> = seen
        .iter()
        .map(|headers| text(headers, "thanos-tenant"))
        .collect();
    tenants.dedup();
    assert_eq!(tenants, ["acme", "other"]);
    for headers in &seen {
        assert_eq!(text(headers, "authorization"), "Basic dTpw");
        assert_eq!(text(headers, "x-site"), "a");
        assert_eq!(text(headers, "content-encoding"), "snappy");
    }
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_password_loses_nothing() {
    let (receiver, url) = receiver(&[]).await;
    *receiver.authorization.lock().unwrap() = Some("Bearer new".to_owned());
    let bench = Bench::new();
    let token = bench.dir.path().join("token");
    std::fs::write(&token, "old\n").unwrap();
    fill(&bench.store, "acme.gw-1", 1, 3);
    bench.configure(&section(
        &url,
        "r",
        r#", "authorization": {"credentials_file": "token"}"#,
    ));
    let seen = || receiver.seen.lock().unwrap().len();
    bench.until("it is tried again", || seen() > 2).await;
    let error = bench.status.list()[0].1.error.clone();
    assert!(error.is_some_and(|error| error.contains("401")));
    std::fs::write(&token, "new\n").unwrap();
    bench.until("everything is sent", || bench.sent("r") == 6).await;
    assert!(bench.status.list()[0].1.totals.dropped.is_empty());
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_ends_and_starts_destinations_and_what_is_gone_holds_no_journal() {
    let ((first, first_url), (second, second_url)) = (receiver(&[]).await, receiver(&[]).await);
    let bench = Bench::new();
    fill(&bench.store, "acme.gw-1", 1, 3);
    bench.configure(&section(&first_url, "a", ""));
    bench.until("everything is sent", || bench.sent("a") == 6).await;
    // The same destination elsewhere goes on where it was.
    bench.configure(&section(&second_url, "a", ""));
    fill(&bench.store, "acme.gw-1", 4, 2);
    bench
        .until("what follows is sent", || bench.sent("a") == 10)
        .await;
    let in_requests = |receiver: &Receiver| receiver.seen.lock().unwrap().len();
    assert!(in_requests(&first) > 0 && in_requests(&second) > 0);
    // One of another name begins anew.
    bench.configure(&section(&second_url, "b", ""));
    bench.until("everything is sent", || bench.sent("b") == 10).await;
    let names = |store: &Store| {
        store
            .cursors()
            .into_iter()
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&bench.store), ["b"]);
    let (store, dir) = bench.end().await;
    let number = store.next_number();
    drop(store);
    let store = reopened(dir.path());
    let cursors = store.cursors();
    assert_eq!(
        (names(&store), cursors[0].1.number),
        (vec!["b".to_owned()], number)
    );
}

fn reopened(dir: &Path) -> Store {
    Store::open(&dir.join("data"), store::Config::default(), &mut |_| {}).unwrap()
}
