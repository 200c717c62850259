//! Alerts that programs on a device raise at its agent: taken while the broker is away, stored by the bridge once.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{AgentPlan, Part, Site, programs};
use wire::time::rfc3339_of;

use super::promtool::check_metrics;

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn site(id: &str) -> (Site, PathBuf) {
    let site = Site::new(programs!());
    site.issue(&AgentPlan::new(id));
    let config = site.path().join("agent.yml");
    let text = format!(
        "broker:\n  urls: [mqtts://127.0.0.1:{}]\n  tls_config:\n    ca_file: certs/ca.crt\n    \
         cert_file: certs/devices/default/{id}.crt\n    key_file: certs/devices/default/{id}.key\n\
         wal:\n  dir: agents/{id}\n  sync: always\n\
         global:\n  scrape_interval: 1s\n  external_labels:\n    plant: north\n",
        site.mqtt_port()
    );
    fs::write(&config, text).unwrap();
    (site, config)
}

pub(super) fn alert(name: &str, starts_ms: i64, ends_ms: i64) -> Value {
    json!([{
        "labels": { "alertname": name, "severity": "page" },
        "annotations": { "summary": "it is hot" },
        "startsAt": rfc3339_of(starts_ms),
        "endsAt": rfc3339_of(ends_ms),
        "generatorURL": "http://localhost:9090/graph",
    }])
}

fn stored(site: &Site, id: &str) -> Option<(u64, u64)> {
    let device = site.api().device(id).ok()?;
    Some((device.alerts, device.samples.pending))
}

pub(super) fn start_daemon(site: &Site, config: &std::path::Path) -> Part {
    let daemon = site.start_daemon(config);
    site.wait_until("the agent is ready", PATIENCE, || site.daemon_api().is_ready());
    daemon
}

#[test]
fn an_alert_raised_while_the_broker_is_away_is_stored_once() {
    let id = "alerts-1";
    let (site, config) = site(id);
    let mut broker = site.start_broker();
    let _bridge = site.start_bridge();
    let mut daemon = start_daemon(&site, &config);
    site.wait_until("the device delivers", PATIENCE, || {
        site.api().device(id).is_ok_and(|d| d.samples.stored > 0)
    });
    broker.kill();

    let now = tests::site::now().ms();
    let post = |alerts: &Value| site.daemon_api().post_json("/api/v2/alerts", alerts).unwrap();
    let firing = alert("Hot", now - 3_600_000, now + 240_000);
    for _ in 0..3 {
        assert_eq!(post(&firing), (200, String::new()));
    }
    // What was answered with 200 survives.
    daemon.kill();
    drop(daemon);
    let _daemon = start_daemon(&site, &config);
    assert_eq!(post(&firing).0, 200);
    let over = alert("Hot", now - 3_600_000, now - 1000);
    assert_eq!((post(&over).0, post(&over).0), (200, 200));

    let mixed = json!([
        { "labels": {} },
        { "labels": { "alertname": "Late" }, "startsAt": "yesterday" },
        { "labels": { "alertname": "Cold" } },
    ]);
    let (status, complaint) = post(&mixed);
    assert_eq!(status, 400);
    assert!(
        complaint.contains("alert 2, \\\"Late\\\": startsAt: \\\"yesterday\\\" is no time"),
        "{complaint}"
    );
    // External labels are labels enough.
    assert!(!complaint.contains("alert 1"), "{complaint}");
    let count = json!(vec![json!({ "labels": { "a": "b" } }); 1001]);
    assert_eq!(post(&count).0, 400);
    let large = json!([{ "labels": { "a": "b".repeat(2 << 20) } }]);
    assert_eq!(post(&large).0, 413);
    assert_eq!(site.daemon_api().post("/api/v2/alerts", &[]).unwrap().0, 415);
    let page = site.daemon_api().get("/metrics", &[]).unwrap().1;
    assert!(page.contains("\nbackhaul_agent_alerts_firing 2\n"), "{page}");
    if super::promtool::promtool(&["--version"]).is_some() {
        check_metrics(&page);
    }

    let _broker = site.start_broker();
    // Hot and its end, Cold, and the alert of external labels alone.
    site.wait_until("the bridge has the alerts", PATIENCE, || {
        stored(&site, id).is_some_and(|(alerts, _)| alerts == 4)
    });
    site.wait_until("nothing is owed", PATIENCE, || {
        let pending = site.daemon_api().metric("backhaul_agent_wal_pending_records");
        pending.is_ok_and(|records| records <= 2.0)
    });
    assert_eq!(stored(&site, id).unwrap().0, 4);
}

#[test]
fn a_device_evaluates_rules_by_itself_and_goes_on_after_kill_9() {
    let id = "alerts-3";
    let (site, config) = site(id);
    let rules = "groups:\n- name: g\n  interval: 1s\n  rules:\n\
                 \x20 - record: agent:scrapes:rate\n    expr: rate(backhaul_agent_scrapes_total[10s])\n\
                 \x20 - alert: Scraping\n    expr: agent:scrapes:rate > 0\n    for: 3s\n    \
                 labels: {severity: page}\n    annotations: {summary: '{{ $labels.instance }} scrapes'}\n";
    fs::write(site.path().join("rules.yml"), rules).unwrap();
    let text = fs::read_to_string(&config).unwrap() + "rule_files: [r*.yml]\n";
    fs::write(&config, text).unwrap();
    let broker = site.start_broker();
    let _bridge = site.start_bridge();
    let mut daemon = start_daemon(&site, &config);
    let agent = site.daemon_api();
    let firing = || agent.metric("backhaul_agent_rule_alerts{alertstate=\"firing\"}") == Ok(1.0);
    site.wait_until("the device delivers", PATIENCE, || {
        site.api().device(id).is_ok_and(|d| d.samples.stored > 0)
    });
    drop(broker);
    site.wait_until("its rule fires while the broker is away", PATIENCE, firing);
    site.wait_until("the alert is logged", PATIENCE, || {
        agent.metric("backhaul_agent_alerts_firing") == Ok(1.0)
    });
    daemon.kill();
    drop(daemon);
    let _daemon = start_daemon(&site, &config);
    site.wait_until("it fires on", PATIENCE, firing);
    let evaluated = "backhaul_agent_rule_group_last_duration_seconds";
    let page = agent.get("/metrics", &[]).unwrap().1;
    assert!(page.contains(evaluated), "{page}");

    let _broker = site.start_broker();
    site.wait_until("the bridge has the alert", PATIENCE, || {
        stored(&site, id).is_some_and(|(alerts, _)| alerts > 0)
    });
    let series = "ALERTS{alertname=\"Scraping\",alertstate=\"firing\",severity=\"page\",device_id=\"alerts-3\",plant=\"north\"}";
    site.wait_until("its series are queried", PATIENCE, || {
        site.api().number(series) == Ok(1.0)
    });
    let recorded = "agent:scrapes:rate{device_id=\"alerts-3\"}";
    assert!(site.api().number(recorded).unwrap() > 0.0);
    site.wait_until(
        "the fleet API tells of its rules",
        Duration::from_secs(120),
        || {
            let device = site.api().data("fleet/devices", &[("device_id", id)]);
            device.is_ok_and(|data| {
                let device = &data["devices"][0];
                let rules = (&device["rules"]["rules"], &device["rules"]["firing"]);
                rules == (&json!(2), &json!(1)) && device["alerts_undelivered"] == 0
            })
        },
    );
    // One alert, logged and raised once.
    let device = site.api().device(id).unwrap();
    let received = |outcome: &str| {
        let series =
            format!("backhaul_bridge_alerts_received_total{{outcome=\"{outcome}\",source=\"device\"}}");
        site.api().metric(&series).unwrap_or(0.0) as u64
    };
    assert_eq!((device.alerts_firing, received("raised")), (1, 1));
    assert_eq!(
        (device.alerts, received("same"), received("collapsed")),
        (1, 0, 0)
    );
    let page = agent.get("/metrics", &[]).unwrap().1;
    if super::promtool::promtool(&["--version"]).is_some() {
        check_metrics(&page);
    }
}

/// A program of Prometheus's, if it is installed.
fn start(site: &Site, program: &str, args: &[String]) -> Option<Part> {
    if let Err(error) = Command::new(program).arg("--version").output() {
        println!("skipped: {program} is not installed ({error})");
        return None;
    }
    Some(Part::start(program, program.as_ref(), args, &site.log(program)))
}

#[test]
fn a_prometheus_on_the_device_has_the_agent_for_its_alertmanager() {
    let id = "alerts-2";
    let (site, config) = site(id);
    let _parts = (site.start_broker(), site.start_bridge());
    let _daemon = start_daemon(&site, &config);
    let until = tests::site::now().ms() / 1000 + 30;
    let rules = format!(
        "groups:\n- name: g\n  interval: 1s\n  rules:\n\
         \x20 - alert: Short\n    expr: vector(time()) < {until}\n    labels: {{severity: page}}\n\
         \x20 - alert: Long\n    expr: vector(7) > 5\n    annotations: {{summary: 'it is {{{{ $value }}}}'}}\n"
    );
    fs::write(site.path().join("rules.yml"), rules).unwrap();
    let port = site.daemon_api().base().rsplit(':').next().unwrap().to_owned();
    let prometheus = format!(
        "global:\n  evaluation_interval: 1s\nrule_files: [rules.yml]\nalerting:\n  alertmanagers:\n  \
         - static_configs:\n    - targets: ['127.0.0.1:{port}']\n"
    );
    fs::write(site.path().join("prometheus.yml"), prometheus).unwrap();
    let args = [
        format!("--config.file={}", site.path().join("prometheus.yml").display()),
        format!("--storage.tsdb.path={}", site.path().join("tsdb").display()),
        format!("--web.listen-address=127.0.0.1:{}", tests::site::free_port()),
        "--rules.alert.resend-delay=1s".to_owned(),
    ];
    let Some(_prometheus) = start(&site, "prometheus", &args) else {
        return;
    };
    site.wait_until("both fire", PATIENCE, || {
        site.daemon_api().metric("backhaul_agent_alerts_firing") == Ok(2.0)
    });
    site.wait_until("one is over", PATIENCE, || {
        site.daemon_api().metric("backhaul_agent_alerts_firing") == Ok(1.0)
    });
    let asserted = || site.daemon_api().metric("backhaul_agent_alerts_asserted_total");
    let so_far = asserted().unwrap();
    site.wait_until("it asserts them again", PATIENCE, || {
        asserted().is_ok_and(|count| count >= so_far + 5.0)
    });
    // Two that fire, and the end of one: repeats are no records.
    assert_eq!(
        site.daemon_api().metric("backhaul_agent_alerts_logged_total"),
        Ok(3.0)
    );
    site.wait_until("the bridge has them", PATIENCE, || {
        stored(&site, id).is_some_and(|(alerts, _)| alerts == 3)
    });
    if let Ok(shown) = Command::new("amtool").arg("--version").output() {
        let url = format!("--alertmanager.url={}", site.daemon_api().base());
        let added = Command::new("amtool")
            .args([&url, "alert", "add", "ByHand", "severity=info"])
            .output();
        assert!(shown.status.success() && added.unwrap().status.success());
        site.wait_until("amtool's alert is there, too", PATIENCE, || {
            stored(&site, id).is_some_and(|(alerts, _)| alerts == 4)
        });
        let listed = |filter: &str| {
            let args = [&*url, "alert", "query", "-o", "json", filter];
            let out = Command::new("amtool").args(args).output().unwrap();
            serde_json::from_slice::<Value>(&out.stdout).unwrap()
        };
        let by_hand = listed("severity=~in.*");
        assert_eq!(by_hand.as_array().map(Vec::len), Some(1), "{by_hand}");
        let labels = json!({"alertname": "ByHand", "plant": "north", "severity": "info"});
        assert_eq!(by_hand[0]["labels"], labels);
        assert_eq!(listed("alertname=Long")[0]["annotations"]["summary"], "it is 7");
        assert_eq!(listed("alertname=Short"), json!([]));
    } else {
        println!("skipped in part: amtool is not installed");
    }
}
