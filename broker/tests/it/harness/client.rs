//! A client that says exactly what a test wants.

use std::io;

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{self, Packet};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::{PATIENCE, SOON};

pub(crate) fn connect(client_id: &str) -> Vec<u8> {
    let mut connect = v4::Connect::new(client_id);
    connect.keep_alive = 60;
    connect_with(&connect)
}

pub(crate) fn connect_with(connect: &v4::Connect) -> Vec<u8> {
    let mut out = BytesMut::new();
    connect.write(&mut out).unwrap();
    out.to_vec()
}

pub(crate) fn publish_packet(topic: &str, pkid: u16, payload: &[u8]) -> Vec<u8> {
    let mut publish = v4::Publish::new(topic, QoS::AtLeastOnce, payload);
    publish.pkid = pkid;
    if pkid == 0 {
        publish.qos = QoS::AtMostOnce;
    }
    let mut out = BytesMut::new();
    publish.write(&mut out).unwrap();
    out.to_vec()
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An MQTT client of the plainest kind.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    input: BytesMut,
    pkid: u16,
}

impl Client {
    pub(crate) fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Client {
            stream: Box::new(stream),
            input: BytesMut::new(),
            pkid: 0,
        }
    }

    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        self.try_say(bytes).await.unwrap();
    }

    pub(crate) async fn try_say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// The next packet; `None`: the stream ended.
    pub(crate) async fn packet(&mut self) -> Option<Packet> {
        timeout(PATIENCE, self.read())
            .await
            .expect("a packet or an end in time")
    }

    async fn read(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.input, usize::MAX) {
                Ok(packet) => return Some(packet),
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("the broker sent {error}"),
            }
            if !matches!(self.stream.read_buf(&mut self.input).await, Ok(n) if n > 0) {
                return None;
            }
        }
    }

    pub(crate) async fn accepted(&mut self) {
        match self.packet().await {
            Some(Packet::ConnAck(ack)) => assert_eq!(ack.code, v4::ConnectReturnCode::Success),
            other => panic!("expected CONNACK, got {other:?}"),
        }
    }

    pub(crate) async fn closed(&mut self) {
        let left = self.packet().await;
        assert_eq!(left, None, "expected the end of the stream");
    }

    /// Nothing comes, and the stream stays open.
    pub(crate) async fn quiet(&mut self) {
        if let Ok(packet) = timeout(SOON, self.read()).await {
            panic!("expected silence, got {packet:?}");
        }
    }

    pub(crate) async fn subscribe(&mut self, filters: &[&str], qos: QoS) {
        self.say(&subscribe_packet(filters, qos)).await;
        match self.packet().await {
            Some(Packet::SubAck(ack)) => assert_eq!(ack.return_codes.len(), filters.len()),
            other => panic!("expected SUBACK, got {other:?}"),
        }
    }

    /// Publishes with QoS 1 and waits for the PUBACK.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &[u8]) {
        let pkid = self.send1(topic, payload).await;
        assert_eq!(self.packet().await, Some(Packet::PubAck(v4::PubAck { pkid })));
    }

    /// Publishes with QoS 1.
    pub(crate) async fn send1(&mut self, topic: &str, payload: &[u8]) -> u16 {
        self.pkid += 1;
        let packet = publish_packet(topic, self.pkid, payload);
        self.say(&packet).await;
        self.pkid
    }

    pub(crate) async fn publish0(&mut self, topic: &str, payload: &[u8]) {
        self.say(&publish_packet(topic, 0, payload)).await;
    }

    /// The next message, confirmed at once.
    pub(crate) async fn message(&mut self) -> v4::Publish {
        let publish = self.unconfirmed().await;
        if publish.pkid != 0 {
            self.confirm(publish.pkid).await;
        }
        publish
    }

    /// The next message.
    pub(crate) async fn unconfirmed(&mut self) -> v4::Publish {
        match self.packet().await {
            Some(Packet::Publish(publish)) => publish,
            other => panic!("expected PUBLISH, got {other:?}"),
        }
    }

    pub(crate) async fn confirm(&mut self, pkid: u16) {
        let mut out = BytesMut::new();
        v4::PubAck { pkid }.write(&mut out).unwrap();
        self.say(&out).await;
    }

    pub(crate) async fn ping(&mut self) {
        self.say(&[0xc0, 0x00]).await;
        assert_eq!(self.packet().await, Some(Packet::PingResp));
    }
}

pub(crate) fn subscribe_packet(filters: &[&str], qos: QoS) -> Vec<u8> {
    let filters = filters.iter().map(|f| v4::SubscribeFilter {
        path: (*f).to_owned(),
        qos,
    });
    let mut subscribe = v4::Subscribe::new_many(filters);
    subscribe.pkid = 1;
    let mut out = BytesMut::new();
    subscribe.write(&mut out).unwrap();
    out.to_vec()
}

pub(crate) fn texts(messages: &[v4::Publish]) -> Vec<Bytes> {
    messages.iter().map(|m| m.payload.clone()).collect()
}
