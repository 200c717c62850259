//! What a peer may publish, subscribe to and leave as its will; what it may not ends its connection.

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Connect, LastWill};
use wire::topic::{Down, Up};

use crate::harness::{BRIDGE, Broker, connect_with, down, publish_packet, state, subscribe_packet, up};

#[tokio::test]
async fn a_publish_outside_its_own_topics_cuts_a_device_off() {
    let broker = Broker::start().await;
    let mut bridge = broker.bridge().await;
    let mut neighbour = broker.device("acme.gw-2").await;
    for (n, topic) in [
        up("acme.gw-2", Up::Batch),
        up("acme.gw-2", Up::State),
        down("acme.gw-1", Down::Ack),
        down("acme.gw-2", Down::Ack),
        "sensors/door".to_owned(),
        "$SYS/x".to_owned(),
        "bh/1/+/state/+".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let mut device = broker.device("acme.gw-1").await;
        device.say(&publish_packet(topic, 1, &state(1))).await;
        device.closed().await;
        broker
            .counted("connections_closed_total", "publish_acl", n as f64 + 1.0)
            .await;
    }
    bridge.quiet().await;
    neighbour.quiet().await;
}

#[tokio::test]
async fn a_subscription_outside_its_own_topics_cuts_a_device_off() {
    let broker = Broker::start().await;
    for (n, filter) in [
        "#".to_owned(),
        "bh/1/+/ack".to_owned(),
        down("acme.gw-2", Down::Ack),
        up("acme.gw-1", Up::State),
        "$share/g/bh/1/acme.gw-1/ack".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let mut device = broker.connect("acme/device/gw-1").await;
        device.say(&subscribe_packet(&[filter], QoS::AtLeastOnce)).await;
        device.closed().await;
        broker
            .counted("connections_closed_total", "subscribe_acl", n as f64 + 1.0)
            .await;
    }
}

#[tokio::test]
async fn a_will_outside_the_own_state_topic_is_refused() {
    let broker = Broker::start().await;
    for (n, topic) in [
        up("acme.gw-2", Up::State),
        up("acme.gw-1", Up::Batch),
        "x".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let mut client = broker.shake(broker.tls("acme/device/gw-1")).await.unwrap();
        let mut connect = Connect::new("acme.gw-1");
        connect.last_will = Some(LastWill::new(topic, "gone", QoS::AtLeastOnce, true));
        client.say(&connect_with(&connect)).await;
        assert!(client.packet().await.is_some(), "CONNACK with a reason");
        client.closed().await;
        broker
            .counted("connections_refused_total", "will_acl", n as f64 + 1.0)
            .await;
    }
}

#[tokio::test]
async fn a_bridge_is_held_to_its_topics_and_its_tenant() {
    let broker = Broker::start().await;
    for (path, topic) in [
        (BRIDGE, up("acme.gw-1", Up::Batch)),
        (BRIDGE, "x".to_owned()),
        ("acme/bridge/b1", down("other.gw-1", Down::Ack)),
    ] {
        let mut bridge = broker.connect(path).await;
        bridge.say(&publish_packet(&topic, 1, b"x")).await;
        bridge.closed().await;
    }
    let mut bridge = broker.connect(BRIDGE).await;
    bridge.say(&subscribe_packet(&["bh/1/#"], QoS::AtLeastOnce)).await;
    bridge.closed().await;
    broker
        .counted("connections_closed_total", "publish_acl", 3.0)
        .await;
    broker
        .counted("connections_closed_total", "subscribe_acl", 1.0)
        .await;

    let mut tenant = broker.connect("acme/bridge/b1").await;
    tenant.subscribe(&["bh/1/+/state/+"], QoS::AtLeastOnce).await;
    let mut other = broker.device("other.gw-1").await;
    other.publish(&up("other.gw-1", Up::State), &state(1)).await;
    let mut own = broker.device("acme.gw-1").await;
    own.publish(&up("acme.gw-1", Up::State), &state(1)).await;
    assert_eq!(tenant.message().await.topic, up("acme.gw-1", Up::State));
}

#[tokio::test]
async fn more_filters_than_a_packet_may_have_cut_a_device_off() {
    let broker = Broker::start().await;
    let mut device = broker.connect("acme/device/gw-1").await;
    let filters: Vec<String> = (0..65).map(|_| down("acme.gw-1", Down::Ack)).collect();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    device.say(&subscribe_packet(&filters, QoS::AtMostOnce)).await;
    device.closed().await;
    broker
        .counted("connections_closed_total", "subscription_cap", 1.0)
        .await;
}
