//! One connection's task: bytes in, bytes out, timers. What they mean is the session's and the table's business.
//!
//! The task reads only while little waits to be written, and fetches from the table only then, so that a peer that does
//! not read costs a bounded amount of memory and pushes back on whoever sends to it.

mod operator;
mod requests;

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use certs::PeerCertificate;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use wire::{Identity, Role};

use self::operator::Operator;
use crate::conn::ConnId;
use crate::fault::Fault;
use crate::front::{Front, Ticket};
use crate::packet::{self, Answer};
use crate::session::{Request, Session};

/// Below this many bytes waiting to be written, more is read and fetched.
const LOW_WATER: usize = 64 << 10;

/// Bytes that are read at a time.
const READ: usize = 16 << 10;

/// How long the last bytes and TLS's goodbye may take.
const LINGER: Duration = Duration::from_millis(500);

/// Who is at the other end.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) identity: Identity,
    /// `None` on the Unix socket.
    pub(crate) certificate: Option<PeerCertificate>,
    /// The certificate is expired and in its grace.
    pub(crate) expired: bool,
}

/// Serves one peer to its end. `pending` is held until CONNECT is accepted; `recheck` judges the certificate once more
/// when the task can be cut off.
///
/// What the future holds is held for each connection as long as it lasts: the stream, which is large, is moved into it
/// once, and what is seldom waited for is boxed.
pub(crate) fn serve<S>(
    stream: S,
    peer: Peer,
    front: Arc<Front>,
    deadline: Instant,
    pending: OwnedSemaphorePermit,
    recheck: impl FnOnce(&PeerCertificate) -> Option<Fault>,
) -> Pin<Box<impl Future<Output = ()> + Send>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (id, ticket) = front.register(peer.certificate.clone());
    let role = peer.identity.role();
    let (read, write) = tokio::io::split(stream);
    let connection = Connection {
        id,
        ticket,
        front,
        read,
        write,
        input: BytesMut::new(),
        output: BytesMut::new(),
        unflushed: false,
        progress: Instant::now(),
        fetch: false,
        expired: peer.expired,
        session: Session::new(peer.identity, std::time::Instant::now()),
        operator: (role == Role::Operator).then(Box::default),
    };
    let refused = peer.certificate.as_ref().and_then(recheck);
    Box::pin(connection.serve(refused, deadline, pending))
}

struct Connection<S> {
    id: ConnId,
    ticket: Arc<Ticket>,
    front: Arc<Front>,
    read: ReadHalf<S>,
    write: WriteHalf<S>,
    input: BytesMut,
    output: BytesMut,
    /// Bytes were handed to TLS that it may still hold.
    unflushed: bool,
    /// When the peer last took bytes, or none were waiting.
    progress: Instant,
    /// The table may have something.
    fetch: bool,
    /// The peer's certificate is.
    expired: bool,
    session: Session,
    operator: Option<Box<Operator>>,
}

/// A connection ends only by a fault, be it a goodbye.
type Never = std::convert::Infallible;

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Connection<S> {
    /// Serves the peer to its end, unless it is refused already.
    async fn serve(mut self, refused: Option<Fault>, deadline: Instant, pending: OwnedSemaphorePermit) {
        let opened = match refused {
            Some(fault) => Err(fault),
            None => Box::pin(timeout_at(deadline, self.open()))
                .await
                .unwrap_or(Err(Fault::HandshakeTime)),
        };
        drop(pending);
        let fault = match opened {
            Ok(()) => {
                if self.expired {
                    self.front.report_grace(self.session.peer());
                }
                self.front.metrics.expired.add(i64::from(self.expired));
                let Err(fault) = self.run().await;
                self.front.metrics.expired.sub(i64::from(self.expired));
                fault
            }
            Err(fault) => {
                self.front.metrics.refused(fault);
                fault
            }
        };
        Box::pin(self.end(fault)).await;
    }

    async fn end(mut self, fault: Fault) {
        self.front.report(self.session.peer(), fault);
        if let Some(operator) = self.operator.take() {
            operator.end(&self.front, fault).await;
        }
        self.front.forget(self.id, fault);
        self.close(fault).await;
    }

    /// Waits for CONNECT.
    async fn open(&mut self) -> Result<(), Fault> {
        loop {
            let read = tokio::select! {
                fault = self.ticket.was_cut() => return Err(fault),
                read = read_some(&mut self.read, &mut self.input) => read?,
            };
            if read == 0 {
                return Err(Fault::Gone);
            }
            let Some(request) = self.session.receive(&mut self.input, std::time::Instant::now())? else {
                continue;
            };
            let Request::Open { will } = request else {
                return Err(Fault::Unexpected);
            };
            if let Some(operator) = &mut self.operator {
                operator.will.clone_from(&will);
            }
            self.front
                .with(|hub| hub.connect(self.id, self.session.peer(), will))?;
            self.session.opened();
            packet::put_connack(&mut self.output, Answer::Accepted);
            return Ok(());
        }
    }

    async fn run(&mut self) -> Result<Never, Fault> {
        // Packets may have come with CONNECT.
        self.requests().await?;
        let timer = sleep_until(self.next_check());
        tokio::pin!(timer);
        loop {
            if self.fetch && self.output.len() < LOW_WATER {
                self.fetch();
            }
            let low = self.output.len() < LOW_WATER;
            tokio::select! {
                fault = self.ticket.was_cut() => return Err(fault),
                read = read_some(&mut self.read, &mut self.input), if low => match read? {
                    0 => return Err(Fault::Gone),
                    _ => self.requests().await?,
                },
                step = write_some(&mut self.write, &mut self.output), if !self.output.is_empty() || self.unflushed => {
                    self.unflushed = step? == Step::Written;
                    self.progress = Instant::now();
                    if self.output.is_empty() {
                        self.output = BytesMut::new();
                    }
                }
                () = self.ticket.wake.notified() => self.fetch = true,
                message = operator::next(&mut self.operator), if low => {
                    operator::deliver(self.session.peer(), message?, &mut self.output);
                }
                () = &mut timer => {
                    self.check()?;
                    timer.as_mut().reset(self.next_check());
                }
            }
        }
    }

    /// When to look at the timers again.
    fn next_check(&self) -> Instant {
        let keep_alive = Instant::from_std(self.session.deadline());
        keep_alive.min(Instant::now() + self.front.limits.write_stall / 2)
    }

    fn check(&mut self) -> Result<(), Fault> {
        let now = Instant::now();
        if self.output.len() < LOW_WATER {
            self.session.tick(now.into_std())?;
        } else {
            // What the peer says is not read now; the stall is what ends this.
            self.session.excuse(now.into_std());
        }
        if self.output.is_empty() && !self.unflushed {
            self.progress = now;
        } else if now - self.progress >= self.front.limits.write_stall {
            return Err(Fault::WriteStall);
        }
        Ok(())
    }

    /// Says goodbye as far as that is quick.
    async fn close(mut self, fault: Fault) {
        if let Some(answer) = self.session.refusal(fault) {
            packet::put_connack(&mut self.output, answer);
        }
        let last = async {
            // Errors: the peer is gone already.
            let _ = self.write.write_all_buf(&mut self.output).await;
            let _ = self.write.shutdown().await;
        };
        if !matches!(fault, Fault::Io | Fault::WriteStall) {
            let _ = timeout(LINGER, last).await;
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Bytes went to TLS, which may still hold them.
    Written,
    /// Nothing is held any more.
    Flushed,
}

/// Writes some bytes, or flushes when there are none. Nothing is lost when it is dropped half-way.
async fn write_some<W: AsyncWrite + Unpin>(write: &mut W, output: &mut BytesMut) -> Result<Step, Fault> {
    if output.is_empty() {
        return write.flush().await.map(|()| Step::Flushed).map_err(|_| Fault::Io);
    }
    match write.write_buf(output).await {
        Ok(n) if n > 0 => Ok(Step::Written),
        _ => Err(Fault::Io),
    }
}

/// Adds bytes to the input, which takes memory only when they are there; 0: there are no more.
async fn read_some<R: AsyncRead + Unpin>(read: &mut R, input: &mut BytesMut) -> Result<usize, Fault> {
    let read = poll_fn(|context| {
        let mut bytes = [MaybeUninit::uninit(); READ];
        let mut bytes = ReadBuf::uninit(&mut bytes);
        let read = ready!(Pin::new(&mut *read).poll_read(context, &mut bytes));
        input.extend_from_slice(bytes.filled());
        Poll::Ready(read.map(|()| bytes.filled().len()))
    });
    read.await.map_err(|_| Fault::Io)
}
