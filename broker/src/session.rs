//! One connection's MQTT 3.1.1 session, without sockets and clock.
//!
//! The driver appends what it read to a buffer and calls [`Session::receive`] until it answers `None`; each [`Request`]
//! is already checked against the rules of the peer's role. An error ends the connection: the driver sends
//! [`Session::refusal`] if there is one, counts the fault and closes. [`Session::deadline`] says when to call
//! [`Session::tick`]. Sessions are never kept: every CONNECT starts an empty one.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use wire::topic::{Down, Up};
use wire::{DeviceName, Identity, Role};

use crate::acl::{self, Filter, Target};
use crate::fault::Fault;
use crate::frame;
use crate::packet::{self, Answer, Connect, Incoming, Publish, Will};

/// The longest keep-alive that is honoured; also that of a client that asks for none.
const MAX_KEEP_ALIVE: Duration = Duration::from_secs(1800);

/// The most filters of one SUBSCRIBE or UNSUBSCRIBE.
const MAX_FILTERS: usize = 64;

/// What a peer asks for; the driver carries it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// A good CONNECT: register the peer, then answer.
    Open { will: Option<Will> },
    /// A device's message to the bridge.
    Up {
        channel: Up,
        payload: Bytes,
        pkid: Option<u16>,
    },
    /// A bridge's message to a device.
    Down {
        device: DeviceName,
        channel: Down,
        payload: Bytes,
        pkid: Option<u16>,
    },
    /// An operator's message.
    Other {
        topic: String,
        payload: Bytes,
        retain: bool,
        pkid: Option<u16>,
    },
    /// The peer has taken a message of QoS 1.
    Acked(u16),
    /// Filters, and whether QoS 1 is asked for.
    Subscribe { pkid: u16, filters: Vec<(Filter, bool)> },
    /// Filters to give up.
    Unsubscribe { pkid: u16, filters: Vec<Filter> },
    /// Answer a ping.
    Ping,
    /// An orderly end: no will.
    Goodbye,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fresh,
    Open,
    Ended,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    peer: Identity,
    max_payload: usize,
    phase: Phase,
    patience: Duration,
    heard: Instant,
}

impl Session {
    /// A session of a peer that has shown who it is and not yet sent CONNECT.
    pub(crate) fn new(peer: Identity, now: Instant) -> Self {
        let max_payload = match peer.role() {
            Role::Bridge => 2 * wire::limits::MAX_MESSAGE,
            _ => wire::limits::MAX_MESSAGE,
        };
        Session {
            peer,
            max_payload,
            phase: Phase::Fresh,
            patience: MAX_KEEP_ALIVE,
            heard: now,
        }
    }

    /// Who the peer is.
    pub(crate) fn peer(&self) -> &Identity {
        &self.peer
    }

    /// Takes the next request out of `input`; `None`: more bytes are needed. Call after each read, `now` its time.
    pub(crate) fn receive(&mut self, input: &mut BytesMut, now: Instant) -> Result<Option<Request>, Fault> {
        self.heard = now;
        if self.phase == Phase::Ended {
            input.clear();
            return Ok(None);
        }
        let Some(packet) = packet::next(input, self.max_payload)? else {
            return Ok(None);
        };
        match (self.phase, packet) {
            (Phase::Fresh, Incoming::Connect(connect)) => self.connect(connect).map(Some),
            (Phase::Open, packet) => self.packet(packet).map(Some),
            _ => Err(Fault::Unexpected),
        }
    }

    /// When [`Session::tick`] is due.
    pub(crate) fn deadline(&self) -> Instant {
        self.heard + self.patience
    }

    /// Fails when nothing was heard for too long.
    pub(crate) fn tick(&self, now: Instant) -> Result<(), Fault> {
        if now < self.deadline() {
            Ok(())
        } else {
            Err(Fault::KeepAlive)
        }
    }

    /// The driver did not read: silence until now is not the peer's.
    pub(crate) fn excuse(&mut self, now: Instant) {
        self.heard = now;
    }

    /// The answer to a CONNECT that failed with this fault, if it gets one.
    pub(crate) fn refusal(&self, fault: Fault) -> Option<Answer> {
        let answer = match fault {
            Fault::ProtocolVersion => Answer::ProtocolVersion,
            Fault::ClientId => Answer::ClientId,
            Fault::Role | Fault::WillAcl => Answer::NotAuthorized,
            Fault::ConnectionCap => Answer::Unavailable,
            _ => return None,
        };
        (self.phase == Phase::Fresh).then_some(answer)
    }

    /// The driver has registered the peer and answers with CONNACK.
    pub(crate) fn opened(&mut self) {
        self.phase = Phase::Open;
    }

    fn connect(&mut self, connect: Connect) -> Result<Request, Fault> {
        if !connect.version_known {
            return Err(Fault::ProtocolVersion);
        }
        if !matches!(self.peer.role(), Role::Device | Role::Bridge | Role::Operator) {
            return Err(Fault::Role);
        }
        if connect.client_id != self.peer.name().to_string() {
            return Err(Fault::ClientId);
        }
        if let Some(will) = &connect.will {
            // The only topic that the frame guard has not seen.
            if !frame::is_printable(will.topic.as_bytes()) {
                return Err(Fault::Malformed);
            }
            acl::will(&self.peer, &will.topic)?;
            if will.payload.len() > self.max_payload {
                return Err(Fault::TooLarge);
            }
        }
        let asked = Duration::from_secs(u64::from(connect.keep_alive));
        let keep_alive = if asked.is_zero() {
            MAX_KEEP_ALIVE
        } else {
            asked.min(MAX_KEEP_ALIVE)
        };
        self.patience = keep_alive + keep_alive / 2;
        Ok(Request::Open { will: connect.will })
    }

    fn packet(&mut self, packet: Incoming) -> Result<Request, Fault> {
        Ok(match packet {
            Incoming::Connect(_) => return Err(Fault::Unexpected),
            Incoming::Publish(publish) => self.publish(publish)?,
            Incoming::PubAck(pkid) => Request::Acked(pkid),
            Incoming::Subscribe(pkid, filters) => {
                let filters = bounded(filters)?.into_iter();
                let judge = |(filter, qos1): (String, bool)| Ok((acl::subscribe(&self.peer, &filter)?, qos1));
                Request::Subscribe {
                    pkid,
                    filters: filters.map(judge).collect::<Result<_, Fault>>()?,
                }
            }
            Incoming::Unsubscribe(pkid, filters) => {
                let filters = bounded(filters)?.into_iter();
                let judge = |filter: String| acl::subscribe(&self.peer, &filter);
                Request::Unsubscribe {
                    pkid,
                    filters: filters.map(judge).collect::<Result<_, Fault>>()?,
                }
            }
            Incoming::Ping => Request::Ping,
            Incoming::Disconnect => {
                self.phase = Phase::Ended;
                Request::Goodbye
            }
        })
    }

    fn publish(&self, publish: Publish) -> Result<Request, Fault> {
        let Publish {
            topic,
            payload,
            retain,
            pkid,
        } = publish;
        Ok(match acl::publish(&self.peer, &topic)? {
            Target::Up(channel) => Request::Up {
                channel,
                payload,
                pkid,
            },
            Target::Down(device, channel) => Request::Down {
                device,
                channel,
                payload,
                pkid,
            },
            Target::Other => Request::Other {
                topic,
                payload,
                retain,
                pkid,
            },
        })
    }
}

fn bounded<T>(filters: Vec<T>) -> Result<Vec<T>, Fault> {
    if filters.len() > MAX_FILTERS {
        Err(Fault::SubscriptionCap)
    } else {
        Ok(filters)
    }
}

#[cfg(test)]
mod tests;
