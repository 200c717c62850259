//! What an agent runs: the config of its file and the rules that the bridge pushed, changed while it runs.
//!
//! One task owns both, so that a change of one is checked against the other. A change that cannot be made leaves everything as
//! it was: a file that is refused is logged and counted, a pushed configuration's refusal is told to the bridge, too. What
//! is pushed and accepted is on disk (`stored`) before it is in force, so it is in force again after a restart.

mod metrics;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use wire::DeviceId;
use wire::config::ConfigError as WireError;
use wire::limits::MAX_REASON;
use wire::message::{ConfigState, DeviceConfig};

use crate::config::{self, Config, ConfigError};
use crate::evaluation::{Change, EngineConfig, RuleFilesError, Rules};
use crate::input::Inputs;
use crate::scrape::http::FetchError;

pub(crate) use metrics::SetupMetrics;
pub(crate) use stored::StoredConfig;

/// See the module.
#[derive(Debug)]
pub(crate) struct Setup {
    /// Where the config is from.
    pub(crate) file: PathBuf,
    pub(crate) config: Config,
    pub(crate) pushed: DeviceConfig,
    /// `None`: nothing outlives the process.
    pub(crate) stored: Option<StoredConfig>,
    pub(crate) inputs: Inputs,
    /// To the task that evaluates rules.
    pub(crate) changes: mpsc::Sender<Change>,
    /// What alerts of others get.
    pub(crate) external_labels: watch::Sender<Arc<BTreeMap<String, String>>>,
    pub(crate) received: watch::Receiver<Bytes>,
    /// What the bridge is told.
    pub(crate) told: watch::Sender<ConfigState>,
    pub(crate) metrics: SetupMetrics,
    pub(crate) device: DeviceId,
}

/// Why a config that was read again is not taken over.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its rules, together with the pushed ones.
    #[error("with the rules that the bridge pushed: {0}")]
    Rules(#[from] RuleFilesError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("nothing evaluates rules any more")]
    NoEngine,
}

/// Why a pushed configuration is refused.
#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Rules(#[from] RuleFilesError),
    #[error("it cannot be stored: {0}")]
    Disk(#[from] std::io::Error),
    #[error("nothing evaluates rules any more")]
    NoEngine,
}

/// Longest wait for the first evaluation of rules.
const MAX_WARM_UP: Duration = Duration::from_secs(600);

/// What rules of a device are evaluated under.
pub(crate) fn engine_config(config: &Config, device: &DeviceId) -> EngineConfig {
    let intervals = config.inputs.targets.iter().map(|target| target.interval);
    let slowest = intervals.chain([config.inputs.interval]).max();
    EngineConfig {
        device: device.clone(),
        external_labels: config.inputs.external_labels.clone(),
        // Every target has been scraped twice by then, so that nothing seems absent, and rates have their two samples.
        warm_up: (slowest.unwrap_or_default() * 2).min(MAX_WARM_UP),
    }
}

/// What a device starts with: all rules, the pushed configuration they are of, and what the bridge is told.
pub(crate) fn initial(config: &Config, stored: Option<&StoredConfig>) -> (Rules, DeviceConfig, ConfigState) {
    let none = || (config.rules.clone(), DeviceConfig::default());
    let Some(payload) = stored.and_then(StoredConfig::read) else {
        let (rules, pushed) = none();
        return (rules, pushed, in_force(0));
    };
    match accepted(&payload, &config.rules) {
        Ok((rules, pushed)) => {
            let state = in_force(pushed.hash);
            (rules, pushed, state)
        }
        Err(error) => {
            tracing::warn!(%error, "the rules that the bridge pushed are not in force; the device's own are");
            let (rules, pushed) = none();
            (rules, pushed, refusal(wire::config::named(&payload), &error))
        }
    }
}

/// What the bridge is told of a configuration in force, and of no refusal.
fn in_force(hash: u64) -> ConfigState {
    ConfigState {
        hash,
        ..ConfigState::default()
    }
}

/// The rules of a device together with those of a payload.
fn accepted(payload: &[u8], own: &Rules) -> Result<(Rules, DeviceConfig), PushError> {
    let pushed = wire::config::decode(payload)?;
    let rules = own.with_pushed(&pushed.rule_files)?;
    Ok((rules, pushed))
}

fn refusal(refused: u64, error: &PushError) -> ConfigState {
    let mut reason = error.to_string();
    reason.truncate(reason.floor_char_boundary(MAX_REASON));
    ConfigState {
        refused,
        reason,
        ..ConfigState::default()
    }
}

impl Setup {
    /// Follows what is pushed and asked for until `stop`.
    pub(crate) async fn run(mut self, reload: Arc<Notify>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = reload.notified() => self.reload().await,
                changed = self.received.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let payload = self.received.borrow_and_update().clone();
                    self.push(payload).await;
                }
            }
        }
    }

    /// Reads the file again.
    async fn reload(&mut self) {
        match self.try_reload().await {
            Ok(()) => {
                self.metrics.loaded();
                tracing::info!(
                    file = %self.file.display(),
                    targets = self.config.inputs.targets.len(),
                    rules = self.config.rules.count(),
                    "the config was read again"
                );
            }
            Err(error) => {
                self.metrics.failed();
                tracing::error!(%error, "the config stays as it was");
            }
        }
    }

    async fn try_reload(&mut self) -> Result<(), ReloadError> {
        let file = self.file.clone();
        let pushed = self.pushed.rule_files.clone();
        let read = tokio::task::spawn_blocking(move || {
            let config = config::load(&file)?;
            let rules = config.rules.with_pushed(&pushed)?;
            Ok::<_, ReloadError>((config, rules))
        });
        let (new, rules) = read.await.map_err(|_| ReloadError::NoEngine)??;
        self.inputs.set(&new.inputs).await?;
        for key in fixed(&self.config, &new) {
            tracing::warn!(key, "a change of this key is made by a restart only");
        }
        self.config.inputs = new.inputs;
        self.config.rules = new.rules;
        self.external_labels
            .send_replace(Arc::new(self.config.inputs.external_labels.clone()));
        if !self.evaluate(rules).await {
            return Err(ReloadError::NoEngine);
        }
        // What was refused may fit now: the bridge pushes it again.
        self.tell_force();
        Ok(())
    }

    /// Takes what the bridge pushed.
    async fn push(&mut self, payload: Bytes) {
        let hash = wire::config::named(&payload);
        if self.is_known(&payload, hash) {
            return self.metrics.pushed("known");
        }
        match self.try_push(payload).await {
            Ok(()) => {
                self.metrics.pushed("taken");
                let files = self.pushed.rule_files.len();
                tracing::info!(
                    files,
                    hash = format!("{hash:016x}"),
                    "rules of the bridge are in force"
                );
            }
            Err(error) => {
                self.metrics.pushed("refused");
                tracing::warn!(%error, "rules of the bridge are refused; what was in force stays");
                self.told.send_replace(ConfigState {
                    hash: self.pushed.hash,
                    ..refusal(hash, &error)
                });
            }
        }
    }

    /// Whether it is in force, or was the last to be refused. With the former, a refusal of another is no news any more.
    fn is_known(&self, payload: &[u8], hash: u64) -> bool {
        let told = self.told.borrow().clone();
        if !told.reason.is_empty() && told.refused == hash {
            return hash != 0;
        }
        let in_force = wire::config::decode(payload).is_ok_and(|config| config.hash == told.hash);
        if in_force {
            self.tell_force();
        }
        in_force
    }

    /// Tells the bridge what is in force, and of no refusal.
    fn tell_force(&self) {
        self.told.send_replace(in_force(self.pushed.hash));
    }

    async fn try_push(&mut self, payload: Bytes) -> Result<(), PushError> {
        let (own, stored) = (self.config.rules.clone(), self.stored.clone());
        let checked = tokio::task::spawn_blocking(move || {
            let (rules, pushed) = accepted(&payload, &own)?;
            if let Some(stored) = stored {
                stored.write(&payload)?;
            }
            Ok::<_, PushError>((rules, pushed))
        });
        let (rules, pushed) = checked.await.map_err(|_| PushError::NoEngine)??;
        if !self.evaluate(rules).await {
            return Err(PushError::NoEngine);
        }
        self.pushed = pushed;
        self.tell_force();
        Ok(())
    }

    /// Has rules evaluated instead of those before; false: nobody evaluates any more.
    async fn evaluate(&self, rules: Rules) -> bool {
        let (done, changed) = oneshot::channel();
        let change = Change {
            rules,
            config: engine_config(&self.config, &self.device),
            done,
        };
        self.changes.send(change).await.is_ok() && changed.await.is_ok()
    }
}

/// Keys of a config that differ and cannot change while the agent runs.
fn fixed(old: &Config, new: &Config) -> Vec<&'static str> {
    let differs = [
        ("broker.urls", old.brokers != new.brokers),
        (
            "broker.tls_config",
            (&old.tls, &old.server_name) != (&new.tls, &new.server_name),
        ),
        ("wal", old.wal != new.wal),
    ];
    let named = differs.into_iter().filter(|(_, differs)| *differs);
    named.map(|(key, _)| key).collect()
}
