//! What a bridge is told at its start, and why it may end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use promql::Features;
use regex::Regex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use wire::{DeviceName, Labels, Timestamp};

use crate::alerts::{Alerting, AlertsError};
use crate::device_rules::DeviceRuleFiles;
use crate::forward::RemoteWrite;
use crate::hashrings::HashringFile;
use crate::ingest::wall_clock;
use crate::memory::Budgets;
use crate::rules::{RuleFilesError, TenantRules};
use crate::web::{WebFile, WebFileError};

/// Settings of a bridge; the default is Prometheus's where Prometheus has the setting.
#[derive(Debug, Clone)]
pub struct Config {
    /// MQTT client id: the name in the bridge's certificate.
    pub client_id: DeviceName,
    /// Shards of devices to take in; `None`: all.
    pub shards: Option<Vec<u8>>,
    /// The wall clock; a seam for tests.
    pub clock: fn() -> Timestamp,
    /// Payload bytes that devices may have been granted and that are not yet committed, in all. Each connected device
    /// holds 64 KiB of it at least. Default: that of [`Budgets::of_percent`] 60.
    pub ingest_budget: u64,
    /// Backlog payload bytes per second of all devices together; 0: no limit beside the credit.
    pub backlog_rate: u64,
    /// How old a sample may be and still be a series' current value (`--query.lookback-delta`).
    pub lookback_delta: Duration,
    /// Longest evaluation of a query (`--query.timeout`).
    pub query_timeout: Duration,
    /// Queries evaluated at once (`--query.max-concurrency`).
    pub query_concurrency: usize,
    /// Samples that a query may hold at once (`--query.max-samples`).
    pub query_max_samples: u64,
    /// Bytes of memory that a query may hold (`--query.max-bytes`).
    pub query_max_bytes: u64,
    /// The same of all queries together, of which rules have a quarter (`--query.max-total-bytes`).
    pub query_total_bytes: u64,
    /// Threads of one query over many series; small ones take none beside their own. Default: the machine's cores.
    pub query_threads: usize,
    /// Parts of PromQL beyond the stable language (`--enable-feature`).
    pub features: Features,
    /// Where everything that is stored is sent on to; a value that follows takes effect while the bridge runs.
    pub remote_write: watch::Receiver<Vec<RemoteWrite>>,
    /// The name of the destination that acks wait for; `None`: they wait for the journal alone.
    pub ack_after: Option<String>,
    /// The Alertmanagers that are told of alerts; a value that follows takes effect while the bridge runs.
    pub alerting: watch::Receiver<Alerting>,
    /// The rule groups that are evaluated; a value that follows takes effect while the bridge runs.
    pub rules: watch::Receiver<TenantRules>,
    /// The rule files that devices are to evaluate; a value that follows takes effect while the bridge runs.
    pub device_rules: watch::Receiver<DeviceRuleFiles>,
    /// Where people reach this bridge, without a slash at its end (`--web.external-url`).
    pub external_url: String,
    /// Between two tellings of an alert that did not change (`--rules.alert.resend-delay`).
    pub resend_delay: Duration,
    /// Whether snapshots may be asked for (`--web.enable-admin-api`).
    pub admin_api: bool,
    /// How the HTTP listener is guarded (`--web.config.file`); `None`: it is not.
    pub web: Option<WebFile>,
    /// HTTP connections at once (`--web.max-connections`).
    pub http_connections: usize,
    /// How long an HTTP connection may be idle (`--web.read-timeout`). A query that takes longer ends with it.
    pub http_idle: Duration,
    /// Origins whose pages may read answers; anchored at both ends (`--web.cors.origin`).
    pub cors_origin: Regex,
    /// What `/federate` adds to series that lack it (`global.external_labels`).
    pub external_labels: Labels,
    /// What `/api/v1/status/…` tells of the process.
    pub started: Started,
    /// The hashring file that the store was opened with, to be followed; `None`: its rings stay.
    pub hashrings: Option<HashringFile>,
}

impl Config {
    /// The defaults for a bridge of this name on this machine: its shares of the memory, which is read here.
    pub fn new(client_id: DeviceName) -> Self {
        let budgets = Budgets::of_percent(60);
        Config {
            client_id,
            shards: None,
            clock: wall_clock,
            ingest_budget: budgets.ingest,
            backlog_rate: 0,
            lookback_delta: Duration::from_secs(300),
            query_timeout: Duration::from_secs(120),
            query_concurrency: 20,
            query_max_samples: budgets.query_samples,
            query_max_bytes: budgets.query_bytes,
            query_total_bytes: budgets.query_total_bytes,
            query_threads: std::thread::available_parallelism().map_or(1, usize::from),
            features: Features::default(),
            remote_write: watch::channel(Vec::new()).1,
            ack_after: None,
            alerting: watch::channel(Alerting::default()).1,
            rules: watch::channel(TenantRules::default()).1,
            device_rules: watch::channel(DeviceRuleFiles::default()).1,
            external_url: String::new(),
            resend_delay: Duration::from_secs(60),
            admin_api: false,
            web: None,
            http_connections: 512,
            http_idle: Duration::from_secs(300),
            cors_origin: Config::any_origin(),
            external_labels: Labels::default(),
            started: Started::default(),
            hashrings: None,
        }
    }

    /// Prometheus's default of the origins: all.
    pub fn any_origin() -> Regex {
        Regex::new("^(?:.*)$").expect("a valid expression")
    }
}

/// How the process was started, for people who ask it.
#[derive(Debug, Clone)]
pub struct Started {
    /// When.
    pub time: Timestamp,
    /// The configuration file, without secrets.
    pub yaml: String,
    /// Flags and their values, without dashes, defaults included.
    pub flags: BTreeMap<String, String>,
    /// How long and how much is kept, as Prometheus writes it.
    pub retention: String,
}

impl Default for Started {
    fn default() -> Self {
        Started {
            time: wall_clock(),
            yaml: String::new(),
            flags: BTreeMap::new(),
            retention: String::new(),
        }
    }
}

/// Sockets that are bound already, so that a caller knows their addresses before the bridge runs.
#[derive(Debug)]
pub struct Listeners {
    /// The HTTP API.
    pub http: TcpListener,
}

/// Where the broker is.
#[derive(Clone)]
pub enum MqttEndpoint {
    /// A front in this process or on this host, which knows the peer by its uid.
    Unix(PathBuf),
    /// A broker over mutual TLS.
    Tls {
        /// Name or address; the server's certificate must carry it.
        host: String,
        /// Port, 8883 by custom.
        port: u16,
        /// The bridge's certificate and the roots (`certs::client_config`).
        tls: Arc<rustls::ClientConfig>,
    },
}

/// Why a bridge ended by itself. Each ends the process: what was not acked is still in the devices.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// No random numbers for the epoch.
    #[error("no random numbers from the system: {0}")]
    Random(getrandom::Error),
    /// A thread could not be started, or a socket failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A metric of the bridge is in the registry already.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The web configuration file cannot be used.
    #[error(transparent)]
    Web(#[from] WebFileError),
    /// What the journal holds could not be read at the start.
    #[error(transparent)]
    Journal(#[from] store::TailError),
    /// Alerts cannot be kept.
    #[error(transparent)]
    Alerts(#[from] AlertsError),
    /// The rule files of devices cannot be used.
    #[error(transparent)]
    DeviceRules(#[from] RuleFilesError),
    /// `ack_after` names a destination that is not configured.
    #[error("ack_after: there is no destination {0:?} in remote_write; acks would wait for ever")]
    AckAfter(String),
    /// A worker ended before the shutdown.
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
}
