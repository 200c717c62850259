//! What the store holds, as an operator asks for it.

use crate::server::{Api, START_MS};

#[tokio::test(flavor = "multi_thread")]
async fn the_heads_are_counted_as_prometheus_counts_them() {
    let api = Api::start().await;
    // Two rows, each in an hour of its own.
    let (first, last) = (START_MS - 1000, START_MS);
    let expected = format!(
        concat!(
            r#"{{"status":"success","data":{{"headStats":{{"numSeries":2,"numLabelPairs":4,"chunkCount":4,"#,
            r#""minTime":{first},"maxTime":{last}}},"#,
            r#""seriesCountByMetricName":[{{"name":"load1","value":1}},{{"name":"up","value":1}}],"#,
            r#""labelValueCountByLabelName":[{{"name":"__name__","value":2}},{{"name":"device_id","value":1}},"#,
            r#"{{"name":"job","value":1}}],"#,
            r#""memoryInBytesByLabelName":[{{"name":"device_id","value":8}},{{"name":"job","value":8}},"#,
            r#"{{"name":"__name__","value":7}}],"#,
            r#""seriesCountByLabelValuePair":[{{"name":"device_id=gw-1","value":2}},{{"name":"job=node","value":2}},"#,
            r#"{{"name":"__name__=load1","value":1}},{{"name":"__name__=up","value":1}}]}}}}"#
        ),
        first = first,
        last = last
    );
    assert_eq!(api.get("/api/v1/status/tsdb").await, (200, expected));
    let (code, body) = api.get("/api/v1/status/tsdb?limit=1").await;
    assert_eq!(code, 200);
    assert!(
        body.contains(r#""seriesCountByMetricName":[{"name":"load1","value":1}],"#),
        "{body}"
    );
    for limit in ["0", "-1", "many"] {
        let (code, body) = api.get(&format!("/api/v1/status/tsdb?limit={limit}")).await;
        assert_eq!(code, 400);
        assert!(body.contains("limit must be a positive number"), "{body}");
    }
    let other = [("THANOS-TENANT", "other")];
    let (_, body) = api.get_as("/api/v1/status/tsdb", &other).await;
    assert!(
        body.contains(r#""numSeries":0,"numLabelPairs":0,"chunkCount":0,"minTime":9223372036854775807,"#),
        "{body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_listed_by_their_active_series() {
    let api = Api::start().await;
    let expected = r#"{"status":"success","data":{"devices":[{"tenant":"default","device_id":"gw-1","active_series":2}]}}"#;
    assert_eq!(
        api.get("/api/v1/fleet/series?limit=3").await,
        (200, expected.to_owned())
    );
    let (_, body) = api.get("/api/v1/fleet/series?device_id=gw-2").await;
    assert_eq!(body, r#"{"status":"success","data":{"devices":[]}}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn quarantined_rows_are_listed_released_and_dropped_by_device() {
    let api = Api::start().await;
    let list = async || api.get("/api/v1/fleet/quarantine").await.1;
    let none = r#"{"status":"success","data":{"batches":[]}}"#;
    assert_eq!(list().await, none);
    for (seq, act, removed) in [(3, "release", "{}"), (4, "drop", r#"{"deleted":2}"#)] {
        api.ahead(seq);
        let body = list().await;
        let entry = format!(
            r#""device_id":"gw-1","session":"000000000000004d","first":{seq},"last":{seq},"rows":1,"samples":2,"#
        );
        assert!(body.contains(&entry), "{body}");
        let path = format!("/api/v1/fleet/quarantine/{act}");
        assert_eq!(api.post(&path, "device_id=gw-2").await.0, 404);
        assert_eq!(api.post(&path, "").await.0, 400);
        let (code, body) = api.post(&path, "device_id=gw-1").await;
        assert_eq!(
            (code, body.as_str()),
            (200, r#"{"status":"success","data":{"batches":1}}"#)
        );
        assert_eq!(list().await, none);
        let (_, body) = api.get("/api/v1/fleet/equation").await;
        assert!(
            body.contains(&format!(r#""removed":{removed},"quarantined":0,"read_back":6,"#)),
            "{body}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_taken_only_if_the_admin_api_is_enabled() {
    let api = Api::start().await;
    assert_eq!(
        api.post("/api/v1/admin/tsdb/snapshot", "").await,
        (
            503,
            r#"{"status":"error","errorType":"unavailable","error":"admin APIs disabled"}"#.to_owned()
        )
    );
    assert_eq!(api.get("/api/v1/admin/tsdb/snapshot").await.0, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_room_on_the_store_s_disk_is_a_metric() {
    let api = Api::start().await;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let (_, body) = api.get("/metrics").await;
        let value = |name: &str| {
            let line = body.lines().find(|line| line.starts_with(name)).unwrap();
            line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
        };
        let needed = value("backhaul_bridge_store_min_free_bytes ");
        if needed > 0.0 {
            assert_eq!(needed, store::Config::default().min_free_disk as f64);
            assert!(value("backhaul_bridge_store_free_bytes ") > 0.0);
            return;
        }
        assert!(std::time::Instant::now() < until, "{body}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
