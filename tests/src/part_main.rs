//! What the thin binaries share.

use std::io::Read;
use std::process;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Starts the log, cancels the token at SIGTERM, and ends the process when its standard input ends: that is the pipe
/// that the test holds, so no process outlives a test that was itself killed.
pub fn follow(shutdown: CancellationToken) {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    tokio::spawn(async move {
        if let Ok(mut term) = signal(SignalKind::terminate()) {
            term.recv().await;
            shutdown.cancel();
        }
    });
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        process::exit(1);
    });
}
