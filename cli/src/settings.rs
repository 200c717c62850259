//! The configuration file of serve, broker and bridge, and the flags that they share.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use bridge::{
    Alerting, AlertingFile, DeviceRuleFiles, DeviceRulesFile, RemoteWrite, RemoteWriteFile, RuleFiles,
};
use clap::Args;
use serde::Deserialize;
use wire::Tenant;
use wire::units::PromDuration;

use crate::destinations::Destinations;
use crate::folder::Folder;
use crate::shown::without_secrets;
use crate::storage::{RawMemory, RawReceive, RawStorage, StorageFile};
use crate::web::{RawGlobal, RawWeb, Web, WebArgs, WebSettings};

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

    /// The HTTP listener of serve or bridge.
    pub(crate) fn web(&self, settings: &Settings) -> Result<Web> {
        self.web.resolve(&settings.web, HTTP)
    }

    /// Address of a separate broker's HTTP listener.
    pub(crate) fn broker_http(&self, settings: &Settings, default: SocketAddr) -> Result<SocketAddr> {
        self.web.address(&settings.web, default)
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

/// The file's settings, all optional: flags win over them.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    dir: Option<PathBuf>,
    web: WebSettings,
    mqtt: Option<SocketAddr>,
    /// The store.
    pub(crate) storage: StorageFile,
    /// Where everything is sent on to.
    pub(crate) remote_write: Vec<RemoteWrite>,
    /// The Alertmanagers that are told of alerts.
    pub(crate) alerting: Alerting,
    /// Rules that are evaluated across the fleet.
    pub(crate) rule_files: RuleFiles,
    /// Rules that devices evaluate.
    pub(crate) device_rules: DeviceRuleFiles,
    /// The destination that acks wait for; `None`: the journal.
    pub(crate) ack_after: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSettings {
    dir: Option<PathBuf>,
    global: RawGlobal,
    web: RawWeb,
    mqtt: RawMqtt,
    storage: RawStorage,
    memory: RawMemory,
    receive: RawReceive,
    remote_write: Vec<RemoteWriteFile>,
    alerting: AlertingFile,
    rule_files: Vec<PathBuf>,
    tenant_rule_files: BTreeMap<String, Vec<PathBuf>>,
    device_rule_files: Vec<DeviceRulesFile>,
    ack_after: Option<String>,
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
        let rule_files = rule_files(&raw, dir).with_context(|| file.display().to_string())?;
        let device_rules = bridge::check_device_rules(&raw.device_rule_files, dir);
        let device_rules = device_rules.map_err(|error| {
            anyhow!(
                "{}:{}: {}: {}",
                file.display(),
                error.line,
                error.key,
                error.reason
            )
        })?;
        let remote_write = bridge::check_remote_write(raw.remote_write, dir);
        let remote_write = remote_write.map_err(|error| anyhow!("{}: {error}", file.display()))?;
        let alerting = raw.alerting.check(dir);
        let alerting = alerting.map_err(|error| anyhow!("{}: {error}", file.display()))?;
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
            alerting,
            rule_files,
            device_rules,
            ack_after,
            dir: raw.dir,
            web: WebSettings::new(raw.web, raw.global, dir, without_secrets(&text))
                .with_context(|| file.display().to_string())?,
            mqtt: parse(raw.mqtt.listen_address).with_context(|| of("mqtt.listen_address"))?,
            storage: StorageFile::new(raw.storage, &raw.memory, raw.receive)
                .with_context(|| file.display().to_string())?,
        })
    }
}

/// The patterns of rule files by tenant, and the settings of their groups; relative paths count from `dir`.
fn rule_files(raw: &RawSettings, dir: &Path) -> Result<RuleFiles> {
    let span = |key: &'static str, text: &Option<String>| {
        let read = parse::<PromDuration>(text.clone()).context(key)?;
        anyhow::Ok(read.map(PromDuration::get))
    };
    let mut patterns = Vec::new();
    let of_default = std::iter::once((OWN_FILES, &raw.rule_files));
    let of_tenants = raw
        .tenant_rule_files
        .iter()
        .map(|(tenant, files)| (tenant.as_str(), files));
    for (tenant, files) in of_default.chain(of_tenants) {
        let tenant = Tenant::new(tenant).context("tenant_rule_files")?;
        let files: Vec<PathBuf> = files.iter().map(|file| dir.join(file)).collect();
        for file in &files {
            bridge::check_pattern(file)
                .map_err(|reason| anyhow!("rule_files: {}: {reason}", file.display()))?;
        }
        patterns.push((tenant, files));
    }
    Ok(RuleFiles {
        patterns,
        interval: span("global.evaluation_interval", &raw.global.evaluation_interval)?,
        query_offset: span("global.rule_query_offset", &raw.global.rule_query_offset)?.unwrap_or_default(),
    })
}

/// The tenant of `rule_files`.
const OWN_FILES: &str = "default";

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
            (
                "alerting:\n  alertmanagers:\n  - static_configs: [{targets: ['a/b']}]\n",
                vec!["alerting.alertmanagers[0].static_configs[0].targets", "a/b"],
            ),
            ("alerting:\n  min_firing: soon\n", vec!["line 2", "soon"]),
            (
                "device_rule_files:\n- rule_files: [a.yml]\n- devices:\n  - 'gw-['\n  rule_files: []\n",
                vec!["serve.yml:4", "device_rule_files[1].devices", "gw-["],
            ),
            (
                "device_rule_files:\n- {tenant: 'a b', rule_files: []}\n",
                vec!["serve.yml:2", "device_rule_files[0].tenant"],
            ),
            ("device_rule_files:\n- devices: ['*']\n", vec!["rule_files"]),
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
