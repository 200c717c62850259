//! The bridge at a stock broker (rumqttd's, without our front): a device's whole conversation.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use rumqttd::{Broker, ConnectionSettings, RouterConfig, ServerSettings};
use tokio::net::{TcpStream, UnixListener};
use wire::batch::{Encoding, Group, Presence, Row};
use wire::dict::{Dictionary, SeriesId};
use wire::message::{Ack, BucketSpan, Histogram, HistogramCell, SessionState, State, VERSION};
use wire::topic::{Down, Up};
use wire::{Labels, Seq, Timestamp, Topic};

use crate::server::{Api, SESSION, START_MS, batch, device, dictionary, seconds};

const PATIENCE: Duration = Duration::from_secs(20);

/// Starts rumqttd on a loopback port and a socket that leads to it, as the bridge dials only TLS or a socket.
async fn broker(folder: &Path) -> (SocketAddr, PathBuf) {
    // An address of its own, as this process goes on to bind free ports of the usual one.
    let listen = std::net::TcpListener::bind("127.0.0.2:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let connections = ConnectionSettings {
        connection_timeout_ms: 5000,
        max_payload_size: 1 << 20,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: false,
    };
    let settings = ServerSettings {
        name: "v4".into(),
        listen,
        tls: None,
        next_connection_delay_ms: 0,
        connections,
    };
    let config = rumqttd::Config {
        id: 0,
        router: RouterConfig {
            max_connections: 10,
            max_outgoing_packet_count: 200,
            max_segment_size: 1 << 20,
            max_segment_count: 10,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([("1".to_owned(), settings)])),
        v5: None,
        ws: None,
        cluster: None,
        console: None,
        bridge: None,
        prometheus: None,
        metrics: None,
    };
    std::thread::spawn(move || drop(Broker::new(config).start()));
    let path = folder.join("mqtt.sock");
    let socket = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = socket.accept().await {
            if let Ok(mut far) = TcpStream::connect(listen).await {
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
            }
        }
    });
    (listen, path)
}

/// A device by hand at a plain listener.
struct Device {
    client: AsyncClient,
    events: EventLoop,
}

impl Device {
    async fn connect(broker: SocketAddr) -> Device {
        let will = rumqttc::LastWill::new(
            Topic::Up(device(), Up::State).to_string(),
            wire::state::encode(&State {
                version: VERSION,
                nonce: 9,
                ..State::default()
            }),
            QoS::AtLeastOnce,
            true,
        );
        let mut options = MqttOptions::new(device().to_string(), broker.ip().to_string(), broker.port());
        options.set_last_will(will);
        let (client, events) = AsyncClient::new(options, 16);
        let mut device = Device { client, events };
        device
            .client
            .subscribe(
                Topic::Down(self::device(), Down::Ack).to_string(),
                QoS::AtLeastOnce,
            )
            .await
            .unwrap();
        device
            .until(|event| matches!(event, Event::Incoming(Packet::SubAck(_))).then_some(()))
            .await;
        device
    }

    async fn until<T>(&mut self, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        let found = async {
            loop {
                // The broker may not listen yet: dial again.
                if let Ok(event) = self.events.poll().await
                    && let Some(found) = wanted(&event)
                {
                    return found;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("in time")
    }

    async fn publish(&mut self, channel: Up, payload: Vec<u8>) {
        let topic = Topic::Up(device(), channel).to_string();
        self.client
            .publish(topic, QoS::AtLeastOnce, channel == Up::State, payload)
            .await
            .unwrap();
    }

    async fn ack(&mut self, wanted: impl Fn(&Ack) -> bool) -> Ack {
        self.until(|event| match event {
            Event::Incoming(Packet::Publish(publish)) => {
                Some(wire::ack::decode(&publish.payload).unwrap()).filter(&wanted)
            }
            _ => None,
        })
        .await
    }
}

fn state(number: u32) -> Vec<u8> {
    let session = SessionState {
        session: SESSION.get(),
        oldest: 1,
        last: 2,
        total: 4,
        unacked: 1,
        ..SessionState::default()
    };
    wire::state::encode(&State {
        version: VERSION,
        nonce: 9,
        connected: true,
        number,
        sessions: vec![session],
        agent_version: "1.2.3".into(),
        ..State::default()
    })
}

/// A dictionary with series `took_seconds` after those there are.
fn with_histogram(before: &Dictionary) -> Dictionary {
    let mut dictionary = before.clone();
    dictionary
        .append(Labels::new([("__name__", "took_seconds")]).unwrap())
        .unwrap();
    dictionary
}

/// Record 3: three observations.
fn histogram_group() -> Group {
    let histogram = Histogram {
        count: 3,
        sum: 4.5,
        positive_spans: vec![BucketSpan { offset: 0, length: 2 }],
        positive_deltas: vec![1, 1],
        ..Histogram::default()
    };
    let row = Row {
        seq: Seq::new(3),
        time: Timestamp::from_ms(START_MS),
        mono_ms: 3,
    };
    Group {
        series: [SeriesId::new(2)].into(),
        rows: vec![row],
        values: vec![0.0],
        present: Some(Presence::none(1)),
        histograms: vec![HistogramCell {
            position: 0,
            row: 0,
            histogram: Some(histogram),
        }],
        ..Group::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_s_samples_are_acked_and_come_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, socket) = broker(folder.path()).await;
    let mut device = Device::connect(broker).await;
    // The state is there before the bridge: it learns of the device from what the broker kept.
    device.publish(Up::State, state(1)).await;
    let api = Api::at(socket).await;
    let full = device.ack(|ack| ack.answers == 1 && ack.nonce == 9).await;
    assert!(full.fresh_credit >= 65_536 && full.sessions[0].settled.is_empty());

    let dictionary = dictionary();
    device
        .publish(Up::Dict, wire::dict::encode(&dictionary, None).remove(0))
        .await;
    let payload = wire::batch::encode(&batch(&dictionary), Encoding::SelfContained).payload;
    device.publish(Up::Batch, payload).await;
    let ack = device
        .ack(|ack| ack.sessions.iter().any(|s| !s.settled.is_empty()))
        .await;
    let range = ack.sessions[0].settled[0];
    assert_eq!((range.first, range.more), (1, 1));

    // A record with a native histogram, after the device learned of the series.
    let (dictionary, mut batch) = (with_histogram(&dictionary), batch(&dictionary));
    batch.header.dict = dictionary.hash();
    batch.header.total = 5;
    batch.groups = vec![histogram_group()];
    device
        .publish(Up::Dict, wire::dict::encode(&dictionary, None).remove(0))
        .await;
    let payload = wire::batch::encode(&batch, Encoding::SelfContained).payload;
    device.publish(Up::Batch, payload).await;
    device
        .ack(|ack| {
            ack.sessions
                .iter()
                .flat_map(|s| &s.settled)
                .any(|range| range.first + range.more >= 3)
        })
        .await;

    assert_eq!(api.get("/-/ready").await.0, 200);
    let at = seconds(START_MS);
    let (_, body) = api.get(&format!("/api/v1/query?query=load1[2s]&time={at}")).await;
    let values = format!(r#""values":[[{},"NaN"],[{at},"0.25"]]"#, seconds(START_MS - 1000));
    assert!(body.contains(&values), "{body}");
    let (_, body) = api
        .get(&format!("/api/v1/query?query=took_seconds&time={at}"))
        .await;
    let histogram = format!(
        r#""histogram":[{at},{{"count":"3","sum":"4.5","buckets":[[0,"0.5","1","1"],[0,"1","2","2"]]}}]"#
    );
    assert!(body.contains(&histogram), "{body}");
    let (_, body) = api.get("/api/v1/fleet/devices?connected=true").await;
    assert!(
        body.contains(r#""version":"1.2.3""#) && body.contains(r#""pending":0"#),
        "{body}"
    );
    api.stop().await;
}
