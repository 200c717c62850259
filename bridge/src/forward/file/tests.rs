//! Sections as people write them, here as JSON; the YAML is the binary's.

use super::*;
use crate::http_client::{Auth, SecretSource};

fn section(json: &str) -> Result<Vec<RemoteWrite>, RemoteWriteError> {
    check(serde_json::from_str(json).unwrap(), Path::new("/etc/backhaul"))
}

fn refused(entry: &str) -> String {
    let json = format!("[{{\"url\": \"http://h/w\", {entry}}}]");
    section(&json).unwrap_err().key
}

#[test]
fn defaults_are_prometheus_s() {
    let all = section(r#"[{"url": "http://u:p@h:9090/api/v1/write?x=1"}]"#).unwrap();
    let one = &all[0];
    assert_eq!(one.name, "http://h:9090/api/v1/write");
    assert_eq!((one.timeout.as_secs(), one.protocol), (30, Protocol::V2));
    let queue = one.queue;
    assert_eq!((queue.capacity, queue.max_samples_per_send), (10_000, 2000));
    assert_eq!((queue.min_shards, queue.max_shards), (1, 50));
    assert_eq!(queue.batch_send_deadline, Duration::from_secs(5));
    assert_eq!(queue.backoff.least, Duration::from_millis(30));
    assert!(queue.retry_on_http_429 && one.native_histograms);
}

#[test]
fn a_full_section_is_read() {
    let all = section(
        r#"[{
            "url": "https://mimir/api/v1/push", "name": "mimir", "remote_timeout": "10s",
            "headers": {"X-Scope": "a"},
            "authorization": {"type": "Token", "credentials_file": "token"},
            "tls_config": {"ca_file": "ca.crt", "cert_file": "c.crt", "key_file": "/k", "server_name": "other.example"},
            "write_relabel_configs": [{"source_labels": ["__name__"], "regex": "up", "action": "keep"}],
            "queue_config": {"capacity": 5, "max_shards": 2, "sample_age_limit": "1h", "retry_on_http_429": false},
            "protobuf_message": "prometheus.WriteRequest",
            "send_native_histograms": false,
            "max_backlog_bytes": "2GB", "max_backlog_age": "2d",
            "tenant_header": "THANOS-TENANT", "tenant_label": "tenant_id", "external_labels": {"site": "x"}
        }]"#,
    )
    .unwrap();
    let one = &all[0];
    assert_eq!((one.name(), one.protocol), ("mimir", Protocol::V1));
    assert_eq!(
        one.access.tls.identity,
        Some(("/etc/backhaul/c.crt".into(), "/k".into()))
    );
    assert_eq!(one.max_backlog_bytes, 2 << 30);
    assert_eq!(one.relabel.len(), 1);
    let credentials = SecretSource::File("/etc/backhaul/token".into());
    let scheme = "Token".to_owned();
    assert_eq!(one.access.auth, Auth::Scheme { scheme, credentials });
}

#[test]
fn what_is_wrong_is_named_by_its_key() {
    assert_eq!(
        refused(r#""queue_config": {"max_shards": 0}"#),
        "queue_config.max_shards"
    );
    assert_eq!(
        refused(r#""queue_config": {"min_backoff": "10s"}"#),
        "queue_config.min_backoff"
    );
    assert_eq!(
        refused(r#""write_relabel_configs": [{}, {"action": "x"}]"#),
        "write_relabel_configs[0].target_label"
    );
    assert_eq!(
        refused(r#""tls_config": {"insecure_skip_verify": true}"#),
        "tls_config.insecure_skip_verify"
    );
    assert_eq!(refused(r#""tls_config": {"ca_file": "x"}"#), "tls_config");
    assert_eq!(
        refused(r#""headers": {"Authorization": "x"}"#),
        "headers.Authorization"
    );
    assert_eq!(refused(r#""headers": {"X": "a\nb"}"#), "headers.X");
    assert_eq!(refused(r#""tenant_label": "__t""#), "tenant_label");
    assert_eq!(
        refused(r#""basic_auth": {"username": "a", "password": "b", "password_file": "c"}"#),
        "basic_auth.password"
    );
    assert_eq!(refused(r#""authorization": {}"#), "authorization.credentials");
    let twice = section(r#"[{"url": "http://h/w"}, {"url": "http://h/w"}]"#).unwrap_err();
    assert_eq!((twice.entry, twice.key.as_str()), (1, "name"));
    for bad in [
        r#"{"url": "h"}"#,
        r#"{"url": "http://h", "remote_timeout": "x"}"#,
        r#"{"url": "http://h", "protobuf_message": "x"}"#,
        r#"{"url": "http://h", "proxy_url": "x"}"#,
        r#"{}"#,
    ] {
        assert!(serde_json::from_str::<RemoteWriteFile>(bad).is_err(), "{bad}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let json = r#"[{"url": "http://h/w", "basic_auth": {"username": "a", "password": "hush"}}]"#;
    let shown = format!("{:?}", section(json).unwrap());
    assert!(!shown.contains("hush"), "{shown}");
}
