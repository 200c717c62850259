//! One connection: from CONNECT to its end.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectionError, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS, SubscribeFilter,
    TlsConfiguration, Transport,
};
use tokio::pin;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::topic::{Down, Topic, Up};
use wire::{DeviceName, Nonce};

use crate::delivery::{MessageId, Publish};
use crate::uplink::{BrokerAddress, Event, UplinkConfig};

const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Bounds connecting and every flush; a message may take this long on a bad link. Seconds.
const PATIENCE: u64 = 60;

/// Largest packets in and out, bytes: a message of 64 KiB and its topic, with room.
const MAX_PACKET: usize = 80 << 10;

/// Requests that wait in rumqttc.
const REQUESTS: usize = 16;

/// Packets without PUBACK; what may be on its way is bounded in bytes elsewhere.
const INFLIGHT: u16 = 1000;

/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// How a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The agent stops.
    Stopped,
    /// Nobody takes the events.
    AgentGone,
    /// The link is gone, or never was.
    Lost {
        error: Box<ConnectionError>,
        lived: Duration,
    },
}

/// One connection.
pub(super) struct Session {
    client: AsyncClient,
    events: EventLoop,
    name: DeviceName,
    nonce: Nonce,
    accepted: Option<Instant>,
    /// Published and not yet numbered by rumqttc, in order.
    queued: VecDeque<MessageId>,
    /// By packet id.
    numbered: HashMap<u16, MessageId>,
}

/// Options of a connection with a will.
pub(super) fn options(config: &UplinkConfig, broker: &BrokerAddress, will: Vec<u8>) -> MqttOptions {
    let mut options = MqttOptions::new(config.name.to_string(), broker.host.clone(), broker.port);
    let topic = Topic::Up(config.name.clone(), Up::State).to_string();
    options
        .set_keep_alive(KEEP_ALIVE)
        .set_clean_session(true)
        .set_inflight(INFLIGHT)
        .set_max_packet_size(MAX_PACKET, MAX_PACKET)
        .set_transport(Transport::Tls(TlsConfiguration::Rustls(config.tls.clone())))
        .set_last_will(LastWill::new(topic, will, QoS::AtLeastOnce, true));
    options
}

impl Session {
    pub(super) fn new(options: MqttOptions, name: &DeviceName, nonce: Nonce) -> Session {
        let (client, mut events) = AsyncClient::new(options, REQUESTS);
        events.network_options.set_connection_timeout(PATIENCE);
        events.network_options.set_tcp_nodelay(true);
        Session {
            client,
            events,
            name: name.clone(),
            nonce,
            accepted: None,
            queued: VecDeque::new(),
            numbered: HashMap::new(),
        }
    }

    /// Runs until the link or the agent ends.
    pub(super) async fn run(
        mut self,
        publishes: &mut mpsc::Receiver<(Nonce, Publish)>,
        events: &mpsc::Sender<Event>,
        stop: &CancellationToken,
    ) -> Ended {
        loop {
            let happened = {
                // Dropping a poll that is flushing would leave bytes behind: it is kept until it is done.
                let poll = self.events.poll();
                pin!(poll);
                loop {
                    let may_queue = self.accepted.is_some() && self.queued.len() < REQUESTS;
                    tokio::select! {
                        happened = &mut poll => break Some(happened),
                        publish = publishes.recv(), if may_queue => match publish {
                            Some(publish) => queue(&self.client, &self.name, self.nonce, &mut self.queued, publish),
                            None => return Ended::AgentGone,
                        },
                        () = stop.cancelled() => break None,
                    }
                }
            };
            match happened {
                None => return self.goodbye().await,
                Some(Err(error)) => {
                    let lived = self.accepted.map_or(Duration::ZERO, |at| at.elapsed());
                    return Ended::Lost {
                        error: Box::new(error),
                        lived,
                    };
                }
                Some(Ok(event)) => {
                    if let Some(event) = self.take(event)
                        && events.send(event).await.is_err()
                    {
                        return Ended::AgentGone;
                    }
                }
            }
        }
    }

    fn take(&mut self, event: rumqttc::Event) -> Option<Event> {
        match event {
            rumqttc::Event::Incoming(Packet::ConnAck(_)) => {
                self.accepted = Some(Instant::now());
                let filter =
                    |down, qos| SubscribeFilter::new(Topic::Down(self.name.clone(), down).to_string(), qos);
                let filters = [
                    filter(Down::Ack, QoS::AtMostOnce),
                    filter(Down::Config, QoS::AtLeastOnce),
                    filter(Down::Cmd, QoS::AtLeastOnce),
                ];
                // The request channel is empty: this is the connection's first request.
                if let Err(error) = self.client.try_subscribe_many(filters) {
                    tracing::warn!(%error, "cannot subscribe");
                }
                Some(Event::Connected(self.nonce))
            }
            rumqttc::Event::Outgoing(Outgoing::Publish(packet)) => {
                if let Some(id) = self.queued.pop_front() {
                    self.numbered.insert(packet, id);
                }
                None
            }
            rumqttc::Event::Incoming(Packet::PubAck(ack)) => {
                self.numbered.remove(&ack.pkid).map(Event::PubAck)
            }
            rumqttc::Event::Incoming(Packet::Publish(publish)) => match Topic::parse(&publish.topic) {
                Some(Topic::Down(name, Down::Ack)) if name == self.name => Some(Event::Ack(publish.payload)),
                Some(Topic::Down(name, Down::Config)) if name == self.name => {
                    Some(Event::Config(publish.payload))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Leaves in order, so that the broker does not publish the will.
    async fn goodbye(mut self) -> Ended {
        if self.accepted.is_some() && self.client.try_disconnect().is_ok() {
            let leave = async { while self.events.poll().await.is_ok() {} };
            tokio::time::timeout(GOODBYE, leave).await.ok();
        }
        Ended::Stopped
    }
}

/// Hands a message of this connection to rumqttc; one of an earlier connection is nobody's any more.
fn queue(
    client: &AsyncClient,
    name: &DeviceName,
    nonce: Nonce,
    queued: &mut VecDeque<MessageId>,
    (of, publish): (Nonce, Publish),
) {
    if of != nonce {
        return;
    }
    let topic = Topic::Up(name.clone(), publish.channel).to_string();
    let payload = Vec::from(publish.payload);
    match client.try_publish(topic, QoS::AtLeastOnce, publish.retain, payload) {
        Ok(()) => queued.push_back(publish.id),
        // The channel has room for all that is queued; otherwise the message is sent again in time.
        Err(error) => tracing::warn!(%error, "a message found no room"),
    }
}
