//! The way of a message: device, front, bridge, ack.

use rumqttc::mqttbytes::QoS;
use wire::topic::{Down, Up};

use crate::harness::{BRIDGE, Broker, ack, down, state, texts, up};

#[tokio::test]
async fn a_message_reaches_the_bridge_and_its_ack_the_device() {
    let broker = Broker::start().await;
    let mut bridge = broker.bridge().await;
    let mut device = broker.granted("acme.gw-1", &mut bridge, 5, 1000).await;

    device.publish(&up("acme.gw-1", Up::Dict), b"dict").await;
    device.publish(&up("acme.gw-1", Up::Batch), b"batch").await;
    let got = [bridge.message().await, bridge.message().await];
    assert_eq!(texts(&got), ["dict", "batch"]);
    assert_eq!(got[1].topic, up("acme.gw-1", Up::Batch));
    assert_eq!(got[1].qos, QoS::AtLeastOnce);
    assert!(!got[1].retain);

    bridge
        .publish0(&down("acme.gw-1", Down::Ack), &ack(5, 2000, 0))
        .await;
    let acked = device.message().await;
    assert_eq!(
        (acked.topic, acked.qos),
        (down("acme.gw-1", Down::Ack), QoS::AtMostOnce)
    );
    assert_eq!(broker.metric("messages_received_total", "batch"), 1.0);
}

#[tokio::test]
async fn a_bridge_with_a_certificate_serves_over_tls() {
    let broker = Broker::start().await;
    let mut bridge = broker.connect(BRIDGE).await;
    bridge
        .subscribe(&["bh/1/+/state/+", "bh/1/+/batch/+"], QoS::AtLeastOnce)
        .await;
    let mut device = broker.granted("acme.gw-1", &mut bridge, 5, 100).await;
    device.publish(&up("acme.gw-1", Up::Batch), b"over tls").await;
    assert_eq!(bridge.message().await.payload, "over tls");
}

#[tokio::test]
async fn pubacks_come_at_once_and_in_order_without_any_bridge() {
    let broker = Broker::start().await;
    let mut device = broker.device("acme.gw-1").await;
    let topic = up("acme.gw-1", Up::State);
    let mut sent = Vec::new();
    for _ in 0..20 {
        sent.push(device.send1(&topic, &state(1)).await);
    }
    for pkid in sent {
        let packet = device.packet().await;
        assert_eq!(packet, Some(rumqttc::Packet::PubAck(rumqttc::PubAck { pkid })));
    }
}

#[tokio::test]
async fn a_device_hears_nothing_of_another_and_acks_are_not_kept() {
    let broker = Broker::start().await;
    let mut bridge = broker.bridge().await;
    let mut one = broker.device("acme.one").await;
    bridge.publish0(&down("acme.two", Down::Ack), &ack(1, 1, 1)).await;
    bridge.publish0(&down("acme.one", Down::Ack), &ack(1, 1, 1)).await;
    assert_eq!(one.message().await.topic, down("acme.one", Down::Ack));
    let mut two = broker.device("acme.two").await;
    two.quiet().await;
    assert_eq!(broker.metric("messages_dropped_total", "not_connected"), 1.0);
}

#[tokio::test]
async fn a_configuration_is_kept_and_replayed_and_a_command_is_not() {
    let broker = Broker::start().await;
    let mut bridge = broker.bridge().await;
    let (config, cmd) = (down("acme.gw-1", Down::Config), down("acme.gw-1", Down::Cmd));
    bridge.publish(&config, b"v1").await;
    bridge.publish(&cmd, b"reboot").await;

    let mut device = broker.connect("acme/device/gw-1").await;
    device
        .say(&crate::harness::subscribe_packet(
            &[&config, &cmd],
            QoS::AtLeastOnce,
        ))
        .await;
    assert!(matches!(device.packet().await, Some(rumqttc::Packet::SubAck(_))));
    let replayed = device.message().await;
    assert_eq!(
        (replayed.payload.as_ref(), replayed.retain),
        (b"v1".as_ref(), true)
    );
    device.quiet().await;

    bridge.publish(&cmd, b"update").await;
    let command = device.message().await;
    assert_eq!(
        (command.payload.as_ref(), command.qos),
        (b"update".as_ref(), QoS::AtLeastOnce)
    );
    bridge.publish(&config, b"").await;
    assert_eq!(
        device.message().await.payload,
        "",
        "the device is told that it has none"
    );
}
