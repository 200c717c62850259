//! Packets: rumqttc's codec behind the frame guard.
//!
//! [`next`] takes one whole, guarded frame out of a buffer and decodes it; payloads are copied, so that a small message
//! that waits does not pin the read buffer that it came in.

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4::{self, Packet};
use rumqttc::mqttbytes::{Protocol, QoS};

use crate::fault::Fault;
use crate::frame;

/// A will: where and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) retain: bool,
}

/// CONNECT, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connect {
    /// The protocol level is 4.
    pub(crate) version_known: bool,
    pub(crate) client_id: String,
    /// Seconds; 0: none.
    pub(crate) keep_alive: u16,
    pub(crate) will: Option<Will>,
}

/// PUBLISH from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) retain: bool,
    /// Of QoS 1; `None`: QoS 0.
    pub(crate) pkid: Option<u16>,
}

/// A packet from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Incoming {
    Connect(Connect),
    Publish(Publish),
    PubAck(u16),
    /// Filters and whether QoS 1 is asked for.
    Subscribe(u16, Vec<(String, bool)>),
    Unsubscribe(u16, Vec<String>),
    Ping,
    Disconnect,
}

/// Takes the next packet out of `input`; `None`: more bytes are needed.
pub(crate) fn next(input: &mut BytesMut, max_payload: usize) -> Result<Option<Incoming>, Fault> {
    let Some(header) = frame::header(input, max_payload)? else {
        return Ok(None);
    };
    if input.len() < header.frame {
        return Ok(None);
    }
    let mut whole = input.split_to(header.frame);
    frame::check(&whole, header, max_payload)?;
    let len = whole.len();
    let packet = v4::Packet::read(&mut whole, len).map_err(|error| fault(&error))?;
    convert(packet).map(Some)
}

fn fault(error: &rumqttc::mqttbytes::Error) -> Fault {
    match error {
        rumqttc::mqttbytes::Error::InvalidProtocolLevel(_) => Fault::ProtocolVersion,
        _ => Fault::Malformed,
    }
}

fn convert(packet: Packet) -> Result<Incoming, Fault> {
    Ok(match packet {
        Packet::Connect(connect) => Incoming::Connect(Connect {
            version_known: connect.protocol == Protocol::V4,
            client_id: connect.client_id,
            keep_alive: connect.keep_alive,
            will: connect.last_will.map(|will| Will {
                topic: will.topic,
                payload: Bytes::copy_from_slice(&will.message),
                retain: will.retain,
            }),
        }),
        Packet::Publish(publish) => Incoming::Publish(Publish {
            topic: publish.topic,
            payload: Bytes::copy_from_slice(&publish.payload),
            retain: publish.retain,
            pkid: (publish.qos != QoS::AtMostOnce).then_some(publish.pkid),
        }),
        Packet::PubAck(ack) if ack.pkid != 0 => Incoming::PubAck(ack.pkid),
        Packet::Subscribe(subscribe) if subscribe.pkid != 0 => Incoming::Subscribe(
            subscribe.pkid,
            subscribe
                .filters
                .into_iter()
                .map(|f| (f.path, f.qos != QoS::AtMostOnce))
                .collect(),
        ),
        Packet::Unsubscribe(unsubscribe) if unsubscribe.pkid != 0 => {
            Incoming::Unsubscribe(unsubscribe.pkid, unsubscribe.topics)
        }
        Packet::PingReq => Incoming::Ping,
        Packet::Disconnect => Incoming::Disconnect,
        _ => return Err(Fault::Malformed),
    })
}

/// PUBLISH to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) retain: bool,
    /// Of QoS 1; `None`: QoS 0.
    pub(crate) pkid: Option<u16>,
}

/// The answer to CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Accepted,
    ProtocolVersion,
    ClientId,
    NotAuthorized,
    Unavailable,
}

/// Writes PUBLISH.
pub(crate) fn put_delivery(out: &mut BytesMut, delivery: Delivery) {
    let publish = v4::Publish {
        dup: false,
        qos: if delivery.pkid.is_some() {
            QoS::AtLeastOnce
        } else {
            QoS::AtMostOnce
        },
        retain: delivery.retain,
        topic: delivery.topic,
        pkid: delivery.pkid.unwrap_or_default(),
        payload: delivery.payload,
    };
    put(out, &Packet::Publish(publish));
}

/// Writes CONNACK; a session is never present.
pub(crate) fn put_connack(out: &mut BytesMut, answer: Answer) {
    let code = match answer {
        Answer::Accepted => v4::ConnectReturnCode::Success,
        Answer::ProtocolVersion => v4::ConnectReturnCode::RefusedProtocolVersion,
        Answer::ClientId => v4::ConnectReturnCode::BadClientId,
        Answer::NotAuthorized => v4::ConnectReturnCode::NotAuthorized,
        Answer::Unavailable => v4::ConnectReturnCode::ServiceUnavailable,
    };
    put(
        out,
        &Packet::ConnAck(v4::ConnAck {
            session_present: false,
            code,
        }),
    );
}

/// Writes PUBACK.
pub(crate) fn put_puback(out: &mut BytesMut, pkid: u16) {
    put(out, &Packet::PubAck(v4::PubAck { pkid }));
}

/// Writes SUBACK with the QoS granted to each filter.
pub(crate) fn put_suback(out: &mut BytesMut, pkid: u16, granted: &[bool]) {
    let code = |&qos1: &bool| {
        v4::SubscribeReasonCode::Success(if qos1 { QoS::AtLeastOnce } else { QoS::AtMostOnce })
    };
    put(
        out,
        &Packet::SubAck(v4::SubAck {
            pkid,
            return_codes: granted.iter().map(code).collect(),
        }),
    );
}

/// Writes UNSUBACK.
pub(crate) fn put_unsuback(out: &mut BytesMut, pkid: u16) {
    put(out, &Packet::UnsubAck(v4::UnsubAck { pkid }));
}

/// Writes PINGRESP.
pub(crate) fn put_pingresp(out: &mut BytesMut) {
    put(out, &Packet::PingResp);
}

fn put(out: &mut BytesMut, packet: &Packet) {
    // Fails only for a packet over 256 MB or a packet id of zero; neither is ever made here.
    let written = packet.write(out, usize::MAX);
    debug_assert!(written.is_ok(), "{written:?}");
}
