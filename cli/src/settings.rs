//! The configuration file of serve, broker and bridge, and the flags that they share.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde::Deserialize;
use wire::units::ByteSize;

/// Flags of the HTTP listener.
#[derive(Debug, Args)]
pub(crate) struct WebArgs {
    /// Address for queries, /metrics and health [default: 127.0.0.1:7490; a separate broker: 127.0.0.1:7492]
    #[arg(long = "web.listen-address", visible_alias = "http")]
    http: Option<SocketAddr>,
    /// Serve HTTP without TLS or authentication on an address that is not loopback
    #[arg(long = "web.insecure")]
    insecure: bool,
}

/// The default address of a bridge's HTTP listener.
const HTTP: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 7490));

impl WebArgs {
    /// The bridge's address: the flag's, the file's or the default; refused if it is open to others and nobody said so.
    pub(crate) fn checked(&self, file: Option<SocketAddr>) -> Result<SocketAddr> {
        self.checked_or(file, HTTP)
    }

    /// The same with another default.
    pub(crate) fn checked_or(&self, file: Option<SocketAddr>, default: SocketAddr) -> Result<SocketAddr> {
        let address = self.http.or(file).unwrap_or(default);
        if !address.ip().is_loopback() && !self.insecure {
            bail!(
                "{address} is open to other machines, and the HTTP API has no TLS or authentication of its own yet \
                 (--web.config.file): listen on 127.0.0.1 behind a proxy, or say --web.insecure"
            );
        }
        Ok(address)
    }
}

/// The file's settings, all optional: flags win over them.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) dir: Option<PathBuf>,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) mqtt: Option<SocketAddr>,
    pub(crate) storage_path: Option<PathBuf>,
    pub(crate) retention_size: Option<ByteSize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSettings {
    dir: Option<PathBuf>,
    web: RawWeb,
    mqtt: RawMqtt,
    storage: RawStorage,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawWeb {
    listen_address: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawMqtt {
    listen_address: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawStorage {
    path: Option<PathBuf>,
    retention: RawRetention,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRetention {
    size: Option<String>,
}

impl Settings {
    /// Reads a file; errors name file, line and key.
    pub(crate) fn read(file: &Path) -> Result<Settings> {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let raw: RawSettings =
            serde_saphyr::from_str(&text).map_err(|error| anyhow!("{}: {error}", file.display()))?;
        let of = |key: &str| format!("{}: {key}", file.display());
        Ok(Settings {
            dir: raw.dir,
            http: parse(raw.web.listen_address).with_context(|| of("web.listen_address"))?,
            mqtt: parse(raw.mqtt.listen_address).with_context(|| of("mqtt.listen_address"))?,
            storage_path: raw.storage.path,
            retention_size: parse(raw.storage.retention.size)
                .with_context(|| of("storage.retention.size"))?,
        })
    }
}

fn parse<T: std::str::FromStr>(text: Option<String>) -> Result<Option<T>>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    Ok(text.map(|text| text.parse()).transpose()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web(http: &str, insecure: bool) -> WebArgs {
        WebArgs {
            http: Some(http.parse().unwrap()),
            insecure,
        }
    }

    #[test]
    fn an_open_address_must_be_asked_for() {
        assert!(web("127.0.0.1:1", false).checked(None).is_ok());
        let refused = web("0.0.0.0:1", false).checked(None).unwrap_err().to_string();
        assert!(
            refused.contains("--web.insecure") && refused.contains("--web.config.file"),
            "{refused}"
        );
        assert!(web("0.0.0.0:1", true).checked(None).is_ok());
    }

    #[test]
    fn an_unknown_key_is_named_with_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("serve.yml");
        std::fs::write(&file, "dir: x\nstorage:\n  retention: {size: 1GB, tme: 3d}\n").unwrap();
        let error = format!("{:#}", Settings::read(&file).unwrap_err());
        assert!(
            error.contains("serve.yml") && error.contains("tme") && error.contains('3'),
            "{error}"
        );
        std::fs::write(&file, "dir: x\nstorage: {retention: {size: 1GB}}\n").unwrap();
        assert_eq!(
            Settings::read(&file).unwrap().retention_size,
            Some(ByteSize::new(1 << 30))
        );
    }
}
