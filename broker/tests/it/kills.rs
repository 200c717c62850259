//! Seven ways in which one client kills a stock rumqttd, each tried here: the others do not notice.

use std::time::{Duration, Instant};

use broker::Limits;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Connect, Packet};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use wire::topic::Up;

use crate::harness::{Broker, Client, connect, connect_with, publish_packet, state, subscribe_packet, up};

const NEIGHBOUR: &str = "acme.neighbour";
const OPERATOR: &str = "acme/operator/ann";

/// A bridge, a device, and two operators who must not notice anything.
struct Bystanders {
    bridge: Client,
    device: Client,
    listener: Client,
    talker: Client,
}

impl Bystanders {
    async fn arrive(broker: &Broker) -> Self {
        let mut bridge = broker.bridge().await;
        let device = broker.granted(NEIGHBOUR, &mut bridge, 1, 1000).await;
        let mut listener = broker.connect("acme/operator/listener").await;
        listener.subscribe(&["site/door"], QoS::AtLeastOnce).await;
        let talker = broker.connect("acme/operator/talker").await;
        Bystanders {
            bridge,
            device,
            listener,
            talker,
        }
    }

    async fn notice_nothing(mut self, broker: &Broker) {
        broker
            .assert_serves((NEIGHBOUR, &mut self.device, 1), &mut self.bridge)
            .await;
        self.talker.publish("site/door", b"open").await;
        assert_eq!(self.listener.message().await.payload, "open");
        assert_eq!(broker.metric("router_restarts_total", ""), 0.0);
    }
}

/// A broker that computes one handshake at a time, and a hundred peers that say nothing.
async fn besieged(handshake_time: Duration) -> (Broker, Vec<TcpStream>) {
    let limits = Limits {
        handshakes: 1,
        handshake_time,
        ..Limits::default()
    };
    let broker = Broker::start_with(limits).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(("127.0.0.1", broker.port)).await.unwrap());
    }
    (broker, silent)
}

#[tokio::test]
async fn kill_1_silent_peers_on_the_tls_port_delay_nobody() {
    let handshake_time = Duration::from_secs(60);
    let (broker, _silent) = besieged(handshake_time).await;
    let bystanders = Bystanders::arrive(&broker).await;
    let start = Instant::now();
    bystanders.notice_nothing(&broker).await;
    assert!(
        start.elapsed() < handshake_time / 2,
        "a newcomer waited {:?}",
        start.elapsed()
    );
    assert_eq!(broker.metric("connections_refused_total", "handshake_time"), 0.0);

    // One that begins and stalls holds a handshake until the deadline, and no longer.
    let (broker, _silent) = besieged(Duration::from_secs(3)).await;
    let mut stalls = TcpStream::connect(("127.0.0.1", broker.port)).await.unwrap();
    stalls.write_all(&[0x16]).await.unwrap();
    broker
        .counted("connections_refused_total", "handshake_time", 101.0)
        .await;
    broker.device("acme.late").await.ping().await;
}

#[tokio::test]
async fn kill_2_wildcards_in_a_client_id_are_refused_as_often_as_they_come() {
    let broker = Broker::start().await;
    let bystanders = Bystanders::arrive(&broker).await;
    for id in ["a#b", "a#b", "acme.+", "$x", "a/b"] {
        for level in [4, 5] {
            for path in ["acme/device/gw-1", OPERATOR] {
                let mut client = broker.shake(broker.tls(path)).await.unwrap();
                let mut packet = connect(id);
                packet[8] = level;
                client.say(&packet).await;
                assert!(matches!(client.packet().await, Some(Packet::ConnAck(_)) | None));
                client.closed().await;
            }
        }
    }
    bystanders.notice_nothing(&broker).await;
}

#[tokio::test]
async fn kill_3_the_cap_on_connections_refuses_and_recovers() {
    let broker = Broker::start_with(Limits {
        connections: 6,
        ..Limits::default()
    })
    .await;
    let bystanders = Bystanders::arrive(&broker).await;
    let mut guests = vec![broker.device("acme.a").await, broker.device("acme.b").await];
    let tls = broker.tls("acme/device/late");
    for tries in 1..=3 {
        let mut late = broker.shake(tls.clone()).await.unwrap();
        late.say(&connect("acme.late")).await;
        assert!(matches!(late.packet().await, Some(Packet::ConnAck(_))));
        late.closed().await;
        broker
            .counted("connections_refused_total", "connection_cap", f64::from(tries))
            .await;
    }
    // Not even a fleet at the cap keeps a bridge out.
    broker.connect("acme/bridge/b").await.ping().await;
    broker.counted("connections", "bridge", 1.0).await;
    for guest in &mut guests {
        guest.say(&[0xe0, 0x00]).await;
        guest.closed().await;
    }
    let mut late = broker.shake(tls).await.unwrap();
    late.say(&connect("acme.late")).await;
    late.accepted().await;
    bystanders.notice_nothing(&broker).await;
}

#[tokio::test]
async fn kill_4_a_topic_of_multi_byte_characters_cuts_its_sender_off() {
    let broker = Broker::start().await;
    let bystanders = Bystanders::arrive(&broker).await;
    for path in ["acme/device/gw-1", OPERATOR, "acme/bridge/b"] {
        let mut client = broker.connect(path).await;
        client.say(&publish_packet("é/x", 1, b"x")).await;
        client.closed().await;
        let mut client = broker.shake(broker.tls(path)).await.unwrap();
        let mut connect = Connect::new(path.replace("/device/", ".").replace("/operator/", "."));
        connect.last_will = Some(rumqttc::LastWill::new("é/x", "x", QoS::AtLeastOnce, true));
        client.say(&connect_with(&connect)).await;
        while client.packet().await.is_some() {}
    }
    bystanders.notice_nothing(&broker).await;
}

#[tokio::test]
async fn kill_5_shared_subscriptions_cut_their_subscriber_off() {
    let broker = Broker::start().await;
    let bystanders = Bystanders::arrive(&broker).await;
    for path in ["acme/device/gw-1", OPERATOR, "acme/bridge/b"] {
        let mut client = broker.shake(broker.tls(path)).await.unwrap();
        let id = path.split('/').collect::<Vec<_>>();
        let mut connect = Connect::new(format!("{}.{}", id[0], id[2]));
        connect.clean_session = false;
        client.say(&connect_with(&connect)).await;
        client.accepted().await;
        client
            .say(&subscribe_packet(&["$share/g/site/#"], QoS::AtLeastOnce))
            .await;
        client.closed().await;
    }
    broker
        .counted("connections_closed_total", "subscribe_acl", 3.0)
        .await;
    bystanders.notice_nothing(&broker).await;
}

#[tokio::test]
async fn kill_6_leaving_while_messages_are_queued_does_not_touch_the_router() {
    let broker = Broker::start().await;
    let bystanders = Bystanders::arrive(&broker).await;
    let mut flooder = broker.connect("acme/operator/flooder").await;
    let packet = publish_packet("flood/x", 0, &[7; 200]);
    let flood: Vec<u8> = packet.iter().copied().cycle().take(packet.len() * 2000).collect();
    for round in 0..20 {
        let mut leaver = broker.connect(OPERATOR).await;
        leaver.subscribe(&["flood/#"], QoS::AtMostOnce).await;
        flooder.say(&flood).await;
        for _ in 0..=round {
            leaver.message().await;
        }
        if round % 2 == 0 {
            leaver.say(&[0xe0, 0x00]).await;
        }
        drop(leaver);
    }
    flooder.ping().await;
    bystanders.notice_nothing(&broker).await;
}

#[tokio::test]
async fn kill_7_packets_of_a_server_cut_their_sender_off_and_leave_no_ghost() {
    let broker = Broker::start().await;
    let bystanders = Bystanders::arrive(&broker).await;
    for first in [0x20, 0xb0, 0x90, 0xf0] {
        for _ in 0..2 {
            let mut device = broker.device("acme.gw-1").await;
            device.publish(&up("acme.gw-1", Up::State), &state(1)).await;
            device.say(&[first, 0x03, 0x00, 0x00, 0x00]).await;
            device.closed().await;
        }
    }
    let mut device = broker.device("acme.gw-1").await;
    device.ping().await;
    drop(device);
    broker.counted("connections", "device", 1.0).await;
    let mut bystanders = bystanders;
    // What the broker took before is heard first.
    while broker.metric("queued_bytes", "") + broker.metric("in_flight_messages", "") > 0.0 {
        let said = tokio::time::timeout(crate::harness::SOON, bystanders.bridge.packet());
        if let Ok(Some(Packet::Publish(said))) = said.await {
            bystanders.bridge.confirm(said.pkid).await;
        }
    }
    bystanders.notice_nothing(&broker).await;
}
