//! The hashring file changes under a bridge that takes in and answers; nothing is lost or doubled, also after a kill.

use std::time::Duration;

use tests::{AgentPlan, Site, check, programs};

const FILES: [&str; 3] = [
    r#"[{"hashring": "one", "endpoints": ["p000", "p001", "p002"], "algorithm": "ketama"}]"#,
    r#"[{"hashring": "def*", "tenants": ["def*"], "tenant_matcher_type": "glob", "endpoints": ["a:10901", "b:10901"]},
        {"hashring": "others", "endpoints": ["p000"]}]"#,
    r#"[{"hashring": "two", "endpoints": ["b:10901", "p001", {"address": "c/1", "az": "z"}], "algorithm": "ketama"}]"#,
];

/// Replaces the file as an editor or a config map does.
fn write(site: &Site, text: &str) {
    let new = site.path().join("hashrings.json.new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, site.path().join("hashrings.json")).unwrap();
}

fn metrics(site: &Site) -> String {
    site.api()
        .get("/metrics", &[])
        .map_or_else(|_| String::new(), |(_, body)| body)
}

/// Waits until `/metrics` has a line, and for some rows that are taken in after it.
fn until(site: &Site, plan: &AgentPlan, line: &str) {
    site.wait_until(line, Duration::from_secs(30), || {
        metrics(site).lines().any(|found| found == line)
    });
    let acked = || site.status(&plan.names()[0]).acked;
    let before = acked();
    site.wait_until("more is taken in", Duration::from_secs(30), || {
        acked() > before + 100
    });
}

/// Devices' samples as queries find them grow and never go back.
fn found(site: &Site) -> f64 {
    let series = site
        .api()
        .query("sum(count_over_time(oracle_value[3h]))")
        .unwrap();
    series.first().map_or(0.0, |series| series.samples[0].1)
}

#[test]
fn a_hashring_file_that_changes_under_load_loses_and_doubles_nothing() {
    let site = Site::new(programs!());
    let plan = AgentPlan::new("ring").times(3);
    site.issue(&plan);
    write(&site, FILES[0]);
    let _broker = site.start_broker();
    let mut bridge = site.start_bridge();
    let _agent = site.start_agent(&plan);
    until(&site, &plan, r#"backhaul_bridge_hashring_nodes{name="one"} 3"#);
    assert!(metrics(&site).contains("backhaul_bridge_hashring_config_last_reload_successful 1"));
    let mut before = found(&site);

    write(&site, FILES[1]);
    until(&site, &plan, r#"backhaul_bridge_hashring_tenants{name="def*"} 1"#);
    let now = found(&site);
    assert!(now > before, "{now} after {before}");
    before = now;

    write(&site, r#"[{"endpoints": ["p000"], "tennants": ["x"]}]"#);
    until(
        &site,
        &plan,
        "backhaul_bridge_hashring_config_last_reload_successful 0",
    );
    assert!(metrics(&site).contains(r#"backhaul_bridge_hashring_nodes{name="def*"} 2"#));
    let log = std::fs::read_to_string(site.log("bridge")).unwrap();
    assert!(log.contains("tennants"), "{log}");

    write(&site, FILES[2]);
    until(&site, &plan, r#"backhaul_bridge_hashring_nodes{name="two"} 3"#);
    let now = found(&site);
    assert!(now > before, "{now} after {before}");

    bridge.kill();
    write(&site, FILES[0]);
    let _bridge = site.start_bridge();
    until(&site, &plan, r#"backhaul_bridge_hashring_nodes{name="one"} 3"#);
    check::drained(&site, &[&plan], Duration::from_secs(60));
    let samples = check::delivered(&site, &plan);
    assert_eq!(samples.lost(), 0, "{samples:?}");
}
