//! The files of deploy/grafana: every query of the dashboard, asked as Grafana asks it, has an answer with data; so have
//! queries in the manner of the well-known dashboards of node_exporter.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tests::api::series;
use tests::site::now;
use tests::{AgentPlan, Api, Site, programs};

/// The device that the dashboard's variable names.
const DEVICE: &str = "grafana-1";

/// How dashboards of node_exporter ask: by job and instance, by devices and mount points, with `irate` and with
/// joins that keep a label.
const NODE: [&str; 22] = [
    r#"node_uname_info{instance="$node",job="$job"}"#,
    r#"time() - node_boot_time_seconds{instance="$node",job="$job"}"#,
    r#"100 * (1 - avg(rate(node_cpu_seconds_total{mode="idle",instance="$node",job="$job"}[$__rate_interval])))"#,
    r#"sum by (instance) (irate(node_cpu_seconds_total{instance="$node",job="$job",mode="user"}[$__rate_interval])) / on (instance) group_left () sum by (instance) (irate(node_cpu_seconds_total{instance="$node",job="$job"}[$__rate_interval]))"#,
    r#"count(count(node_cpu_seconds_total{instance="$node",job="$job"}) by (cpu))"#,
    r#"scalar(node_load1{instance="$node",job="$job"}) * 100 / count(count(node_cpu_seconds_total{instance="$node",job="$job"}) by (cpu))"#,
    r#"(1 - node_memory_MemAvailable_bytes{instance="$node",job="$job"} / node_memory_MemTotal_bytes{instance="$node",job="$job"}) * 100"#,
    r#"node_memory_MemTotal_bytes{instance="$node",job="$job"} - node_memory_MemFree_bytes{instance="$node",job="$job"} - (node_memory_Cached_bytes{instance="$node",job="$job"} + node_memory_Buffers_bytes{instance="$node",job="$job"} + node_memory_SReclaimable_bytes{instance="$node",job="$job"})"#,
    r#"100 - node_filesystem_avail_bytes{instance="$node",job="$job",mountpoint=~"/.*",fstype!="rootfs"} * 100 / node_filesystem_size_bytes{instance="$node",job="$job",mountpoint=~"/.*",fstype!="rootfs"}"#,
    r#"node_filesystem_files_free{instance="$node",job="$job",device!~"rootfs"}"#,
    r#"rate(node_network_receive_bytes_total{instance="$node",job="$job"}[$__rate_interval]) * 8"#,
    r#"-irate(node_network_transmit_packets_total{instance="$node",job="$job"}[$__rate_interval])"#,
    r#"rate(node_network_receive_errs_total{instance="$node",job="$job",device=~".+"}[$__rate_interval])"#,
    r#"node_network_up{operstate="up",instance="$node",job="$job"} or node_network_mtu_bytes{instance="$node",job="$job"}"#,
    r#"irate(node_context_switches_total{instance="$node",job="$job"}[$__rate_interval])"#,
    r#"irate(node_intr_total{instance="$node",job="$job"}[$__rate_interval])"#,
    r#"node_filefd_allocated{instance="$node",job="$job"} / node_filefd_maximum{instance="$node",job="$job"}"#,
    r#"max_over_time(node_load5{instance="$node",job="$job"}[$__range])"#,
    r#"rate(node_vmstat_pgfault{instance="$node",job="$job"}[$__rate_interval]) - rate(node_vmstat_pgmajfault{instance="$node",job="$job"}[$__rate_interval])"#,
    r#"node_sockstat_TCP_inuse{instance="$node",job="$job"}"#,
    r#"sum(rate(node_scrape_collector_duration_seconds{instance="$node",job="$job"}[$__rate_interval])) or sum(node_scrape_collector_duration_seconds{instance="$node",job="$job"})"#,
    r#"sort_desc(topk(3, label_replace(up{job="$job"}, "host", "$1", "instance", "(.*)")))"#,
];

/// A query of a panel.
#[derive(Debug)]
struct Target {
    /// As the file has it.
    expr: String,
    instant: bool,
}

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/grafana")
        .join(file)
}

fn dashboard() -> Value {
    let text = fs::read_to_string(deploy("dashboards/fleet.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().unwrap()
}

fn targets(dashboard: &Value) -> Vec<Target> {
    let lists = panels(dashboard)
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let target = |target: &Value| Target {
        expr: target["expr"].as_str().unwrap().to_owned(),
        instant: target["instant"] == true,
    };
    lists.flatten().map(target).collect()
}

/// What Grafana puts in the place of its variables, at a step of 15 s.
fn interpolate(expr: &str) -> String {
    let mut expr = expr.to_owned();
    for (name, value) in [
        ("$__rate_interval", "1m"),
        ("$__range", "1h"),
        ("$device_id", DEVICE),
        ("$node", DEVICE),
        ("$job", "node"),
    ] {
        expr = expr.replace(name, value);
    }
    let left = expr.replace("\"$1\"", "");
    assert!(
        !left.contains('$'),
        "a variable that Grafana does not have: {expr}"
    );
    expr
}

/// Asks as Grafana's data source does, by POST, over the last hour; whether some value is a number.
fn has_data(api: &Api, target: &Target) -> bool {
    let expr = interpolate(&target.expr);
    let now = now().ms() / 1000;
    let (start, end) = ((now - 3600).to_string(), now.to_string());
    let answer = if target.instant {
        api.post_data("query", &[("query", &expr), ("time", &end)])
    } else {
        let range = [
            ("query", expr.as_str()),
            ("start", &start),
            ("end", &end),
            ("step", "15"),
        ];
        api.post_data("query_range", &range)
    };
    let data = answer.unwrap_or_else(|error| panic!("{expr}: {error}"));
    let found = series(&data).unwrap_or_else(|error| panic!("{expr}: {error}: {data}"));
    found
        .iter()
        .flat_map(|series| &series.samples)
        .any(|(_, value)| !value.is_nan())
}

/// The names of metrics in a query.
fn metrics(expr: &str) -> impl Iterator<Item = &str> {
    let words = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| *word == "up" || word.starts_with("backhaul_") || word.starts_with("node_"))
}

/// A container may have no disks and no file systems of its own: nothing is asked of them there.
fn is_of_this_host(api: &Api, expr: &str) -> bool {
    let lacks = |part: &str| {
        let name = format!("count({{__name__=~\"{part}.*\"}})");
        expr.contains(part) && api.number(&name).is_err()
    };
    let skip = ["node_disk_", "node_filesystem_"]
        .into_iter()
        .find(|part| lacks(part));
    if let Some(part) = skip {
        println!("skipped: this host has no {part}*: {expr}");
    }
    skip.is_none()
}

/// A device with host metrics that scrapes the server too, and others of which samples are lost.
fn agent_yml(site: &Site) -> String {
    let bridge = site.api().base().replace("http://", "");
    let broker = site.broker_api().base().replace("http://", "");
    format!(
        "broker:\n  urls: [mqtts://127.0.0.1:{mqtt}]\n  tls_config:\n    ca_file: certs/ca.crt\n    \
         cert_file: certs/devices/default/{DEVICE}.crt\n    key_file: certs/devices/default/{DEVICE}.key\n\
         wal:\n  dir: agents/{DEVICE}\n\
         global:\n  scrape_interval: 1s\n\
         scrape_configs:\n  - job_name: backhaul\n    static_configs:\n      - targets: ['{bridge}', '{broker}']\n",
        mqtt = site.mqtt_port()
    )
}

#[test]
fn every_panel_and_the_queries_of_node_dashboards_have_data() {
    let site = Site::new(programs!());
    site.issue(&AgentPlan::new(DEVICE));
    // Its log is full before there is a broker.
    let lossy = AgentPlan {
        series: 200,
        interval_ms: 50,
        wal_bytes: 64 << 10,
        ..AgentPlan::new("grafana-2")
    };
    site.issue(&lossy);
    let agent = site.start_agent(&lossy);
    site.wait_until("samples are dropped", Duration::from_secs(60), || {
        site.status(&lossy.name()).dropped > 0
    });
    drop(agent);
    let lossy = AgentPlan {
        series: 20,
        interval_ms: 1000,
        ..lossy
    };
    let config = site.path().join("agent.yml");
    fs::write(&config, agent_yml(&site)).unwrap();
    let _parts = (
        site.start_broker(),
        site.start_bridge(),
        site.start_agent(&lossy),
        site.start_daemon(&config),
    );
    let api = site.api();
    site.wait_until("the server is ready", Duration::from_secs(30), || api.is_ready());

    let dashboard = dashboard();
    let node = NODE.map(|expr| Target {
        expr: expr.to_owned(),
        instant: false,
    });
    let mut asked: Vec<Target> = targets(&dashboard).into_iter().chain(node).collect();
    assert!(asked.len() > 60, "{} queries", asked.len());
    site.wait_until("host metrics are stored", Duration::from_secs(30), || {
        api.number("count(node_load1{job=\"node\"})") == Ok(1.0)
    });
    asked.retain(|target| is_of_this_host(&api, &target.expr));
    for target in &asked {
        // The bridge's own series have a sample every 15 s, and a rate needs two.
        site.wait_until(&target.expr, Duration::from_secs(90), || has_data(&api, target));
    }
    // A panel that says 0 in the place of nothing shows so also for a metric that there is not.
    let named: BTreeSet<&str> = asked.iter().flat_map(|target| metrics(&target.expr)).collect();
    for name in named {
        let is_there = || api.number(&format!("count({name})")).is_ok();
        site.wait_until(name, Duration::from_secs(90), is_there);
    }
    variables(&api);
}

/// The data source's calls for `label_values(metric, label)`.
fn variables(api: &Api) {
    for (selector, label, value) in [
        ("backhaul_device_up", "device_id", DEVICE),
        ("node_uname_info", "job", "node"),
        ("node_uname_info{job=\"node\"}", "instance", DEVICE),
        ("node_cpu_seconds_total{instance=\"grafana-1\"}", "mode", "idle"),
    ] {
        let path = format!("label/{label}/values");
        let end = now().ms() / 1000;
        let (start, end) = ((end - 3600).to_string(), end.to_string());
        let params = [("match[]", selector), ("start", &start), ("end", &end)];
        let values = api.data(&path, &params).unwrap();
        let values = values.as_array().unwrap();
        assert!(
            values.iter().any(|one| one == value),
            "{selector} {label}: {values:?}"
        );
    }
}

#[test]
fn the_dashboard_is_well_formed() {
    let dashboard = dashboard();
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let title = &panel["title"];
        assert!(
            ids.insert(panel["id"].as_u64().unwrap()),
            "{title}: a second time this id"
        );
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{title} is too wide");
        for (x, y) in
            (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(
                taken.insert((x, y)),
                "{title} lies over another panel at {x}, {y}"
            );
        }
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}

#[test]
fn the_provisioned_data_source_is_a_prometheus_asked_by_post() {
    let text = fs::read_to_string(deploy("provisioning/datasources/backhaul.yml")).unwrap();
    let check = |text: &str| {
        let file: Value = serde_saphyr::from_str(text).unwrap();
        let source = &file["datasources"][0];
        assert_eq!(source["type"], "prometheus");
        assert_eq!(source["url"], "http://127.0.0.1:7490");
        assert_eq!(source["jsonData"]["httpMethod"], "POST");
        assert_eq!(source["jsonData"]["timeInterval"], "15s");
        file
    };
    check(&text);
    // With the lines that are commented out.
    let (head, rest) = text.split_once('\n').unwrap();
    let shown = |line: &str| match line.trim_start().strip_prefix("# ") {
        Some(setting) => format!("{}{setting}\n", &line[..line.len() - line.trim_start().len()]),
        None => format!("{line}\n"),
    };
    let file = check(&format!(
        "{head}\n{}",
        rest.lines().map(shown).collect::<String>()
    ));
    let source = &file["datasources"][0];
    assert_eq!(source["jsonData"]["httpHeaderName1"], "THANOS-TENANT");
    assert_eq!(source["secureJsonData"]["httpHeaderValue1"], "acme");
}
