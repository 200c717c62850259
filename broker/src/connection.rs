//! One connection's task: bytes in, bytes out, timers. What they mean is the session's and the table's business.
//!
//! The task reads only while little waits to be written, and fetches from the table only then, so that a peer that does
//! not read costs a bounded amount of memory and pushes back on whoever sends to it.

mod operator;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use certs::PeerCertificate;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
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

/// The most memory that an idle buffer keeps, bytes.
const IDLE_BUFFER: usize = 4096;

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
pub(crate) async fn serve<S>(
    stream: S,
    peer: Peer,
    front: Arc<Front>,
    deadline: Instant,
    pending: OwnedSemaphorePermit,
    recheck: impl FnOnce(&PeerCertificate) -> Option<Fault>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (id, ticket) = front.register(peer.certificate.clone());
    let (read, write) = tokio::io::split(stream);
    let mut connection = Connection {
        id,
        ticket,
        front: Arc::clone(&front),
        read,
        write,
        input: BytesMut::new(),
        output: BytesMut::new(),
        unflushed: false,
        progress: Instant::now(),
        fetch: false,
        session: Session::new(peer.identity.clone(), std::time::Instant::now()),
        operator: (peer.identity.role() == Role::Operator).then(Operator::default),
    };
    let opened = match peer.certificate.as_ref().and_then(recheck) {
        Some(fault) => Err(fault),
        None => timeout_at(deadline, connection.open())
            .await
            .unwrap_or(Err(Fault::HandshakeTime)),
    };
    drop(pending);
    let fault = match opened {
        Ok(()) => {
            if peer.expired {
                front.report_grace(&peer.identity);
            }
            front.metrics.expired.add(i64::from(peer.expired));
            let Err(fault) = connection.run().await;
            front.metrics.expired.sub(i64::from(peer.expired));
            fault
        }
        Err(fault) => {
            front.metrics.refused(fault);
            fault
        }
    };
    front.report(&peer.identity, fault);
    if let Some(operator) = connection.operator.take() {
        operator.end(&front, fault).await;
    }
    front.forget(id, fault);
    connection.close(fault).await;
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
    session: Session,
    operator: Option<Operator>,
}

/// A connection ends only by a fault, be it a goodbye.
type Never = std::convert::Infallible;

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Connection<S> {
    /// Waits for CONNECT.
    async fn open(&mut self) -> Result<(), Fault> {
        loop {
            reserve(&mut self.input);
            let read = tokio::select! {
                fault = self.ticket.was_cut() => return Err(fault),
                read = self.read.read_buf(&mut self.input) => read.map_err(|_| Fault::Io)?,
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
            reserve(&mut self.input);
            tokio::select! {
                fault = self.ticket.was_cut() => return Err(fault),
                read = self.read.read_buf(&mut self.input), if low => match read {
                    Ok(0) => return Err(Fault::Gone),
                    Ok(_) => self.requests().await?,
                    Err(_) => return Err(Fault::Io),
                },
                step = write_some(&mut self.write, &mut self.output), if !self.output.is_empty() || self.unflushed => {
                    self.unflushed = step? == Step::Written;
                    self.progress = Instant::now();
                    if self.output.is_empty() && self.output.capacity() > IDLE_BUFFER {
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

/// Room for the next read: little while the peer is idle, much in the middle of a message.
fn reserve(input: &mut BytesMut) {
    let (least, more) = if input.is_empty() {
        (512, 2048)
    } else {
        (4096, 16_384)
    };
    if input.capacity() - input.len() < least {
        input.reserve(more);
    }
}
