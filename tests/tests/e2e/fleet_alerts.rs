//! The rules of deploy/rules in a real bridge: a device that is killed is offline, one whose broker is away is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::{AgentPlan, Api, BridgePlan, Site, programs};

/// The bridge writes what it knows of devices every 15 s.
const PATIENCE: Duration = Duration::from_secs(120);

/// A copy in which a device is offline sooner.
fn rules(site: &Site) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/rules/fleet.yml");
    let text = fs::read_to_string(file).unwrap();
    let (before, alert) = text.split_once("- alert: DeviceOffline").unwrap();
    let before = before.replace("[5m]", "[20s]").replace("[1m]", "[20s]");
    let alert = alert.replacen("for: 10m", "for: 1s", 1);
    let copy = site.path().join("fleet.yml");
    fs::write(&copy, format!("{before}- alert: DeviceOffline{alert}")).unwrap();
    copy
}

/// Summaries of the alerts that fire, in order.
fn firing(api: &Api) -> Vec<String> {
    let data = api.data("alerts", &[]).unwrap();
    let alerts = data["alerts"].as_array().unwrap();
    let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
    let mut summaries: Vec<String> = firing
        .map(|alert| alert["annotations"]["summary"].as_str().unwrap().to_owned())
        .collect();
    summaries.sort();
    summaries
}

#[test]
fn a_device_that_is_killed_is_offline_and_one_whose_broker_is_away_is_not() {
    let site = Site::new(programs!());
    let (killed, other) = (AgentPlan::new("killed-1"), AgentPlan::new("other-1"));
    site.issue(&killed);
    site.issue(&other);
    let plan = BridgePlan {
        rule_files: vec![rules(&site)],
        ..BridgePlan::default()
    };
    let mut broker = site.start_broker();
    let _bridge = site.start_bridge_as(&plan);
    let mut agent = site.start_agent(&killed);
    let _other = site.start_agent(&other);
    let api = site.api();
    let both_up = || api.number("sum(device:up:known)") == Ok(2.0);
    site.wait_until("both are known to be there", PATIENCE, || {
        both_up() && firing(&api).is_empty()
    });

    agent.kill();
    site.wait_until("it is offline", PATIENCE, || {
        firing(&api) == ["killed-1 is offline"]
    });
    let series = api.query("ALERTS{alertstate=\"firing\"}").unwrap();
    let labels = &series[0].metric;
    assert_eq!((series.len(), labels["alertname"].as_str()), (1, "DeviceOffline"));
    let _agent = site.start_agent(&killed);
    site.wait_until("it is back", PATIENCE, || firing(&api).is_empty());

    broker.kill();
    site.wait_until("the bridge has no broker", PATIENCE, || {
        api.number("sum(backhaul_device_up)") == Ok(0.0)
    });
    // Longer than a device has to be away.
    std::thread::sleep(Duration::from_secs(25));
    assert_eq!(api.number("sum(device:up:known)"), Ok(2.0));
    let _broker = site.start_broker();
    site.wait_until("the devices are heard again", PATIENCE, || {
        api.number("sum(backhaul_device_up)") == Ok(2.0)
            && api.number("min_over_time(backhaul_bridge_mqtt_connected[20s])") == Ok(1.0)
    });
    let never = "ALERTS{alertname=\"DeviceOffline\",device_id=\"other-1\"}[1h]";
    let ever = api.query(&format!("last_over_time({never})")).unwrap();
    assert!(ever.is_empty(), "{ever:?}");
    all_is_well(&api);
}

/// No rule has failed.
fn all_is_well(api: &Api) {
    let data = api.data("rules", &[]).unwrap();
    let rules = data["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() > 10);
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    let page = api.get("/metrics", &[]).unwrap().1;
    let failures: Vec<&str> = page
        .lines()
        .filter(|line| line.contains("evaluation_failures_total{"))
        .collect();
    assert!(!failures.is_empty());
    assert!(failures.iter().all(|line| line.ends_with(" 0")), "{failures:?}");
}
