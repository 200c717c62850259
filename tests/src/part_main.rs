//! What the thin binaries share.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancels the token at SIGTERM.
pub fn stop_on_term(shutdown: CancellationToken) {
    tokio::spawn(async move {
        if let Ok(mut term) = signal(SignalKind::terminate()) {
            term.recv().await;
            shutdown.cancel();
        }
    });
}
