//! A destination as it was configured, checked.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName};

use super::file::RemoteWriteFile;
use super::lane::Backoff;
use super::request::Protocol;
use crate::http_client::{Access, Tls, shown};
use crate::relabel::Rule;

/// Bytes of journal that a destination may be behind, unless it says otherwise.
pub(crate) const MAX_BACKLOG: u64 = 16 << 30;

/// Prometheus's `queue_config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Queue {
    /// Samples read for each shard of a round.
    pub(crate) capacity: usize,
    pub(crate) min_shards: usize,
    pub(crate) max_shards: usize,
    pub(crate) max_samples_per_send: usize,
    pub(crate) batch_send_deadline: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) retry_on_http_429: bool,
    pub(crate) sample_age_limit: Option<Duration>,
}

/// A destination by remote write.
#[derive(Debug, Clone)]
pub struct RemoteWrite {
    /// The name of its cursor and in metrics.
    pub(crate) name: String,
    pub(crate) url: Url,
    pub(crate) timeout: Duration,
    pub(crate) headers: HeaderMap,
    pub(crate) access: Access,
    pub(crate) relabel: Vec<Rule>,
    pub(crate) queue: Queue,
    pub(crate) protocol: Protocol,
    pub(crate) native_histograms: bool,
    pub(crate) max_backlog_bytes: u64,
    pub(crate) max_backlog_age: Option<Duration>,
    /// Header that carries the tenant; requests then hold one tenant each.
    pub(crate) tenant_header: Option<HeaderName>,
    /// Label that carries the tenant.
    pub(crate) tenant_label: Option<String>,
    pub(crate) external_labels: BTreeMap<String, String>,
    /// As it was written, to see whether a reload changed it.
    pub(crate) file: RemoteWriteFile,
}

impl RemoteWrite {
    /// The name of its cursor, and what `ack_after` calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a running destination need not be started anew; files of TLS are read again by starting.
    pub(crate) fn is_same(&self, other: &RemoteWrite) -> bool {
        self.file == other.file && self.access.tls == Tls::default()
    }

    /// The URL without what may be secret in it.
    pub(crate) fn shown_url(&self) -> String {
        shown(&self.url)
    }
}
