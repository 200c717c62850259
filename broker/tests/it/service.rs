//! Starting, stopping, timers and caps.

use std::time::{Duration, Instant};

use broker::{BrokerError, Config, Limits, Listeners};
use certs::ServerFiles;
use prometheus::Registry;
use rumqttc::mqttbytes::v4::Connect;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;
use wire::topic::{Down, Up};

use crate::harness::{Broker, connect, connect_with, down, state, up};

#[tokio::test]
async fn shutdown_closes_every_connection_and_returns() {
    let long = Duration::from_secs(60);
    let limits = Limits {
        handshake_time: long,
        shutdown_time: long,
        ..Limits::default()
    };
    let mut broker = Broker::start_with(limits).await;
    let mut bridge = broker.bridge().await;
    let mut device = broker.device("acme.gw-1").await;
    let mut operator = broker.connect("acme/operator/ann").await;
    operator.publish("a", b"b").await;
    let half_open = TcpStream::connect(("127.0.0.1", broker.port)).await.unwrap();
    let start = Instant::now();
    broker.shutdown.cancel();
    (&mut broker.task).await.unwrap().unwrap();
    // It waits for none of them.
    assert!(start.elapsed() < long / 2, "took {:?}", start.elapsed());
    drop(half_open);
    operator.closed().await;
    device.closed().await;
    while bridge.packet().await.is_some() {}
    assert!(TcpStream::connect(("127.0.0.1", broker.port)).await.is_err());
}

#[tokio::test]
async fn without_a_ca_the_broker_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let listeners = Listeners {
        mqtt: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        unix: None,
        http: None,
    };
    let config = Config::new(ServerFiles::in_folder(dir.path()));
    let ended = broker::run(config, listeners, Registry::new(), CancellationToken::new()).await;
    assert!(matches!(ended, Err(BrokerError::Tls(_))), "{ended:?}");
}

async fn http(broker: &Broker, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", broker.http)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn metrics_and_health_are_served() {
    let broker = Broker::start().await;
    let mut device = broker.device("acme.gw-1").await;
    device.publish(&up("acme.gw-1", Up::State), &state(1)).await;
    let metrics = http(&broker, "/metrics").await;
    assert!(
        metrics.contains("backhaul_broker_connections{role=\"device\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("backhaul_broker_messages_received_total{channel=\"state\"} 1"),
        "{metrics}"
    );
    for path in ["/-/healthy", "/-/ready"] {
        assert!(http(&broker, path).await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn a_silent_client_is_closed_after_one_and_a_half_keep_alives() {
    let broker = Broker::start().await;
    let mut client = broker.shake(broker.tls("acme/device/gw-1")).await.unwrap();
    let mut connect = Connect::new("acme.gw-1");
    connect.keep_alive = 2;
    client.say(&connect_with(&connect)).await;
    client.accepted().await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    // Before the broker hears of the ping, so that a slow machine makes the silence longer only.
    let start = Instant::now();
    client.ping().await;
    client.closed().await;
    let silent = start.elapsed();
    assert!(
        silent >= Duration::from_secs(3) && silent < Duration::from_secs(10),
        "{silent:?}"
    );
    broker
        .counted("connections_closed_total", "keep_alive", 1.0)
        .await;
}

#[tokio::test]
async fn a_bridge_that_reads_nothing_is_closed_and_the_next_one_served() {
    let limits = Limits {
        write_stall: Duration::from_millis(600),
        bridge_window_messages: 10_000,
        bridge_window_bytes: 1 << 30,
        ..Limits::default()
    };
    let broker = Broker::start_with(limits).await;
    let mut bridge = broker.bridge().await;
    let mut device = broker.granted("acme.gw-1", &mut bridge, 1, 1 << 30).await;
    for _ in 0..200 {
        device.publish(&up("acme.gw-1", Up::Batch), &[0; 60_000]).await;
    }
    broker
        .counted("connections_closed_total", "write_stall", 1.0)
        .await;
    let mut next = broker.bridge().await;
    assert_eq!(next.message().await.topic, up("acme.gw-1", Up::State));
    assert_eq!(broker.metric("queued_bytes", ""), 0.0);
    drop(bridge);
}

#[tokio::test]
async fn a_device_that_reads_nothing_costs_a_bounded_amount() {
    let broker = Broker::start().await;
    let mut bridge = broker.bridge().await;
    let device = broker.device("acme.gw-1").await;
    for _ in 0..300 {
        bridge.publish0(&down("acme.gw-1", Down::Ack), &[0; 60_000]).await;
    }
    bridge.ping().await;
    assert!(broker.metric("messages_dropped_total", "outbox_full") > 100.0);
    drop(device);
}

#[tokio::test]
async fn sockets_that_say_nothing_are_capped_and_do_not_count_as_connections() {
    let broker = Broker::start_with(Limits {
        pending: 3,
        ..Limits::default()
    })
    .await;
    let mut device = broker.device("acme.gw-1").await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(("127.0.0.1", broker.port)).await.unwrap());
    }
    broker
        .counted("connections_refused_total", "pending_cap", 1.0)
        .await;
    device.ping().await;
    silent.clear();
    broker.counted("connections_refused_total", "gone", 3.0).await;
    broker.device("acme.gw-2").await.ping().await;
}

#[tokio::test]
async fn the_unix_socket_serves_the_bridge_only() {
    let broker = Broker::start().await;
    let mut other = UnixStream::connect(&broker.unix).await.unwrap();
    other.write_all(&connect("acme.gw-1")).await.unwrap();
    let mut answer = Vec::new();
    other.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, [0x20, 0x02, 0x00, 0x02], "client id refused");
    broker
        .counted("connections_refused_total", "client_id", 1.0)
        .await;
}
