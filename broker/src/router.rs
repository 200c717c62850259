//! rumqttd's router, for operators: started lazily per operator, watched, and started again when it dies.
//!
//! One thread per router, the feeder, owns all sending ends of links and does what may block (building a link, sending
//! into the router's bounded channel). Rules that keep the router alive, each against a way in which one client can
//! kill it: topics are ASCII and free of wildcards, filters are checked, `$share` and `$SYS` are refused (access rules);
//! links are QoS 0 only, so that no acknowledgement can be out of order; link names come from a bounded set and are
//! used by one link at a time; nothing is sent for a link after its disconnect, see [`link`].
//!
//! What the router keeps for ever is counted by the feeder: at a bound it is started again, empty.

mod feeder;
pub(crate) mod link;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::feeder::{Command, Opened};
use crate::fault::Fault;

/// Commands that may wait for the feeder.
const COMMANDS: usize = 1024;

/// How long an operator waits for the router.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the router is asked whether it is alive.
const PROBE: Duration = Duration::from_secs(2);

/// A pause before the next router, so that one that dies at once does not use up a core.
const PAUSE: Duration = Duration::from_millis(200);

/// One router's life.
#[derive(Debug, Clone)]
struct Life {
    commands: mpsc::Sender<Command>,
    /// Cancelled when the router is given up.
    over: CancellationToken,
}

/// The router of now; none while one is started.
#[derive(Debug, Clone)]
pub(crate) struct RouterHandle(Arc<watch::Sender<Option<Life>>>);

impl RouterHandle {
    /// Without a router; [`supervise`] starts one.
    pub(crate) fn new() -> Self {
        RouterHandle(Arc::new(watch::Sender::new(None)))
    }

    /// Shows operators a state; false: the router is busy or dead.
    pub(crate) fn copy(&self, topic: String, payload: Bytes) -> bool {
        let copy = Command::Copy { topic, payload };
        self.0
            .borrow()
            .as_ref()
            .is_some_and(|life| life.commands.try_send(copy).is_ok())
    }

    /// Opens a link for an operator; waits while a router is started.
    pub(crate) async fn link(&self) -> Result<link::Link, Fault> {
        let ask = async {
            let life = self.0.subscribe().wait_for(Option::is_some).await.ok()?.clone()?;
            let (reply, opened) = oneshot::channel();
            life.commands.send(Command::Open { reply }).await.ok()?;
            let Opened { id, rx } = opened.await.ok()?;
            Some(link::Link::start(id, rx, life.commands, life.over))
        };
        tokio::time::timeout(PATIENCE, ask)
            .await
            .ok()
            .flatten()
            .ok_or(Fault::Router)
    }
}

/// Keeps a router alive until `shutdown`. Each new one is shown the `states` of devices; `died` is called when one has
/// died.
pub(crate) async fn supervise(
    handle: RouterHandle,
    shutdown: CancellationToken,
    states: impl Fn() -> Vec<(String, Bytes)>,
    died: impl Fn(),
) {
    loop {
        let over = shutdown.child_token();
        if let Ok((commands, probe)) = start().await {
            handle.0.send_replace(Some(Life {
                commands: commands.clone(),
                over: over.clone(),
            }));
            let life = async {
                show(states(), &commands).await;
                watch(probe, &commands).await;
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = life => {}
            }
        }
        handle.0.send_replace(None);
        over.cancel();
        if shutdown.is_cancelled() {
            return;
        }
        died();
        tracing::error!("the router for operators has died and is started again; devices are not affected");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Starts a router and its feeder, and opens the link that probes it.
async fn start() -> Result<(mpsc::Sender<Command>, Opened), Fault> {
    let (commands, receiver) = mpsc::channel(COMMANDS);
    feeder::spawn(receiver).map_err(|_| Fault::Router)?;
    let (reply, opened) = oneshot::channel();
    commands
        .send(Command::Open { reply })
        .await
        .map_err(|_| Fault::Router)?;
    let probe = tokio::time::timeout(PATIENCE, opened)
        .await
        .map_err(|_| Fault::Router)?;
    Ok((commands, probe.map_err(|_| Fault::Router)?))
}

/// Shows a router what it is too new to have seen, as fast as it takes it.
async fn show(states: Vec<(String, Bytes)>, commands: &mpsc::Sender<Command>) {
    for (topic, payload) in states {
        // An error: the router is dead already, which `watch` finds.
        let _ = tokio::time::timeout(PATIENCE, commands.send(Command::Copy { topic, payload })).await;
        if commands.is_closed() {
            return;
        }
    }
}

/// Returns when the router is dead: its link breaks, its feeder has ended, or a ping is not answered in time.
async fn watch(mut probe: Opened, commands: &mpsc::Sender<Command>) {
    loop {
        tokio::select! {
            () = commands.closed() => return,
            heard = probe.rx.next() => if heard.is_err() { return },
            () = tokio::time::sleep(PROBE) => {
                let ping = async {
                    commands.send(Command::Ping { id: probe.id }).await.ok()?;
                    Some(link::heard(&mut probe.rx).await)
                };
                if !matches!(tokio::time::timeout(PATIENCE, ping).await, Ok(Some(true))) {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
