//! What a bridge gets, in which order, and how it pushes back.

use std::collections::HashMap;

use broker::Limits;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Connect, LastWill};
use wire::topic::{Down, Up};

use crate::harness::{BRIDGE, Broker, Client, ack, connect_with, down, name, state, texts, up};

async fn with_will(broker: &Broker, device: &str, will: &[u8]) -> Client {
    let (tenant, id) = device.split_once('.').unwrap();
    let mut client = broker
        .shake(broker.tls(&format!("{tenant}/device/{id}")))
        .await
        .unwrap();
    let mut connect = Connect::new(device);
    connect.last_will = Some(LastWill::new(up(device, Up::State), will, QoS::AtLeastOnce, true));
    client.say(&connect_with(&connect)).await;
    client.accepted().await;
    client
        .subscribe(&[&down(device, Down::Ack)], QoS::AtMostOnce)
        .await;
    client
}

#[tokio::test]
async fn a_bridge_that_subscribes_gets_the_last_state_of_each_connected_device() {
    let broker = Broker::start().await;
    let names: Vec<String> = (0..5).map(|n| format!("acme.gw-{n}")).collect();
    let mut devices = Vec::new();
    for (n, name) in (0..).zip(&names) {
        let mut device = broker.device(name).await;
        device.publish(&up(name, Up::State), &state(n)).await;
        device.publish(&up(name, Up::State), &state(n)).await;
        devices.push(device);
    }
    drop(devices.pop());
    broker.counted("connections", "device", 4.0).await;
    let mut bridge = broker.bridge().await;
    let mut got = HashMap::new();
    for _ in 0..5 {
        let said = bridge.message().await;
        assert!(said.retain);
        got.insert(said.topic, said.payload);
    }
    // The fifth went without a will: what it said last still waited.
    for (n, name) in (0..).zip(&names) {
        assert_eq!(got[&up(name, Up::State)], state(n));
    }
    bridge.quiet().await;
}

#[tokio::test]
async fn devices_take_turns_and_each_ones_order_is_kept() {
    let limits = Limits {
        bridge_window_messages: 1,
        ..Limits::default()
    };
    let broker = Broker::start_with(limits).await;
    let mut bridge = broker.bridge().await;
    let names = ["acme.one", "acme.two", "acme.three"];
    let mut devices = Vec::new();
    for (n, name) in (0..).zip(names) {
        devices.push(broker.granted(name, &mut bridge, n, 1000).await);
    }
    // The first message closes the window; the others queue up behind it.
    devices[0].publish(&up(names[0], Up::Batch), b"stopper").await;
    let stopper = bridge.unconfirmed().await;
    for (name, device) in names.iter().zip(&mut devices) {
        for n in 0..4 {
            device
                .publish(&up(name, Up::Batch), format!("{name} {n}").as_bytes())
                .await;
        }
    }
    bridge.confirm(stopper.pkid).await;
    let mut got = Vec::new();
    for _ in 0..12 {
        got.push(bridge.message().await);
    }
    let expected: Vec<String> = (0..4)
        .flat_map(|n| names.iter().map(move |name| format!("{name} {n}")))
        .collect();
    assert_eq!(texts(&got), expected);
}

#[tokio::test]
async fn a_bridge_that_does_not_confirm_is_not_flooded() {
    let limits = Limits {
        bridge_window_messages: 3,
        bridge_window_bytes: 250,
        ..Limits::default()
    };
    let broker = Broker::start_with(limits).await;
    let mut bridge = broker.bridge().await;
    let mut device = broker.granted("acme.gw-1", &mut bridge, 1, 10_000).await;
    for n in 0..6 {
        device.publish(&up("acme.gw-1", Up::Batch), &[n; 10]).await;
    }
    let first = [
        bridge.unconfirmed().await,
        bridge.unconfirmed().await,
        bridge.unconfirmed().await,
    ];
    bridge.quiet().await;
    assert_eq!(broker.metric("in_flight_messages", ""), 3.0);
    // Confirmed out of order, as a bridge with several workers does.
    for publish in [&first[2], &first[0], &first[1]] {
        bridge.confirm(publish.pkid).await;
    }
    for n in 3..6 {
        assert_eq!(bridge.message().await.payload[0], n);
    }
    for n in 0..4 {
        device.publish(&up("acme.gw-1", Up::Batch), &[n; 200]).await;
    }
    let first = [bridge.unconfirmed().await, bridge.unconfirmed().await];
    bridge.quiet().await;
    bridge.confirm(first[0].pkid).await;
    assert_eq!(
        bridge.unconfirmed().await.payload[0],
        2,
        "bounded in bytes as well"
    );
}

#[tokio::test]
async fn a_confirmation_of_nothing_ends_the_connection() {
    let broker = Broker::start().await;
    let mut bridge = broker.bridge().await;
    bridge.confirm(7).await;
    bridge.closed().await;
    let mut device = broker.device("acme.gw-1").await;
    device.confirm(1).await;
    device.closed().await;
    broker
        .counted("connections_closed_total", "unsolicited_ack", 2.0)
        .await;
}

#[tokio::test]
async fn a_device_that_goes_without_goodbye_leaves_its_will() {
    let broker = Broker::start().await;
    let mut bridge = broker.bridge().await;
    let device = with_will(&broker, "acme.gw-1", b"gone").await;
    drop(device);
    let will = bridge.message().await;
    assert_eq!(
        (will.topic, will.payload.as_ref()),
        (up("acme.gw-1", Up::State), b"gone".as_ref())
    );

    let mut device = with_will(&broker, "acme.gw-1", b"gone").await;
    device.say(&[0xe0, 0x00]).await;
    device.closed().await;
    bridge.quiet().await;
}

#[tokio::test]
async fn a_second_connection_of_the_same_name_takes_over_and_the_first_ones_will_is_passed() {
    let broker = Broker::start().await;
    let mut bridge = broker.bridge().await;
    let mut first = with_will(&broker, "acme.gw-1", b"will of the first").await;
    first.publish(&up("acme.gw-1", Up::State), &state(1)).await;
    bridge.message().await;
    let mut second = with_will(&broker, "acme.gw-1", b"will of the second").await;
    first.closed().await;
    assert_eq!(broker.metric("takeovers_total", ""), 1.0);
    assert_eq!(bridge.message().await.payload, "will of the first");
    second.publish(&up("acme.gw-1", Up::State), &state(2)).await;
    assert_eq!(bridge.message().await.payload, state(2));
    bridge
        .publish0(&down("acme.gw-1", Down::Ack), &ack(2, 10, 10))
        .await;
    second.message().await;
    assert_eq!(broker.metric("connections", "device"), 1.0);
    assert_eq!(broker.metric("connections_closed_total", "taken_over"), 1.0);
}

#[tokio::test]
async fn what_an_earlier_connection_sent_is_dropped_when_the_device_comes_back() {
    let limits = Limits {
        bridge_window_messages: 1,
        ..Limits::default()
    };
    let broker = Broker::start_with(limits).await;
    let mut bridge = broker.bridge().await;
    let mut device = broker.granted("acme.gw-1", &mut bridge, 1, 1000).await;
    device.publish(&up("acme.gw-1", Up::Batch), b"in flight").await;
    let in_flight = bridge.unconfirmed().await;
    device.publish(&up("acme.gw-1", Up::Batch), b"waiting").await;
    device.say(&[0xe0, 0x00]).await;
    device.closed().await;
    let mut device = broker.device("acme.gw-1").await;
    device.publish(&up("acme.gw-1", Up::State), &state(2)).await;
    bridge.confirm(in_flight.pkid).await;
    assert_eq!(bridge.message().await.payload, state(2));
    assert_eq!(broker.metric("messages_dropped_total", "device_reconnected"), 1.0);
}

#[tokio::test]
async fn bridges_share_devices_by_shard() {
    let broker = Broker::start().await;
    let names = ["acme.gw-1", "acme.gw-2"];
    assert_ne!(name(names[0]).shard(), name(names[1]).shard());
    let mut bridges = Vec::new();
    for (device, path) in names.iter().zip(["_backhaul/bridge/a", BRIDGE]) {
        let mut bridge = broker.connect(path).await;
        bridge
            .subscribe(
                &[&format!("bh/1/+/state/{:02x}", name(device).shard())],
                QoS::AtLeastOnce,
            )
            .await;
        bridges.push(bridge);
    }
    for (device, bridge) in names.iter().zip(&mut bridges) {
        let mut client = broker.device(device).await;
        client.publish(&up(device, Up::State), &state(1)).await;
        assert_eq!(bridge.message().await.topic, up(device, Up::State));
    }
    for bridge in &mut bridges {
        bridge.quiet().await;
    }
}
