//! A TLS stream that holds no memory for bytes that are not there.
//!
//! rustls's buffered connection keeps room for the next record, more than all else that an idle connection has of it. This one
//! uses its unbuffered interface: what came in and is no whole record yet, what is decrypted and not read, and what is
//! encrypted and not written are in buffers that are given back when they are empty. None exceeds a few records, as more is read
//! only when all before is taken, and encrypted only when all before is written.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{CommonState, Error, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read from the socket at a time.
const READ: usize = 16 << 10;

/// Bytes that are encrypted at a time.
const WRITE: usize = 64 << 10;

/// Bytes of records that may wait to become whole; a message of the handshake may be in several.
const MAX_INCOMING: usize = 64 << 10;

/// What is to be sent as soon as it may be.
#[derive(Debug, Clone, Copy)]
enum Sending<'a> {
    Nothing,
    Data(&'a [u8]),
    Goodbye,
}

/// How far the connection came with what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// The handshake needs more.
    Handshake,
    /// Data may be sent, and what was to be sent is in `outgoing`.
    Open,
    /// Both have said goodbye.
    Closed,
}

/// See the module.
pub(crate) struct TlsStream<S> {
    socket: S,
    tls: UnbufferedServerConnection,
    /// Not decrypted yet.
    incoming: Vec<u8>,
    /// Decrypted and not read.
    plain: BytesMut,
    /// Encrypted and not written.
    outgoing: BytesMut,
    /// The peer has said goodbye.
    ended: bool,
    /// So did we.
    said_goodbye: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Shakes hands as a server.
    ///
    /// # Errors
    /// The socket's, or a [`rustls::Error`] within; the peer was told of it if it took that at once.
    pub(crate) async fn accept(config: Arc<ServerConfig>, socket: S) -> io::Result<Self> {
        let tls = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        let mut stream = TlsStream {
            socket,
            tls,
            incoming: Vec::new(),
            plain: BytesMut::new(),
            outgoing: BytesMut::new(),
            ended: false,
            said_goodbye: false,
        };
        std::future::poll_fn(|context| stream.poll_handshake(context)).await?;
        Ok(stream)
    }

    /// What rustls knows of the connection.
    pub(crate) fn state(&self) -> &CommonState {
        &self.tls
    }

    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let reached = self.advance(Sending::Nothing, context)?;
            ready!(self.poll_drain(context))?;
            match reached {
                Reached::Open => return Poll::Ready(Ok(())),
                Reached::Closed => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Reached::Handshake => ready!(self.poll_fill(context))?,
            }
        }
    }

    /// Takes in what came, and encrypts what is to be sent. On an error the peer is told, if it takes that at once.
    fn advance(&mut self, sending: Sending<'_>, context: &mut Context<'_>) -> io::Result<Reached> {
        let reached = self.process(sending);
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
        reached.map_err(|error| {
            self.alert();
            // What ends the connection is known already.
            let _ = self.poll_drain(context);
            io::Error::new(io::ErrorKind::InvalidData, error)
        })
    }

    fn process(&mut self, sending: Sending<'_>) -> Result<Reached, Error> {
        loop {
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(&mut self.incoming);
            let reached = match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    put(&mut self.outgoing, |out| data.encode(out).map_err(encode_error))?;
                    None
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        self.plain.extend_from_slice(record?.payload);
                    }
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.ended = true;
                    None
                }
                Ok(ConnectionState::Closed) => Some(Reached::Closed),
                Ok(ConnectionState::BlockedHandshake) => Some(Reached::Handshake),
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    match sending {
                        Sending::Nothing => {}
                        Sending::Data(data) => put(&mut self.outgoing, |out| {
                            traffic.encrypt(data, out).map_err(encrypt_error)
                        })?,
                        Sending::Goodbye => put(&mut self.outgoing, |out| {
                            traffic.queue_close_notify(out).map_err(encrypt_error)
                        })?,
                    }
                    Some(Reached::Open)
                }
                // Early data, which is never offered.
                Ok(_) => return Err(Error::General("an unknown state of TLS".into())),
                Err(error) => {
                    self.incoming.drain(..discard);
                    return Err(error);
                }
            };
            self.incoming.drain(..discard);
            if let Some(reached) = reached {
                return Ok(reached);
            }
        }
    }

    /// Puts what an error left to be told into `outgoing`. Nothing is taken in any more: it would be an error again.
    fn alert(&mut self) {
        while self.tls.wants_write() {
            let UnbufferedStatus { state, .. } = self.tls.process_tls_records(&mut self.incoming);
            let Ok(ConnectionState::EncodeTlsData(mut data)) = state else {
                return;
            };
            if put(&mut self.outgoing, |out| data.encode(out).map_err(encode_error)).is_err() {
                return;
            }
        }
    }

    /// Reads from the socket; its end is an error, as TLS has a goodbye of its own.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.incoming.len() > MAX_INCOMING {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let mut bytes = [MaybeUninit::uninit(); READ];
        let mut bytes = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut bytes))?;
        self.incoming.extend_from_slice(bytes.filled());
        Poll::Ready(match bytes.filled().len() {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        })
    }

    /// Writes what is encrypted.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(context, &self.outgoing))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.advance(written);
        }
        self.outgoing = BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.plain.is_empty() && !this.ended {
            ready!(this.poll_fill(context))?;
            this.advance(Sending::Nothing, context)?;
            // An answer of TLS itself, as to new keys; what the socket does not take now goes with the next write.
            if let Poll::Ready(drained) = this.poll_drain(context) {
                drained?;
            }
        }
        let some = this.plain.len().min(out.remaining());
        out.put_slice(&this.plain.split_to(some));
        if this.plain.is_empty() {
            this.plain = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drain(context))?;
        let some = &data[..data.len().min(WRITE)];
        if this.advance(Sending::Data(some), context)? != Reached::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if let Poll::Ready(drained) = this.poll_drain(context) {
            drained?;
        }
        Poll::Ready(Ok(some.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(context))?;
        Pin::new(&mut this.socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.said_goodbye {
            this.said_goodbye = true;
            this.advance(Sending::Goodbye, context)?;
        }
        ready!(this.poll_drain(context))?;
        Pin::new(&mut this.socket).poll_shutdown(context)
    }
}

/// Adds bytes of which it is known only afterwards how many they are.
fn put(out: &mut BytesMut, mut write: impl FnMut(&mut [u8]) -> Result<usize, Refused>) -> Result<(), Error> {
    let before = out.len();
    let mut room = 0;
    loop {
        out.resize(before + room, 0);
        match write(&mut out[before..]) {
            Ok(written) => {
                out.truncate(before + written);
                return Ok(());
            }
            Err(Refused::Room(needed)) if needed > room => room = needed,
            Err(_) => {
                out.truncate(before);
                return Err(Error::EncryptError);
            }
        }
    }
}

/// Why nothing was written.
enum Refused {
    /// So many bytes are needed.
    Room(usize),
    Never,
}

fn encode_error(error: EncodeError) -> Refused {
    match error {
        EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => {
            Refused::Room(required_size)
        }
        EncodeError::AlreadyEncoded => Refused::Never,
    }
}

fn encrypt_error(error: EncryptError) -> Refused {
    match error {
        EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => {
            Refused::Room(required_size)
        }
        EncryptError::EncryptExhausted => Refused::Never,
    }
}

#[cfg(test)]
mod tests;
