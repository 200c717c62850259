//! The keys of YAML, and their checks.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Deserializer};
use wire::units::PromDuration;

use super::{Access, Auth, Secret, SecretSource, Tls};
use crate::relabel::RuleText;

/// A value that is written as a text, checked where it is read, so that the error has its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed<T>(pub(crate) T);

impl<'de, T> Deserialize<'de> for Parsed<T>
where
    T: FromStr,
    T::Err: Display,
{
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Parsed).map_err(serde::de::Error::custom)
    }
}

/// A duration that may be left out.
pub(crate) type Span = Option<Parsed<PromDuration>>;

/// Its length.
pub(crate) fn span(span: &Span) -> Option<Duration> {
    span.as_ref().map(|Parsed(duration)| duration.get())
}

/// A secret as it is written.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Secret)
    }
}

/// A key and what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault(pub(crate) String, pub(crate) String);

/// What is wrong with a key.
pub(crate) fn fault<T>(key: impl Into<String>, reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault(key.into(), reason.into()))
}

/// The keys of who calls, out of the section that they stand in.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct AccessFile {
    pub(crate) basic_auth: Option<BasicAuth>,
    pub(crate) authorization: Option<Authorization>,
    pub(crate) tls_config: TlsConfig,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BasicAuth {
    username: String,
    password: Option<Secret>,
    password_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Authorization {
    #[serde(rename = "type")]
    scheme: Option<String>,
    credentials: Option<Secret>,
    credentials_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsConfig {
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    server_name: Option<String>,
    #[serde(default)]
    insecure_skip_verify: bool,
}

/// One relabelling rule as it is written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RelabelConfig {
    source_labels: Vec<String>,
    separator: Option<String>,
    regex: Option<String>,
    modulus: Option<u64>,
    target_label: Option<String>,
    replacement: Option<String>,
    action: Option<String>,
}

impl RelabelConfig {
    pub(crate) fn text(&self) -> RuleText {
        RuleText {
            source_labels: self.source_labels.clone(),
            separator: self.separator.clone(),
            regex: self.regex.clone(),
            modulus: self.modulus,
            target_label: self.target_label.clone(),
            replacement: self.replacement.clone(),
            action: self.action.clone(),
        }
    }
}

impl AccessFile {
    /// Checks the keys for a server that is called by `scheme`; relative paths count from `dir`.
    pub(crate) fn check(&self, scheme: &str, dir: &Path) -> Result<Access, Fault> {
        Ok(Access {
            auth: self.auth(dir)?,
            tls: self.tls(scheme, dir)?,
        })
    }

    fn auth(&self, dir: &Path) -> Result<Auth, Fault> {
        let source = |text: &Option<Secret>, file: &Option<PathBuf>, key: &str| match (text, file) {
            (Some(_), Some(_)) => fault(key, "there is a file for it too; give one of both"),
            (Some(text), None) => Ok(Some(SecretSource::Text(text.clone()))),
            (None, Some(file)) => Ok(Some(SecretSource::File(dir.join(file)))),
            (None, None) => Ok(None),
        };
        match (&self.basic_auth, &self.authorization) {
            (Some(_), Some(_)) => fault("authorization", "there is basic_auth too; give one of both"),
            (None, None) => Ok(Auth::None),
            (Some(basic), None) => Ok(Auth::Basic {
                username: basic.username.clone(),
                password: source(&basic.password, &basic.password_file, "basic_auth.password")?,
            }),
            (None, Some(auth)) => {
                let key = "authorization.credentials";
                let scheme = auth.scheme.clone().unwrap_or_else(|| "Bearer".to_owned());
                if scheme.eq_ignore_ascii_case("basic") {
                    return fault("authorization.type", "for Basic there is basic_auth");
                }
                match source(&auth.credentials, &auth.credentials_file, key)? {
                    Some(credentials) => Ok(Auth::Scheme { scheme, credentials }),
                    None => fault(key, "neither they nor credentials_file are given"),
                }
            }
        }
    }

    fn tls(&self, scheme: &str, dir: &Path) -> Result<Tls, Fault> {
        let tls = &self.tls_config;
        if tls.insecure_skip_verify {
            let reason = "a server that is not verified may be anyone's; name its CA in ca_file instead";
            return fault("tls_config.insecure_skip_verify", reason);
        }
        if tls != &TlsConfig::default() && scheme != "https" {
            return fault("tls_config", "the server is called by http, which is without TLS");
        }
        if tls.server_name.as_ref().is_some_and(|name| {
            Url::parse(&format!("https://{name}/"))
                .ok()
                .and_then(|url| url.domain().map(|d| d != name))
                .unwrap_or(true)
        }) {
            return fault("tls_config.server_name", "it is no DNS name");
        }
        let of = |file: &PathBuf| dir.join(file);
        let identity = match (&tls.cert_file, &tls.key_file) {
            (Some(cert), Some(key)) => Some((of(cert), of(key))),
            (None, None) => None,
            _ => return fault("tls_config.cert_file", "cert_file and key_file go together"),
        };
        Ok(Tls {
            ca_file: tls.ca_file.as_ref().map(of),
            identity,
            server_name: tls.server_name.clone(),
        })
    }
}
