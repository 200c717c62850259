//! Results of the bridge's rules reach a real destination as the bridge itself answers with them.

use std::fs;
use std::time::Duration;

use serde_json::json;
use tests::{AgentPlan, BridgePlan, Remote, Site, programs};

use super::fleet_rules::matrix;

const PATIENCE: Duration = Duration::from_secs(60);

/// An alert that comes and goes within seconds, so that its series end again and again.
const RULES: &str = r#"
groups:
- name: sent on
  interval: 1s
  rules:
  - record: device:oracle:max
    expr: max by (device_id) (oracle_value{n=~"[0-4]"})
  - record: job:oracle:count
    expr: count by (job) (oracle_value)
  - alert: Comes
    expr: oracle_value{n="0"} % 10000 < 4000
    for: 1s
"#;

#[test]
fn results_of_rules_reach_a_destination_with_its_labels_and_by_its_rules() {
    let Some(remote) = Remote::prometheus() else {
        return;
    };
    let site = Site::new(programs!());
    let file = site.path().join("rules.yml");
    fs::write(&file, RULES).unwrap();
    let settings = BridgePlan {
        remote_write: json!([{
            "name": "p", "url": remote.url(), "external_labels": {"site": "a"},
            "queue_config": {"batch_send_deadline": "200ms"},
            "write_relabel_configs": [
                {"source_labels": ["__name__"], "regex": "job:.*", "action": "drop"},
            ],
        }]),
        rule_files: vec![file],
        ..BridgePlan::default()
    };
    let plan = AgentPlan {
        interval_ms: 500,
        ..AgentPlan::new("ruled").times(2)
    };
    site.issue(&plan);
    let _remote = remote.start(&site);
    site.wait_until("Prometheus answers", PATIENCE, || remote.api().is_ready());
    let _broker = site.start_broker();
    let mut bridge = site.start_bridge_as(&settings);
    let _agent = site.start_agent(&plan);
    let there = |query: &str| remote.api().query(query).is_ok_and(|found| !found.is_empty());
    site.wait_until("results are sent on", PATIENCE, || {
        there("device:oracle:max") && there("ALERTS{alertstate=\"firing\"}")
    });
    let start = tests::site::now().ms() / 1000;
    // The cursor knows results as it knows rows of devices.
    bridge.kill();
    let _bridge = site.start_bridge_as(&settings);
    let again = format!(
        "device:oracle:max and timestamp(device:oracle:max) > {}",
        start + 12
    );
    site.wait_until("results are sent on again", PATIENCE, || there(&again));

    let time = (start - 5, start + 10);
    for query in [
        "max by (device_id) (device:oracle:max)",
        "max by (device_id, alertname, alertstate) (ALERTS)",
        "max by (device_id) (ALERTS_FOR_STATE)",
    ] {
        let [ours, theirs] = [site.api(), remote.api()].map(|api| matrix(&api, query, time));
        assert!(!ours.is_empty(), "{query}");
        assert_eq!(ours, theirs, "{query}");
    }
    assert!(there("count(device:oracle:max{site=\"a\"}) == 2"));
    assert!(!there("job:oracle:count") && !site.api().query("job:oracle:count").unwrap().is_empty());
    let samples = site.api().destination("p").unwrap().samples;
    assert!(
        samples.dropped("relabel") > 5 && samples.dropped.len() == 1,
        "{samples:?}"
    );
}
