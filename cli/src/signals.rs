//! Signals as people know them: SIGTERM and SIGINT drain, SIGHUP reloads.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for SIGTERM or SIGINT; each SIGHUP on the way calls `reload`.
pub(crate) async fn until_stop(reload: impl Fn()) {
    let (Some(mut term), Some(mut int), Some(mut hup)) = (
        listen(SignalKind::terminate()),
        listen(SignalKind::interrupt()),
        listen(SignalKind::hangup()),
    ) else {
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = term.recv() => return,
            _ = int.recv() => return,
            _ = hup.recv() => reload(),
        }
    }
}

fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind)
        .inspect_err(|error| tracing::error!(%error, "cannot listen for a signal; its default stays"))
        .ok()
}
