//! The sample file, defaults, and errors as a person reads them.

use std::time::Duration;

use super::*;
use crate::wal::{Storage, SyncPolicy};

const MINIMAL: &str = "\
broker:
  urls: [mqtts://broker.example]
  tls_config: {ca_file: ca.crt, cert_file: /etc/x.crt, key_file: x.key}
wal: {dir: wal}
";

fn of(text: &str) -> Result<Config, ConfigError> {
    parse(Path::new("/etc/backhaul/agent.yml"), text)
}

/// The minimal file with further lines.
fn with(more: &str) -> Result<Config, ConfigError> {
    of(&format!("{MINIMAL}{more}"))
}

#[test]
fn the_sample_file_is_valid() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/agent.yml");
    let config = load(&sample).unwrap();
    assert_eq!(config.brokers[0].port, 8883);
    assert!(config.inputs.host_metrics);
    assert!(!config.inputs.targets.is_empty());
}

#[test]
fn what_is_not_said_has_the_documented_default() {
    let config = with("").unwrap();
    assert_eq!(
        config.brokers,
        [BrokerAddress {
            host: "broker.example".into(),
            port: 8883
        }]
    );
    let tls = (
        config.tls.ca.to_str(),
        config.tls.cert.to_str(),
        config.server_name.as_deref(),
    );
    assert_eq!(tls, (Some("/etc/backhaul/ca.crt"), Some("/etc/x.crt"), None));
    let wal = WalConfig {
        storage: Storage::Folder("/etc/backhaul/wal".into()),
        max_bytes: 256 << 20,
        max_age: Duration::from_secs(604_800),
        sync: SyncPolicy::Interval(Duration::from_secs(1)),
    };
    assert_eq!(config.wal, wal);
    assert_eq!(config.inputs.interval, Duration::from_secs(60));
    assert!(config.inputs.host_metrics && config.inputs.targets.is_empty());
}

#[test]
fn a_scrape_config_of_prometheus_means_what_it_means_there() {
    let config = with(
        "global: {scrape_interval: 15s, external_labels: {site: s1}}
host_metrics: {enabled: false}
scrape_configs:
  - job_name: plc
    scrape_interval: 5s
    metrics_path: /probe
    scheme: https
    params: {module: [a b], target: [x]}
    honor_labels: true
    honor_timestamps: false
    sample_limit: 1000
    body_size_limit: 2MB
    static_configs:
      - targets: ['10.0.0.1:9100', '[::1]:80']
        labels: {line: '3'}
  - job_name: other
    scrape_timeout: 12s
    static_configs: [{targets: [localhost:1]}]
",
    )
    .unwrap();
    let [plc, _, other] = &config.inputs.targets[..] else {
        panic!("not three targets")
    };
    assert_eq!(
        plc.fetch.url.as_str(),
        "https://10.0.0.1:9100/probe?module=a+b&target=x"
    );
    assert_eq!(
        (plc.interval, plc.fetch.timeout),
        (Duration::from_secs(5), Duration::from_secs(5))
    );
    assert_eq!(
        (plc.rules.honor_timestamps, plc.rules.sample_limit),
        (false, Some(1000))
    );
    assert_eq!(
        (plc.honor_labels, plc.fetch.body_size_limit, &*plc.labels["line"]),
        (true, 2 << 20, "3")
    );
    assert_eq!(other.fetch.url.as_str(), "http://localhost:1/metrics");
    assert_eq!(
        (other.interval, other.fetch.timeout),
        (Duration::from_secs(15), Duration::from_secs(12))
    );
    assert_eq!(
        (other.rules.sample_limit, other.fetch.body_size_limit),
        (None, 16 << 20)
    );
    assert_eq!(config.inputs.external_labels["site"], "s1");
    assert!(!config.inputs.host_metrics);
}

#[test]
fn rule_files_are_read_and_held_against_the_budget() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.yml");
    let rule = |expr: &str| {
        let text = format!("groups:\n- name: g\n  rules:\n  - alert: A\n    expr: {expr}\n");
        std::fs::write(dir.path().join("r.yml"), text).unwrap();
    };
    let with = |more: &str| parse(&file, &format!("{MINIMAL}{more}")).map_err(|error| error.to_string());
    rule("up == 0");
    let config = with("rule_files: ['r*.yml', r.yml]\n").unwrap();
    assert_eq!(config.rules.count(), 1);
    assert!(with("").unwrap().rules.is_empty());
    let error = with("rule_files: [gone.yml]\n").unwrap_err();
    assert!(
        error.contains("agent.yml:5: rule_files: ") && error.contains("gone.yml: No such"),
        "{error}"
    );
    rule("up ==");
    let error = with("rule_files: [r.yml]\n").unwrap_err();
    assert!(
        error.contains("r.yml:5: group \"g\", rule 1, \"A\": could not parse"),
        "{error}"
    );
    rule("rate(up[30d]) > 1");
    let error = with("rule_files: [r.yml]\nrules_memory: 64KB\n").unwrap_err();
    assert!(
        error.contains("group \"g\": it looks back 30d and needs 675KB"),
        "{error}"
    );
    assert!(
        with("rules_memory: much\n")
            .unwrap_err()
            .contains("agent.yml:5: rules_memory: ")
    );
    assert!(
        with("global: {evaluation_interval: 0s}\n")
            .unwrap_err()
            .contains("evaluation_interval")
    );
}

#[test]
fn sync_is_always_never_or_a_duration() {
    let sync = |text: &str| {
        of(&MINIMAL.replace("{dir: wal}", &format!("{{dir: wal, sync: {text}}}"))).map(|c| c.wal.sync)
    };
    assert_eq!(sync("always").unwrap(), SyncPolicy::Always);
    assert_eq!(sync("never").unwrap(), SyncPolicy::Never);
    assert_eq!(
        sync("250ms").unwrap(),
        SyncPolicy::Interval(Duration::from_millis(250))
    );
    assert!(sync("0").is_err());
    assert!(sync("often").unwrap_err().to_string().contains("always or never"));
}

#[test]
fn errors_name_file_line_and_key() {
    let job = |lines: &str| format!("scrape_configs:\n- job_name: j\n{lines}");
    for (more, expected) in [
        ("glob: {}\n", "/etc/backhaul/agent.yml:5: glob: "),
        (
            "global: {scrape_interval: 15}\n",
            ":5: global.scrape_interval: \"15\" is no duration",
        ),
        (
            "global:\n  scrape_interval: 5s\n  scrape_timeout: 6s\n",
            ":7: global.scrape_timeout: is longer than",
        ),
        (
            "global: {external_labels: {__x: y}}\n",
            ":5: global.external_labels.__x: ",
        ),
        (
            "global: {external_labels: {a-b: y}}\n",
            ":5: global.external_labels.a-b: is no label name",
        ),
        (
            &job("  scrape_timeout: 2m\n"),
            ":7: scrape_configs[0].scrape_timeout: is longer",
        ),
        (
            &job("  scheme: ftp\n"),
            ":7: scrape_configs[0].scheme: must be http or https",
        ),
        (
            &job("  static_configs:\n  - targets: ['http://a:1']\n"),
            ":8: scrape_configs[0].static_configs.targets: \"http://a:1\" is not of the form host:port",
        ),
        (
            &job("  static_configs:\n  - targets: ['a:99999']\n"),
            ":8: scrape_configs[0].static_configs.targets: \"a:99999\"",
        ),
        (
            &job("- job_name: j\n"),
            ":7: scrape_configs[1].job_name: must be given, and once only",
        ),
        (&job("  relabel_configs: []\n"), ":7: relabel_configs: "),
        (&job("  honor_labels: 7\n"), ":7: honor_labels: "),
        (&job("  sample_limit: -1\n"), ":7: sample_limit: "),
        (
            &job("  body_size_limit: 1 apple\n  static_configs: [{targets: [a:1]}]\n"),
            ":7: scrape_configs[0].body_size_limit: \"1 apple\" is no size",
        ),
    ] {
        let error = with(more).expect_err(more).to_string();
        assert!(error.contains(expected), "{error}");
    }
    let error = |from: &str, to: &str| of(&MINIMAL.replace(from, to)).unwrap_err().to_string();
    assert!(error("[mqtts://broker.example]", "[]").contains(":2: broker.urls: names no broker"));
    for url in ["mqtt://b", "b:8883", "mqtts://b/path", "mqtts://u@b"] {
        assert!(
            error("mqtts://broker.example", url).contains(":2: broker.urls: "),
            "{url}"
        );
    }
    assert!(
        error("{dir: wal}", "{dir: wal, max_bytes: 10KB}")
            .contains(":4: wal.max_bytes: must be at least 1MB")
    );
    assert!(error("{dir: wal}", "{}").contains("dir"));
    assert!(
        load(Path::new("/nonexistent.yml"))
            .unwrap_err()
            .to_string()
            .starts_with("/nonexistent.yml: ")
    );
}
