//! Bytes that are no MQTT, or MQTT that no client may say: the connection ends, and nobody else notices.

use rumqttc::mqttbytes::QoS;
use wire::topic::{Down, Up};

use crate::harness::{Broker, connect, down, publish_packet, state, subscribe_packet, up};

const NAME: &str = "acme.gw-1";

/// Packets after a good CONNECT, and the reason that they are counted under.
fn corpus() -> Vec<(Vec<u8>, &'static str)> {
    let mut corpus: Vec<(Vec<u8>, &'static str)> = vec![
        (connect(NAME), "unexpected_packet"),
        (publish_packet("é/x", 1, b"x"), "malformed"),
        (publish_packet("\u{1}", 1, b"x"), "malformed"),
        (publish_packet("", 1, b"x"), "malformed"),
        (publish_packet(&"a".repeat(300), 1, b"x"), "malformed"),
        (
            publish_packet(&up(NAME, Up::Batch), 1, &vec![0; 65_537]),
            "too_large",
        ),
        (vec![0x30, 0xff, 0xff, 0xff, 0x7f], "too_large"),
        (vec![0x30, 0xff, 0xff, 0xff, 0xff], "malformed"),
        (vec![0x30, 0x02, 0x00, 0x05], "malformed"),
        (vec![0x32, 0x03, 0x00, 0x01, b'a'], "malformed"),
        (vec![0x34, 0x03, 0x00, 0x01, b'a'], "qos2"),
        (vec![0x36, 0x03, 0x00, 0x01, b'a'], "malformed"),
        (vec![0x40, 0x02, 0x00, 0x00], "malformed"),
        (vec![0x41, 0x02, 0x00, 0x01], "malformed"),
        (vec![0x40, 0x03, 0x00, 0x01, 0x00], "malformed"),
        (vec![0x50, 0x02, 0x00, 0x01], "qos2"),
        (vec![0x62, 0x02, 0x00, 0x01], "qos2"),
        (vec![0x70, 0x02, 0x00, 0x01], "qos2"),
        (vec![0x82, 0x02, 0x00, 0x01], "malformed"),
        (vec![0x82, 0x06, 0x00, 0x00, 0x00, 0x01, b'a', 0x00], "malformed"),
        (vec![0x82, 0x06, 0x00, 0x01, 0x00, 0x01, b'a', 0x03], "malformed"),
        (vec![0xa2, 0x02, 0x00, 0x01], "malformed"),
        (vec![0xc0, 0x01, 0x00], "malformed"),
        (vec![0xe0, 0x01, 0x00], "malformed"),
        (subscribe_packet(&["é"], QoS::AtMostOnce), "malformed"),
    ];
    for first in [0x00, 0xf0] {
        corpus.push((vec![first, 0x00], "malformed"));
    }
    for first in [0x20, 0x90, 0xb0, 0xd0] {
        corpus.push((vec![first, 0x02, 0x00, 0x00], "unexpected_packet"));
    }
    corpus
}

#[tokio::test]
async fn each_bad_packet_ends_its_connection_and_is_counted() {
    let broker = Broker::start().await;
    let mut bridge = broker.bridge().await;
    let mut neighbour = broker.granted("acme.neighbour", &mut bridge, 1, 1000).await;
    for (packet, reason) in corpus() {
        let before = broker.metric("connections_closed_total", reason);
        let mut device = broker.device(NAME).await;
        // An error: the broker has closed in the middle of it.
        let _ = device.try_say(&packet).await;
        device.closed().await;
        broker
            .counted("connections_closed_total", reason, before + 1.0)
            .await;
    }
    broker
        .assert_serves(("acme.neighbour", &mut neighbour, 1), &mut bridge)
        .await;
}

#[tokio::test]
async fn a_bad_first_packet_is_refused() {
    let broker = Broker::start().await;
    let mut connect5 = connect(NAME);
    connect5[8] = 5;
    let mut old = connect(NAME);
    old[8] = 3;
    let mut reserved = connect(NAME);
    reserved[9] |= 1;
    let mut truncated = connect(NAME);
    truncated.truncate(16);
    truncated[1] = 14;
    for (packet, reason) in [
        (connect5, "protocol_version"),
        (old, "protocol_version"),
        (reserved, "malformed"),
        (truncated, "malformed"),
        (vec![0x10, 0x00], "malformed"),
        (vec![0x10, 0xff, 0xff, 0xff, 0x7f], "too_large"),
        (vec![0xc0, 0x00], "unexpected_packet"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "malformed"),
        (
            publish_packet(&up(NAME, Up::State), 1, &state(1)),
            "unexpected_packet",
        ),
    ] {
        let before = broker.metric("connections_refused_total", reason);
        let mut client = broker.shake(broker.tls("acme/device/gw-1")).await.unwrap();
        client.say(&packet).await;
        while client.packet().await.is_some() {}
        broker
            .counted("connections_refused_total", reason, before + 1.0)
            .await;
    }
}

#[tokio::test]
async fn packets_may_come_in_pieces_and_many_at_once() {
    let broker = Broker::start().await;
    let mut bridge = broker.bridge().await;
    let mut device = broker.shake(broker.tls("acme/device/gw-1")).await.unwrap();
    let mut all = connect(NAME);
    all.extend(subscribe_packet(&[&down(NAME, Down::Ack)], QoS::AtMostOnce));
    all.extend(publish_packet(&up(NAME, Up::State), 1, &state(1)));
    for byte in &all[..20] {
        device.say(&[*byte]).await;
    }
    device.say(&all[20..]).await;
    device.accepted().await;
    assert!(device.packet().await.is_some(), "SUBACK");
    assert!(device.packet().await.is_some(), "PUBACK");
    assert_eq!(bridge.message().await.payload, state(1));
}

#[tokio::test]
async fn the_largest_message_passes() {
    let broker = Broker::start().await;
    let mut bridge = broker.bridge().await;
    let mut device = broker.granted(NAME, &mut bridge, 1, 200_000).await;
    device.publish(&up(NAME, Up::Batch), &vec![1; 65_536]).await;
    assert_eq!(bridge.message().await.payload.len(), 65_536);
    bridge.publish0(&down(NAME, Down::Ack), &vec![0; 100_000]).await;
    assert_eq!(
        device.message().await.payload.len(),
        100_000,
        "a bridge may say more at once"
    );
}
