//! Sections as people write them, here as JSON; the YAML is the binary's.

use super::*;

fn section(json: &str) -> Result<Alerting, AlertingError> {
    serde_json::from_str::<AlertingFile>(json)
        .unwrap()
        .check(Path::new("/etc/backhaul"))
}

fn refused(cluster: &str) -> String {
    section(&format!("{{\"alertmanagers\": [{cluster}]}}"))
        .unwrap_err()
        .key
}

#[test]
fn defaults_are_prometheus_s_and_ours() {
    let empty = section("{}").unwrap();
    assert_eq!((empty.clusters(), empty.times), (0, Times::default()));
    let one =
        section(r#"{"min_firing": "10s", "alertmanagers": [{"static_configs": [{"targets": ["a:9093"]}]}]}"#);
    let one = one.unwrap();
    assert_eq!(one.times.min_firing_ms, 10_000);
    let cluster = &one.clusters[0];
    assert_eq!((&*cluster.scheme, &*cluster.path_prefix), ("http", "/"));
    assert_eq!(cluster.timeout, Duration::from_secs(10));
}

#[test]
fn what_is_wrong_is_named_by_its_key() {
    let key = |rest: &str| format!("alertmanagers[0].{rest}");
    assert_eq!(refused(r#"{"scheme": "ftp"}"#), key("scheme"));
    assert_eq!(refused(r#"{"api_version": "v1"}"#), key("api_version"));
    assert_eq!(refused(r#"{"tls_config": {"ca_file": "x"}}"#), key("tls_config"));
    assert_eq!(
        refused(r#"{"static_configs": [{"targets": ["a:1"]}, {"targets": ["http://a"]}]}"#),
        key("static_configs[1].targets")
    );
    assert_eq!(
        refused(r#"{"file_sd_configs": [{"files": ["*.yml"]}]}"#),
        key("file_sd_configs[0].files")
    );
    assert_eq!(
        refused(r#"{"dns_sd_configs": [{"names": ["a"], "type": "A"}]}"#),
        key("dns_sd_configs[0].port")
    );
    assert_eq!(
        refused(r#"{"dns_sd_configs": [{"type": "MX", "names": ["a"]}]}"#),
        key("dns_sd_configs[0].type")
    );
    assert_eq!(
        refused(r#"{"alert_relabel_configs": [{"action": "x"}]}"#),
        key("alert_relabel_configs[0].action")
    );
}
