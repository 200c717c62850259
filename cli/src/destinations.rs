//! `remote_write`, `alerting`, `rule_files`, `device_rule_files` and `ack_after` of the configuration file; all but the last are
//! read again at SIGHUP, rule files with them.

use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::Result;
use bridge::{Alerting, DeviceRuleFiles, RemoteWrite, RuleFiles, TenantRules};
use tokio::sync::watch;

use crate::settings::Settings;

/// Where everything and every alert is sent on to.
#[derive(Debug)]
pub(crate) struct Destinations {
    file: Option<PathBuf>,
    sender: watch::Sender<Vec<RemoteWrite>>,
    alerting: watch::Sender<Alerting>,
    rule_files: RuleFiles,
    rules: watch::Sender<TenantRules>,
    device_rules: watch::Sender<DeviceRuleFiles>,
    /// What files are read for.
    bridge: OnceLock<bridge::Config>,
    ack_after: Option<String>,
}

impl Destinations {
    /// Those of settings that were read from a file.
    pub(crate) fn new(file: Option<PathBuf>, settings: &Settings) -> Self {
        Destinations {
            file,
            sender: watch::channel(settings.remote_write.clone()).0,
            alerting: watch::channel(settings.alerting.clone()).0,
            rule_files: settings.rule_files.clone(),
            rules: watch::channel(TenantRules::default()).0,
            device_rules: watch::channel(settings.device_rules.clone()).0,
            bridge: OnceLock::new(),
            ack_after: settings.ack_after.clone(),
        }
    }

    /// None at all.
    pub(crate) fn none() -> Self {
        Destinations::new(None, &Settings::default())
    }

    /// The bridge's configuration with them; rule files are read.
    pub(crate) fn configure(&self, config: bridge::Config) -> Result<bridge::Config> {
        self.rules.send_replace(self.rule_files.read(&config)?);
        self.bridge.get_or_init(|| config.clone());
        Ok(bridge::Config {
            remote_write: self.sender.subscribe(),
            alerting: self.alerting.subscribe(),
            rules: self.rules.subscribe(),
            device_rules: self.device_rules.subscribe(),
            ack_after: self.ack_after.clone(),
            ..config
        })
    }

    /// Reads the file again. What is wrong with it is logged, and what runs goes on as it was.
    pub(crate) fn reload(&self) {
        let Some(file) = &self.file else { return };
        match Settings::read(file) {
            Ok(settings) if settings.ack_after != self.ack_after => {
                tracing::error!("ack_after is changed by a restart only; the destinations stay as they were");
            }
            Ok(settings) => {
                tracing::info!(
                    destinations = settings.remote_write.len(),
                    alertmanagers = settings.alerting.clusters(),
                    "remote_write and alerting were read again"
                );
                self.sender.send_replace(settings.remote_write);
                self.alerting.send_replace(settings.alerting);
                self.reload_rules(&settings.rule_files);
                self.device_rules.send_replace(settings.device_rules);
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "destinations, alerting and rules stay as they were");
            }
        }
    }

    fn reload_rules(&self, files: &RuleFiles) {
        let Some(config) = self.bridge.get() else { return };
        match files.read(config) {
            Ok(rules) => {
                tracing::info!(groups = rules.len(), "rule files were read again");
                self.rules.send_replace(rules);
            }
            Err(error) => tracing::error!(%error, "the rules stay as they were"),
        }
    }
}
