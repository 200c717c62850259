//! A bridge that is restored from a snapshot knows its alerts: what fires goes on and pages nobody again.

use std::fs;
use std::thread;
use std::time::Duration;

use tests::BridgePlan;
use tests::site::now;

use super::alertmanagers::{Cluster, Webhook, has, post};
use super::device_alerts::{alert, site, start_daemon};
use super::snapshot::{restore, snapshot};

const PATIENCE: Duration = Duration::from_secs(60);

const RULES: &str = "groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: OfGroup\n    expr: vector(1)\n";

#[test]
fn a_restored_bridge_holds_what_fires_and_takes_from_devices_what_came_after_the_snapshot() {
    if !has("prometheus-alertmanager") {
        return;
    }
    let (site, config) = site("restored-1");
    let webhook = Webhook::start();
    let cluster = Cluster::start(&site, &webhook);
    let rules = site.path().join("rules.yml");
    fs::write(&rules, RULES).unwrap();
    let plan = BridgePlan {
        rule_files: vec![rules],
        ..cluster.plan()
    };
    let _broker = site.start_broker();
    let mut bridge = site.start_bridge_as(&plan);
    let _daemon = start_daemon(&site, &config);
    let (starts, later) = (now().ms() - 60_000, now().ms() + 3_600_000);
    let paged = |name: &str, times: usize| webhook.count(name, "firing") == times;
    for name in ["Held", "Over"] {
        post(&site, &alert(name, starts, later));
    }
    site.wait_until("all have paged", PATIENCE, || {
        ["Held", "Over", "OfGroup"].iter().all(|name| paged(name, 1))
    });
    let name = snapshot(&site);
    post(&site, &alert("After", starts, later));
    site.wait_until("what comes later pages", PATIENCE, || paged("After", 1));
    post(&site, &alert("Over", starts, now().ms()));
    site.wait_until("one is over", PATIENCE, || webhook.count("Over", "resolved") == 1);

    restore(&site, &mut bridge, &name);
    let _bridge = site.start_bridge_as(&plan);
    site.wait_until("the device's alerts are known again", PATIENCE, || {
        let device = site.api().device("restored-1");
        device.is_ok_and(|device| (device.alerts_firing, device.alerts_pending) == (2, 0))
    });
    // Alertmanagers forget what nobody asserts for four times the resend delay, which is 2 s here.
    thread::sleep(Duration::from_secs(12));
    for name in ["Held", "After", "OfGroup", "Over"] {
        let told = (webhook.count(name, "firing"), webhook.count(name, "resolved"));
        assert_eq!(told, (1, usize::from(name == "Over")), "{name}");
    }
}
