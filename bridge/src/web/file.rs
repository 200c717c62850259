//! The file: raw as it stands, then checked with what it names.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue};
use serde::Deserialize;
use wire::Tenant;

use super::principal::{Accounts, sha256};
use super::tls::RawTls;
use super::{Access, Web, WebFileError};

/// Bytes of the file, and of each that it names.
const MAX_BYTES: u64 = 1 << 20;

/// Headers that Prometheus lets the file set.
const HEADERS: [&str; 5] = [
    "content-security-policy",
    "strict-transport-security",
    "x-content-type-options",
    "x-frame-options",
    "x-xss-protection",
];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawWeb {
    tls_server_config: Option<RawTls>,
    http_server_config: RawHttp,
    /// User -> bcrypt hash.
    basic_auth_users: BTreeMap<String, String>,
    /// Name -> SHA-256 of the token, hex. Not in Prometheus's schema.
    bearer_tokens: BTreeMap<String, String>,
    /// User, token's name or certificate's common name -> tenants, or `*`. Not in Prometheus's schema.
    tenants: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawHttp {
    /// HTTP/2 is not spoken either way.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    headers: BTreeMap<String, String>,
}

/// Reads the file and what it names; relative paths begin in its folder.
pub(super) fn read(path: &Path) -> Result<Web, WebFileError> {
    let schema = |what: String| WebFileError::Schema {
        path: path.to_owned(),
        what,
    };
    let bytes = bytes_of(path).map_err(|source| WebFileError::Io {
        path: path.to_owned(),
        source,
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|error| schema(error.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let open = |file: &Path| {
        let file = folder.join(file);
        bytes_of(&file).map_err(|error| format!("{}: {error}", file.display()))
    };
    Web::of_text(text, open).map_err(schema)
}

impl Web {
    /// The text of a file, checked; those that it names are read by `open`. An error says what to change.
    pub(crate) fn of_text(
        text: &str,
        open: impl Fn(&Path) -> Result<Vec<u8>, String>,
    ) -> Result<Self, String> {
        let raw: RawWeb = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let mut seen = vec![sha256(&[text.as_bytes()])];
        let tls = raw.tls_server_config.map(|tls| {
            tls.check(|file: &Path| {
                let bytes = open(file)?;
                seen.push(sha256(&[&bytes]));
                Ok(bytes)
            })
        });
        let tls = tls
            .transpose()
            .map_err(|what| format!("tls_server_config: {what}"))?;
        Ok(Web {
            tls: tls.map(Arc::new),
            headers: headers(raw.http_server_config.headers)?,
            accounts: accounts(raw.basic_auth_users, raw.bearer_tokens, raw.tenants)?,
            seen: sha256(&[seen.concat().as_slice()]),
        })
    }
}

fn bytes_of(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a longer file is refused and not cut.
    std::fs::File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(std::io::Error::other(format!(
            "it is longer than {MAX_BYTES} bytes"
        ))),
        false => Ok(bytes),
    }
}

fn headers(raw: BTreeMap<String, String>) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let header = |(name, value): (String, String)| {
        let at = format!("http_server_config.headers.{name}");
        let known = HEADERS.contains(&name.to_ascii_lowercase().as_str());
        let parsed = HeaderName::try_from(name.as_str()).ok().filter(|_| known);
        let parsed = parsed.ok_or_else(|| format!("{at}: it cannot be set; {} can", HEADERS.join(", ")))?;
        let value = HeaderValue::try_from(value).map_err(|error| format!("{at}: {error}"))?;
        Ok((parsed, value))
    };
    raw.into_iter().map(header).collect()
}

fn accounts(
    users: BTreeMap<String, String>,
    tokens: BTreeMap<String, String>,
    tenants: BTreeMap<String, Vec<String>>,
) -> Result<Accounts, String> {
    for (user, hash) in &users {
        if user.is_empty() || user.contains(':') {
            return Err(format!(
                "basic_auth_users: {user:?} is no user; it must not be empty or have a colon"
            ));
        }
        hash.parse::<bcrypt::HashParts>().map_err(|_| {
            format!("basic_auth_users.{user}: it is no bcrypt hash, as `htpasswd -nBC 10 {user}` makes one")
        })?;
    }
    let digest = |(name, hex): (String, String)| match digest(&hex) {
        Some(_) if users.contains_key(&name) => Err(format!("bearer_tokens.{name}: a user has that name")),
        Some(digest) => Ok((name, digest)),
        None => Err(format!(
            "bearer_tokens.{name}: it is no SHA-256 in 64 hex digits, as `sha256sum` prints it"
        )),
    };
    let access = |(principal, names): (String, Vec<String>)| {
        let all = names.iter().any(|name| name == "*");
        let tenants = names
            .iter()
            .filter(|name| *name != "*")
            .map(|name| Tenant::new(name.as_str()).map_err(|error| format!("tenants.{principal}: {error}")));
        let tenants: Vec<Tenant> = tenants.collect::<Result<_, _>>()?;
        Ok((
            principal,
            if all {
                Access::All
            } else {
                Access::Tenants(tenants)
            },
        ))
    };
    let tokens = tokens.into_iter().map(digest).collect::<Result<_, String>>()?;
    let tenants = tenants.into_iter().map(access).collect::<Result<_, String>>()?;
    Ok(Accounts::new(users, tokens, tenants))
}

/// A digest of 64 hex digits.
fn digest(hex: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> = hex.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    let bytes: Vec<u8> = digits?
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, d| byte << 4 | d))
        .collect();
    (hex.len() == 64).then(|| bytes.try_into().ok())?
}

#[cfg(test)]
mod tests;
