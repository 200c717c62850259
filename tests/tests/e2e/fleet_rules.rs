//! The same rule file in a real Prometheus and in the bridge, over the same data: the same series ALERTS, the same results
//! of recording rules, the same annotations.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tests::remote::Kind;
use tests::settings::number;
use tests::{AgentPlan, Api, BridgePlan, Remote, Site, programs};

const PATIENCE: Duration = Duration::from_secs(60);

/// Rules lie so far behind the data, so that both have it.
const OFFSET_SECONDS: u64 = 10;

/// What was pending, kept or restored before a time is over so long after.
const SETTLE_SECONDS: i64 = 6;

/// Groups over what test agents measure: alerts that come and go within seconds, with all that changes their states.
const RULES: &str = r#"
groups:
- name: short
  interval: 1s
  query_offset: 10s
  labels: {team: a}
  rules:
  - record: device:oracle:max
    expr: max by (device_id) (oracle_value{n=~"[0-4]"} % 100000)
  - alert: AtOnce
    expr: oracle_value{n="0"} % 10000 < 4000
    labels: {severity: page, level: '{{ if gt $value 2000.0 }}high{{ else }}low{{ end }}'}
  - alert: Later
    expr: oracle_value{n="0"} % 10000 < 6000
    for: 3s
    annotations: {summary: '{{ $labels.device_id }} is at {{ $value | humanize }}'}
  - alert: Kept
    expr: oracle_value{n="0"} % 10000 < 2000
    keep_firing_for: 4s
  - alert: Recorded
    expr: device:oracle:max > 50000
    for: 2s
- name: steady
  interval: 1s
  query_offset: 10s
  rules:
  - alert: Steady
    expr: count by (job) (oracle_value{n=~"5|6"}) > 0
    annotations:
      summary: '{{ $value }} series of {{ $labels.job }}, {{ with query "count(oracle_value{n=\"5\"})" }}{{ . | first | value | printf "%.0f" }}{{ end }} devices'
      description: '{{ range query "oracle_value{n=\"5\"}" | sortByLabel "device_id" }}{{ .Labels.device_id }}={{ .Value | humanize1024 }} {{ end }}'
  - record: job:oracle:count
    expr: count by (job) (oracle_value)
    labels: {from: rules}
"#;

pub(super) type Series = BTreeMap<String, Vec<(i64, String)>>;

/// A query's series at each second of a time.
pub(super) fn matrix(api: &Api, query: &str, (start, end): (i64, i64)) -> Series {
    let (start, end) = (start.to_string(), end.to_string());
    let params = [("query", query), ("start", &start), ("end", &end), ("step", "1")];
    let data = api.data("query_range", &params).unwrap();
    let point = |pair: &Value| {
        let value = pair[1].as_str().unwrap().to_owned();
        (pair[0].as_f64().unwrap() as i64, value)
    };
    data["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let values = one["values"].as_array().unwrap();
            (one["metric"].to_string(), values.iter().map(point).collect())
        })
        .collect()
}

/// Labels, annotations and state of an alert that does not change, as the API shows it.
fn steady(api: &Api) -> Option<Value> {
    let data = api.data("alerts", &[]).ok()?;
    let alerts = data["alerts"].as_array()?;
    let alert = alerts
        .iter()
        .find(|alert| alert["labels"]["alertname"] == "Steady")?;
    let keys = ["labels", "annotations", "state", "value"];
    Some(
        keys.iter()
            .map(|key| (key.to_string(), alert[*key].clone()))
            .collect(),
    )
}

/// What of the rules does not depend on when it is asked.
fn rules(api: &Api) -> Value {
    let mut data = api.data("rules", &[("exclude_alerts", "true")]).unwrap();
    for group in data["groups"].as_array_mut().unwrap() {
        let mut parts = vec![group];
        while let Some(part) = parts.pop() {
            for key in ["evaluationTime", "lastEvaluation", "state"] {
                part.as_object_mut().unwrap().remove(key);
            }
            parts.extend(
                part.get_mut("rules")
                    .and_then(Value::as_array_mut)
                    .into_iter()
                    .flatten(),
            );
        }
    }
    data
}

/// Evaluations that were left out so far.
fn missed(api: &Api) -> f64 {
    let page = api.get("/metrics", &[]).unwrap().1;
    let counts = page
        .lines()
        .filter(|line| line.contains("rule_group_iterations_missed_total{"));
    counts
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum()
}

/// Waits for a time of so many seconds in which both evaluate; `None`: a busy machine made one of them leave out a second.
fn evaluated(both: &[Api; 2], seconds: i64) -> Option<(i64, i64)> {
    let before = both.each_ref().map(missed);
    let start = tests::site::now().ms() / 1000 + SETTLE_SECONDS;
    let rest = seconds + SETTLE_SECONDS;
    std::thread::sleep(Duration::from_secs(rest.unsigned_abs() + OFFSET_SECONDS + 2));
    (both.each_ref().map(missed) == before).then_some((start, start + seconds))
}

#[test]
fn alerts_and_results_are_those_of_a_prometheus_on_the_same_data() {
    let newer = Remote::installed()
        .into_iter()
        .find(|remote| remote.name == "newer-prometheus");
    let Some(remote) = newer else {
        println!("skipped: query_offset needs a Prometheus of 2.53 or later");
        return;
    };
    assert_eq!(remote.kind, Kind::Prometheus);
    let seconds: i64 = number("BACKHAUL_RULES_SECONDS", 20);
    let site = Site::new(programs!());
    let file = site.path().join("rules.yml");
    fs::write(&file, RULES).unwrap();
    let plan = AgentPlan {
        interval_ms: 1000,
        ..AgentPlan::new("ruled").times(3)
    };
    site.issue(&plan);
    let remote = remote.with_rules(&file);
    let _remote = remote.start(&site);
    site.wait_until("Prometheus answers", PATIENCE, || remote.api().is_ready());
    let _broker = site.start_broker();
    let to_remote =
        json!([{"name": remote.name, "url": remote.url(), "queue_config": {"batch_send_deadline": "200ms"}}]);
    let bridge = BridgePlan {
        remote_write: to_remote,
        rule_files: vec![file],
        ..BridgePlan::default()
    };
    let _bridge = site.start_bridge_as(&bridge);
    let _agent = site.start_agent(&plan);
    let both = [site.api(), remote.api()];
    site.wait_until("both evaluate", PATIENCE, || {
        let counts = |api: &Api| api.number("count(ALERTS{alertname=\"Steady\"})") == Ok(1.0);
        both.iter().all(counts)
    });
    let time = (0..5)
        .find_map(|_| evaluated(&both, seconds))
        .expect("a time in which neither left out an evaluation");
    for query in [
        "ALERTS",
        "ALERTS_FOR_STATE{alertname!=\"Steady\"}",
        "device:oracle:max",
        "job:oracle:count",
    ] {
        let [ours, theirs] = both.each_ref().map(|api| matrix(api, query, time));
        assert!(!ours.is_empty(), "{query}");
        for (labels, points) in &theirs {
            assert_eq!(ours.get(labels), Some(points), "{query} {labels}");
        }
        assert_eq!(ours.len(), theirs.len(), "{query}");
    }
    let [ours, theirs] = both.each_ref().map(steady);
    assert!(ours.is_some());
    assert_eq!(ours, theirs);
    assert_eq!(rules(&both[0]), rules(&both[1]));
}
