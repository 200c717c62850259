//! What clients ask, Grafana's data source first, asked of the bridge and of a real Prometheus 3.5 that reads the bridge's
//! samples: codes, headers and bodies are equal byte for byte, or equal in shape where they tell of a process.

use serde_json::Value;

use crate::peer::{Peer, request};
use crate::prometheus_reads::{remote_read, rows};
use crate::server::{Api, START_MS, seconds};

/// Headers that have to be equal.
const HEADERS: [&str; 9] = [
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "allow",
    "content-encoding",
    "content-type",
    "vary",
    "x-content-type-options",
];

/// A request to both.
struct Call {
    method: &'static str,
    path: String,
    form: String,
}

impl Call {
    fn get(path: impl Into<String>) -> Self {
        Call {
            method: "GET",
            path: path.into(),
            form: String::new(),
        }
    }

    fn post(path: impl Into<String>, form: impl Into<String>) -> Self {
        Call {
            method: "POST",
            path: path.into(),
            form: form.into(),
        }
    }

    /// The answers of both: code, headers of interest, body.
    async fn both(&self, api: &Api, peer: &Peer) -> [(u16, Vec<String>, String); 2] {
        let asked = request(self.method, &self.path, &self.form);
        let (code, head, body) = api.exchange(asked.as_bytes()).await;
        let ours = (code, interesting(&head), String::from_utf8(body).unwrap());
        let (code, head, body) = peer.ask(self.method, &self.path, &self.form).await.unwrap();
        [ours, (code, interesting(&head), body)]
    }
}

fn interesting(head: &str) -> Vec<String> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let lines = lines.map(|(name, value)| (name.to_ascii_lowercase(), value));
    let mut lines: Vec<String> = lines
        .filter(|(name, _)| HEADERS.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    lines.sort();
    lines
}

async fn both() -> Option<(Api, Peer)> {
    let api = Api::start().await;
    let (dictionary, group) = rows(START_MS, 300);
    api.deliver(dictionary, group);
    let peer = Peer::start(&remote_read(&api)).await?;
    if !peer.version.starts_with("3.5.") {
        println!(
            "skipped: Prometheus {} is not 3.5, whose answers are compared",
            peer.version
        );
        return None;
    }
    Some((api, peer))
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_prometheus_s_byte_for_byte() {
    let Some((api, peer)) = both().await else { return };
    let (at, start) = (seconds(START_MS), seconds(START_MS - 240_000));
    let range = format!("start={start}&end={at}&step=15");
    let calls = [
        // Grafana: the health check, an instant query, a panel.
        Call::get(format!("/api/v1/query?query=1%2B1&time={at}")),
        Call::post("/api/v1/query", format!("query=1%2B1&time={at}")),
        Call::post("/api/v1/query", format!("query=ticks_total&time={at}")),
        Call::post(
            "/api/v1/query_range",
            format!("query=rate(ticks_total%5B1m%5D)&{range}"),
        ),
        Call::post(
            "/api/v1/query_range",
            format!("query=sum+by+(job)+(%7Bjob%3D%22app%22%7D)&{range}"),
        ),
        Call::get(format!("/api/v1/query_range?query=odd&{range}")),
        Call::get(format!("/api/v1/query?query=odd%5B30s%5D&time={at}")),
        Call::get(format!("/api/v1/query?query=%22text%22&time={at}")),
        Call::get(format!("/api/v1/query?query=absent(nothing)&time={at}")),
        Call::get(format!("/api/v1/query?query=nothing&time={at}")),
        Call::get(format!(
            "/api/v1/query?query=%7Bjob%3D%22app%22%7D&limit=1&time={at}"
        )),
        Call::get(format!("/api/v1/query?query=rate(odd%5B1m%5D)&time={at}")),
        Call::get("/api/v1/query?query=time()&time=2026-11-22T00:00:00.5Z"),
        Call::get("/api/v1/format_query?query=sum(a)by(b)%2Frate(c%5B5m%5D)"),
        Call::post("/api/v1/parse_query", "query=sum(a)by(b)"),
        Call::get("/api/v1/query_exemplars?query=nothing&start=1&end=2"),
        Call::post("/api/v1/query_exemplars", "query=nothing&start=1&end=2"),
        Call::get("/api/v1/metadata?metric=nothing"),
        Call::get("/api/v1/rules"),
        Call::get("/api/v1/rules?type=alert"),
        Call::get("/api/v1/alerts"),
        Call::get("/api/v1/alertmanagers"),
        Call::get("/api/v1/notifications"),
        Call::get("/api/v1/status/walreplay"),
        Call::get("/api/v1/targets?state=none"),
        Call::get("/api/v1/series?match[]=nothing"),
        Call::post("/api/v1/series", "match[]=nothing"),
        Call::get("/federate"),
    ];
    for call in calls {
        let [ours, theirs] = call.both(&api, &peer).await;
        assert_eq!(ours, theirs, "{} {} {}", call.method, call.path, call.form);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_prometheus_s_byte_for_byte() {
    let Some((api, peer)) = both().await else { return };
    let paths = [
        "query",
        "query?query=sum(",
        "query?query=up%20and",
        "query?query=foo(1)",
        "query?query=up&time=x",
        "query?query=up&timeout=x",
        "query?query=up&limit=x",
        "query?query=up&limit=-1",
        "query?query=up&lookback_delta=x",
        "query?query=%7Ba%3D~%22.*%22%7D",
        "query?query=label_replace(vector(1),%22a%22,%22b%22,%22c%22,%22(%22)",
        "query_range?query=up",
        "query_range?query=up&start=1&end=x&step=1",
        "query_range?query=up&start=2&end=1&step=1",
        "query_range?query=up&start=1&end=2&step=x",
        "query_range?query=up&start=1&end=2&step=0",
        "query_range?query=up&start=0&end=11001&step=1",
        "query_range?query=up%5B5m%5D&start=1&end=2&step=1",
        "query_exemplars?query=up&start=x",
        "query_exemplars?query=up&start=5&end=1",
        "query_exemplars?query=sum(",
        "format_query?query=sum(",
        "parse_query",
        "series",
        "series?match[]=a(",
        "series?match[]=%7B%7D",
        "series?match[]=up&start=x",
        "series?match[]=up&limit=x",
        "labels?end=x",
        "labels?limit=-1",
        "labels?match[]=%7B",
        "label/a/values?match[]=%7B%7D",
        "label/a/values?start=x",
        "metadata?limit=x",
        "metadata?limit_per_metric=x",
        "targets/metadata?limit=x",
        "targets/metadata?match_target=%7B",
        "rules?type=x",
        "rules?exclude_alerts=x",
        "rules?group_limit=x",
        "rules?group_limit=0",
        "rules?group_next_token=x",
        "rules?match[]=a(",
        "status/tsdb?limit=x",
        "status/tsdb?limit=0",
        "nothing",
        "read",
    ];
    let mut calls: Vec<Call> = paths
        .iter()
        .map(|path| Call::get(format!("/api/v1/{path}")))
        .collect();
    calls.extend([
        Call::post("/api/v1/metadata", "a=b"),
        Call::get("/nothing"),
        Call::get("/federate?match[]=a("),
    ]);
    for method in ["DELETE", "PUT"] {
        calls.push(Call {
            method,
            ..Call::get("/api/v1/query")
        });
    }
    let mut differences = Vec::new();
    for call in calls {
        let [ours, theirs] = call.both(&api, &peer).await;
        if ours != theirs {
            differences.push(format!(
                "{} {}\n  ours   {ours:?}\n  theirs {theirs:?}",
                call.method, call.path
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// A value's shape: keys in order, types, lists by their first item.
fn shape(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(items) => format!("[{}]", items.first().map(shape).unwrap_or_default()),
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(name, member)| format!("{name}:{}", shape(member)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tells_of_a_process_has_prometheus_s_shape() {
    let Some((api, peer)) = both().await else { return };
    let at = seconds(START_MS);
    let calls = [
        Call::get("/api/v1/status/buildinfo"),
        Call::get("/api/v1/status/runtimeinfo"),
        Call::get("/api/v1/status/config"),
        Call::get(format!("/api/v1/query?query=ticks_total&stats=all&time={at}")),
        Call::post(
            "/api/v1/query_range",
            format!("query=odd&start={at}&end={at}&step=15&stats=true"),
        ),
        Call::get("/api/v1/query?query=vector(1)"),
    ];
    for call in calls {
        let [(our_code, our_headers, ours), (their_code, their_headers, theirs)] =
            call.both(&api, &peer).await;
        assert_eq!(
            (our_code, our_headers),
            (their_code, their_headers),
            "{}",
            call.path
        );
        let [ours, theirs] = [ours, theirs].map(|body| shape(&serde_json::from_str(&body).unwrap()));
        assert_eq!(ours, theirs, "{}", call.path);
    }
}
