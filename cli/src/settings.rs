//! The configuration file of serve, broker and bridge, and the flags that they share.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use bridge::{RemoteWrite, RemoteWriteFile};
use clap::Args;
use serde::Deserialize;

use crate::destinations::Destinations;
use crate::folder::Folder;
use crate::storage::{RawMemory, RawReceive, RawStorage, StorageFile};

/// Flags of the HTTP listener.
#[derive(Debug, Args)]
struct WebArgs {
    /// Address for queries, /metrics and health [default: 127.0.0.1:7490; a separate broker: 127.0.0.1:7492]
    #[arg(long = "web.listen-address", visible_alias = "http")]
    http: Option<SocketAddr>,
    /// Let POST /api/v1/admin/tsdb/snapshot copy the store
    #[arg(long = "web.enable-admin-api")]
    admin_api: bool,
    /// Serve HTTP without TLS or authentication on an address that is not loopback
    #[arg(long = "web.insecure")]
    insecure: bool,
}

/// Flags of serve, broker and bridge; what is given here wins over the file.
#[derive(Debug, Args)]
pub(crate) struct SiteArgs {
    /// Configuration file
    #[arg(long = "config.file", visible_alias = "config")]
    config: Option<PathBuf>,
    /// Folder of certs/ and data/ [default: backhaul]
    #[arg(long)]
    dir: Option<PathBuf>,
    #[command(flatten)]
    web: WebArgs,
}

/// The default address for devices.
const MQTT: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 8883));

impl SiteArgs {
    /// The file's settings and the folder.
    pub(crate) fn read(&self) -> Result<(Settings, Folder)> {
        let settings = match &self.config {
            Some(file) => Settings::read(file)?,
            None => Settings::default(),
        };
        let dir = self
            .dir
            .as_deref()
            .or(settings.dir.as_deref())
            .unwrap_or(Path::new("backhaul"));
        let folder = Folder::new(dir);
        Ok((settings, folder))
    }

    /// The destinations of the file.
    pub(crate) fn destinations(&self, settings: &Settings) -> Destinations {
        Destinations::new(self.config.clone(), settings)
    }

    /// Whether administration by HTTP is asked for.
    pub(crate) fn admin_api(&self) -> bool {
        self.web.admin_api
    }

    /// Address of the HTTP listener.
    pub(crate) fn http(&self, settings: &Settings, default: SocketAddr) -> Result<SocketAddr> {
        self.web.checked(settings.http, default)
    }
}

/// `ack_after` that waits for no destination.
const LOCAL: &str = "local";

impl Settings {
    /// Address for devices: the flag's, the file's or the default.
    pub(crate) fn mqtt(&self, flag: Option<SocketAddr>) -> SocketAddr {
        flag.or(self.mqtt).unwrap_or(MQTT)
    }
}

/// The default address of a bridge's HTTP listener.
pub(crate) const HTTP: SocketAddr =
    SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 7490));

impl WebArgs {
    /// The flag's address, the file's or the default; refused if it is open to others and nobody said so.
    fn checked(&self, file: Option<SocketAddr>, default: SocketAddr) -> Result<SocketAddr> {
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
    dir: Option<PathBuf>,
    http: Option<SocketAddr>,
    mqtt: Option<SocketAddr>,
    /// The store.
    pub(crate) storage: StorageFile,
    /// Where everything is sent on to.
    pub(crate) remote_write: Vec<RemoteWrite>,
    /// The destination that acks wait for; `None`: the journal.
    pub(crate) ack_after: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSettings {
    dir: Option<PathBuf>,
    web: RawWeb,
    mqtt: RawMqtt,
    storage: RawStorage,
    memory: RawMemory,
    receive: RawReceive,
    remote_write: Vec<RemoteWriteFile>,
    ack_after: Option<String>,
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

impl Settings {
    /// Reads a file; errors name file, line and key.
    pub(crate) fn read(file: &Path) -> Result<Settings> {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let raw: RawSettings =
            serde_saphyr::from_str(&text).map_err(|error| anyhow!("{}: {error}", file.display()))?;
        let of = |key: &str| format!("{}: {key}", file.display());
        let dir = file.parent().unwrap_or(Path::new(""));
        let remote_write = bridge::check_remote_write(raw.remote_write, dir);
        let remote_write = remote_write.map_err(|error| anyhow!("{}: {error}", file.display()))?;
        let ack_after = raw.ack_after.filter(|name| name != LOCAL);
        if let Some(name) = &ack_after
            && !remote_write.iter().any(|to| to.name() == name)
        {
            bail!(
                "{}: no entry of remote_write has the name {name:?}",
                of("ack_after")
            );
        }
        Ok(Settings {
            remote_write,
            ack_after,
            dir: raw.dir,
            http: parse(raw.web.listen_address).with_context(|| of("web.listen_address"))?,
            mqtt: parse(raw.mqtt.listen_address).with_context(|| of("mqtt.listen_address"))?,
            storage: StorageFile::new(raw.storage, &raw.memory, raw.receive)
                .with_context(|| file.display().to_string())?,
        })
    }
}

/// Reads a value, if there is one.
pub(crate) fn parse<T: std::str::FromStr>(text: Option<String>) -> Result<Option<T>>
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
            admin_api: false,
            insecure,
        }
    }

    #[test]
    fn an_open_address_must_be_asked_for() {
        assert!(web("127.0.0.1:1", false).checked(None, HTTP).is_ok());
        let refused = web("0.0.0.0:1", false)
            .checked(None, HTTP)
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("--web.insecure") && refused.contains("--web.config.file"),
            "{refused}"
        );
        assert!(web("0.0.0.0:1", true).checked(None, HTTP).is_ok());
    }

    #[test]
    fn destinations_are_read_and_their_faults_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("serve.yml");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Settings::read(&file)
        };
        let settings = read(
            "remote_write:\n\
             - url: http://prometheus:9090/api/v1/write\n  \
               name: prometheus\n  \
               queue_config: {max_shards: 4, batch_send_deadline: 1s}\n  \
               write_relabel_configs:\n  \
               - {source_labels: [__name__], regex: 'go_.*', action: drop}\n\
             ack_after: prometheus\n",
        );
        let settings = settings.unwrap();
        assert_eq!(settings.remote_write[0].name(), "prometheus");
        assert_eq!(settings.ack_after.as_deref(), Some("prometheus"));
        assert_eq!(read("ack_after: local\n").unwrap().ack_after, None);
        for (text, words) in [
            (
                "remote_write:\n- url: http://h/w\n  queue_config: {max_shards: 0}\n",
                vec!["remote_write[0].queue_config.max_shards"],
            ),
            (
                "remote_write:\n- url: http://h/w\n  remote_timeout: soon\n",
                vec!["line 3", "soon"],
            ),
            (
                "remote_write:\n- url: http://h/w\n  proxy_url: x\n",
                vec!["line 3", "proxy_url"],
            ),
            ("ack_after: other\n", vec!["ack_after", "other"]),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains("serve.yml"), "{error}");
            for word in words {
                assert!(error.contains(word), "{error}");
            }
        }
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
        std::fs::write(
            &file,
            "dir: x
storage: {retention: {size: 1GB}}
",
        )
        .unwrap();
        assert!(Settings::read(&file).is_ok());
    }
}
