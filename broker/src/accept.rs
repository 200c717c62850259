//! Accepting connections: TLS in parallel, each with its own deadline, none able to keep another waiting.
//!
//! Three caps: sockets that have not said who they are (others are closed at once), handshakes that are computed at the
//! same time (taken only when the peer's first bytes are there, so that silent peers hold none), and connections (in
//! the table). One deadline covers TLS and CONNECT.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use certs::{PeerCertificate, Standing};
use nix::unistd::Uid;
use rustls::HandshakeKind;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::name::OWN_TENANT;
use wire::{DeviceId, Identity, Role, Tenant};

use crate::connection::{self, Peer};
use crate::fault::Fault;
use crate::front::Front;
use crate::tls::{self, CurrentTls, TlsStream};

/// Connections on the Unix socket that have not said CONNECT.
const UNIX_PENDING: usize = 64;

/// A pause when the system has no more sockets to give.
const PAUSE: Duration = Duration::from_millis(100);

/// What every accepted connection needs.
#[derive(Debug, Clone)]
pub(crate) struct Acceptor {
    front: Arc<Front>,
    tls: CurrentTls,
    pending: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Acceptor {
    /// An acceptor whose connections run in `tasks`, and which accepts until `shutdown`.
    pub(crate) fn new(
        front: Arc<Front>,
        tls: CurrentTls,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let pending = Arc::new(Semaphore::new(front.limits.pending));
        let handshakes = Arc::new(Semaphore::new(front.limits.handshakes));
        Acceptor {
            front,
            tls,
            pending,
            handshakes,
            tasks,
            shutdown,
        }
    }

    /// Accepts TLS connections.
    pub(crate) async fn tcp(self, listener: TcpListener) {
        while let Some(accepted) = unless(&self.shutdown, listener.accept()).await {
            match accepted {
                Ok((stream, _)) => self.admit(|acceptor, permit| acceptor.serve_tcp(stream, permit)),
                Err(error) => pause(&error).await,
            }
        }
    }

    /// Accepts the bridge on a Unix socket.
    pub(crate) async fn unix(mut self, listener: UnixListener) {
        // A flood on the TLS port must not keep the bridge out.
        self.pending = Arc::new(Semaphore::new(UNIX_PENDING));
        while let Some(accepted) = unless(&self.shutdown, listener.accept()).await {
            match accepted {
                Ok((stream, _)) => self.admit(|acceptor, permit| acceptor.serve_unix(stream, permit)),
                Err(error) => pause(&error).await,
            }
        }
    }

    /// Spawns the task of a socket, or closes it if too many are pending.
    fn admit<F>(&self, serve: impl FnOnce(Acceptor, OwnedSemaphorePermit) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.front.metrics.accepted();
        match Arc::clone(&self.pending).try_acquire_owned() {
            Ok(permit) => drop(self.tasks.spawn(serve(self.clone(), permit))),
            Err(_) => self.front.metrics.refused(Fault::PendingCap),
        }
    }

    async fn serve_tcp(self, stream: TcpStream, pending: OwnedSemaphorePermit) {
        let deadline = Instant::now() + self.front.limits.handshake_time;
        // An error: the peer is gone, which the handshake finds out.
        let _ = stream.set_nodelay(true);
        // What a handshake needs is not kept for the time after it.
        let connection = match Box::pin(self.shake(stream, deadline)).await {
            Ok((stream, peer)) => {
                let tls = Arc::clone(&self.tls);
                // The CRL may have changed since the handshake began; a later change finds the task registered.
                let recheck =
                    move |certificate: &PeerCertificate| tls::judge(&tls.load(), certificate, tls::now());
                connection::serve(*stream, peer, self.front, deadline, pending, recheck)
            }
            Err(fault) => {
                tracing::debug!(reason = fault.reason(), "refused before CONNECT");
                self.front.metrics.refused(fault);
                return;
            }
        };
        connection.await;
    }

    /// The handshake, until the deadline or the end.
    async fn shake(
        &self,
        stream: TcpStream,
        deadline: Instant,
    ) -> Result<(Box<TlsStream<TcpStream>>, Peer), Fault> {
        let shaken = timeout_at(deadline, unless(&self.shutdown, self.handshake(stream))).await;
        let shaken = shaken.map_err(|_| Fault::HandshakeTime)?;
        let (stream, certificate, standing) = shaken.ok_or(Fault::Shutdown)??;
        let peer = Peer {
            identity: certificate.identity().clone(),
            certificate: Some(certificate),
            expired: standing == Standing::Grace,
        };
        Ok((Box::new(stream), peer))
    }

    async fn handshake(
        &self,
        stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, PeerCertificate, Standing), Fault> {
        // Waits for a byte, not for readiness, which may be spurious.
        if !matches!(stream.peek(&mut [0]).await, Ok(n) if n > 0) {
            return Err(Fault::Gone);
        }
        let _computing = self.handshakes.acquire().await.map_err(|_| Fault::Shutdown)?;
        let tls = self.tls.load_full();
        let accepted = TlsStream::accept(tls.config(), stream).await;
        let stream = accepted.map_err(|error| tls::handshake_fault(&error))?;
        let session = stream.state();
        let admitted = tls.admit(session.peer_certificates(), tls::now());
        let (certificate, standing) = admitted.map_err(|refusal| tls::refusal(&refusal))?;
        let kind = if session.handshake_kind() == Some(HandshakeKind::Resumed) {
            "resumed"
        } else {
            "full"
        };
        self.front.metrics.handshakes.with_label_values(&[kind]).inc();
        Ok((stream, certificate, standing))
    }

    async fn serve_unix(self, stream: UnixStream, pending: OwnedSemaphorePermit) {
        let deadline = Instant::now() + self.front.limits.handshake_time;
        let own = stream
            .peer_cred()
            .is_ok_and(|peer| peer.uid() == Uid::effective().as_raw());
        match bridge_identity() {
            Some(identity) if own => {
                let peer = Peer {
                    identity,
                    certificate: None,
                    expired: false,
                };
                connection::serve(stream, peer, self.front, deadline, pending, |_| None).await;
            }
            _ => self.front.metrics.refused(Fault::PeerUser),
        }
    }
}

/// `_backhaul.bridge`, the only one that the Unix socket lets in.
fn bridge_identity() -> Option<Identity> {
    Identity::new(
        Role::Bridge,
        Tenant::new(OWN_TENANT).ok()?,
        DeviceId::new("bridge").ok()?,
    )
    .ok()
}

async fn unless<T>(shutdown: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        () = shutdown.cancelled() => None,
        done = work => Some(done),
    }
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(PAUSE).await;
}
