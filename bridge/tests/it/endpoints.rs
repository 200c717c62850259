//! What Prometheus answers beside queries: metadata, targets, status, empty lists, federation.

use wire::batch::{Group, Row};
use wire::dict::{Dictionary, SeriesId};
use wire::message::Metadata;
use wire::{Labels, Seq, Timestamp};

use crate::server::{Api, START_MS, seconds};

fn success(data: &str) -> (u16, String) {
    (200, format!(r#"{{"status":"success","data":{data}}}"#))
}

fn bad_data(error: &str) -> (u16, String) {
    (
        400,
        format!(r#"{{"status":"error","errorType":"bad_data","error":"{error}"}}"#),
    )
}

fn told(family: &str, kind: &str, help: &str) -> Metadata {
    Metadata {
        row: 0,
        family: family.to_owned(),
        kind: kind.to_owned(),
        help: help.to_owned(),
        unit: String::new(),
    }
}

/// Two targets of job `app`, of which `b:1` is down; 15 s between scrapes; a NaN, a stale marker and a name in UTF-8.
async fn with_targets() -> Api {
    let api = Api::start_with(|config| {
        config.external_labels = Labels::new([("site", "a"), ("job", "never")]).unwrap();
        config.started.flags = [("web.listen-address".to_owned(), "x".to_owned())].into();
        config.started.yaml = "global: {}\n".to_owned();
        config.started.retention = "15d".to_owned();
    })
    .await;
    let mut dictionary = Dictionary::new();
    let series = [
        ("up", "a:1"),
        ("scrape_duration_seconds", "a:1"),
        ("up", "b:1"),
        ("size_bytes_total", "a:1"),
        ("gone", "a:1"),
        ("a.b", "a:1"),
    ];
    for (metric, instance) in series {
        let set = [("__name__", metric), ("job", "app"), ("instance", instance)];
        dictionary.append(Labels::new(set).unwrap()).unwrap();
    }
    let row = |seq, ms| Row {
        seq: Seq::new(seq),
        time: Timestamp::from_ms(ms),
        mono_ms: seq,
    };
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let group = Group {
        series: (0..6).map(SeriesId::new).collect(),
        rows: vec![row(3, START_MS - 15_000), row(4, START_MS)],
        values: vec![
            1.0,
            1.0,
            0.5,
            0.25,
            1.0,
            0.0,
            5.0,
            1_949_997.0,
            1.0,
            stale,
            1.0,
            f64::NAN,
        ],
        metadata: vec![
            told("size_bytes_total", "counter", "Bytes."),
            told("absent", "gauge", ""),
        ],
        ..Group::default()
    };
    api.deliver(dictionary, group);
    api
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_what_devices_told() {
    let api = with_targets().await;
    let bytes = r#""size_bytes_total":[{"type":"counter","help":"Bytes.","unit":""}]"#;
    let absent = r#""absent":[{"type":"gauge","help":"","unit":""}]"#;
    for (query, data) in [
        ("", format!("{{{absent},{bytes}}}")),
        ("?metric=size_bytes_total", format!("{{{bytes}}}")),
        ("?limit=1", format!("{{{absent}}}")),
        ("?limit=0", "{}".to_owned()),
        ("?limit=-1&limit_per_metric=1", format!("{{{absent},{bytes}}}")),
        ("?metric=none", "{}".to_owned()),
    ] {
        assert_eq!(
            api.get(&format!("/api/v1/metadata{query}")).await,
            success(&data),
            "{query}"
        );
    }
    assert_eq!(
        api.get("/api/v1/metadata?limit=x").await,
        bad_data("limit must be a number")
    );
    let other = [("THANOS-TENANT", "other")];
    assert_eq!(api.get_as("/api/v1/metadata", &other).await, success("{}"));

    let target = r#"{"target":{"device_id":"gw-1","instance":"a:1","job":"app"}"#;
    let members = r#""type":"counter","help":"Bytes.","unit":""}"#;
    for (query, data) in [
        ("", format!(r#"[{target},"metric":"size_bytes_total",{members}]"#)),
        ("?metric=size_bytes_total", format!("[{target},{members}]")),
        ("?match_target=%7Binstance%3D%22b:1%22%7D", "[]".to_owned()),
    ] {
        let path = format!("/api/v1/targets/metadata{query}");
        assert_eq!(api.get(&path).await, success(&data), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_those_that_devices_scrape() {
    let api = with_targets().await;
    let at = "2026-11-22T00:00:00Z";
    let target = |instance: &str, health: &str, error: &str, duration: &str| {
        format!(
            r#"{{"discoveredLabels":{{"__address__":"{instance}","job":"app"}},"labels":{{"device_id":"gw-1","instance":"{instance}","job":"app"}},"scrapePool":"app","scrapeUrl":"","globalUrl":"","lastError":"{error}","lastScrape":"{at}","lastScrapeDuration":{duration},"health":"{health}","scrapeInterval":"15s","scrapeTimeout":""}}"#
        )
    };
    let both = [
        target("a:1", "up", "", "0.25"),
        target("b:1", "down", "the device could not scrape it", "0"),
    ]
    .join(",");
    let (code, body) = api.get("/api/v1/targets?scrapePool=app").await;
    assert_eq!(
        (code, body),
        success(&format!(
            r#"{{"activeTargets":[{both}],"droppedTargets":[],"droppedTargetCounts":{{"app":0}}}}"#
        ))
    );
    for (state, counts) in [("dropped", r#"{"app":0,"node":0}"#), ("none", "null")] {
        let data = format!(r#"{{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":{counts}}}"#);
        assert_eq!(
            api.get(&format!("/api/v1/targets?state={state}")).await,
            success(&data)
        );
    }
    assert_eq!(
        api.get("/api/v1/scrape_pools").await,
        success(r#"{"scrapePools":["app","node"]}"#)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_device_s_targets_are_unknown() {
    // By this machine's clock the batch is days old.
    let api = Api::start().await;
    let (code, body) = api.get("/api/v1/targets?state=active").await;
    assert_eq!(code, 200);
    let labels = r#""labels":{"device_id":"gw-1","job":"node"}"#;
    assert!(
        body.contains(labels) && body.contains(r#""health":"unknown""#),
        "{body}"
    );
    assert!(body.contains(r#""lastScrape":"2026-11-22T00:00:00Z""#), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_up_is_a_target_by_itself() {
    let api = Api::start_with(|_| {}).await;
    api.post("/api/v1/fleet/forget?device_id=gw-1", "").await;
    let mut dictionary = Dictionary::new();
    dictionary
        .append(Labels::new([("__name__", "load5")]).unwrap())
        .unwrap();
    let row = Row {
        seq: Seq::new(1),
        time: Timestamp::from_ms(START_MS + 1000),
        mono_ms: 1,
    };
    let group = Group {
        series: [SeriesId::new(0)].into(),
        rows: vec![row],
        values: vec![1.0],
        ..Group::default()
    };
    api.deliver_as("default.gw-2", dictionary, group);
    let (_, body) = api.get("/api/v1/targets?state=active").await;
    let labels = r#""labels":{"device_id":"gw-2"},"#;
    let health = r#""lastError":"the device sends no up","lastScrape":"2026-11-22T00:00:01Z","lastScrapeDuration":0,"health":"unknown""#;
    assert!(body.contains(labels) && body.contains(health), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_none_of_is_empty_and_its_parameters_are_checked() {
    let api = Api::start().await;
    for (path, data) in [
        ("rules", r#"{"groups":[]}"#),
        (
            "rules?type=Alert&exclude_alerts=true&group_limit=5",
            r#"{"groups":[]}"#,
        ),
        ("alerts", r#"{"alerts":[]}"#),
        (
            "alertmanagers",
            r#"{"activeAlertmanagers":[],"droppedAlertmanagers":[]}"#,
        ),
        ("notifications", "[]"),
        ("query_exemplars?query=up&start=1&end=2", "[]"),
        ("status/walreplay", r#"{"min":0,"max":0,"current":0}"#),
    ] {
        assert_eq!(api.get(&format!("/api/v1/{path}")).await, success(data), "{path}");
    }
    for (path, error) in [
        (
            "rules?type=x",
            r#"invalid parameter \"type\": not supported value \"x\""#,
        ),
        (
            "rules?exclude_alerts=x",
            r#"invalid parameter \"exclude_alerts\": error converting exclude_alerts: strconv.ParseBool: parsing \"x\": invalid syntax"#,
        ),
        (
            "rules?group_next_token=x",
            r#"invalid parameter \"group_next_token\": group_limit needs to be present in order to paginate over the groups"#,
        ),
        (
            "query_exemplars?query=up&start=5&end=1",
            "end timestamp must not be before start timestamp",
        ),
    ] {
        assert_eq!(
            api.get(&format!("/api/v1/{path}")).await,
            bad_data(error),
            "{path}"
        );
    }
    let not_found = (404, "404 page not found\n".to_owned());
    assert_eq!(api.get("/api/v1/nothing").await, not_found);
    assert_eq!(api.get("/nothing").await, not_found);
    let not_allowed = (405, "Method Not Allowed\n".to_owned());
    assert_eq!(api.post("/api/v1/metadata", "").await, not_allowed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_formatted_and_parsed() {
    let api = Api::start().await;
    let query = "query=sum(up)by(job)";
    let formatted = success(r#""sum by (job) (up)""#);
    assert_eq!(api.get(&format!("/api/v1/format_query?{query}")).await, formatted);
    assert_eq!(api.post("/api/v1/format_query", query).await, formatted);
    let tree = r#"{"matchers":[{"name":"__name__","type":"=","value":"up"}],"name":"up","offset":0,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"}"#;
    assert_eq!(api.get("/api/v1/parse_query?query=up").await, success(tree));
    let error = r#"invalid parameter \"query\": unknown position: parse error: no expression found in input"#;
    assert_eq!(api.get("/api/v1/parse_query").await, bad_data(error));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_tells_how_it_was_started() {
    let api = with_targets().await;
    assert_eq!(
        api.get("/api/v1/status/flags").await,
        success(r#"{"web.listen-address":"x"}"#)
    );
    assert_eq!(
        api.get("/api/v1/status/config").await,
        success(r#"{"yaml":"global: {}\n"}"#)
    );
    let (code, body) = api.get("/api/v1/status/runtimeinfo").await;
    assert_eq!(code, 200);
    for part in [
        r#"{"startTime":"2"#,
        r#""serverTime":"2026-11-22T00:00:05Z""#,
        r#""corruptionCount":0"#,
        r#""storageRetention":"15d"}"#,
    ] {
        assert!(body.contains(part), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_of_a_query_are_told_if_they_are_asked_for() {
    let api = Api::start().await;
    let at = seconds(START_MS);
    let (code, body) = api
        .get(&format!("/api/v1/query?query=load1%5B2s%5D&stats=all&time={at}"))
        .await;
    assert_eq!(code, 200);
    assert!(
        body.contains(r#""stats":{"timings":{"evalTotalTime":0."#),
        "{body}"
    );
    let samples = r#""samples":{"totalQueryableSamples":2,"peakSamples":2}}}}"#;
    assert!(body.ends_with(samples), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_samples_are_federated() {
    let api = with_targets().await;
    let text = format!(
        concat!(
            "# TYPE a_b untyped\n",
            "a_b{{device_id=\"gw-1\",instance=\"a:1\",job=\"app\",site=\"a\"}} NaN {at}\n",
            "# TYPE load1 untyped\n",
            "load1{{device_id=\"gw-1\",job=\"node\",instance=\"\",site=\"a\"}} 0.25 {at}\n",
            "# TYPE size_bytes_total untyped\n",
            "size_bytes_total{{device_id=\"gw-1\",instance=\"a:1\",job=\"app\",site=\"a\"}} 1.949997e+06 {at}\n",
        ),
        at = START_MS
    );
    let path = "/federate?match[]=%7B__name__%3D~%22load1%7Cgone%7Csize.*%7Ca.b%22%7D&match[]=load1";
    assert_eq!(api.get(path).await, (200, text));
    let (_, quoted) = api
        .get_as(
            "/federate?match[]=%7B%22a.b%22%7D",
            &[("accept", "text/plain;escaping=allow-utf-8")],
        )
        .await;
    assert!(quoted.contains("{\"a.b\",device_id=\"gw-1\","), "{quoted}");
    assert_eq!(api.get("/federate").await, (200, String::new()));
    let (code, reason) = api.get("/federate?match[]=a(").await;
    assert_eq!((code, reason.contains("parse error")), (400, true), "{reason}");
    let (code, reason) = api.get_as("/federate", &[("x-scope-orgid", "a.b")]).await;
    assert_eq!((code, reason.starts_with("tenant: ")), (400, true), "{reason}");
    // By this machine's clock the samples are beyond the lookback.
    let late = Api::start().await;
    assert_eq!(late.get("/federate?match[]=up").await, (200, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn alertmanager_s_api_says_what_is_wrong_with_a_tenant_as_an_alertmanager_does() {
    let api = Api::start().await;
    let wrong = [("X-Scope-OrgID", "a.b")];
    for path in ["alerts", "alerts/groups", "silences", "silence/x", "status"] {
        let (code, body) = api.get_as(&format!("/api/v2/{path}"), &wrong).await;
        assert_eq!(code, 400, "{path}: {body}");
        assert!(
            body.starts_with("\"tenant: ") && body.ends_with('"'),
            "{path}: {body}"
        );
    }
}
