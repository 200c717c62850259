//! The hashring file, read at the start and again when it changes or SIGHUP asks for it.
//!
//! As in Thanos Receive, a file that cannot be used is refused and the rings stay as they are. The file is polled, as a
//! mounted config map is replaced by way of links that a watch on the file would not see.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use store::ring::Algorithm;
use store::{Hashrings, Store};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::metrics::RingMetrics;

/// Between two looks at the file.
const POLL: Duration = Duration::from_secs(5);

/// Where the hashrings are from.
#[derive(Debug, Clone)]
pub struct HashringFile {
    /// The file (`--receive.hashrings-file`).
    pub path: PathBuf,
    /// How rings hash that do not say it (`--receive.hashrings-algorithm`).
    pub algorithm: Algorithm,
    /// Asks for the file to be read now.
    pub reload: Arc<Notify>,
}

/// Why the file gave no rings.
#[derive(Debug, thiserror::Error)]
pub enum HashringFileError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It cannot be used.
    #[error("{path}: {source}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// What to change.
        source: store::HashringError,
    },
}

impl HashringFile {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// It is not there, or not usable.
    pub fn read(&self) -> Result<Hashrings, HashringFileError> {
        self.parse(&self.text()?)
    }

    fn text(&self) -> Result<Vec<u8>, HashringFileError> {
        let io = |source| HashringFileError::Io {
            path: self.path.clone(),
            source,
        };
        let mut text = Vec::new();
        // One byte more than allowed, so that a longer file is refused and not cut.
        let most = store::MAX_FILE as u64 + 1;
        let file = std::fs::File::open(&self.path).map_err(io)?;
        file.take(most).read_to_end(&mut text).map_err(io)?;
        Ok(text)
    }

    fn parse(&self, text: &[u8]) -> Result<Hashrings, HashringFileError> {
        Hashrings::parse(text, self.algorithm).map_err(|source| HashringFileError::Refused {
            path: self.path.clone(),
            source,
        })
    }
}

/// The file as it was last looked at.
struct Watch {
    file: HashringFile,
    store: Arc<Store>,
    metrics: RingMetrics,
    /// The text that was taken or refused last.
    seen: Option<Vec<u8>>,
}

/// Follows the file until the shutdown; without one, sets the metrics of the rings that hold.
pub(crate) async fn run(
    file: Option<HashringFile>,
    store: Arc<Store>,
    metrics: RingMetrics,
    shutdown: CancellationToken,
) {
    let Some(file) = file else {
        metrics.taken(&store.hashrings(), false, SystemTime::now());
        shutdown.cancelled().await;
        return;
    };
    let reload = Arc::clone(&file.reload);
    let mut watch = Watch {
        file,
        store,
        metrics,
        seen: None,
    };
    let mut asked = true;
    loop {
        // The file may be on a disk that hangs, and new partitions are made on one.
        let looked = tokio::task::spawn_blocking(move || {
            watch.look(asked);
            watch
        });
        watch = match looked.await {
            Ok(watch) => watch,
            Err(error) => {
                tracing::error!(%error, "the hashring file is not followed any more");
                return;
            }
        };
        asked = tokio::select! {
            () = shutdown.cancelled() => return,
            () = reload.notified() => true,
            () = tokio::time::sleep(POLL) => false,
        };
    }
}

impl Watch {
    /// Takes the file if it changed, or if somebody `asked`.
    fn look(&mut self, asked: bool) {
        let text = match self.file.text() {
            Ok(text) => text,
            Err(error) => {
                if asked || self.seen.take().is_some() {
                    self.refuse(&error);
                }
                return;
            }
        };
        if !asked && self.seen.as_ref() == Some(&text) {
            return;
        }
        let rings = self.file.parse(&text);
        self.seen = Some(text);
        let rings = match rings {
            Ok(rings) => rings,
            Err(error) => return self.refuse(&error),
        };
        match self.store.set_hashrings(&rings) {
            Ok(changed) => {
                if changed {
                    tracing::info!(file = %self.file.path.display(), "the hashrings changed");
                }
                self.metrics.taken(&rings, changed, SystemTime::now());
            }
            Err(error) => {
                // What stands in the way may be gone at the next look.
                self.seen = None;
                self.refuse(&error);
            }
        }
    }

    fn refuse(&self, error: &dyn std::error::Error) {
        self.metrics.refused();
        tracing::warn!(%error, "the hashring file is refused; the rings stay as they are");
    }
}
