//! `remote_write`, `alerting` and `ack_after` of the configuration file; the first two are read again at SIGHUP.

use std::path::PathBuf;

use bridge::{Alerting, RemoteWrite};
use tokio::sync::watch;

use crate::settings::Settings;

/// Where everything and every alert is sent on to.
#[derive(Debug)]
pub(crate) struct Destinations {
    file: Option<PathBuf>,
    sender: watch::Sender<Vec<RemoteWrite>>,
    alerting: watch::Sender<Alerting>,
    ack_after: Option<String>,
}

impl Destinations {
    /// Those of settings that were read from a file.
    pub(crate) fn new(file: Option<PathBuf>, settings: &Settings) -> Self {
        Destinations {
            file,
            sender: watch::channel(settings.remote_write.clone()).0,
            alerting: watch::channel(settings.alerting.clone()).0,
            ack_after: settings.ack_after.clone(),
        }
    }

    /// None at all.
    pub(crate) fn none() -> Self {
        Destinations::new(None, &Settings::default())
    }

    /// The bridge's configuration with them.
    pub(crate) fn configure(&self, config: bridge::Config) -> bridge::Config {
        bridge::Config {
            remote_write: self.sender.subscribe(),
            alerting: self.alerting.subscribe(),
            ack_after: self.ack_after.clone(),
            ..config
        }
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
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "the destinations stay as they were");
            }
        }
    }
}
