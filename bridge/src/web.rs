//! Who may ask over HTTP, and how: the web configuration file (`--web.config.file`) in Prometheus's schema
//! (prometheus/exporter-toolkit docs/web-configuration.md), with bearer tokens and tenants added.
//!
//! The file and the certificates that it names are read at the start, when they change, and on SIGHUP. What cannot be used
//! is refused, and what holds stays. Every request is held against what holds then, also on a connection that began before.

mod access;
mod file;
mod principal;
mod tls;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use access::Access;
use principal::Accounts;
pub(crate) use principal::{Peer, Principal};

/// Between two looks at the files.
const POLL: Duration = Duration::from_secs(5);

/// Where the settings of the listener are from.
#[derive(Debug, Clone)]
pub struct WebFile {
    /// The file (`--web.config.file`).
    pub path: PathBuf,
    /// Asks for it to be read now.
    pub reload: Arc<Notify>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebFileError {
    /// It, or a file that it names, cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not YAML of the schema; the text has line and key.
    #[error("{path}: {what}")]
    Schema {
        /// The file.
        path: PathBuf,
        /// What to change.
        what: String,
    },
}

/// Settings that hold.
#[derive(Default)]
pub struct Web {
    pub(crate) tls: Option<Arc<tls::Tls>>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    accounts: Accounts,
    /// Digest of the files it was read from.
    seen: [u8; 32],
}

impl WebFile {
    /// Reads and checks the file and what it names.
    ///
    /// # Errors
    /// A file is not there, or not usable.
    pub fn read(&self) -> Result<Web, WebFileError> {
        file::read(&self.path)
    }
}

impl Web {
    /// Whether connections are encrypted.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether everybody who asks has to show who it is.
    pub fn is_guarded(&self) -> bool {
        !self.accounts.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.demands_certificate)
    }

    /// Who makes a request, by the peer of its connection and its `Authorization`; `None`: nobody it may be.
    pub(crate) async fn principal(
        self: &Arc<Self>,
        peer: &Peer,
        authorization: Option<&HeaderValue>,
    ) -> Option<Principal> {
        if !peer.holds(self.tls.as_ref()) {
            return None;
        }
        if self.accounts.is_empty() {
            return Some(peer.principal());
        }
        let credentials = principal::Credentials::of(authorization?)?;
        if let Some(known) = self.accounts.recall(&credentials) {
            return known;
        }
        let turn = Arc::clone(&self.accounts.turn).lock_owned().await;
        let web = Arc::clone(self);
        let compared = tokio::task::spawn_blocking(move || {
            let found = web.accounts.compare(&credentials);
            drop(turn);
            found
        });
        compared.await.ok().flatten()
    }

    /// What a principal may see.
    pub(crate) fn access(&self, principal: &Principal, peer: &Peer) -> Access {
        self.accounts.access(principal, peer)
    }
}

/// Follows the files until the shutdown.
pub(crate) async fn follow(
    file: Option<WebFile>,
    sender: watch::Sender<Arc<Web>>,
    shutdown: CancellationToken,
) {
    let Some(file) = file else {
        shutdown.cancelled().await;
        return;
    };
    let mut refused = None;
    loop {
        let asked = tokio::select! {
            () = tokio::time::sleep(POLL) => false,
            () = file.reload.notified() => true,
            () = shutdown.cancelled() => return,
        };
        let reading = file.clone();
        // It may be on a disk that hangs.
        let Ok(read) = tokio::task::spawn_blocking(move || reading.read()).await else {
            return;
        };
        match read {
            Ok(web) if web.seen != sender.borrow().seen => {
                tracing::info!(file = %file.path.display(), "the web configuration was read again");
                sender.send_replace(Arc::new(web));
                refused = None;
            }
            Ok(_) => refused = None,
            Err(error) => {
                let error = error.to_string();
                // Once for each fault, however often it is seen.
                if asked || refused.as_ref() != Some(&error) {
                    tracing::error!(error, "the web configuration stays as it was");
                }
                refused = Some(error);
            }
        }
    }
}
