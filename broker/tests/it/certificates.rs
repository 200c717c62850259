//! Who is let in, and who is thrown out.

use std::sync::Arc;
use std::time::Duration;

use certs::{Authority, ClientFiles, client_config};
use rumqttc::mqttbytes::v4::{ConnectReturnCode, Packet};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;
use wire::Timestamp;
use wire::topic::Up;

use crate::harness::{Broker, connect, identity, name, now, state, up};

const DAY: Duration = Duration::from_secs(86_400);

/// A client that may get through its side of the handshake, but is never answered.
async fn refused(broker: &Broker, tls: Arc<ClientConfig>, reason: &str) {
    if let Ok(mut client) = broker.shake(tls).await {
        // An error: the broker has closed already.
        let _ = client.try_say(&connect("acme.gw-1")).await;
        assert_eq!(client.packet().await, None);
    }
    broker.counted("connections_refused_total", reason, 1.0).await;
    assert_eq!(broker.metric("connections", "device"), 0.0);
}

fn issued_days_ago(broker: &Broker, path: &str, ago: u32, days: u32) -> Arc<ClientConfig> {
    let then = now().minus(DAY * ago);
    broker.tls_of(&broker.authority.issue(&identity(path), &[], days, then).unwrap())
}

#[tokio::test]
async fn a_good_certificate_is_accepted_and_its_session_resumed() {
    let broker = Broker::start().await;
    let tls = broker.tls("acme/device/gw-1");
    for _ in 0..2 {
        let mut client = broker.shake(Arc::clone(&tls)).await.unwrap();
        client.say(&connect("acme.gw-1")).await;
        client.accepted().await;
        client.ping().await;
        client.say(&[0xe0, 0x00]).await;
        client.closed().await;
    }
    assert_eq!(broker.metric("tls_handshakes_total", "full"), 1.0);
    assert_eq!(broker.metric("tls_handshakes_total", "resumed"), 1.0);
    broker.counted("connections_closed_total", "goodbye", 2.0).await;
}

#[tokio::test]
async fn no_certificate_is_refused() {
    let broker = Broker::start().await;
    let mut roots = RootCertStore::empty();
    roots.add(broker.authority.certificate().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    refused(&broker, Arc::new(tls), "no_certificate").await;
}

#[tokio::test]
async fn a_foreign_certificate_is_refused() {
    let broker = Broker::start().await;
    let other = Authority::create(30, now()).unwrap();
    let issued = other
        .issue(&identity("acme/device/gw-1"), &[], 30, now())
        .unwrap();
    refused(&broker, broker.tls_of(&issued), "foreign_certificate").await;
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_and_its_live_session_cut_within_a_second() {
    let broker = Broker::start().await;
    broker
        .folder
        .issue_devices(&[name("acme.gw-1")], 30, None, now())
        .unwrap();
    let tls = client_config(&ClientFiles::in_folder(broker.folder.path(), "devices/acme/gw-1")).unwrap();
    let mut live = broker.shake(Arc::clone(&tls)).await.unwrap();
    live.say(&connect("acme.gw-1")).await;
    live.accepted().await;
    let mut other = broker.device("acme.gw-2").await;

    broker.folder.revoke("acme.gw-1", now()).unwrap();
    // A second as the broker has it: its thread is ours, and on a busy machine these ticks are late as well.
    let (mut ticks, cut) = (0, live.closed());
    tokio::pin!(cut);
    while timeout(Duration::from_millis(10), &mut cut).await.is_err() {
        ticks += 1;
    }
    assert!(ticks <= 100, "cut after {ticks} ticks of 10 ms");
    broker.counted("connections_closed_total", "revoked", 1.0).await;
    other.ping().await;

    // The same client again, with the ticket of its session; and one that has none.
    broker.counted("tls_reloads_total", "replaced", 1.0).await;
    for (tries, tls) in [
        (1.0, tls),
        (
            2.0,
            client_config(&ClientFiles::in_folder(broker.folder.path(), "devices/acme/gw-1")).unwrap(),
        ),
    ] {
        if let Ok(mut client) = broker.shake(tls).await {
            let _ = client.try_say(&connect("acme.gw-1")).await;
            assert_eq!(client.packet().await, None);
        }
        broker
            .counted("connections_refused_total", "revoked", tries)
            .await;
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_beyond_its_grace_and_flagged_within_it() {
    let broker = Broker::start().await;
    refused(
        &broker,
        issued_days_ago(&broker, "acme/device/gw-1", 200, 100),
        "expired",
    )
    .await;

    let tls = issued_days_ago(&broker, "acme/device/gw-2", 20, 10);
    let mut client = broker.shake(tls).await.unwrap();
    client.say(&connect("acme.gw-2")).await;
    client.accepted().await;
    client.publish(&up("acme.gw-2", Up::State), &state(1)).await;
    broker.counted("expired_certificate_connections", "", 1.0).await;
    drop(client);
    broker.counted("expired_certificate_connections", "", 0.0).await;

    let future = now().plus(DAY).ms();
    let issued = broker
        .authority
        .issue(&identity("acme/device/gw-3"), &[], 10, Timestamp::from_ms(future))
        .unwrap();
    if let Ok(mut client) = broker.shake(broker.tls_of(&issued)).await {
        let _ = client.try_say(&connect("acme.gw-3")).await;
        assert_eq!(client.packet().await, None);
    }
    broker.counted("connections_refused_total", "expired", 2.0).await;
}

#[tokio::test]
async fn the_client_id_is_the_certificates_name_and_the_role_has_business_here() {
    let broker = Broker::start().await;
    for (path, client_id, code, reason) in [
        (
            "acme/device/gw-1",
            "acme.gw-2",
            ConnectReturnCode::BadClientId,
            "client_id",
        ),
        (
            "acme/device/gw-1",
            "",
            ConnectReturnCode::BadClientId,
            "client_id",
        ),
        (
            "acme/device/gw-1",
            "_backhaul.bridge",
            ConnectReturnCode::BadClientId,
            "client_id",
        ),
        ("acme/relay/r", "acme.r", ConnectReturnCode::NotAuthorized, "role"),
    ] {
        let before = broker.metric("connections_refused_total", reason);
        let mut client = broker.shake(broker.tls(path)).await.unwrap();
        client.say(&connect(client_id)).await;
        match client.packet().await {
            Some(Packet::ConnAck(ack)) => assert_eq!(ack.code, code, "{client_id}"),
            other => panic!("expected CONNACK, got {other:?}"),
        }
        client.closed().await;
        broker
            .counted("connections_refused_total", reason, before + 1.0)
            .await;
    }
}

#[tokio::test]
async fn a_broken_crl_keeps_the_old_one_and_a_signal_reloads_at_once() {
    let broker = Broker::start().await;
    let mut device = broker.device("acme.gw-1").await;
    let crl = broker.folder.path().join("crl.pem");
    let new = crl.with_extension("new");
    std::fs::write(&new, "nonsense").unwrap();
    // At once, or the broker may find the file while it is empty, and count that too.
    std::fs::rename(&new, &crl).unwrap();
    broker.counted("tls_reloads_total", "broken", 1.0).await;
    device.ping().await;
    let mut other = broker.device("acme.gw-2").await;
    other.ping().await;
    broker.reload.fire();
    broker.counted("tls_reloads_total", "broken", 2.0).await;
}
