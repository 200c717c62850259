//! Flags of the HTTP listener and of queries, and what serve and bridge make of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bridge::{Started, WebFile};
use clap::Args;
use regex::Regex;
use serde::Deserialize;
use wire::Labels;
use wire::units::{ByteSize, PromDuration};

/// Flags of the HTTP listener.
#[derive(Debug, Args)]
pub(crate) struct WebArgs {
    /// Address for queries, /metrics and health [default: 127.0.0.1:7490; a separate broker: 127.0.0.1:7492]
    #[arg(long = "web.listen-address", visible_alias = "http")]
    http: Option<SocketAddr>,
    /// TLS, users, tokens and tenants of the HTTP listener, in Prometheus's schema. Read again when it changes and on
    /// SIGHUP
    #[arg(id = "web.config.file", long = "web.config.file", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Origins whose pages may read answers, a regular expression that is anchored at both ends
    #[arg(long = "web.cors.origin", default_value = ".*")]
    cors_origin: String,
    /// HTTP connections at once; others wait
    #[arg(long = "web.max-connections", default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..))]
    max_connections: u16,
    /// How long an HTTP connection may be idle
    #[arg(long = "web.read-timeout", default_value = "5m")]
    read_timeout: PromDuration,
    /// Let POST /api/v1/admin/tsdb/snapshot copy the store
    #[arg(long = "web.enable-admin-api")]
    admin_api: bool,
    /// Serve HTTP without TLS or authentication on an address that is not loopback
    #[arg(long = "web.insecure")]
    insecure: bool,
}

/// `web` and `global` of the configuration file.
#[derive(Debug, Default)]
pub(crate) struct WebSettings {
    http: Option<SocketAddr>,
    config: Option<PathBuf>,
    external_labels: Labels,
    /// The whole file without secrets.
    yaml: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawWeb {
    listen_address: Option<String>,
    config_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawGlobal {
    external_labels: BTreeMap<String, String>,
    /// Of rule groups that name none.
    pub(crate) evaluation_interval: Option<String>,
    pub(crate) rule_query_offset: Option<String>,
}

impl WebSettings {
    /// Checks what was written in a file of this folder; an error names its key.
    pub(crate) fn new(web: RawWeb, global: RawGlobal, folder: &Path, yaml: String) -> Result<Self> {
        Ok(WebSettings {
            http: crate::settings::parse(web.listen_address).context("web.listen_address")?,
            config: web.config_file.map(|file| folder.join(file)),
            external_labels: Labels::new(&global.external_labels).context("global.external_labels")?,
            yaml,
        })
    }
}

/// The listener of a server.
#[derive(Debug, Clone)]
pub(crate) struct Web {
    /// Where it listens.
    pub(crate) http: SocketAddr,
    file: Option<WebFile>,
    max_connections: u16,
    read_timeout: Duration,
    cors_origin: Regex,
    admin_api: bool,
    external_labels: Labels,
    yaml: String,
}

impl WebArgs {
    /// The address alone, of a broker, whose listener has health and metrics only.
    pub(crate) fn address(&self, settings: &WebSettings, default: SocketAddr) -> Result<SocketAddr> {
        if self.config.is_some() {
            bail!(
                "--web.config.file is for serve and bridge; a separate broker serves /metrics and health only"
            );
        }
        self.checked(settings, default, false)
    }

    /// The flags' values, the file's or the defaults.
    pub(crate) fn resolve(&self, settings: &WebSettings, default: SocketAddr) -> Result<Web> {
        let file = self.config.clone().or_else(|| settings.config.clone());
        let file = file.map(|path| WebFile {
            path,
            reload: Arc::default(),
        });
        let read = file
            .as_ref()
            .map(WebFile::read)
            .transpose()
            .context("--web.config.file")?;
        let is_safe = read.is_some_and(|web| web.has_tls() && web.is_guarded());
        let origin = format!("^(?:{})$", self.cors_origin);
        Ok(Web {
            http: self.checked(settings, default, is_safe)?,
            file,
            max_connections: self.max_connections,
            read_timeout: self.read_timeout.get(),
            cors_origin: Regex::new(&origin).context("--web.cors.origin")?,
            admin_api: self.admin_api,
            external_labels: settings.external_labels.clone(),
            yaml: settings.yaml.clone(),
        })
    }

    /// The flag's address, the file's or the default; refused if it is open to others and nobody said so.
    fn checked(&self, settings: &WebSettings, default: SocketAddr, is_safe: bool) -> Result<SocketAddr> {
        let address = self.http.or(settings.http).unwrap_or(default);
        if !address.ip().to_canonical().is_loopback() && !is_safe && !self.insecure {
            bail!(
                "{address} is open to other machines: give it TLS and users, tokens or client certificates \
                 (--web.config.file), listen on 127.0.0.1 behind a proxy, or say --web.insecure"
            );
        }
        Ok(address)
    }
}

impl Web {
    /// An unguarded one at an address.
    pub(crate) fn at(http: SocketAddr) -> Self {
        Web {
            http,
            file: None,
            max_connections: 512,
            read_timeout: Duration::from_secs(300),
            cors_origin: bridge::Config::any_origin(),
            admin_api: false,
            external_labels: Labels::default(),
            yaml: String::new(),
        }
    }

    /// Asks for its file to be read again.
    pub(crate) fn reload(&self) {
        if let Some(file) = &self.file {
            file.reload.notify_one();
        }
    }

    /// A bridge's settings with it. What has been set before is told as flags.
    pub(crate) fn configure(&self, config: bridge::Config, storage: &store::Config) -> bridge::Config {
        let external_url = match config.external_url.is_empty() {
            true => format!("http://{}", self.http),
            false => config.external_url,
        };
        let config = bridge::Config {
            external_url,
            web: self.file.clone(),
            http_connections: usize::from(self.max_connections),
            http_idle: self.read_timeout,
            cors_origin: self.cors_origin.clone(),
            admin_api: self.admin_api,
            external_labels: self.external_labels.clone(),
            ..config
        };
        let retention = retention(storage);
        let path = |file: &Option<WebFile>| {
            file.as_ref()
                .map_or_else(String::new, |f| f.path.display().to_string())
        };
        let flags = [
            ("web.listen-address", self.http.to_string()),
            ("web.config.file", path(&self.file)),
            ("web.cors.origin", self.cors_origin.as_str().to_owned()),
            ("web.max-connections", self.max_connections.to_string()),
            ("web.read-timeout", prometheus_duration(self.read_timeout)),
            ("web.enable-admin-api", self.admin_api.to_string()),
            ("enable-feature", config.features.to_string()),
            ("query.lookback-delta", prometheus_duration(config.lookback_delta)),
            (
                "rules.alert.resend-delay",
                prometheus_duration(config.resend_delay),
            ),
            ("query.timeout", prometheus_duration(config.query_timeout)),
            ("query.max-concurrency", config.query_concurrency.to_string()),
            ("query.max-samples", config.query_max_samples.to_string()),
            ("query.max-bytes", format!("{}B", config.query_max_bytes)),
            ("query.max-total-bytes", format!("{}B", config.query_total_bytes)),
            (
                "storage.retention.time",
                prometheus_duration(storage.retention_time),
            ),
            ("storage.retention.size", format!("{}B", storage.retention_size)),
        ];
        let flags = flags.map(|(name, value)| (name.to_owned(), value)).into();
        bridge::Config {
            started: Started {
                yaml: self.yaml.clone(),
                flags,
                retention,
                ..Started::default()
            },
            ..config
        }
    }
}

/// As Prometheus writes it: the time, the size, or both.
fn retention(storage: &store::Config) -> String {
    let time = prometheus_duration(storage.retention_time);
    match storage.retention_size {
        0 => time,
        size => format!("{time} or {size}B"),
    }
}

fn prometheus_duration(duration: Duration) -> String {
    promql::format_duration(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// Flags of queries and rules; without one, Prometheus's default or a share of the memory holds.
#[derive(Debug, Default, Args)]
pub(crate) struct QueryArgs {
    /// How old a sample may be and still be a series' current value [default: 5m]
    #[arg(long = "query.lookback-delta")]
    lookback_delta: Option<PromDuration>,
    /// Longest evaluation of a query [default: 2m]
    #[arg(long = "query.timeout")]
    timeout: Option<PromDuration>,
    /// Queries evaluated at once; others wait [default: 20]
    #[arg(long = "query.max-concurrency", value_parser = clap::value_parser!(u16).range(1..))]
    max_concurrency: Option<u16>,
    /// Samples that a query may hold at once [default: by the memory]
    #[arg(long = "query.max-samples", value_parser = clap::value_parser!(u64).range(1..))]
    max_samples: Option<u64>,
    /// Memory that a query may hold, such as 256MB [default: by the memory]
    #[arg(long = "query.max-bytes")]
    max_bytes: Option<ByteSize>,
    /// Memory that all queries together may hold; a quarter of it is for rules [default: by the memory]
    #[arg(long = "query.max-total-bytes")]
    max_total_bytes: Option<ByteSize>,
    /// Parts of PromQL beyond the stable language, with commas between them: promql-experimental-functions,
    /// promql-duration-expr, promql-delayed-name-removal
    #[arg(long = "enable-feature")]
    features: Option<promql::Features>,
    /// Between two tellings of an alert that did not change [default: 1m]
    #[arg(long = "rules.alert.resend-delay")]
    resend_delay: Option<PromDuration>,
    /// URL under which people reach this server, for links in alerts [default: http:// and the listen address]
    #[arg(long = "web.external-url")]
    external_url: Option<String>,
}

impl QueryArgs {
    /// A bridge's settings with what is given.
    pub(crate) fn configure(&self, config: bridge::Config) -> bridge::Config {
        bridge::Config {
            lookback_delta: self
                .lookback_delta
                .map_or(config.lookback_delta, PromDuration::get),
            query_timeout: self.timeout.map_or(config.query_timeout, PromDuration::get),
            query_concurrency: self.max_concurrency.map_or(config.query_concurrency, usize::from),
            query_max_samples: self.max_samples.unwrap_or(config.query_max_samples),
            query_max_bytes: self.max_bytes.map_or(config.query_max_bytes, ByteSize::get),
            query_total_bytes: self
                .max_total_bytes
                .map_or(config.query_total_bytes, ByteSize::get),
            features: self.features.unwrap_or(config.features),
            resend_delay: self.resend_delay.map_or(config.resend_delay, PromDuration::get),
            external_url: self
                .external_url
                .clone()
                .map_or(config.external_url, |url| url.trim_end_matches('/').to_owned()),
            ..config
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::HTTP;

    fn web(http: &str, insecure: bool, config: Option<PathBuf>) -> WebArgs {
        WebArgs {
            http: Some(http.parse().unwrap()),
            config,
            max_connections: 1,
            read_timeout: "5m".parse().unwrap(),
            cors_origin: ".*".to_owned(),
            admin_api: false,
            insecure,
        }
    }

    fn resolved(http: &str, insecure: bool, config: Option<PathBuf>) -> Result<Web, String> {
        let resolved = web(http, insecure, config).resolve(&WebSettings::default(), HTTP);
        resolved.map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn an_open_address_must_be_guarded_or_asked_for() {
        assert!(resolved("127.0.0.1:1", false, None).is_ok());
        let refused = resolved("0.0.0.0:1", false, None).unwrap_err();
        assert!(
            refused.contains("--web.insecure") && refused.contains("--web.config.file"),
            "{refused}"
        );
        assert!(resolved("0.0.0.0:1", true, None).is_ok());

        let folder = tempfile::tempdir().unwrap();
        let certs = certs::CertsFolder::new(folder.path().to_owned());
        let now = device_agent::input::Moment::now().wall;
        certs.init(&certs::InitOptions::default(), now).unwrap();
        let file = folder.path().join("web.yml");
        let tls = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n";
        let token = format!("bearer_tokens: {{a: {}}}\n", "0".repeat(64));
        for (text, is_safe) in [
            (tls, false),
            (token.as_str(), false),
            (&format!("{tls}{token}"), true),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(
                resolved("0.0.0.0:1", false, Some(file.clone())).is_ok(),
                is_safe,
                "{text}"
            );
        }
        let missing = resolved("127.0.0.1:1", false, Some("none.yml".into())).unwrap_err();
        assert!(
            missing.contains("--web.config.file") && missing.contains("none.yml"),
            "{missing}"
        );
    }

    #[test]
    fn a_separate_broker_has_no_web_configuration() {
        let settings = WebSettings::default();
        assert!(web("127.0.0.1:1", false, None).address(&settings, HTTP).is_ok());
        assert!(
            web("127.0.0.1:1", false, Some("web.yml".into()))
                .address(&settings, HTTP)
                .is_err()
        );
        assert!(web("0.0.0.0:1", false, None).address(&settings, HTTP).is_err());
    }
}
