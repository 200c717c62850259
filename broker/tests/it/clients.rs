//! Clients that others wrote: rumqttc as agent and bridge, mosquitto's tools where they are installed.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rumqttc::{
    AsyncClient, Event, EventLoop, LastWill, MqttOptions, Packet, QoS, TlsConfiguration, Transport,
};
use tokio::time::timeout;
use wire::topic::{Down, Up};

use crate::harness::{Broker, PATIENCE, ack, down, identity, state, up};

fn device(broker: &Broker) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new("acme.gw-1", "localhost", broker.port);
    options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(
        broker.tls("acme/device/gw-1"),
    )));
    options.set_max_packet_size(1 << 20, 1 << 20);
    options.set_last_will(LastWill::new(
        up("acme.gw-1", Up::State),
        "gone",
        QoS::AtLeastOnce,
        true,
    ));
    AsyncClient::new(options, 200)
}

fn bridge(broker: &Broker) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new("_backhaul.bridge", broker.unix.to_str().unwrap(), 0);
    options.set_transport(Transport::Unix);
    options
        .set_max_packet_size(1 << 20, 1 << 20)
        .set_manual_acks(true);
    AsyncClient::new(options, 200)
}

/// Drives an event loop until a packet of interest comes.
async fn until<T>(events: &mut EventLoop, mut wanted: impl FnMut(Packet) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Event::Incoming(packet) = events.poll().await.unwrap()
                && let Some(found) = wanted(packet)
            {
                return found;
            }
        }
    };
    timeout(PATIENCE, found).await.expect("the packet in time")
}

fn message(packet: Packet) -> Option<rumqttc::Publish> {
    match packet {
        Packet::Publish(publish) => Some(publish),
        _ => None,
    }
}

fn suback(packet: Packet) -> Option<()> {
    matches!(packet, Packet::SubAck(_)).then_some(())
}

#[tokio::test]
async fn rumqttc_serves_as_device_and_as_bridge() {
    let broker = Broker::start().await;
    let (bridge, mut bridge_events) = bridge(&broker);
    for channel in Up::ALL {
        bridge
            .subscribe(format!("bh/1/+/{}/+", channel.as_str()), QoS::AtLeastOnce)
            .await
            .unwrap();
    }
    for _ in Up::ALL {
        until(&mut bridge_events, suback).await;
    }
    let (device, mut device_events) = device(&broker);
    device
        .subscribe(down("acme.gw-1", Down::Ack), QoS::AtMostOnce)
        .await
        .unwrap();
    until(&mut device_events, suback).await;

    let state_topic = up("acme.gw-1", Up::State);
    device
        .publish(state_topic, QoS::AtLeastOnce, true, state(1))
        .await
        .unwrap();
    until(&mut device_events, |p| {
        matches!(p, Packet::PubAck(_)).then_some(())
    })
    .await;
    let said = until(&mut bridge_events, message).await;
    assert_eq!(said.payload, state(1));
    bridge.ack(&said).await.unwrap();
    let grant = ack(1, 1 << 20, 0);
    bridge
        .publish(
            down("acme.gw-1", Down::Ack),
            QoS::AtMostOnce,
            false,
            grant.clone(),
        )
        .await
        .unwrap();
    let bridge_task = tokio::spawn(async move {
        let mut got = Vec::new();
        while got.len() < 100 {
            let batch = until(&mut bridge_events, message).await;
            bridge.ack(&batch).await.unwrap();
            got.push(batch.payload);
        }
        (bridge_events, bridge, got)
    });
    assert_eq!(until(&mut device_events, message).await.payload, grant);

    let topic = up("acme.gw-1", Up::Batch);
    let publisher = device.clone();
    tokio::spawn(async move {
        for n in 0..100_u32 {
            publisher
                .publish(&topic, QoS::AtLeastOnce, false, n.to_be_bytes())
                .await
                .unwrap();
        }
    });
    let mut acked = 0;
    until(&mut device_events, |p| {
        acked += u32::from(matches!(p, Packet::PubAck(_)));
        (acked == 100).then_some(())
    })
    .await;
    let (mut bridge_events, _bridge, got) = bridge_task.await.unwrap();
    assert!(
        got.iter()
            .enumerate()
            .all(|(n, payload)| payload[..] == (n as u32).to_be_bytes())
    );
    drop((device, device_events));
    assert_eq!(until(&mut bridge_events, message).await.payload, "gone");
}

#[tokio::test]
async fn mosquittos_tools_work_for_operators() {
    if Command::new("mosquitto_sub")
        .arg("--help")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        println!("skipped: mosquitto_sub is not installed");
        return;
    }
    let broker = Broker::start().await;
    for id in ["ann", "bob"] {
        let issued = broker.issue(&format!("acme/operator/{id}"));
        std::fs::write(broker.dir.path().join(format!("{id}.crt")), issued.cert_pem).unwrap();
        std::fs::write(broker.dir.path().join(format!("{id}.key")), issued.key_pem).unwrap();
    }
    let tool = |tool: &str, id: &str, rest: &[&str]| {
        let file = |name: String| broker.dir.path().join(name);
        let mut command = Command::new(tool);
        command.args([
            "-h",
            "localhost",
            "-p",
            &broker.port.to_string(),
            "-V",
            "mqttv311",
        ]);
        command.arg("--cafile").arg(broker.folder.path().join("ca.crt"));
        command
            .arg("--cert")
            .arg(file(format!("{id}.crt")))
            .arg("--key")
            .arg(file(format!("{id}.key")));
        command
            .args(["-i", &identity(&format!("acme/operator/{id}")).name().to_string()])
            .args(rest);
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let listener = tool("mosquitto_sub", "ann", &["-t", "site/#", "-C", "1", "-q", "1"]);
    broker.counted("connections", "operator", 1.0).await;
    let heard = tokio::task::spawn_blocking(move || listener.wait_with_output().unwrap());
    let start = Instant::now();
    // Connected is not yet subscribed, so it is said until it is heard.
    while !heard.is_finished() {
        assert!(start.elapsed() < PATIENCE, "nothing was heard");
        let args = ["-t", "site/door", "-m", "open", "-q", "1"];
        let mut talker = tool("mosquitto_pub", "bob", &args);
        let said = tokio::task::spawn_blocking(move || talker.wait().unwrap());
        assert!(said.await.unwrap().success());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(heard.await.unwrap().stdout, b"open\n");
}
