//! The MQTT connection: rumqttc driven as a dumb pipe, one fresh event loop per connection.
//!
//! Nothing is kept across connections: what was on its way when one ended is the delivery's to send again. rumqttc tells
//! PUBACKs by packet id only, so ids are matched in order: one task publishes, and packets leave in that order.

mod backoff;
mod session;

use std::sync::Arc;

use bytes::Bytes;
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wire::{DeviceName, Nonce};

pub use backoff::Backoff;

use crate::delivery::{MessageId, Publish, farewell};
use session::Ended;

/// Messages that wait for the event loop.
const PUBLISHES: usize = 16;

/// Events that wait for the agent.
const EVENTS: usize = 64;

/// Where a broker listens, TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Name or IPv4 address; also what its certificate must say.
    pub host: String,
    /// Port, usually 8883.
    pub port: u16,
}

/// What the uplink needs to know.
#[derive(Debug, Clone)]
pub(crate) struct UplinkConfig {
    pub(crate) name: DeviceName,
    pub(crate) brokers: Vec<BrokerAddress>,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) backoff: Backoff,
    pub(crate) agent_version: String,
}

/// What happened on the connection.
#[derive(Debug)]
pub(crate) enum Event {
    /// A broker accepted; rows may go once the bridge answers.
    Connected(Nonce),
    /// The connection is gone, and with it what was not PUBACKed.
    Disconnected,
    /// The broker has a message.
    PubAck(MessageId),
    /// The bridge says something.
    Ack(Bytes),
    /// The bridge wants a configuration in force.
    Config(Bytes),
}

/// The agent's ends of a running uplink.
#[derive(Debug)]
pub(crate) struct Uplink {
    pub(crate) publishes: mpsc::Sender<(Nonce, Publish)>,
    pub(crate) events: mpsc::Receiver<Event>,
}

/// Starts the uplink; the task ends, saying goodbye to the broker, once `stop` is cancelled.
pub(crate) fn start(config: UplinkConfig, stop: CancellationToken) -> (Uplink, tokio::task::JoinHandle<()>) {
    let (publishes, inlet) = mpsc::channel(PUBLISHES);
    let (outlet, events) = mpsc::channel(EVENTS);
    let task = tokio::spawn(drive(config, inlet, outlet, stop));
    (Uplink { publishes, events }, task)
}

/// One connection after the other, with pauses.
async fn drive(
    config: UplinkConfig,
    mut publishes: mpsc::Receiver<(Nonce, Publish)>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) {
    let mut attempts = backoff::Attempts::new(config.backoff);
    for broker in config.brokers.iter().cycle() {
        let nonce = Nonce::new(fastrand::u64(1..));
        let options = session::options(&config, broker, farewell(nonce, &config.agent_version));
        let session = session::Session::new(options, &config.name, nonce);
        let ended = session.run(&mut publishes, &events, &stop).await;
        match ended {
            Ended::Stopped | Ended::AgentGone => return,
            Ended::Lost { error, lived } => {
                tracing::info!(broker = %broker.host, port = broker.port, %error, "disconnected");
                attempts.ended(lived);
                if events.send(Event::Disconnected).await.is_err() {
                    return;
                }
            }
        }
        if stop
            .run_until_cancelled(tokio::time::sleep(attempts.pause()))
            .await
            .is_none()
        {
            return;
        }
    }
}
