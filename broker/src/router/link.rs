//! An operator's link to the router.
//!
//! The router panics on a `Ready` (wake) for a link that it has removed. It drains a link's packets at any event of that
//! link, so a disconnect can overtake a wake that was sent before it. Therefore a wake counts as outstanding until
//! something is heard after it: the router sends nothing on a link that it has paused, so whatever is heard proves that
//! it has taken the wake. A link with an outstanding wake is pinged, and closed only when an answer came.

use std::time::Duration;

use bytes::Bytes;
use rumqttd::Notification;
use rumqttd::local::LinkRx;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::feeder::{Command, LinkId};
use crate::fault::Fault;

/// Messages that may wait for the operator's connection; the router drops for one that stays behind.
const WAITING: usize = 16;

/// How long a link that is being closed waits for the router.
const QUIET: Duration = Duration::from_secs(5);

/// A message of the router: topic and payload.
pub(crate) type Message = (String, Bytes);

/// The connection's end of a link; when it is dropped, the link is closed.
#[derive(Debug)]
pub(crate) struct Link {
    id: LinkId,
    messages: mpsc::Receiver<Message>,
    commands: mpsc::Sender<Command>,
}

impl Link {
    /// Starts the task that reads from the router.
    pub(crate) fn start(
        id: LinkId,
        rx: LinkRx,
        commands: mpsc::Sender<Command>,
        over: CancellationToken,
    ) -> Self {
        let (sender, messages) = mpsc::channel(WAITING);
        let pump = Pump {
            id,
            rx,
            commands: commands.clone(),
            woken: false,
        };
        tokio::spawn(async move {
            tokio::select! {
                () = over.cancelled() => {}
                () = pump.run(sender) => {}
            }
        });
        Link {
            id,
            messages,
            commands,
        }
    }

    /// The next message; an error: the router died.
    pub(crate) async fn next(&mut self) -> Result<Message, Fault> {
        self.messages.recv().await.ok_or(Fault::Router)
    }

    /// Publishes; waits while the router is busy.
    pub(crate) async fn publish(&self, topic: String, payload: Bytes, retain: bool) -> Result<(), Fault> {
        self.command(Command::Publish {
            id: self.id,
            topic,
            payload,
            retain,
        })
        .await
    }

    /// Subscribes.
    pub(crate) async fn subscribe(&self, filter: String) -> Result<(), Fault> {
        self.command(Command::Subscribe { id: self.id, filter }).await
    }

    /// Unsubscribes.
    pub(crate) async fn unsubscribe(&self, filter: String) -> Result<(), Fault> {
        self.command(Command::Unsubscribe { id: self.id, filter }).await
    }

    async fn command(&self, command: Command) -> Result<(), Fault> {
        match tokio::time::timeout(super::PATIENCE, self.commands.send(command)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Fault::Router),
        }
    }
}

struct Pump {
    id: LinkId,
    rx: LinkRx,
    commands: mpsc::Sender<Command>,
    /// A wake is outstanding.
    woken: bool,
}

impl Pump {
    async fn run(mut self, messages: mpsc::Sender<Message>) {
        loop {
            let heard = tokio::select! {
                heard = self.rx.next() => heard,
                () = messages.closed() => break,
            };
            let Ok(heard) = heard else {
                return;
            };
            // Nothing: a token of messages that were read before; it proves nothing.
            let Some(heard) = heard else {
                continue;
            };
            self.woken = false;
            match heard {
                Notification::Forward(forward) => {
                    let topic = String::from_utf8_lossy(&forward.publish.topic).into_owned();
                    if messages.send((topic, forward.publish.payload)).await.is_err() {
                        break;
                    }
                }
                Notification::Unschedule => {
                    self.woken = true;
                    if self.rx.wake().await.is_err() {
                        return;
                    }
                }
                _ => {}
            }
        }
        self.close().await;
    }

    async fn close(mut self) {
        if self.woken {
            let ping = self.commands.send(Command::Ping { id: self.id }).await;
            if ping.is_err() || !matches!(tokio::time::timeout(QUIET, heard(&mut self.rx)).await, Ok(true)) {
                // Better one link too many than a router that panics; its name stays taken.
                return;
            }
        }
        // An error: the router is gone, and the link with it.
        let _ = self.commands.send(Command::Close { id: self.id }).await;
    }
}

/// Waits for a sign of life; false: the router is dead.
pub(super) async fn heard(rx: &mut LinkRx) -> bool {
    loop {
        match rx.next().await {
            Ok(Some(_)) => return true,
            Ok(None) => {}
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_woken_link_is_closed_only_after_a_sign_of_life() {
        let (router, opened) = super::super::start().await.unwrap();
        let (commands, mut asked) = mpsc::channel(4);
        let pump = Pump {
            id: opened.id,
            rx: opened.rx,
            commands,
            woken: true,
        };
        let closing = tokio::spawn(pump.close());
        let ping = asked.recv().await.unwrap();
        assert!(matches!(ping, Command::Ping { .. }), "{ping:?}");
        let early = tokio::time::timeout(Duration::from_millis(100), asked.recv()).await;
        assert!(early.is_err(), "closed without an answer: {early:?}");
        router.send(ping).await.unwrap();
        let close = asked.recv().await.unwrap();
        assert!(matches!(close, Command::Close { .. }), "{close:?}");
        closing.await.unwrap();
    }
}
