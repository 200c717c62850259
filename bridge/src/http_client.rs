//! How the bridge calls other servers: Prometheus's HTTP client configuration (prometheus/common
//! config.HTTPClientConfig), for remote write and Alertmanagers.
//!
//! `file` is what stands in YAML, checked into [`Access`]; `client` makes a client of it. Files of TLS are read when a
//! client is made, those of secrets for each request, so that they may change.

mod client;
mod file;

use std::path::PathBuf;

use reqwest::Url;

pub(crate) use client::{Caller, ClientError, no_answer};
pub(crate) use file::{
    AccessFile, Authorization, BasicAuth, Fault, Parsed, RelabelConfig, Span, TlsConfig, fault, span,
};

/// A text that is in no log.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

/// A secret, or the file that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretSource {
    Text(Secret),
    File(PathBuf),
}

/// How the caller says who it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Auth {
    #[default]
    None,
    Basic {
        username: String,
        password: Option<SecretSource>,
    },
    /// `Authorization: <scheme> <credentials>`
    Scheme {
        scheme: String,
        credentials: SecretSource,
    },
}

/// Files of TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) server_name: Option<String>,
}

/// Who calls, and whom it trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) auth: Auth,
    pub(crate) tls: Tls,
}

/// A URL without user, password and query.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // They fail for URLs that cannot have these, which are then without.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}
