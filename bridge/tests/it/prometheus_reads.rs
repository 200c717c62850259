//! A real Prometheus reads from the bridge by remote read and by federation, and finds what the bridge itself answers.

use wire::batch::{Group, Presence, Row};
use wire::dict::{Dictionary, SeriesId};
use wire::message::{BucketSpan, Histogram, HistogramCell};
use wire::{Labels, Seq, Timestamp};

use crate::peer::{Peer, result};
use crate::server::{Api, START_MS, now, seconds};

/// A series of rows a second apart that end at a time, the values of its kinds: a counter, something odd, rare.
pub(crate) fn rows(end_ms: i64, count: i64) -> (Dictionary, Group) {
    let mut dictionary = Dictionary::new();
    for metric in ["ticks_total", "odd", "rare"] {
        dictionary
            .append(Labels::new([("__name__", metric), ("job", "app"), ("instance", "a:1")]).unwrap())
            .unwrap();
    }
    let row = |n: i64| Row {
        seq: Seq::new(n as u64 + 3),
        time: Timestamp::from_ms(end_ms - (count - 1 - n) * 1000),
        mono_ms: n as u64,
    };
    let odd = |n: i64| match n % 7 {
        0 => f64::NAN,
        1 => f64::NEG_INFINITY,
        2 => -0.0,
        k => (k as f64).exp() * 1e-9,
    };
    let mut present = Presence::none(3 * count as usize);
    for cell in 0..2 * count {
        present.set(cell as usize, true);
    }
    for n in (0..count).filter(|n| n % 100 == 0 || *n == count - 1) {
        present.set((2 * count + n) as usize, true);
    }
    let values = (0..count)
        .map(|n| (n * n) as f64)
        .chain((0..count).map(odd))
        .chain((0..count).map(|n| n as f64));
    let group = Group {
        series: (0..3).map(SeriesId::new).collect(),
        rows: (0..count).map(row).collect(),
        values: values.collect(),
        present: Some(present),
        ..Group::default()
    };
    (dictionary, group)
}

/// Ours and theirs are one for each query.
async fn compare(api: &Api, peer: &Peer, paths: &[String]) {
    for path in paths {
        let (code, body) = api.get(path).await;
        assert_eq!(code, 200, "{body}");
        let ours = result(&body);
        assert!(
            ours.as_array().is_some_and(|series| !series.is_empty()),
            "{path}: {body}"
        );
        assert_eq!(ours, peer.query(path).await, "{path}");
    }
}

pub(crate) fn remote_read(api: &Api) -> String {
    format!(
        "remote_read:\n- {{url: 'http://{}/api/v1/read', read_recent: true}}\n",
        api.address()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_reads_chunks() {
    let api = Api::start().await;
    let (dictionary, group) = rows(START_MS, 1000);
    api.deliver(dictionary, group);
    let Some(peer) = Peer::start(&remote_read(&api)).await else {
        return;
    };
    let (start, end) = (seconds(START_MS - 900_000), seconds(START_MS));
    let paths = [
        format!("/api/v1/query?query=%7Bjob%3D%22app%22%7D%5B20m%5D&time={end}"),
        format!("/api/v1/query?query=%7B__name__%3D~%22load1%7Codd%22%7D&time={end}"),
        format!("/api/v1/query_range?query=rate(ticks_total%5B1m%5D)&start={start}&end={end}&step=15"),
        format!(
            "/api/v1/query_range?query=sum%20by%20(job)%20(%7Bjob%3D%22app%22,__name__!=%22odd%22%7D)&start={start}&end={end}&step=60"
        ),
    ];
    compare(&api, &peer, &paths).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_reads_native_histograms_as_samples() {
    let api = Api::start().await;
    let mut dictionary = Dictionary::new();
    dictionary
        .append(Labels::new([("__name__", "took_seconds"), ("job", "app")]).unwrap())
        .unwrap();
    let histogram = |count: u64| Histogram {
        count,
        sum: count as f64 * 0.7,
        zero_threshold: 0.001,
        positive_spans: vec![
            BucketSpan {
                offset: -2,
                length: 1,
            },
            BucketSpan { offset: 1, length: 1 },
        ],
        positive_deltas: vec![1, count as i64 - 2],
        ..Histogram::default()
    };
    let row = |n: u64| Row {
        seq: Seq::new(n + 3),
        time: Timestamp::from_ms(START_MS - 60_000 + n as i64 * 10_000),
        mono_ms: n,
    };
    let cell = |row: u32| HistogramCell {
        position: 0,
        row,
        histogram: Some(histogram(u64::from(row) * 5 + 2)),
    };
    let group = Group {
        series: [SeriesId::new(0)].into(),
        rows: (0..7).map(row).collect(),
        values: vec![0.0; 7],
        present: Some(Presence::none(7)),
        histograms: (0..7).map(cell).collect(),
        ..Group::default()
    };
    api.deliver(dictionary, group);
    let Some(peer) = Peer::start(&remote_read(&api)).await else {
        return;
    };
    let at = seconds(START_MS);
    let paths = [
        format!("/api/v1/query?query=took_seconds%5B2m%5D&time={at}"),
        format!("/api/v1/query?query=took_seconds&time={at}"),
        format!("/api/v1/query?query=histogram_quantile(0.9,took_seconds)&time={at}"),
    ];
    compare(&api, &peer, &paths).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_federates() {
    let api = Api::start().await;
    // Federation is of now.
    let newest = now().ms();
    let (dictionary, group) = rows(newest, 10);
    api.deliver(dictionary, group);
    let config = format!(
        "scrape_configs:\n- job_name: fleet\n  honor_labels: true\n  scrape_interval: 1s\n  metrics_path: /federate\n  \
         params: {{'match[]': ['{{job=\"app\"}}']}}\n  static_configs: [{{targets: ['{}']}}]\n",
        api.address()
    );
    let Some(peer) = Peer::start(&config).await else {
        return;
    };
    let paths = [format!(
        "/api/v1/query?query=%7Bjob%3D%22app%22%7D&time={}",
        seconds(newest)
    )];
    peer.until("three series are federated", async || {
        peer.query(&paths[0])
            .await
            .as_array()
            .is_some_and(|series| series.len() == 3)
    })
    .await;
    compare(&api, &peer, &paths).await;
}
