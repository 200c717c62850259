//! The section `remote_write` of the bridge's config file, with Prometheus's keys and defaults where Prometheus has them.
//!
//! What is not supported is an unknown key, never ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use wire::units::ByteSize;

use super::config::{MAX_BACKLOG, Queue, RemoteWrite};
use super::lane::Backoff;
use super::request::Protocol;
use crate::http_client::{
    AccessFile, Authorization, BasicAuth, Fault, Parsed, RelabelConfig, Span, TlsConfig, fault, shown, span,
};
use crate::relabel::Rule;

/// One entry of `remote_write`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteWriteFile {
    url: Parsed<Url>,
    name: Option<String>,
    remote_timeout: Span,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    basic_auth: Option<BasicAuth>,
    authorization: Option<Authorization>,
    #[serde(default)]
    tls_config: TlsConfig,
    #[serde(default)]
    write_relabel_configs: Vec<RelabelConfig>,
    #[serde(default)]
    queue_config: QueueConfig,
    protobuf_message: Option<Parsed<Protocol>>,
    #[serde(default = "yes")]
    send_native_histograms: bool,
    max_backlog_bytes: Option<Parsed<ByteSize>>,
    max_backlog_age: Span,
    tenant_header: Option<String>,
    tenant_label: Option<String>,
    #[serde(default)]
    external_labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct QueueConfig {
    capacity: Option<usize>,
    min_shards: Option<usize>,
    max_shards: Option<usize>,
    max_samples_per_send: Option<usize>,
    batch_send_deadline: Span,
    min_backoff: Span,
    max_backoff: Span,
    retry_on_http_429: Option<bool>,
    sample_age_limit: Span,
}

fn yes() -> bool {
    true
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Protocol::V1, Protocol::V2];
        let found = known.into_iter().find(|protocol| protocol.message() == text);
        found.ok_or_else(|| {
            format!(
                "{text:?} is neither {} nor {}",
                known[0].message(),
                known[1].message()
            )
        })
    }
}

/// Why a section is wrong: the entry, the key in it, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("remote_write[{entry}].{key}: {reason}")]
pub struct RemoteWriteError {
    /// Which entry, counted from 0.
    pub entry: usize,
    /// The key's path in it.
    pub key: String,
    /// What is wrong.
    pub reason: String,
}

/// Checks a section; relative paths count from `dir`.
pub fn check(section: Vec<RemoteWriteFile>, dir: &Path) -> Result<Vec<RemoteWrite>, RemoteWriteError> {
    let mut names = BTreeSet::new();
    let mut checked = Vec::with_capacity(section.len());
    for (entry, file) in section.into_iter().enumerate() {
        let wrong = |Fault(key, reason)| RemoteWriteError { entry, key, reason };
        let destination = file.check(dir).map_err(wrong)?;
        if !names.insert(destination.name.clone()) {
            let reason = format!("there are two of name {:?}; give them names", destination.name);
            return Err(wrong(Fault("name".to_owned(), reason)));
        }
        checked.push(destination);
    }
    Ok(checked)
}

impl RemoteWriteFile {
    fn check(self, dir: &Path) -> Result<RemoteWrite, Fault> {
        let url = self.url.0.clone();
        if !matches!(url.scheme(), "http" | "https") {
            return fault("url", "it begins with neither http:// nor https://");
        }
        let relabel = self.write_relabel_configs.iter().enumerate();
        let relabel = relabel.map(|(n, rule)| {
            Rule::new(rule.text())
                .map_err(|e| Fault(format!("write_relabel_configs[{n}].{}", e.key), e.reason))
        });
        let access = AccessFile {
            basic_auth: self.basic_auth.clone(),
            authorization: self.authorization.clone(),
            tls_config: self.tls_config.clone(),
        };
        let tenant_header = match &self.tenant_header {
            Some(name) => Some(
                name.parse::<HeaderName>()
                    .or_else(|e| fault("tenant_header", e.to_string()))?,
            ),
            None => None,
        };
        for (key, name) in [("tenant_label", self.tenant_label.iter().next())]
            .into_iter()
            .chain(
                self.external_labels
                    .keys()
                    .map(|name| ("external_labels", Some(name))),
            )
        {
            if name.is_some_and(|name| name.is_empty() || name.starts_with("__")) {
                return fault(
                    key,
                    "a label that is sent is not empty and does not begin with __",
                );
            }
        }
        Ok(RemoteWrite {
            name: self.name.clone().unwrap_or_else(|| shown(&url)),
            timeout: span(&self.remote_timeout).unwrap_or(Duration::from_secs(30)),
            headers: self.headers()?,
            access: access.check(url.scheme(), dir)?,
            relabel: relabel.collect::<Result<_, _>>()?,
            queue: self.queue_config.check()?,
            protocol: self.protobuf_message.as_ref().map_or(Protocol::V2, |p| p.0),
            native_histograms: self.send_native_histograms,
            max_backlog_bytes: self
                .max_backlog_bytes
                .as_ref()
                .map_or(MAX_BACKLOG, |size| size.0.get()),
            max_backlog_age: span(&self.max_backlog_age),
            tenant_header,
            tenant_label: self.tenant_label.clone(),
            external_labels: self.external_labels.clone(),
            url,
            file: self,
        })
    }

    fn headers(&self) -> Result<HeaderMap, Fault> {
        /// Set by the sender; Prometheus refuses these too.
        const OURS: [&str; 8] = [
            "authorization",
            "host",
            "content-encoding",
            "content-length",
            "content-type",
            "user-agent",
            "connection",
            "x-prometheus-remote-write-version",
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let key = || format!("headers.{name}");
            if OURS.contains(&name.to_lowercase().as_str()) {
                return fault(
                    key(),
                    "the sender sets this one itself; for Authorization see basic_auth and authorization",
                );
            }
            let header = name
                .parse::<HeaderName>()
                .or_else(|e| fault(key(), e.to_string()))?;
            let mut value = HeaderValue::from_str(value).or_else(|e| fault(key(), e.to_string()))?;
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        Ok(headers)
    }
}

impl QueueConfig {
    fn check(&self) -> Result<Queue, Fault> {
        let least = span(&self.min_backoff).unwrap_or(Duration::from_millis(30));
        let queue = Queue {
            capacity: self.capacity.unwrap_or(10_000),
            min_shards: self.min_shards.unwrap_or(1),
            max_shards: self.max_shards.unwrap_or(50),
            max_samples_per_send: self.max_samples_per_send.unwrap_or(2000),
            batch_send_deadline: span(&self.batch_send_deadline).unwrap_or(Duration::from_secs(5)),
            backoff: Backoff {
                least,
                most: span(&self.max_backoff).unwrap_or(Duration::from_secs(5)),
            },
            retry_on_http_429: self.retry_on_http_429.unwrap_or(true),
            sample_age_limit: span(&self.sample_age_limit).filter(|limit| !limit.is_zero()),
        };
        let in_bounds = |key, value: usize, most| match value {
            0 => fault(format!("queue_config.{key}"), "it is at least 1"),
            more if more > most => fault(format!("queue_config.{key}"), format!("it is at most {most}")),
            _ => Ok(()),
        };
        in_bounds("capacity", queue.capacity, 1_000_000)?;
        in_bounds("min_shards", queue.min_shards, 1000)?;
        in_bounds("max_shards", queue.max_shards, 1000)?;
        in_bounds("max_samples_per_send", queue.max_samples_per_send, 100_000)?;
        if queue.min_shards > queue.max_shards {
            return fault("queue_config.min_shards", "it is above max_shards");
        }
        if least.is_zero() || least > queue.backoff.most {
            return fault("queue_config.min_backoff", "it is 0 or above max_backoff");
        }
        Ok(queue)
    }
}

#[cfg(test)]
mod tests;
