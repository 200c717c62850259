//! Other MQTT clients: what operators say to one another, and what they see of devices.

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Connect, LastWill, Packet};
use wire::topic::Up;

use crate::harness::{Broker, Client, connect_with, state, up};

async fn operator(broker: &Broker, id: &str, filters: &[&str]) -> Client {
    let mut client = broker.connect(&format!("acme/operator/{id}")).await;
    if !filters.is_empty() {
        client.subscribe(filters, QoS::AtLeastOnce).await;
    }
    client
}

#[tokio::test]
async fn operators_hear_one_another_with_wildcards_retained_messages_and_wills() {
    let broker = Broker::start().await;
    let mut ann = operator(&broker, "ann", &["site/+/door", "alarm/#"]).await;
    let mut bob = broker.shake(broker.tls("acme/operator/bob")).await.unwrap();
    let mut connect = Connect::new("acme.bob");
    connect.last_will = Some(LastWill::new("alarm/bob", "bob is gone", QoS::AtLeastOnce, false));
    bob.say(&connect_with(&connect)).await;
    bob.accepted().await;

    bob.publish("site/1/door", b"open").await;
    bob.publish("site/1/window", b"open").await;
    bob.publish0("alarm/a/b", b"fire").await;
    assert_eq!(ann.message().await.topic, "site/1/door");
    assert_eq!(ann.message().await.payload, "fire");
    drop(bob);
    assert_eq!(ann.message().await.payload, "bob is gone");

    let mut retained = crate::harness::publish_packet("site/2/door", 9, b"shut");
    retained[0] |= 1;
    ann.say(&retained).await;
    assert!(matches!(ann.packet().await, Some(Packet::PubAck(_))));
    assert_eq!(
        ann.message().await.payload,
        "shut",
        "its own subscription hears it too"
    );
    let mut cid = operator(&broker, "cid", &["site/#"]).await;
    assert_eq!(cid.message().await.payload, "shut");
}

#[tokio::test]
async fn an_operator_sees_the_states_of_its_tenant_and_nothing_else_of_devices() {
    let broker = Broker::start().await;
    let mut early = operator(&broker, "early", &["#"]).await;
    let mut all = broker.connect("_backhaul/operator/root").await;
    all.subscribe(&["bh/1/+/state/+"], QoS::AtMostOnce).await;
    let mut own = broker.device("acme.gw-1").await;
    let mut other = broker.device("other.gw-1").await;
    other.publish(&up("other.gw-1", Up::State), &state(2)).await;
    own.publish(&up("acme.gw-1", Up::Alert), b"not for operators")
        .await;
    own.publish(&up("acme.gw-1", Up::State), &state(1)).await;
    assert_eq!(early.message().await.topic, up("acme.gw-1", Up::State));
    early.quiet().await;
    assert_eq!(all.message().await.topic, up("other.gw-1", Up::State));
    assert_eq!(all.message().await.topic, up("acme.gw-1", Up::State));

    let mut late = operator(&broker, "late", &["bh/1/+/state/+"]).await;
    assert_eq!(
        late.message().await.payload,
        state(1),
        "the last state is retained"
    );
    late.quiet().await;
}

#[tokio::test]
async fn what_is_unsubscribed_is_not_heard_and_may_be_subscribed_again() {
    let broker = Broker::start().await;
    let mut ann = operator(&broker, "ann", &["a", "b"]).await;
    let mut bob = operator(&broker, "bob", &[]).await;
    for _ in 0..3 {
        let mut unsubscribe = bytes::BytesMut::new();
        let mut packet = rumqttc::mqttbytes::v4::Unsubscribe::new("a");
        packet.pkid = 3;
        packet.write(&mut unsubscribe).unwrap();
        ann.say(&unsubscribe).await;
        assert!(matches!(ann.packet().await, Some(Packet::UnsubAck(_))));
        bob.publish("a", b"1").await;
        bob.publish("b", b"2").await;
        assert_eq!(ann.message().await.payload, "2");
        ann.subscribe(&["a"], QoS::AtMostOnce).await;
        bob.publish("a", b"3").await;
        assert_eq!(ann.message().await.payload, "3");
    }
}

#[tokio::test]
async fn a_slow_operator_loses_messages_and_delays_nobody() {
    let broker = Broker::start().await;
    let mut slow = operator(&broker, "slow", &["flood"]).await;
    let mut quick = operator(&broker, "quick", &["door"]).await;
    let mut flooder = operator(&broker, "flooder", &[]).await;
    let packet = crate::harness::publish_packet("flood", 0, &[7; 10_000]);
    for _ in 0..2000 {
        flooder.say(&packet).await;
    }
    flooder.publish("door", b"open").await;
    assert_eq!(quick.message().await.payload, "open");
    assert_eq!(slow.message().await.topic, "flood");
    assert_eq!(broker.metric("router_restarts_total", ""), 0.0);
}

#[tokio::test]
async fn an_operator_may_have_only_so_many_filters() {
    let broker = Broker::start().await;
    let mut ann = operator(&broker, "ann", &[]).await;
    for n in 0..128 {
        ann.subscribe(&[&format!("f/{n}")], QoS::AtMostOnce).await;
    }
    ann.say(&crate::harness::subscribe_packet(&["one/more"], QoS::AtMostOnce))
        .await;
    while ann.packet().await.is_some() {}
    broker
        .counted("connections_closed_total", "subscription_cap", 1.0)
        .await;
}
