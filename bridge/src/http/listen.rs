//! The listener: plain TCP or TLS, as the web configuration says when a connection comes.
//!
//! Handshakes run beside one another under a deadline; who is too slow or is refused costs the others nothing. There is a
//! bound on connections (`--web.max-connections`), beyond which new ones wait in the system's queue.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;

use super::connection::Connection;
use crate::web::{Peer, Web};

/// The longest handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long to wait after the system refused a connection, for want of file descriptors as a rule.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections.
pub(super) struct Listener {
    tcp: TcpListener,
    web: watch::Receiver<Arc<Web>>,
    slots: Arc<Semaphore>,
    /// How long a connection may be idle.
    idle: Duration,
    done: mpsc::Sender<(Connection, Peer)>,
    ready: mpsc::Receiver<(Connection, Peer)>,
}

impl Listener {
    /// At most so many connections, of which each may be idle for so long.
    pub(super) fn new(tcp: TcpListener, web: watch::Receiver<Arc<Web>>, most: usize, idle: Duration) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        let (done, ready) = mpsc::channel(most);
        Listener {
            tcp,
            web,
            slots: Arc::new(Semaphore::new(most)),
            idle,
            done,
            ready,
        }
    }

    /// A connection, once there is room for one.
    async fn next(
        tcp: &TcpListener,
        slots: &Arc<Semaphore>,
    ) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let slot = Arc::clone(slots)
            .acquire_owned()
            .await
            .map_err(std::io::Error::other)?;
        let (stream, address) = tcp.accept().await?;
        Ok((stream, address, slot))
    }

    /// Begins a handshake, or hands a plain connection on.
    fn begin(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        slot: OwnedSemaphorePermit,
    ) -> Option<(Connection, Peer)> {
        let idle = self.idle;
        let Some(tls) = self.web.borrow().tls.clone() else {
            return Some((
                Connection::new(Either::Left(stream), idle, slot),
                Peer::plain(address),
            ));
        };
        let done = self.done.clone();
        tokio::spawn(async move {
            let shaken = tokio::time::timeout(
                HANDSHAKE,
                TlsAcceptor::from(Arc::clone(&tls.config)).accept(stream),
            );
            if let Ok(Ok(stream)) = shaken.await {
                let (_, session) = stream.get_ref();
                let peer = Peer {
                    address,
                    chain: session.peer_certificates().map(<[_]>::to_vec).unwrap_or_default(),
                    tls: Some(Arc::clone(&tls)),
                };
                if tls.admits(peer.chain.first()) {
                    // The listener is gone only at the end.
                    let connection = Connection::new(Either::Right(Box::new(stream)), idle, slot);
                    let _ = done.send((connection, peer)).await;
                }
            }
        });
        None
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                accepted = Self::next(&self.tcp, &self.slots) => match accepted {
                    Ok((stream, address, slot)) => {
                        if let Some(plain) = self.begin(stream, address, slot) {
                            return plain;
                        }
                    }
                    Err(_) => tokio::time::sleep(PAUSE).await,
                },
                Some(shaken) = self.ready.recv() => return shaken,
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(Peer::plain(self.tcp.local_addr()?))
    }
}

impl Connected<IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        stream.remote_addr().clone()
    }
}
