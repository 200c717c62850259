//! The listener: plain TCP or TLS, as the web configuration says when a connection comes.
//!
//! Handshakes run beside one another under a deadline, a bounded number at once; who is too slow or is refused costs the
//! others nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::web::{Peer, Web};

/// The longest handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Handshakes at once.
const HANDSHAKES: usize = 256;

/// How long to wait after the system refused a connection, for want of file descriptors as a rule.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection's bytes.
pub(super) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Accepts connections.
pub(super) struct Listener {
    tcp: TcpListener,
    web: watch::Receiver<Arc<Web>>,
    slots: Arc<Semaphore>,
    done: mpsc::Sender<(Stream, Peer)>,
    ready: mpsc::Receiver<(Stream, Peer)>,
}

impl Listener {
    pub(super) fn new(tcp: TcpListener, web: watch::Receiver<Arc<Web>>) -> Self {
        let (done, ready) = mpsc::channel(HANDSHAKES);
        Listener {
            tcp,
            web,
            slots: Arc::new(Semaphore::new(HANDSHAKES)),
            done,
            ready,
        }
    }

    /// Begins a handshake, or hands a plain connection on.
    fn begin(&self, stream: TcpStream, address: SocketAddr) -> Option<(Stream, Peer)> {
        let Some(tls) = self.web.borrow().tls.clone() else {
            let peer = Peer {
                address,
                certificate: None,
            };
            return Some((Either::Left(stream), peer));
        };
        // Beyond the bound it is closed; the client dials again.
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        let done = self.done.clone();
        tokio::spawn(async move {
            let shaken = tokio::time::timeout(
                HANDSHAKE,
                TlsAcceptor::from(Arc::clone(&tls.config)).accept(stream),
            );
            if let Ok(Ok(stream)) = shaken.await {
                let (_, session) = stream.get_ref();
                let certificate = session.peer_certificates().and_then(|chain| chain.first());
                let peer = Peer {
                    address,
                    certificate: certificate.map(|der| der.to_vec()),
                };
                if tls.admits(peer.certificate.as_deref()) {
                    // The listener is gone only at the end.
                    let _ = done.send((Either::Right(Box::new(stream)), peer)).await;
                }
            }
            drop(slot);
        });
        None
    }
}

impl axum::serve::Listener for Listener {
    type Io = Stream;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                accepted = self.tcp.accept() => match accepted {
                    Ok((stream, address)) => {
                        if let Some(plain) = self.begin(stream, address) {
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
        Ok(Peer {
            address: self.tcp.local_addr()?,
            certificate: None,
        })
    }
}

impl Connected<IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        stream.remote_addr().clone()
    }
}
