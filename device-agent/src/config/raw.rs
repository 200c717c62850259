//! The keys of `agent.yml` as they stand there: texts with their lines, nothing checked.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::ConfigError;

pub(super) type Text = Spanned<String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Agent {
    pub(super) broker: Broker,
    pub(super) wal: Wal,
    #[serde(default)]
    pub(super) host_metrics: HostMetrics,
    #[serde(default)]
    pub(super) global: Global,
    #[serde(default)]
    pub(super) scrape_configs: Vec<ScrapeConfig>,
    #[serde(default)]
    pub(super) rule_files: Vec<Text>,
    pub(super) rules_memory: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Broker {
    pub(super) urls: Spanned<Vec<Text>>,
    pub(super) tls_config: TlsConfig,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsConfig {
    pub(super) ca_file: String,
    pub(super) cert_file: String,
    pub(super) key_file: String,
    pub(super) server_name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wal {
    pub(super) dir: Text,
    pub(super) max_bytes: Option<Text>,
    pub(super) max_age: Option<Text>,
    pub(super) sync: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HostMetrics {
    #[serde(default = "yes")]
    pub(super) enabled: bool,
}

impl Default for HostMetrics {
    fn default() -> Self {
        HostMetrics { enabled: true }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Global {
    pub(super) scrape_interval: Option<Text>,
    pub(super) scrape_timeout: Option<Text>,
    pub(super) evaluation_interval: Option<Text>,
    #[serde(default)]
    pub(super) external_labels: BTreeMap<String, Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScrapeConfig {
    pub(super) job_name: Text,
    pub(super) scrape_interval: Option<Text>,
    pub(super) scrape_timeout: Option<Text>,
    pub(super) metrics_path: Option<String>,
    pub(super) scheme: Option<Text>,
    #[serde(default)]
    pub(super) params: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(super) honor_labels: bool,
    #[serde(default = "yes")]
    pub(super) honor_timestamps: bool,
    #[serde(default)]
    pub(super) sample_limit: usize,
    pub(super) body_size_limit: Option<Text>,
    #[serde(default)]
    pub(super) static_configs: Vec<StaticConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StaticConfig {
    pub(super) targets: Vec<Text>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, Text>,
}

fn yes() -> bool {
    true
}

pub(super) fn parse(file: &Path, text: &str) -> Result<Agent, ConfigError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        let at = usize::try_from(line)
            .ok()
            .and_then(|line| text.lines().nth(line.checked_sub(1)?));
        let key = at.and_then(key_of).unwrap_or("agent");
        // The first line says it; position and excerpt come after it.
        let whole = error.without_snippet().to_string();
        let first = whole.lines().next().unwrap_or_default();
        let reason = first
            .split_once(" at line ")
            .map_or(first, |(reason, _)| reason)
            .to_owned();
        ConfigError::Invalid {
            file: file.to_owned(),
            line,
            key: key.to_owned(),
            reason,
        }
    })
}

/// The key on a line such as `  - job_name: x`.
fn key_of(line: &str) -> Option<&str> {
    let (before, _) = line.split_once(':')?;
    let key = before.trim().trim_start_matches("- ").trim();
    (!key.is_empty() && !key.starts_with('#')).then_some(key)
}
