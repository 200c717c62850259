//! What is wanted of devices, read again when it is configured anew or a file changes.
//!
//! Files are polled, as those of a mounted config map are replaced by way of links that a watch on them would not see. What
//! cannot be used is refused, and what was wanted stays.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{DeviceRuleFiles, DeviceRules, Texts};
use crate::metrics::DeviceRuleMetrics;
use crate::rules::RuleFilesError;

/// Between two looks at the files.
const POLL: Duration = Duration::from_secs(5);

/// The files as they were last looked at.
pub(crate) struct Watch {
    configs: watch::Receiver<DeviceRuleFiles>,
    files: DeviceRuleFiles,
    /// What was taken or refused last.
    seen: Option<Texts>,
}

impl Watch {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// They cannot be used.
    pub(crate) fn start(
        mut configs: watch::Receiver<DeviceRuleFiles>,
    ) -> Result<(Watch, DeviceRules), RuleFilesError> {
        let files = configs.borrow_and_update().clone();
        let texts = files.texts()?;
        let rules = files.checked(texts.clone())?;
        let watch = Watch {
            configs,
            files,
            seen: Some(texts),
        };
        Ok((watch, rules))
    }

    /// Follows configuration and files until the shutdown; `changed` is called after what is wanted has changed.
    pub(crate) async fn follow(
        mut self,
        wanted: watch::Sender<Arc<DeviceRules>>,
        changed: impl Fn(),
        metrics: DeviceRuleMetrics,
        shutdown: CancellationToken,
    ) {
        metrics.taken(SystemTime::now());
        loop {
            let asked = tokio::select! {
                () = shutdown.cancelled() => return,
                asked = self.next() => asked,
            };
            // The files may be on a disk that hangs.
            let looked = tokio::task::spawn_blocking(move || {
                let looked = self.look(asked);
                (self, looked)
            });
            let looked = match looked.await {
                Ok((watch, looked)) => {
                    self = watch;
                    looked
                }
                Err(error) => {
                    tracing::error!(%error, "rule files of devices are not followed any more");
                    return;
                }
            };
            match looked {
                None => {}
                Some(Ok(rules)) => {
                    tracing::info!(entries = rules.len(), "rule files of devices were read again");
                    metrics.taken(SystemTime::now());
                    wanted.send_replace(Arc::new(rules));
                    changed();
                }
                Some(Err(error)) => {
                    metrics.refused();
                    tracing::error!(%error, "the rules of devices stay as they were");
                }
            }
        }
    }

    /// Waits for the next look; true: it is asked for.
    async fn next(&mut self) -> bool {
        let configured = async {
            // Without a sender only files change.
            if self.configs.changed().await.is_err() {
                std::future::pending().await
            }
        };
        let asked = tokio::select! {
            () = configured => true,
            () = tokio::time::sleep(POLL) => false,
        };
        if asked {
            self.files = self.configs.borrow_and_update().clone();
        }
        asked
    }

    /// Reads the files; `None`: they are as they were, or what is wrong with them was said.
    fn look(&mut self, asked: bool) -> Option<Result<DeviceRules, RuleFilesError>> {
        let texts = match self.files.texts() {
            Ok(texts) => texts,
            Err(error) => {
                let is_news = self.seen.take().is_some();
                return (asked || is_news).then_some(Err(error));
            }
        };
        if !asked && self.seen.as_ref() == Some(&texts) {
            return None;
        }
        self.seen = Some(texts.clone());
        Some(self.files.checked(texts))
    }
}

#[cfg(test)]
mod tests {
    use crate::device_rules::DeviceRuleEntry;

    use super::*;

    #[test]
    fn a_change_of_a_file_is_seen_and_a_fault_is_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("r.yml");
        let write = |expr: &str| {
            let text = format!("groups: [{{name: g, rules: [{{alert: A, expr: '{expr}'}}]}}]");
            std::fs::write(&file, text).unwrap();
        };
        let tenant = wire::Tenant::new("default").unwrap();
        let entry = DeviceRuleEntry::new(tenant, &["*".to_owned()], vec![file.clone()]).unwrap();
        let files = DeviceRuleFiles {
            entries: vec![entry],
            folder: dir.path().to_owned(),
        };
        let (_sender, configs) = watch::channel(files);
        write("up == 0");
        let (mut watch, first) = Watch::start(configs).unwrap();
        let hash = |rules: &DeviceRules| rules.of(&"default.gw-1".parse().unwrap()).hash;
        assert!(watch.look(false).is_none());
        write("up == 1");
        let second = watch.look(false).unwrap().unwrap();
        assert_ne!(hash(&first), hash(&second));
        write("up ==");
        assert!(watch.look(false).unwrap().is_err());
        assert!(watch.look(false).is_none());
        assert!(watch.look(true).unwrap().is_err());
        write("up == 0");
        assert_eq!(hash(&watch.look(false).unwrap().unwrap()), hash(&first));
    }
}
