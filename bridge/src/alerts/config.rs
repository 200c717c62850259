//! Alertmanagers as they were configured, checked.

use std::path::PathBuf;
use std::time::Duration;

use super::file::TargetGroup;
use super::life::Times;
use crate::http_client::Access;
use crate::relabel::Rule;

/// The section `alerting`.
#[derive(Debug, Clone, Default)]
pub struct Alerting {
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) relabel: Vec<Rule>,
    pub(crate) times: Times,
}

impl Alerting {
    /// How many entries there are in `alertmanagers`.
    pub fn clusters(&self) -> usize {
        self.clusters.len()
    }
}

/// An entry of `alertmanagers`: servers that are called alike.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) scheme: String,
    pub(crate) path_prefix: String,
    pub(crate) timeout: Duration,
    pub(crate) access: Access,
    /// Of targets, before they are called.
    pub(crate) relabel: Vec<Rule>,
    /// Of alerts, after those of all clusters.
    pub(crate) alert_relabel: Vec<Rule>,
    pub(crate) targets: Vec<Targets>,
}

/// Where addresses are from.
#[derive(Debug, Clone)]
pub(crate) enum Targets {
    Static(TargetGroup),
    Files {
        files: Vec<PathBuf>,
        refresh: Duration,
    },
    Dns {
        names: Vec<String>,
        record: Record,
        /// Of A and AAAA records; an SRV record has its own.
        port: u16,
        refresh: Duration,
    },
}

/// Kinds of DNS records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    Srv,
    A,
    Aaaa,
}
