//! The thread that talks to one router.

use std::collections::{HashMap, HashSet};
use std::io;

use bytes::Bytes;
use rumqttd::local::{LinkBuilder, LinkError, LinkRx, LinkTx};
use rumqttd::protocol::{
    Disconnect, DisconnectReasonCode, Filter, Packet, PingReq, Publish, QoS, RetainForwardRule, Subscribe,
    Unsubscribe,
};
use rumqttd::{Router, RouterConfig};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// Links at the same time: operators, the probe and the copies of states.
const MAX_LINKS: usize = 258;

/// Filters in a router's life; each has a log of 256 KiB at most.
const MAX_FILTERS: usize = 512;

/// Topics in a router's life.
const MAX_TOPICS: usize = 200_000;

/// Bytes that the router retains; what comes beyond is passed and not retained.
const MAX_RETAINED: usize = 128 << 20;

/// Names a link within one router's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkId(usize);

/// What the feeder is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    Open {
        reply: oneshot::Sender<Opened>,
    },
    Publish {
        id: LinkId,
        topic: String,
        payload: Bytes,
        retain: bool,
    },
    /// A device's state, retained.
    Copy {
        topic: String,
        payload: Bytes,
    },
    Subscribe {
        id: LinkId,
        filter: String,
    },
    Unsubscribe {
        id: LinkId,
        filter: String,
    },
    Ping {
        id: LinkId,
    },
    /// Ends a link; only when nothing of it is under way, see [`super::link`].
    Close {
        id: LinkId,
    },
}

/// A link's receiving end.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) id: LinkId,
    pub(crate) rx: LinkRx,
}

/// Why the feeder ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("{0}")]
    Link(String),
    #[error("the router holds as many {0} as it may")]
    Full(&'static str),
}

impl From<LinkError> for End {
    /// The text is all that is of use: what is in a link error is what could not be sent.
    fn from(error: LinkError) -> Self {
        End::Link(error.to_string())
    }
}

type Build = Box<dyn Fn(&str) -> Result<(LinkTx, LinkRx), End> + Send>;

/// Starts a router and its feeder, which ends when the router dies or all senders of commands are gone.
pub(crate) fn spawn(commands: mpsc::Receiver<Command>) -> io::Result<()> {
    let config = RouterConfig {
        max_connections: 2 * MAX_LINKS,
        max_outgoing_packet_count: 200,
        max_segment_size: 64 << 10,
        max_segment_count: 4,
        ..RouterConfig::default()
    };
    let runtime = Handle::current();
    std::thread::Builder::new()
        .name("router-feeder".to_owned())
        .spawn(move || {
            let router = Router::new(0, config).spawn();
            let build = move |name: &str| {
                let (tx, rx, _) = LinkBuilder::new(name, router.clone())
                    .clean_session(true)
                    .build()?;
                Ok((tx, rx))
            };
            if let Err(end) = runtime.block_on(Feeder::new(Box::new(build)).run(commands)) {
                tracing::warn!(reason = %end, "feeder of the router ended");
            }
        })
        .map(drop)
}

struct Feeder {
    build: Build,
    links: Vec<Option<LinkTx>>,
    copies: Option<LinkId>,
    filters: HashSet<String>,
    topics: HashSet<String>,
    retained: HashMap<String, usize>,
    retained_bytes: usize,
}

impl Feeder {
    fn new(build: Build) -> Self {
        Feeder {
            build,
            links: Vec::new(),
            copies: None,
            filters: HashSet::new(),
            topics: HashSet::new(),
            retained: HashMap::new(),
            retained_bytes: 0,
        }
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Result<(), End> {
        while let Some(command) = commands.recv().await {
            self.carry_out(command).await?;
        }
        Ok(())
    }

    async fn carry_out(&mut self, command: Command) -> Result<(), End> {
        match command {
            Command::Open { reply } => {
                // Without a free name the reply is dropped, which the operator's connection takes as a refusal.
                if let Some(opened) = self.open()?
                    && let Err(opened) = reply.send(opened)
                {
                    return self.close(opened.id).await;
                }
                Ok(())
            }
            Command::Publish {
                id,
                topic,
                payload,
                retain,
            } => self.publish(id, topic, &payload, retain).await,
            Command::Copy { topic, payload } => {
                if self.copies.is_none() {
                    // What the router says on this link (acks of nothing) is never read.
                    self.copies = self.open()?.map(|opened| opened.id);
                }
                match self.copies {
                    Some(id) => self.publish(id, topic, &payload, true).await,
                    None => Ok(()),
                }
            }
            Command::Subscribe { id, filter } => {
                self.filters.insert(filter.clone());
                if self.filters.len() > MAX_FILTERS {
                    return Err(End::Full("filters"));
                }
                let filter = Filter {
                    path: filter,
                    qos: QoS::AtMostOnce,
                    nolocal: false,
                    preserve_retain: false,
                    retain_forward_rule: RetainForwardRule::OnEverySubscribe,
                };
                self.send(
                    id,
                    Packet::Subscribe(
                        Subscribe {
                            pkid: 1,
                            filters: vec![filter],
                        },
                        None,
                    ),
                )
                .await
            }
            Command::Unsubscribe { id, filter } => {
                self.send(
                    id,
                    Packet::Unsubscribe(
                        Unsubscribe {
                            pkid: 1,
                            filters: vec![filter],
                        },
                        None,
                    ),
                )
                .await
            }
            Command::Ping { id } => self.send(id, Packet::PingReq(PingReq)).await,
            Command::Close { id } => self.close(id).await,
        }
    }

    /// Opens a link under a name that no other link has.
    fn open(&mut self) -> Result<Option<Opened>, End> {
        let free = self.links.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.links.len());
        if slot >= MAX_LINKS {
            return Ok(None);
        }
        let (tx, rx) = (self.build)(&format!("link-{slot}"))?;
        if slot == self.links.len() {
            self.links.push(None);
        }
        self.links[slot] = Some(tx);
        Ok(Some(Opened { id: LinkId(slot), rx }))
    }

    async fn close(&mut self, id: LinkId) -> Result<(), End> {
        let disconnect = Disconnect {
            reason_code: DisconnectReasonCode::NormalDisconnection,
        };
        self.send(id, Packet::Disconnect(disconnect, None)).await?;
        if let Some(link) = self.links.get_mut(id.0) {
            *link = None;
        }
        Ok(())
    }

    async fn publish(&mut self, id: LinkId, topic: String, payload: &[u8], retain: bool) -> Result<(), End> {
        if !self.topics.contains(&topic) {
            self.topics.insert(topic.clone());
        }
        if self.topics.len() > MAX_TOPICS {
            return Err(End::Full("topics"));
        }
        let retain = retain && self.may_retain(&topic, payload.len());
        // Both are copied: what the router keeps must not pin a read buffer.
        let topic = Bytes::copy_from_slice(topic.as_bytes());
        let publish = Publish::new(topic, Bytes::copy_from_slice(payload), retain);
        self.send(id, Packet::Publish(publish, None)).await
    }

    /// Accounts for a retained message; an empty one removes the one before.
    fn may_retain(&mut self, topic: &str, len: usize) -> bool {
        if let Some(old) = self.retained.remove(topic) {
            self.retained_bytes -= old;
        }
        if self.retained_bytes + len > MAX_RETAINED {
            return false;
        }
        if len > 0 {
            self.retained.insert(topic.to_owned(), len);
            self.retained_bytes += len;
        }
        true
    }

    async fn send(&mut self, id: LinkId, packet: Packet) -> Result<(), End> {
        if let Some(Some(link)) = self.links.get_mut(id.0) {
            link.send(packet).await?;
        }
        Ok(())
    }
}
