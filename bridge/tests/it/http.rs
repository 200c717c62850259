//! The HTTP API on a real socket over a real store, compared with the literal JSON that Prometheus would give.

use crate::server::{Api, START_MS, seconds};

#[tokio::test(flavor = "multi_thread")]
async fn a_query_answers_as_prometheus_does() {
    let api = Api::start().await;
    let at = seconds(START_MS);
    assert_eq!(
        api.get(&format!("/api/v1/query?query=load1&time={at}")).await,
        (
            200,
            format!(
                r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{"__name__":"load1","device_id":"gw-1","job":"node"}},"value":[{at},"0.25"]}}]}}}}"#
            )
        )
    );
    assert_eq!(
        api.get(&format!("/api/v1/query?query=1%2B1&time={at}")).await,
        (
            200,
            format!(r#"{{"status":"success","data":{{"resultType":"scalar","result":[{at},"2"]}}}}"#)
        )
    );
    assert_eq!(
        api.get("/api/v1/query?query=absent_metric").await,
        (
            200,
            r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#.to_owned()
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_s_parameters_count_before_those_of_the_url() {
    let api = Api::start().await;
    let at = seconds(START_MS);
    let (code, body) = api
        .post(
            "/api/v1/query?query=1",
            &format!("query=sum(%7Bjob%3D~%22no.%2A%22%7D)%20by%20(job)&time={at}"),
        )
        .await;
    assert_eq!(code, 200);
    assert!(body.contains(r#"[{"metric":{"job":"node"},"value":["#), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_query_answers_with_a_matrix() {
    let api = Api::start().await;
    let (start, end) = (seconds(START_MS - 1000), seconds(START_MS));
    let (code, body) = api
        .get(&format!(
            "/api/v1/query_range?query=load1&start={start}&end={end}&step=1"
        ))
        .await;
    assert_eq!(
        (code, body),
        (
            200,
            format!(
                r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{"__name__":"load1","device_id":"gw-1","job":"node"}},"values":[[{start},"NaN"],[{end},"0.25"]]}}]}}}}"#
            )
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_parameters_are_named_as_prometheus_names_them() {
    let api = Api::start().await;
    for (path, error) in [
        (
            "query?query=up&time=abc",
            r#"invalid parameter \"time\": invalid time value for 'time': cannot parse \"abc\" to a valid timestamp"#,
        ),
        (
            "query?query=up&timeout=x",
            r#"invalid parameter \"timeout\": cannot parse \"x\" to a valid duration"#,
        ),
        (
            "query?query=up&limit=-1",
            r#"invalid parameter \"limit\": limit must be non-negative"#,
        ),
        (
            "query_range?query=up&start=x&end=1&step=1",
            r#"invalid parameter \"start\": cannot parse \"x\" to a valid timestamp"#,
        ),
        (
            "query_range?query=up&start=2&end=1&step=1",
            r#"invalid parameter \"end\": end timestamp must not be before start time"#,
        ),
        (
            "query_range?query=up&start=1&end=2&step=0",
            r#"invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer"#,
        ),
        (
            "query_range?query=up&start=0&end=11001&step=1",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
        ("series", "no match[] parameter provided"),
        (
            "series?match[]=%7Ba%3D~%22.*%22%7D",
            r#"invalid parameter \"match[]\": match[] must contain at least one non-empty matcher"#,
        ),
    ] {
        let body = format!(r#"{{"status":"error","errorType":"bad_data","error":"{error}"}}"#);
        assert_eq!(api.get(&format!("/api/v1/{path}")).await, (400, body), "{path}");
    }
    let (code, body) = api.get("/api/v1/query?query=sum(").await;
    assert_eq!(code, 400);
    assert!(
        body.starts_with(
            r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": "#
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn series_and_labels_are_listed_and_limited() {
    let api = Api::start().await;
    let both = r#"[{"__name__":"load1","device_id":"gw-1","job":"node"},{"__name__":"up","device_id":"gw-1","job":"node"}]"#;
    assert_eq!(
        api.get("/api/v1/series?match[]=up&match[]=%7Bjob%3D%22node%22%7D")
            .await,
        (200, format!(r#"{{"status":"success","data":{both}}}"#))
    );
    assert_eq!(
        api.get("/api/v1/labels?match[]=up").await,
        (
            200,
            r#"{"status":"success","data":["__name__","device_id","job"]}"#.to_owned()
        )
    );
    assert_eq!(
        api.get("/api/v1/label/__name__/values?match[]=%7Bjob%3D%22node%22%7D")
            .await,
        (200, r#"{"status":"success","data":["load1","up"]}"#.to_owned())
    );
    assert_eq!(
        api.get("/api/v1/label/__name__/values?limit=1&match[]=%7Bjob%3D~%22no.e%22%7D")
            .await,
        (
            200,
            r#"{"status":"success","data":["load1"],"warnings":["results truncated due to limit"]}"#
                .to_owned()
        )
    );
    // A day later there was none of them; the hour of the samples is all that is known of their time.
    let (day, empty) = (86_400_000, r#"{"status":"success","data":[]}"#);
    for (path, at, some) in [
        ("labels?", START_MS, true),
        ("labels?", START_MS + day, false),
        ("label/job/values?match[]=up&", START_MS, true),
        ("label/job/values?match[]=up&", START_MS + day, false),
        ("series?match[]=up&", START_MS + day, false),
    ] {
        let (code, body) = api
            .get(&format!(
                "/api/v1/{path}start={}&end={}",
                seconds(at),
                seconds(at)
            ))
            .await;
        assert_eq!((code, body != empty), (200, some), "{path} {body}");
    }
    assert_eq!(
        api.get("/api/v1/label/job/values?match[]=absent").await,
        (200, r#"{"status":"success","data":[]}"#.to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_only_its_own_and_two_names_are_refused() {
    let api = Api::start().await;
    let query = format!("/api/v1/query?query=up&time={}", seconds(START_MS));
    let empty = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#.to_owned();
    assert_eq!(
        api.get_as(&query, &[("THANOS-TENANT", "other")]).await,
        (200, empty)
    );
    let (code, body) = api.get_as(&query, &[("X-Scope-OrgID", "default")]).await;
    assert_eq!((code, body.contains("gw-1")), (200, true));
    let both = [("THANOS-TENANT", "default"), ("X-Scope-OrgID", "other")];
    assert_eq!(api.get_as(&query, &both).await.0, 400);
    let same = [("THANOS-TENANT", "default"), ("X-Scope-OrgID", "default")];
    assert_eq!(api.get_as(&query, &same).await.0, 200);
    assert_eq!(api.get_as(&query, &[("THANOS-TENANT", "a.b")]).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_in_the_range_is_a_warning() {
    let api = Api::start().await;
    api.gap(START_MS - 30_000, START_MS - 20_000, 12);
    let (code, body) = api
        .get(&format!("/api/v1/query?query=up&time={}", seconds(START_MS)))
        .await;
    assert_eq!(code, 200);
    let warning = r#","warnings":["device \"gw-1\" has gaps in the range: 12 samples dropped (wal_bytes)"]}"#;
    assert!(body.ends_with(warning), "{body}");
    // A window reaches back further than the lookback, and an offset moves what is looked into.
    let later = seconds(START_MS + 3_600_000);
    for (query, told) in [
        ("sum_over_time(up%5B2h%5D)", true),
        ("up%20offset%201h", true),
        ("up", false),
    ] {
        let (_, body) = api
            .get(&format!("/api/v1/query?query={query}&time={later}"))
            .await;
        assert_eq!(body.contains("has gaps in the range"), told, "{query} {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_matches_and_is_late_is_told_though_nothing_of_it_is_found() {
    let api = Api::start().await;
    // By this machine's clock the batch is days old.
    let late = r#""infos":["device \"gw-1\" is late: complete until 2026-11-22T00:00:00Z"]}"#;
    for query in ["up", "sum(rate(load1%5B5m%5D))", "count(%7Bjob%3D~%22no.e%22%7D)"] {
        let (code, body) = api.get(&format!("/api/v1/query?query={query}")).await;
        assert_eq!((code, body.ends_with(late)), (200, true), "{body}");
    }
    // What matches nothing of it, asks for nothing, or is of its time, is not late.
    let then = seconds(START_MS);
    for path in [
        "query?query=absent_metric".to_owned(),
        "query?query=1%2B1".to_owned(),
        format!("query?query=up&time={then}"),
    ] {
        let (_, body) = api.get(&format!("/api/v1/{path}")).await;
        assert!(!body.contains("late"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_is_listed_with_the_terms_of_the_equation() {
    let api = Api::start().await;
    let (code, body) = api
        .get("/api/v1/fleet/devices?device_id=gw-1&tenant=default")
        .await;
    assert_eq!(code, 200);
    let newest = seconds(START_MS);
    let expected = format!(
        r#"{{"status":"success","data":{{"devices":[{{"tenant":"default","device_id":"gw-1","connected":false,"last_seen":{newest},"newest_sample":{newest},"clock_offset_seconds":0,"session":"000000000000004d","version":"","samples":{{"generated":4,"stored":4,"dropped":{{}},"pending":0}},"gaps":[],"alerts":0,"alerts_firing":0,"alerts_pending":0,"alerts_undelivered":0,"rules":null,"alert_delay_seconds":null,"config":null}}]}}}}"#
    );
    assert_eq!(body, expected);
    assert_eq!(
        api.get("/api/v1/fleet/equation").await,
        (
            200,
            r#"{"status":"success","data":{"devices":[{"tenant":"default","device_id":"gw-1","generated":4,"stored":4,"dropped":{},"pending":0,"recovered":0,"removed":{},"quarantined":0,"read_back":4,"duplicates":0,"redelivered":0,"series":2}]}}"#
                .to_owned()
        )
    );
    let none = (200, r#"{"status":"success","data":{"devices":[]}}"#.to_owned());
    assert_eq!(api.get("/api/v1/fleet/devices?connected=true").await, none);
    assert_eq!(api.get("/api/v1/fleet/devices?tenant=other").await, none);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_device_leaves_the_fleet_and_its_samples_stay() {
    let api = Api::start().await;
    assert_eq!(api.post("/api/v1/fleet/forget?device_id=gw-9", "").await.0, 404);
    assert_eq!(
        api.post("/api/v1/fleet/forget?device_id=gw-1", "").await,
        (200, r#"{"status":"success","data":{}}"#.to_owned())
    );
    let (_, body) = api.get("/api/v1/fleet/devices").await;
    assert!(!body.contains("gw-1"), "{body}");
    let (_, body) = api
        .get(&format!("/api/v1/query?query=up&time={}", seconds(START_MS)))
        .await;
    assert!(body.contains("gw-1"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_and_build_info_answer_while_no_broker_does() {
    let api = Api::start().await;
    assert_eq!(
        api.get("/-/healthy").await,
        (200, "backhaul is Healthy.\n".to_owned())
    );
    assert_eq!(api.get("/-/ready").await.0, 503);
    let (code, metrics) = api.get("/metrics").await;
    assert_eq!(
        (code, metrics.contains("backhaul_bridge_mqtt_connected 0")),
        (200, true)
    );
    let (code, build) = api.get("/api/v1/status/buildinfo").await;
    assert_eq!(code, 200);
    assert!(build.starts_with(r#"{"status":"success","data":{"version":""#));
    assert!(!build.contains("features"));
    assert_eq!(api.get("/api/v1/none").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_beyond_its_time_is_answered_as_a_timeout() {
    let api = Api::start().await;
    let long = "count_over_time(vector(1)[2000000s:1s])";
    let path = format!(
        "/api/v1/query?timeout=1ms&query={}",
        long.replace('[', "%5B").replace(']', "%5D")
    );
    let body =
        r#"{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}"#;
    assert_eq!(api.get(&path).await, (503, body.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_would_hold_too_much_memory_is_refused_with_what_to_do() {
    let query = format!("/api/v1/query?query=load1&time={}", seconds(START_MS + 1000));
    let api = Api::start_with(|config| config.query_max_bytes = 100).await;
    for path in [&query, "/api/v1/targets"] {
        let (code, body) = api.get(path).await;
        assert_eq!(code, 422, "{body}");
        assert!(
            body.contains("\"errorType\":\"execution\"") && body.contains("--query.max-bytes"),
            "{body}"
        );
    }
    api.stop().await;
    let api = Api::start_with(|config| config.query_total_bytes = 100).await;
    let (code, body) = api.get(&query).await;
    assert!(code == 422 && body.contains("--query.max-total-bytes"), "{body}");
    let (_, metrics) = api.get("/metrics").await;
    for metric in [
        "queries_running{queue=\"rules\"} 0",
        "queries_waiting{queue=\"api\"} 0",
    ] {
        assert!(
            metrics.contains(&format!("backhaul_bridge_{metric}")),
            "{metrics}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_explained_node_by_node() {
    let api = Api::start().await;
    let time = seconds(START_MS + 1000);
    let (code, body) = api
        .get(&format!(
            "/api/v1/explain?query=sum(-load1)%20%2B%201&time={time}"
        ))
        .await;
    assert_eq!(code, 200, "{body}");
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    let plan = &answer["data"]["plan"];
    assert_eq!((&plan["kind"], &plan["rows"]), (&"+".into(), &1.into()), "{body}");
    let sum = &plan["inputs"][0];
    assert_eq!(
        (&sum["kind"], &sum["expr"]),
        (&"sum".into(), &"sum(-load1)".into())
    );
    let sign = &sum["inputs"][0];
    assert_eq!((&sign["bySeries"], &sign["rows"]), (&true.into(), &1.into()));
    let selector = &sign["inputs"][0];
    assert_eq!(
        (&selector["series"], &selector["samples"]),
        (&1.into(), &1.into()),
        "{body}"
    );
    assert_eq!(
        (&selector["bytes"], &selector["batches"]),
        (&16.into(), &1.into())
    );
    let range = format!("query=rate(load1[5m])&start={time}&end={time}&step=1");
    let (code, body) = api.post("/api/v1/explain", &range).await;
    assert!(
        code == 200 && body.contains("\"kind\":\"range selector\""),
        "{body}"
    );
    let (code, _) = api.get("/api/v1/explain?query=load1&start=1&end=0&step=1").await;
    assert_eq!(code, 400);
}
