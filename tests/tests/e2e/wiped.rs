//! A bridge whose disk was wiped is refilled by the devices; what no device still has is declared as a gap.

use std::time::Duration;

use tests::site::AgentPlan;
use tests::{Site, programs};

#[test]
fn wiped_bridge_is_refilled_from_what_the_devices_still_have() {
    let site = Site::new(programs!());
    let plan = AgentPlan::new("wiped-1");
    site.issue(std::slice::from_ref(&plan.name));
    let _broker = site.start_broker();
    let mut bridge = site.start_bridge();
    let _agent = site.start_agent(&plan);
    let status = || site.status(&plan.name);
    site.wait_until("samples are acked", Duration::from_secs(30), || status().acked > 1000);

    bridge.kill();
    std::fs::remove_dir_all(site.path().join("data")).unwrap();
    let _bridge = site.start_bridge();
    site.hush();
    let api = site.api();
    let count = |expr: &str| api.number(expr).unwrap_or(0.0);
    site.wait_until("all that the device has is stored again", Duration::from_secs(60), || {
        let now = status();
        now.quiet
            && now.pending_records == 0
            && count("sum(count_over_time(oracle_value[1h]))") as u64 == now.generated
    });
    let data = api.data("fleet/devices", &[("device_id", "wiped-1")]).unwrap();
    let samples = &data["devices"][0]["samples"];
    assert_eq!(samples["stored"], samples["generated"], "{data}");
    assert_eq!(samples["pending"], 0, "{data}");
}

#[test]
fn what_a_wiped_bridge_lost_for_good_is_a_gap() {
    let site = Site::new(programs!());
    let plan = AgentPlan::new("wiped-2");
    site.issue(std::slice::from_ref(&plan.name));
    let _broker = site.start_broker();
    let mut bridge = site.start_bridge();
    let mut agent = site.start_agent(&plan);
    let status = || site.status(&plan.name);
    site.wait_until("samples are acked", Duration::from_secs(30), || status().acked > 1000);

    bridge.kill();
    agent.kill();
    std::fs::remove_dir_all(site.path().join("data")).unwrap();
    // The device loses its oldest segment, as it would to its byte budget: acked records may be reused.
    let wal = site.path().join("agents").join("wiped-2");
    let mut segments: Vec<_> = std::fs::read_dir(&wal)
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|x| x == "wal"))
        .collect();
    segments.sort();
    std::fs::remove_file(&segments[0]).unwrap();

    let _bridge = site.start_bridge();
    let _agent = site.start_agent(&plan);
    site.wait_until("new samples are acked", Duration::from_secs(30), || status().acked > 100);
    site.hush();
    site.wait_until("everything is settled", Duration::from_secs(60), || {
        let now = status();
        now.quiet && now.pending_records == 0
    });
    let data = site.api().data("fleet/devices", &[("device_id", "wiped-2")]).unwrap();
    let samples = &data["devices"][0]["samples"];
    let count = |value: &serde_json::Value| value.as_u64().unwrap();
    let dropped: u64 = samples["dropped"].as_object().unwrap().values().map(count).sum();
    assert!(dropped >= 1000, "{data}");
    assert_eq!(count(&samples["generated"]), count(&samples["stored"]) + dropped, "{data}");
    assert!(!data["devices"][0]["gaps"].as_array().unwrap().is_empty(), "{data}");
}
