//! Rules that the bridge pushes to a device, and a config that is read again while the agent runs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::{BridgePlan, Site};

use super::device_alerts::{site, start_daemon};
use super::promtool::check_metrics;

/// The bridge looks at the files every 5 s.
const PATIENCE: Duration = Duration::from_secs(90);

/// A file with one rule about the agent's own scrapes.
fn write_rules(site: &Site, alert: &str, expr: &str) {
    let text = format!(
        "groups:\n- name: pushed\n  interval: 1s\n  rules:\n  - alert: {alert}\n    expr: {expr}\n    for: 2s\n"
    );
    fs::write(site.path().join("device.yml"), text).unwrap();
}

fn plan(site: &Site) -> BridgePlan {
    BridgePlan {
        device_rules: vec![("pushed-*".to_owned(), site.path().join("device.yml"))],
        ..BridgePlan::default()
    }
}

/// What the fleet API says of the device.
fn device(site: &Site, id: &str) -> Value {
    let data = site.api().data("fleet/devices", &[("device_id", id)]);
    let found = data.ok().and_then(|data| data["devices"].get(0).cloned());
    found.unwrap_or_default()
}

fn is_in_force(device: &Value) -> bool {
    let config = &device["config"];
    config["wanted"].is_string() && config["wanted"] == config["in_force"]
}

#[test]
fn pushed_rules_fire_offline_after_a_restart_and_what_they_raised_arrives() {
    let id = "pushed-1";
    let (site, config) = site(id);
    // Nothing fires while there is a link.
    write_rules(&site, "Alone", "backhaul_agent_uplink_connected == 0");
    let broker = site.start_broker();
    let _bridge = site.start_bridge_as(&plan(&site));
    let mut daemon = start_daemon(&site, &config);
    site.wait_until("the rules are in force", PATIENCE, || {
        let device = device(&site, id);
        is_in_force(&device) && device["rules"]["groups"] == 1
    });
    let before = device(&site, id);
    assert_eq!(
        (&before["rules"]["rules"], &before["alerts"]),
        (&json!(1), &json!(0))
    );
    daemon.kill();
    drop((daemon, broker));

    let _daemon = start_daemon(&site, &config);
    let agent = site.daemon_api();
    site.wait_until("they fire without a link after a restart", PATIENCE, || {
        agent.metric("backhaul_agent_alerts_firing") == Ok(1.0)
    });
    assert_eq!(agent.metric("backhaul_agent_uplink_connects_total"), Ok(0.0));
    let _broker = site.start_broker();
    site.wait_until("the bridge has the alert", PATIENCE, || {
        device(&site, id)["alerts"]
            .as_u64()
            .is_some_and(|alerts| alerts > 0)
    });
    site.wait_until("its series are queried", PATIENCE, || {
        let series =
            "max_over_time(ALERTS{alertname=\"Alone\",alertstate=\"firing\",device_id=\"pushed-1\"}[5m])";
        site.api().number(series) == Ok(1.0)
    });
    let device = device(&site, id);
    assert!(
        is_in_force(&device) && device["config"]["refused"].is_null(),
        "{device}"
    );
    let delay = device["alert_delay_seconds"]["longest"].as_f64().unwrap();
    assert!(delay > 0.0 && delay < PATIENCE.as_secs_f64(), "{device}");
    if super::promtool::promtool(&["--version"]).is_some() {
        check_metrics(&agent.get("/metrics", &[]).unwrap().1);
        check_metrics(&site.api().get("/metrics", &[]).unwrap().1);
    }
}

#[test]
fn rules_that_a_device_refuses_are_told_and_those_in_force_stay() {
    let id = "pushed-2";
    let (site, config) = site(id);
    write_rules(&site, "First", "vector(1)");
    let _parts = (
        site.start_broker(),
        site.start_bridge_as(&plan(&site)),
        start_daemon(&site, &config),
    );
    site.wait_until("the rules are in force", PATIENCE, || {
        is_in_force(&device(&site, id))
    });
    let in_force = device(&site, id)["config"]["in_force"].clone();

    // More than the device has memory for, which only the device knows.
    write_rules(&site, "Second", "rate(up[30d]) > 1");
    site.wait_until("the refusal is told", PATIENCE, || {
        device(&site, id)["config"]["refused"].is_object()
    });
    let told = device(&site, id)["config"].clone();
    assert_eq!(
        (&told["in_force"], &told["refused"]["hash"]),
        (&in_force, &told["wanted"])
    );
    let reason = told["refused"]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("bridge:device.yml: group \"pushed\": it looks back 30d and needs"),
        "{reason}"
    );
    let agent = site.daemon_api();
    assert_eq!(
        agent.metric("backhaul_agent_pushed_configs_total{outcome=\"refused\"}"),
        Ok(1.0)
    );
    site.wait_until("the rule in force fires", PATIENCE, || {
        agent.metric("backhaul_agent_alerts_firing") == Ok(1.0)
    });

    // What the bridge itself refuses, it does not push.
    let published = || {
        site.api()
            .metric("backhaul_bridge_device_configs_published_total")
    };
    let before = published();
    write_rules(&site, "Third", "rate(");
    site.wait_until("the bridge refuses the file", PATIENCE, || {
        site.api()
            .metric("backhaul_bridge_device_rules_last_reload_successful")
            == Ok(0.0)
    });
    assert_eq!(published(), before);
    write_rules(&site, "Fourth", "vector(2)");
    site.wait_until("others are in force", PATIENCE, || {
        let device = device(&site, id);
        is_in_force(&device) && device["config"]["in_force"] != in_force
    });
    assert!(device(&site, id)["config"]["refused"].is_null());
}

fn append(config: &Path, base: &str, more: &str) {
    fs::write(config, format!("{base}{more}")).unwrap();
}

#[test]
fn a_config_is_read_again_at_sighup_and_a_wrong_one_is_refused() {
    let id = "reloads-1";
    let (site, config) = site(id);
    let base = fs::read_to_string(&config).unwrap();
    let _parts = (site.start_broker(), site.start_bridge());
    let mut daemon = start_daemon(&site, &config);
    let agent = site.daemon_api();
    let port = agent.base().rsplit(':').next().unwrap().to_owned();
    let up = "up{job=\"self\",device_id=\"reloads-1\"}";
    let rules = "groups: [{name: g, interval: 1s, rules: [{alert: Always, expr: vector(1)}]}]";
    fs::write(site.path().join("rules.yml"), rules).unwrap();
    let scrape = format!(
        "scrape_configs: [{{job_name: self, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
    );
    append(&config, &base, &format!("{scrape}rule_files: [rules.yml]\n"));
    daemon.signal(Signal::SIGHUP);
    site.wait_until("the new target is scraped", PATIENCE, || {
        site.api().number(up) == Ok(1.0)
    });
    site.wait_until("the new rule fires", PATIENCE, || {
        agent.metric("backhaul_agent_alerts_firing") == Ok(1.0)
    });
    let success = || agent.metric("backhaul_agent_config_last_reload_successful");
    let when = || agent.metric("backhaul_agent_config_last_reload_success_timestamp_seconds");
    let loaded = when().unwrap();
    assert_eq!(success(), Ok(1.0));

    // A key that is none, and a rule that is none.
    for wrong in ["rule_fils: []\n", "rule_files: [none.yml]\n"] {
        append(&config, &base, wrong);
        daemon.signal(Signal::SIGHUP);
        site.wait_until("the file is refused", PATIENCE, || success() == Ok(0.0));
        append(&config, &base, &format!("{scrape}rule_files: [rules.yml]\n"));
        daemon.signal(Signal::SIGHUP);
        site.wait_until("it is right again", PATIENCE, || success() == Ok(1.0));
    }
    assert!(when().unwrap() > loaded);
    assert_eq!(site.api().number(up), Ok(1.0));

    // Without the target its series end, and what cannot change is named.
    append(&config, &base.replace("sync: always", "sync: never"), "");
    daemon.signal(Signal::SIGHUP);
    site.wait_until("its series have ended", PATIENCE, || {
        site.api().query(up).is_ok_and(|series| series.is_empty())
    });
    let log = fs::read_to_string(site.log("daemon")).unwrap();
    assert!(log.contains("made by a restart only key=\"wal\""), "{log}");
    assert!(log.contains("rule_fils") && log.contains("none.yml"), "{log}");
    assert_eq!(
        device(&site, id)["config"],
        json!({"wanted": null, "in_force": null, "refused": null})
    );
    assert!(daemon.is_running());
}
