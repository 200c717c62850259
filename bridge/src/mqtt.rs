//! The bridge's MQTT connection: an ordinary client of any MQTT 3.1.1 broker, with a clean session.
//!
//! A message is acknowledged to the broker when it is read, a handful at a time with one write, not when it is
//! committed: PUBACK means "received", the device's ack means "durable". While the bounded queue of the ingest thread is
//! full nothing more is read, and the broker holds back. Each connection has an event loop of its own, since an old one would replay its requests.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Outgoing as Sent, Packet, Publish, QoS,
    SubscribeFilter, SubscribeReasonCode, TlsConfiguration, Transport,
};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use wire::topic::{Down, PREFIX, Up};
use wire::{DeviceName, Topic};

use crate::config::MqttEndpoint;
use crate::ingest::{Input, Message, Outgoing};
use crate::metrics::Metrics;

/// Payload bytes that may wait for the ingest thread.
pub(crate) const QUEUE_BYTES: usize = 64 << 20;

/// The largest packet read: far beyond what devices may send, so that a stray large message on a foreign broker is
/// counted and dropped instead of ending every connection that meets it.
const MAX_PACKET: usize = 4 << 20;

const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Also bounds each write, so it must outlast a busy broker.
const NETWORK_TIMEOUT_SECONDS: u64 = 60;

/// Requests on their way to the event loop.
const REQUESTS: usize = 256;

/// Bounds of the pause before the next attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Everything the connection needs.
pub(crate) struct Link {
    pub(crate) endpoint: MqttEndpoint,
    pub(crate) client_id: DeviceName,
    pub(crate) shards: Option<Vec<u8>>,
    pub(crate) inputs: Sender<Input>,
    pub(crate) queue: Arc<Semaphore>,
    pub(crate) subscribed: watch::Sender<bool>,
    pub(crate) metrics: Metrics,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("the broker refused a subscription; does the certificate have the role bridge?")]
    Refused,
    #[error("the client's queue is closed")]
    Client,
    #[error("the bridge said goodbye")]
    Goodbye,
}

impl Link {
    /// Dials, subscribes and reads until `shutdown`; then lets the ingest thread finish and publishes its last acks.
    pub(crate) async fn run(self, mut acks: mpsc::Receiver<Outgoing>, shutdown: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while !shutdown.is_cancelled() {
            let (client, events) = self.dial();
            let lost = tokio::select! {
                lost = self.read(&client, events, &shutdown) => lost,
                never = publish(&client, &mut acks) => match never {},
                never = self.stop(&shutdown) => match never {},
            };
            if self.subscribed.send_replace(false) {
                pause = FIRST_PAUSE;
            }
            self.metrics.mqtt_connected.set(0);
            // A send fails only when the ingest thread is gone, which ends the bridge elsewhere.
            let _ = self.inputs.send(Input::Offline);
            if !shutdown.is_cancelled() {
                tracing::warn!(error = %lost, "no connection to the broker; dialling again");
            }
            tokio::select! {
                () = tokio::time::sleep(pause.mul_f64(fastrand::f64())) => {}
                () = discard(&mut acks, &self.metrics) => return,
                () = shutdown.cancelled() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        let _ = self.inputs.send(Input::Stop);
        discard(&mut acks, &self.metrics).await;
    }

    fn dial(&self) -> (AsyncClient, EventLoop) {
        let id = self.client_id.to_string();
        let mut options = match &self.endpoint {
            MqttEndpoint::Unix(path) => {
                let mut options = MqttOptions::new(id, path.to_string_lossy(), 0);
                options.set_transport(Transport::unix());
                options
            }
            MqttEndpoint::Tls { host, port, tls } => {
                let mut options = MqttOptions::new(id, host, *port);
                let tls = TlsConfiguration::Rustls(Arc::clone(tls));
                options.set_transport(Transport::tls_with_config(tls));
                options
            }
        };
        options.set_keep_alive(KEEP_ALIVE);
        options.set_clean_session(true);
        options.set_max_packet_size(MAX_PACKET, MAX_PACKET);
        let (client, mut events) = AsyncClient::new(options, REQUESTS);
        events
            .network_options
            .set_connection_timeout(NETWORK_TIMEOUT_SECONDS);
        events.network_options.set_tcp_nodelay(true);
        (client, events)
    }

    fn filters(&self) -> Vec<SubscribeFilter> {
        let filter = |channel: Up, shard: &str| {
            SubscribeFilter::new(
                format!("{PREFIX}+/{}/{shard}", channel.as_str()),
                QoS::AtLeastOnce,
            )
        };
        let shards = match &self.shards {
            None => vec!["+".to_owned()],
            Some(shards) => shards.iter().map(|shard| format!("{shard:02x}")).collect(),
        };
        shards
            .iter()
            .flat_map(|shard| Up::ALL.map(|channel| filter(channel, shard)))
            .collect()
    }

    async fn read(&self, client: &AsyncClient, mut events: EventLoop, shutdown: &CancellationToken) -> Lost {
        loop {
            let event = match events.poll().await {
                Ok(event) => event,
                Err(error) => return error.into(),
            };
            match event {
                Event::Incoming(Packet::ConnAck(_)) => {
                    self.metrics.mqtt_connections.inc();
                    if client.try_subscribe_many(self.filters()).is_err() {
                        return Lost::Client;
                    }
                }
                Event::Incoming(Packet::SubAck(ack)) => {
                    if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
                        return Lost::Refused;
                    }
                    self.subscribed.send_replace(true);
                    self.metrics.mqtt_connected.set(1);
                    tracing::info!("subscribed at the broker");
                }
                // Once stopping, nothing more is taken in: what gets no ack, the devices send again.
                Event::Incoming(Packet::Publish(_)) if shutdown.is_cancelled() => {
                    self.metrics.ignored.with_label_values(&["stopping"]).inc();
                }
                Event::Incoming(Packet::Publish(publish)) => self.take(&publish).await,
                Event::Outgoing(Sent::Disconnect) => return Lost::Goodbye,
                _ => {}
            }
        }
    }

    /// At the shutdown, asks the ingest thread to finish; its last acks still go out on this connection.
    async fn stop(&self, shutdown: &CancellationToken) -> Infallible {
        shutdown.cancelled().await;
        let _ = self.inputs.send(Input::Stop);
        std::future::pending().await
    }

    /// Puts a message into the queue, once there is room for it.
    async fn take(&self, publish: &Publish) {
        let Some(Topic::Up(device, channel)) = Topic::parse(&publish.topic) else {
            self.metrics.ignored.with_label_values(&["topic"]).inc();
            return;
        };
        // At most MAX_PACKET, so it fits a u32 and the queue.
        let bytes = publish.payload.len() as u32;
        let Ok(permit) = Arc::clone(&self.queue).acquire_many_owned(bytes).await else {
            return;
        };
        // The payload is a slice of a larger read buffer, which would stay as long as the journal's group does.
        let payload = bytes::Bytes::copy_from_slice(&publish.payload);
        let message = Message {
            device,
            channel,
            retained: publish.retain,
            payload,
        };
        let _ = self.inputs.send(Input::Message(message, permit));
    }
}

/// Publishes acks and configurations until the ingest thread ends, then says goodbye; `read` sees how the connection ends.
async fn publish(client: &AsyncClient, acks: &mut mpsc::Receiver<Outgoing>) -> Infallible {
    while let Some(outgoing) = acks.recv().await {
        // A broker keeps the last configuration for a device that is away.
        let (qos, retain) = match outgoing.channel {
            Down::Ack => (QoS::AtMostOnce, false),
            Down::Config | Down::Cmd => (QoS::AtLeastOnce, true),
        };
        let topic = Topic::Down(outgoing.device, outgoing.channel).to_string();
        if client
            .publish(topic, qos, retain, outgoing.payload)
            .await
            .is_err()
        {
            break;
        }
    }
    let _ = client.disconnect().await;
    std::future::pending().await
}

/// Throws away what there is no connection to publish on; ends when the ingest thread does.
async fn discard(acks: &mut mpsc::Receiver<Outgoing>, metrics: &Metrics) {
    while let Some(outgoing) = acks.recv().await {
        match outgoing.channel {
            Down::Ack => metrics.acks_dropped.inc(),
            Down::Config | Down::Cmd => metrics.device_rules.dropped.inc(),
        }
    }
}
