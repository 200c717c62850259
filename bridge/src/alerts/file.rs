//! The section `alerting` of the bridge's config file: Prometheus's keys and defaults, and how devices' alerts are shown.
//!
//! What is not supported is an unknown key, never ignored.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;

use super::config::{Alerting, Cluster, Record, Targets};
use super::life::Times;
use crate::http_client::{
    AccessFile, Authorization, BasicAuth, Fault, RelabelConfig, Span, TlsConfig, fault, span,
};
use crate::millis;
use crate::relabel::Rule;

/// The section.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertingFile {
    alert_relabel_configs: Vec<RelabelConfig>,
    alertmanagers: Vec<ClusterFile>,
    min_firing: Span,
    silent_after: Span,
    hold_silent: Span,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ClusterFile {
    scheme: Option<String>,
    path_prefix: Option<String>,
    api_version: Option<String>,
    timeout: Span,
    basic_auth: Option<BasicAuth>,
    authorization: Option<Authorization>,
    tls_config: TlsConfig,
    relabel_configs: Vec<RelabelConfig>,
    alert_relabel_configs: Vec<RelabelConfig>,
    static_configs: Vec<TargetGroup>,
    file_sd_configs: Vec<FileSd>,
    dns_sd_configs: Vec<DnsSd>,
}

/// Targets and their labels, here and in a discovered file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TargetGroup {
    pub(crate) targets: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileSd {
    files: Vec<PathBuf>,
    refresh_interval: Span,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DnsSd {
    names: Vec<String>,
    #[serde(rename = "type")]
    record: Option<String>,
    port: Option<u16>,
    refresh_interval: Span,
}

/// Why the section is wrong: the key in it, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("alerting.{key}: {reason}")]
pub struct AlertingError {
    /// The key's path.
    pub key: String,
    /// What is wrong.
    pub reason: String,
}

impl AlertingFile {
    /// Checks the section; relative paths count from `dir`.
    ///
    /// # Errors
    /// A value that cannot be used.
    pub fn check(&self, dir: &Path) -> Result<Alerting, AlertingError> {
        self.checked(dir)
            .map_err(|Fault(key, reason)| AlertingError { key, reason })
    }

    fn checked(&self, dir: &Path) -> Result<Alerting, Fault> {
        let clusters = self.alertmanagers.iter().enumerate().map(|(n, cluster)| {
            let within = |Fault(key, reason)| Fault(format!("alertmanagers[{n}].{key}"), reason);
            cluster.check(dir).map_err(within)
        });
        let default = Times::default();
        let of = |span_: &Span, default_ms| span(span_).map_or(default_ms, millis);
        let times = Times {
            min_firing_ms: of(&self.min_firing, default.min_firing_ms),
            silent_after_ms: of(&self.silent_after, default.silent_after_ms),
            hold_silent_ms: of(&self.hold_silent, default.hold_silent_ms),
            ..default
        };
        Ok(Alerting {
            clusters: clusters.collect::<Result<_, _>>()?,
            relabel: rules("alert_relabel_configs", &self.alert_relabel_configs)?,
            times,
        })
    }
}

fn rules(key: &str, texts: &[RelabelConfig]) -> Result<Vec<Rule>, Fault> {
    let rule = |(n, text): (usize, &RelabelConfig)| {
        Rule::new(text.text()).map_err(|e| Fault(format!("{key}[{n}].{}", e.key), e.reason))
    };
    texts.iter().enumerate().map(rule).collect()
}

impl ClusterFile {
    fn check(&self, dir: &Path) -> Result<Cluster, Fault> {
        let scheme = self.scheme.clone().unwrap_or_else(|| "http".to_owned());
        if !matches!(&*scheme, "http" | "https") {
            return fault("scheme", format!("{scheme:?} is neither http nor https"));
        }
        if self.api_version.as_deref().is_some_and(|version| version != "v2") {
            return fault("api_version", "Alertmanagers of today have v2 only");
        }
        let access = AccessFile {
            basic_auth: self.basic_auth.clone(),
            authorization: self.authorization.clone(),
            tls_config: self.tls_config.clone(),
        };
        let mut targets = Vec::new();
        for (n, group) in self.static_configs.iter().enumerate() {
            for address in &group.targets {
                if Url::parse(&format!("{scheme}://{address}/")).is_err() || address.contains('/') {
                    let reason = format!("{address:?} is no HOST:PORT");
                    return fault(format!("static_configs[{n}].targets"), reason);
                }
            }
            targets.push(Targets::Static(group.clone()));
        }
        for (n, sd) in self.file_sd_configs.iter().enumerate() {
            targets.push(
                sd.check(dir)
                    .map_err(|Fault(key, reason)| Fault(format!("file_sd_configs[{n}].{key}"), reason))?,
            );
        }
        for (n, sd) in self.dns_sd_configs.iter().enumerate() {
            targets.push(
                sd.check()
                    .map_err(|Fault(key, reason)| Fault(format!("dns_sd_configs[{n}].{key}"), reason))?,
            );
        }
        Ok(Cluster {
            access: access.check(&scheme, dir)?,
            scheme,
            path_prefix: self.path_prefix.clone().unwrap_or_else(|| "/".to_owned()),
            timeout: span(&self.timeout).unwrap_or(Duration::from_secs(10)),
            relabel: rules("relabel_configs", &self.relabel_configs)?,
            alert_relabel: rules("alert_relabel_configs", &self.alert_relabel_configs)?,
            targets,
        })
    }
}

impl FileSd {
    fn check(&self, dir: &Path) -> Result<Targets, Fault> {
        if self.files.is_empty() {
            return fault("files", "name at least one");
        }
        for file in &self.files {
            let kind = file.extension().and_then(|kind| kind.to_str());
            if !matches!(kind, Some("json" | "yml" | "yaml")) || file.to_string_lossy().contains('*') {
                return fault(
                    "files",
                    format!("{}: name a .json, .yml or .yaml file", file.display()),
                );
            }
        }
        Ok(Targets::Files {
            files: self.files.iter().map(|file| dir.join(file)).collect(),
            refresh: span(&self.refresh_interval).unwrap_or(Duration::from_secs(300)),
        })
    }
}

impl DnsSd {
    fn check(&self) -> Result<Targets, Fault> {
        if self.names.is_empty() {
            return fault("names", "name at least one");
        }
        let record = match self.record.as_deref().unwrap_or("SRV") {
            "SRV" => Record::Srv,
            "A" => Record::A,
            "AAAA" => Record::Aaaa,
            other => return fault("type", format!("{other:?} is none of SRV, A, AAAA")),
        };
        let port = match (record, self.port) {
            (Record::Srv, _) => 0,
            (_, Some(port)) => port,
            (_, None) => return fault("port", "a port is required for A and AAAA records"),
        };
        Ok(Targets::Dns {
            names: self.names.clone(),
            record,
            port,
            refresh: span(&self.refresh_interval).unwrap_or(Duration::from_secs(30)),
        })
    }
}

#[cfg(test)]
mod tests;
