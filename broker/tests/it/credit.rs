//! What a device may send, and what waits when there is no bridge.

use wire::topic::{Down, Up};

use crate::harness::{Broker, ack, down, publish_packet, state, up};

const NAME: &str = "acme.gw-1";

#[tokio::test]
async fn without_credit_a_batch_cuts_the_device_off() {
    let broker = Broker::start().await;
    let mut device = broker.device(NAME).await;
    device.publish(&up(NAME, Up::State), &state(1)).await;
    device.say(&publish_packet(&up(NAME, Up::Batch), 2, b"x")).await;
    device.closed().await;
    broker.counted("connections_closed_total", "credit", 1.0).await;
}

#[tokio::test]
async fn a_device_may_send_what_was_granted_per_lane_and_not_a_byte_more() {
    let broker = Broker::start().await;
    let mut bridge = broker.bridge().await;
    let mut device = broker.granted(NAME, &mut bridge, 1, 100).await;
    device.publish(&up(NAME, Up::Batch), &[1; 60]).await;
    device.publish(&up(NAME, Up::Dict), &[2; 40]).await;
    device.publish(&up(NAME, Up::Backlog), &[3; 100]).await;
    for byte in 1..=3 {
        assert_eq!(bridge.message().await.payload[0], byte);
    }
    bridge.publish0(&down(NAME, Down::Ack), &ack(1, 101, 100)).await;
    device.message().await;
    device.publish(&up(NAME, Up::Batch), &[4]).await;
    assert_eq!(bridge.message().await.payload[0], 4);
    device.say(&publish_packet(&up(NAME, Up::Backlog), 9, b"x")).await;
    device.closed().await;
    broker.counted("connections_closed_total", "credit", 1.0).await;
    bridge.quiet().await;
}

#[tokio::test]
async fn credit_belongs_to_one_connection() {
    let broker = Broker::start().await;
    let mut bridge = broker.bridge().await;
    let device = broker.granted(NAME, &mut bridge, 1, 100).await;
    drop(device);
    broker.counted("connections", "device", 0.0).await;

    let mut device = broker.device(NAME).await;
    device.publish(&up(NAME, Up::State), &state(2)).await;
    bridge.message().await;
    bridge.publish0(&down(NAME, Down::Ack), &ack(1, 1000, 1000)).await;
    device.message().await;
    device.say(&publish_packet(&up(NAME, Up::Batch), 9, b"x")).await;
    device.closed().await;
    broker.counted("connections_closed_total", "credit", 1.0).await;
}

#[tokio::test]
async fn without_a_bridge_messages_wait_within_credit_and_a_new_bridge_gets_states_only() {
    let broker = Broker::start().await;
    let mut bridge = broker.bridge().await;
    let mut device = broker.granted(NAME, &mut bridge, 1, 100).await;
    drop(bridge);
    broker.counted("connections", "bridge", 0.0).await;
    device.publish(&up(NAME, Up::Batch), b"unheard").await;
    assert_eq!(broker.metric("queued_bytes", ""), 7.0);

    let mut bridge = broker.bridge().await;
    let said = bridge.message().await;
    assert_eq!((said.topic, said.retain), (up(NAME, Up::State), true));
    bridge.quiet().await;
    assert_eq!(broker.metric("messages_dropped_total", "bridge_changed"), 1.0);
    assert_eq!(broker.metric("queued_bytes", ""), 0.0);
    device.publish(&up(NAME, Up::Batch), b"heard").await;
    assert_eq!(bridge.message().await.payload, "heard");
}

#[tokio::test]
async fn a_few_alerts_and_states_need_no_credit() {
    let broker = Broker::start().await;
    let mut device = broker.device(NAME).await;
    for _ in 0..4 {
        device.publish(&up(NAME, Up::Alert), &[7; 4096]).await;
        device.publish(&up(NAME, Up::State), &state(1)).await;
    }
    // Two states wait, whatever came.
    assert_eq!(
        broker.metric("queued_bytes", ""),
        16_384.0 + 2.0 * state(1).len() as f64
    );
    device.say(&publish_packet(&up(NAME, Up::Alert), 99, b"x")).await;
    device.closed().await;
    broker
        .counted("connections_closed_total", "alert_credit", 1.0)
        .await;
}

#[tokio::test]
async fn an_unreadable_state_or_another_nonce_ends_the_connection() {
    let broker = Broker::start().await;
    for (n, second) in [state(2), b"\x00\xff\xff".to_vec(), b"\x09".to_vec(), Vec::new()]
        .iter()
        .enumerate()
    {
        let mut device = broker.device(NAME).await;
        device.publish(&up(NAME, Up::State), &state(1)).await;
        device.say(&publish_packet(&up(NAME, Up::State), 9, second)).await;
        device.closed().await;
        broker
            .counted("connections_closed_total", "state", n as f64 + 1.0)
            .await;
    }
}
