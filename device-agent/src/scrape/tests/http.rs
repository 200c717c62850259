//! Inputs over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::input::{InputConfig, InputMetrics, Inputs, RowReceiver, TargetConfig, channel};
use crate::scrape::http::FetchRules;

/// Answers every connection with the same bytes and closes it; keeps the last request.
async fn serve(answer: Vec<u8>) -> (String, Arc<std::sync::Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let request = Arc::new(std::sync::Mutex::new(String::new()));
    let seen = Arc::clone(&request);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 4096];
            let read = stream.read(&mut bytes).await.unwrap();
            *seen.lock().unwrap() = String::from_utf8_lossy(&bytes[..read]).into_owned();
            stream.write_all(&answer).await.unwrap();
        }
    });
    (address, request)
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn target(address: &str, body_size_limit: u64) -> TargetConfig {
    TargetConfig {
        job_name: "t".into(),
        address: address.into(),
        interval: Duration::from_millis(100),
        fetch: FetchRules {
            url: format!("http://{address}/metrics?a=b").parse().unwrap(),
            timeout: Duration::from_secs(20),
            body_size_limit,
        },
        rules: ScrapeRules::default(),
        honor_labels: false,
        labels: BTreeMap::new(),
    }
}

struct Running {
    inputs: Inputs,
    rows: RowReceiver,
    registry: Registry,
    stop: CancellationToken,
    tasks: TaskTracker,
}

fn config(targets: Vec<TargetConfig>, host_metrics: bool, own_metrics: bool) -> InputConfig {
    InputConfig {
        external_labels: BTreeMap::from([("site".to_owned(), "s1".to_owned())]),
        interval: Duration::from_millis(200),
        host_metrics,
        own_metrics,
        targets,
    }
}

async fn run(targets: Vec<TargetConfig>, host_metrics: bool, own_metrics: bool) -> Running {
    let (out, rows) = channel(4);
    let registry = Registry::new();
    let metrics = InputMetrics::register(&registry).unwrap();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let device = wire::DeviceId::new("gw-1").unwrap();
    let mut inputs = Inputs::new(&device, (&registry, &metrics), out, (&stop, &tasks));
    let config = config(targets, host_metrics, own_metrics);
    inputs.set(&config).await.unwrap();
    tasks.close();
    Running {
        inputs,
        rows,
        registry,
        stop,
        tasks,
    }
}

impl Running {
    async fn up(&mut self) -> f64 {
        let row = self.rows.recv().await.unwrap();
        let up = row.values.iter().find(|(slot, _)| *slot == Slot::new(0));
        up.unwrap().1
    }

    async fn end(self) {
        self.stop.cancel();
        drop((self.rows, self.inputs));
        self.tasks.wait().await;
    }

    fn counter(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        family
            .get_metric()
            .iter()
            .map(|m| m.get_counter().get_value())
            .sum()
    }
}

#[tokio::test]
async fn a_target_is_scraped_at_its_ticks() {
    let (address, request) = serve(answer("200 OK", "m{a=\"b\"} 1\n")).await;
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let mut running = run(vec![target(&address, 1000)], false, false).await;
    let first = running.rows.recv().await.unwrap();
    let port = address.rsplit(':').next().unwrap();
    let m = first.new_series.last().unwrap().1.to_string();
    assert_eq!(
        m,
        format!("m{{a=\"b\", instance=\"gw-1:{port}\", job=\"t\", site=\"s1\"}}")
    );
    let second = running.rows.recv().await.unwrap();
    assert!(second.new_series.is_empty());
    // The first may be late, so that the two are less than an interval apart; neither is before its tick.
    assert!(second.time > first.time);
    let since = second.time.ms() - begun;
    assert!((100..20_000).contains(&since), "{since}");
    let request = request.lock().unwrap().to_lowercase();
    assert!(request.starts_with("get /metrics?a=b http/1.1\r\n"), "{request}");
    for header in [
        "user-agent: backhaul-agent/",
        "accept: text/plain;version=0.0.4",
        "x-prometheus-scrape-timeout-seconds: 20",
    ] {
        assert!(request.contains(header), "{header} in {request}");
    }
    running.end().await;
}

#[tokio::test]
async fn every_way_to_fail_is_up_0() {
    // Bound, so that no other test gets the port.
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = bound.local_addr().unwrap().to_string();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_address = silent.local_addr().unwrap().to_string();
    let (wrong_status, _) = serve(answer("404 Not Found", "m 1\n")).await;
    let (too_large, _) = serve(answer("200 OK", &"m 1\n".repeat(300))).await;
    let unsized_body = [
        &b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"[..],
        &b"m 1\n".repeat(300),
    ]
    .concat();
    let (endless, _) = serve(unsized_body).await;
    let (not_text, _) = serve(answer("200 OK", "<html>")).await;
    for address in [
        &closed,
        &silent_address,
        &wrong_status,
        &too_large,
        &endless,
        &not_text,
    ] {
        let mut target = target(address, 1000);
        target.fetch.timeout = Duration::from_millis(500);
        let mut running = run(vec![target], false, false).await;
        assert_eq!(running.up().await, 0.0, "{address}");
        assert_eq!(running.counter("backhaul_agent_scrapes_failed_total"), 1.0);
        running.end().await;
    }
}

#[tokio::test]
async fn the_host_and_the_agent_are_inputs_too() {
    let mut running = run(vec![], true, true).await;
    let mut jobs = BTreeMap::new();
    while jobs.len() < 2 {
        let row = running.rows.recv().await.unwrap();
        let series = row.new_series.iter().map(|(_, labels)| labels.clone());
        let Some(one) = series
            .clone()
            .find(|l| matches!(l.metric_name(), "node_load1" | "backhaul_agent_scrapes_total"))
        else {
            continue;
        };
        jobs.insert(
            one.get("job").unwrap().to_owned(),
            one.get("instance").unwrap().to_owned(),
        );
        assert!(!row.metadata.is_empty());
    }
    let expected =
        [("backhaul-agent", "gw-1"), ("node", "gw-1")].map(|(job, i)| (job.to_owned(), i.to_owned()));
    assert_eq!(jobs, BTreeMap::from(expected));
    running.end().await;
}

#[tokio::test]
async fn nothing_piles_up_behind_a_busy_log() {
    let (address, _) = serve(answer("200 OK", "m 1\n")).await;
    let mut running = run(vec![target(&address, 1000)], false, false).await;
    // The channel holds four rows: the fifth waits, and ticks go by meanwhile.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let scrapes = running.counter("backhaul_agent_scrapes_total");
    assert!(scrapes <= 5.0, "{scrapes} scrapes while nobody took a row");
    for _ in 0..6 {
        running.up().await;
    }
    assert!(running.counter("backhaul_agent_scrape_ticks_skipped_total") >= 5.0);
    running.end().await;
}

#[tokio::test]
async fn a_target_named_twice_is_scraped_once() {
    let (address, _) = serve(answer("200 OK", "m 1\n")).await;
    let mut running = run(vec![target(&address, 1000), target(&address, 1000)], false, false).await;
    let targets = AtomicUsize::new(0);
    for _ in 0..4 {
        let row = running.rows.recv().await.unwrap();
        targets.fetch_max(row.target.get() as usize, Ordering::Relaxed);
    }
    assert_eq!(targets.into_inner(), 0);
    running.end().await;
}

#[tokio::test]
async fn a_change_ends_what_is_gone_and_leaves_the_rest_as_it_was() {
    let (stays, _) = serve(answer("200 OK", "m 1\n")).await;
    let (goes, _) = serve(answer("200 OK", "m 2\n")).await;
    let (comes, _) = serve(answer("200 OK", "m 3\n")).await;
    let mut running = run(vec![target(&stays, 1000), target(&goes, 1000)], false, false).await;
    let mut bound = [0, 0];
    while bound.contains(&0) {
        let row = running.rows.recv().await.unwrap();
        bound[row.target.get() as usize] += row.new_series.len();
    }
    let changed = config(vec![target(&stays, 1000), target(&comes, 1000)], false, false);
    let mut inputs = running.inputs;
    let change = tokio::spawn(async move {
        inputs.set(&changed).await.unwrap();
        inputs
    });
    let mut last = running.rows.recv().await.unwrap();
    while !last.ended {
        assert!(last.new_series.is_empty());
        last = running.rows.recv().await.unwrap();
    }
    // All of it, and its number is another's then.
    assert_eq!((last.target.get(), last.values.len()), (1, bound[1]));
    assert!(last.values.iter().all(|(_, value)| value.to_bits() == STALE_NAN));
    running.inputs = change.await.unwrap();
    let mut others = Vec::new();
    while others.len() < 6 {
        let row = running.rows.recv().await.unwrap();
        assert!(row.target.get() == 1 || row.new_series.is_empty());
        others.extend(row.new_series.iter().map(|(_, labels)| labels.clone()));
    }
    let port = comes.rsplit(':').next().unwrap();
    let instance = format!("gw-1:{port}");
    assert!(
        others
            .iter()
            .all(|labels| labels.get("instance") == Some(&instance[..]))
    );
    running.end().await;
}
