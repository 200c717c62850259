//! Native histograms from a device's batch to Prometheus's JSON, to the functions that read them, and through rules back
//! into the store.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bridge::RuleFiles;
use tokio::sync::watch;
use wire::batch::{Group, Presence, Row};
use wire::dict::{Dictionary, SeriesId};
use wire::message::{BucketSpan, Histogram, HistogramCell};
use wire::{Labels, Seq, Timestamp};

use crate::server::{Api, START_MS, seconds};

/// A counter of `count` observations: 2 in the zero bucket, the rest in (0.5,1] and (1,2].
fn histogram(count: u64, sum: f64) -> Histogram {
    Histogram {
        count,
        sum,
        zero_threshold: 0.001,
        zero_count: 2,
        positive_spans: vec![BucketSpan { offset: 0, length: 2 }],
        positive_deltas: vec![1, count as i64 - 4],
        ..Histogram::default()
    }
}

/// Series `took_seconds`, which had 5 and, a minute later, 11 observations.
async fn with_histograms() -> Api {
    fill(Api::start().await)
}

fn fill(api: Api) -> Api {
    let mut dictionary = Dictionary::new();
    let labels = Labels::new([("__name__", "took_seconds"), ("job", "node")]).unwrap();
    dictionary.append(labels).unwrap();
    let row = |seq, ms| Row {
        seq: Seq::new(seq),
        time: Timestamp::from_ms(ms),
        mono_ms: seq,
    };
    let cell = |row, histogram| HistogramCell {
        position: 0,
        row,
        histogram: Some(histogram),
    };
    let group = Group {
        series: [SeriesId::new(0)].into(),
        rows: vec![row(3, START_MS - 60_000), row(4, START_MS)],
        values: vec![0.0, 0.0],
        present: Some(Presence::none(2)),
        histograms: vec![cell(0, histogram(5, 6.0)), cell(1, histogram(11, 18.4))],
        ..Group::default()
    };
    api.deliver(dictionary, group);
    api
}

const NEWEST: &str =
    r#"{"count":"11","sum":"18.4","buckets":[[3,"-0.001","0.001","2"],[0,"0.5","1","1"],[0,"1","2","8"]]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn histograms_are_answered_in_prometheus_s_shape() {
    let api = with_histograms().await;
    let (before, at) = (seconds(START_MS - 60_000), seconds(START_MS));
    let metric = r#"{"metric":{"__name__":"took_seconds","device_id":"gw-1","job":"node"}"#;
    let (code, body) = api
        .get(&format!("/api/v1/query?query=took_seconds&time={at}"))
        .await;
    let expected = format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{metric},"histogram":[{at},{NEWEST}]}}]}}}}"#
    );
    assert_eq!((code, body), (200, expected));
    let range = format!("/api/v1/query_range?query=took_seconds&start={before}&end={at}&step=60");
    let (code, body) = api.get(&range).await;
    let older =
        r#"{"count":"5","sum":"6","buckets":[[3,"-0.001","0.001","2"],[0,"0.5","1","1"],[0,"1","2","2"]]}"#;
    let expected = format!(
        r#"{{"status":"success","data":{{"resultType":"matrix","result":[{metric},"histograms":[[{before},{older}],[{at},{NEWEST}]]}}]}}}}"#
    );
    assert_eq!((code, body), (200, expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_read_histograms() {
    let api = with_histograms().await;
    let at = seconds(START_MS);
    for (query, value) in [
        ("histogram_count(took_seconds)", "11"),
        ("histogram_sum(increase(took_seconds%5B2m%5D))*0", "0"),
        ("count_over_time(took_seconds%5B2m%5D)", "2"),
        ("histogram_count(sum(took_seconds))", "11"),
    ] {
        let (code, body) = api.get(&format!("/api/v1/query?query={query}&time={at}")).await;
        assert_eq!(code, 200, "{body}");
        assert!(
            body.contains(&format!(r#""value":[{at},"{value}"]"#)),
            "{query}: {body}"
        );
    }
}

/// Goes on from `START_MS`.
fn clock() -> Timestamp {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    Timestamp::from_ms(START_MS).plus(BEGAN.get_or_init(Instant::now).elapsed())
}

const RULES: &str = "groups:
- name: g
  interval: 1s
  rules:
  - {record: 'job:took:sum', expr: sum by (job) (took_seconds)}
  - {record: 'job:took:count', expr: 'histogram_count(job:took:sum)'}
";

#[tokio::test(flavor = "multi_thread")]
async fn rules_record_histograms_which_later_rules_and_queries_find() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yml");
    std::fs::write(&file, RULES).unwrap();
    let api = Api::start_with(|config| {
        let files = RuleFiles {
            patterns: vec![("default".parse().unwrap(), vec![file])],
            ..RuleFiles::default()
        };
        config.rules = watch::channel(files.read(config).unwrap()).1;
        config.clock = clock;
    });
    let api = fill(api.await);
    let asked = async |query: &str| api.get(&format!("/api/v1/query?query={query}")).await.1;
    let until = Instant::now() + Duration::from_secs(30);
    // The second rule has it from memory at first; from the store once its own results are read.
    while !asked("job:took:count").await.contains(r#","11"]"#) {
        assert!(Instant::now() < until, "{}", asked("job:took:count").await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let found = asked("job:took:sum").await;
    assert!(found.contains(NEWEST), "{found}");
    assert!(
        found.contains(r#"{"__name__":"job:took:sum","job":"node"}"#),
        "{found}"
    );
}
