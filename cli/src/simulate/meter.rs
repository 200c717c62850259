//! Counts the bytes of TLS streams by passing them through a loopback socket.
//!
//! The MQTT client owns its socket and shows no counters, so the simulated devices dial the meter, and the meter the
//! broker. What a connection costs to set up (TLS handshake, session tickets, MQTT CONNECT and CONNACK) is counted apart:
//! everything until the client speaks for the first time after the server's second flight.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Bytes so far, both ways.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    stream: AtomicU64,
    handshake: AtomicU64,
}

/// How often the speaker changed on one connection; odd: the server spoke last.
#[derive(Debug, Default)]
struct Turns(AtomicU64);

/// The turn in which the client first speaks after the server's second flight.
const SET_UP: u64 = 4;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Speaker {
    Client,
    Server,
}

impl Turns {
    /// The turn that bytes of this speaker belong to.
    fn of(&self, speaker: Speaker) -> u64 {
        let parity = u64::from(speaker == Speaker::Server);
        let step = |turn: u64| (turn % 2 != parity).then_some(turn + 1);
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step) {
            Ok(before) => before + 1,
            Err(same) => same,
        }
    }
}

impl Meter {
    /// Bytes after the connections were set up.
    pub(crate) fn stream_bytes(&self) -> u64 {
        self.stream.load(Ordering::Relaxed)
    }

    /// Bytes of setting connections up.
    pub(crate) fn handshake_bytes(&self) -> u64 {
        self.handshake.load(Ordering::Relaxed)
    }

    fn count(&self, turn: u64, bytes: usize) {
        let counter = if turn < SET_UP {
            &self.handshake
        } else {
            &self.stream
        };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Listens on a loopback port and passes every connection on to `broker` until the token is cancelled.
    pub(crate) async fn listen(
        self: Arc<Self>,
        broker: SocketAddr,
        tasks: &TaskTracker,
        shutdown: CancellationToken,
    ) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let connections = tasks.clone();
        tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = shutdown.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                // A refused accept (no file descriptor left) is the device's to retry.
                let Ok((client, _)) = accepted else { continue };
                let meter = Arc::clone(&self);
                let shutdown = shutdown.clone();
                connections.spawn(async move {
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        () = meter.pass(client, broker) => {}
                    }
                });
            }
        });
        Ok(address)
    }

    /// Passes bytes until either side closes; a side that cannot be reached closes the other, as a link would.
    async fn pass(&self, client: TcpStream, broker: SocketAddr) {
        let Ok(server) = TcpStream::connect(broker).await else {
            return;
        };
        if client
            .set_nodelay(true)
            .and_then(|()| server.set_nodelay(true))
            .is_err()
        {
            return;
        }
        let turns = Turns::default();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            _ = self.copy(from_client, to_server, &turns, Speaker::Client) => {}
            _ = self.copy(from_server, to_client, &turns, Speaker::Server) => {}
        }
    }

    async fn copy(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        turns: &Turns,
        speaker: Speaker,
    ) -> io::Result<()> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return to.shutdown().await;
            }
            self.count(turns.of(speaker), read);
            to.write_all(&buffer[..read]).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_set_up_when_the_client_speaks_again_after_the_second_flight() {
        let turns = Turns::default();
        let said = [
            Speaker::Client,
            Speaker::Client,
            Speaker::Server,
            Speaker::Client,
            Speaker::Server,
            Speaker::Client,
        ];
        let order: Vec<u64> = said.into_iter().map(|s| turns.of(s)).collect();
        assert_eq!(order, [0, 0, 1, 2, 3, SET_UP]);
    }
}
