use proptest::prelude::*;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{self, LastWill};
use wire::Topic;

use super::*;

fn peer(path: &str) -> Identity {
    Identity::from_uri(&format!("spiffe://backhaul/{path}")).unwrap()
}

fn device() -> Identity {
    peer("acme/device/gw-1")
}

fn bytes(write: impl FnOnce(&mut BytesMut) -> Result<usize, rumqttc::mqttbytes::Error>) -> BytesMut {
    let mut out = BytesMut::new();
    write(&mut out).unwrap();
    out
}

fn connect(id: &str, keep_alive: u16, will: Option<LastWill>) -> BytesMut {
    let mut connect = v4::Connect::new(id);
    (connect.keep_alive, connect.last_will) = (keep_alive, will);
    bytes(|out| connect.write(out))
}

fn publish(topic: &str, pkid: u16) -> BytesMut {
    let mut publish = v4::Publish::new(topic, QoS::AtLeastOnce, b"payload".to_vec());
    publish.pkid = pkid;
    bytes(|out| publish.write(out))
}

fn own(channel: Up) -> String {
    Topic::Up(device().name().clone(), channel).to_string()
}

fn opened(now: Instant) -> Session {
    let mut session = Session::new(device(), now);
    let request = session.receive(&mut connect("acme.gw-1", 10, None), now);
    assert_eq!(request, Ok(Some(Request::Open { will: None })));
    session.opened();
    session
}

#[test]
fn a_session_opens_publishes_and_says_goodbye() {
    let now = Instant::now();
    let mut session = opened(now);
    let mut input = publish(&own(Up::Batch), 7);
    input.extend_from_slice(&[0xc0, 0, 0xe0, 0, 0xc0, 0]);
    let payload = Bytes::from("payload");
    let up = Request::Up {
        channel: Up::Batch,
        payload,
        pkid: Some(7),
    };
    assert_eq!(session.receive(&mut input, now), Ok(Some(up)));
    assert_eq!(session.receive(&mut input, now), Ok(Some(Request::Ping)));
    assert_eq!(session.receive(&mut input, now), Ok(Some(Request::Goodbye)));
    assert_eq!(
        session.receive(&mut input, now),
        Ok(None),
        "nothing is heard after a goodbye"
    );
    assert!(input.is_empty());
}

#[test]
fn silence_for_one_and_a_half_keep_alives_ends_a_session() {
    let now = Instant::now();
    let mut session = opened(now);
    let at = |seconds: u64| now + Duration::from_secs(seconds);
    assert_eq!(session.deadline(), at(15));
    assert_eq!(session.tick(at(14)), Ok(()));
    assert_eq!(
        session.receive(&mut BytesMut::from(&[0xc0][..]), at(14)),
        Ok(None)
    );
    assert_eq!(session.tick(at(28)), Ok(()), "part of a packet is a sign of life");
    assert_eq!(session.tick(at(29)), Err(Fault::KeepAlive));
    session.excuse(at(29));
    assert_eq!(session.tick(at(30)), Ok(()));

    let mut endless = Session::new(device(), now);
    endless.receive(&mut connect("acme.gw-1", 0, None), now).unwrap();
    assert_eq!(endless.deadline(), at(2700), "no keep-alive is not for ever");
}

#[test]
fn a_refused_connect_is_told_why_and_nothing_else_is() {
    let now = Instant::now();
    for (path, packet, fault, answer) in [
        (
            "acme/device/gw-1",
            connect("acme.gw-2", 10, None),
            Fault::ClientId,
            Some(Answer::ClientId),
        ),
        (
            "acme/relay/gw-1",
            connect("acme.gw-1", 10, None),
            Fault::Role,
            Some(Answer::NotAuthorized),
        ),
        (
            "acme/device/gw-1",
            connect(
                "acme.gw-1",
                10,
                Some(LastWill::new(own(Up::Batch), "x", QoS::AtMostOnce, false)),
            ),
            Fault::WillAcl,
            Some(Answer::NotAuthorized),
        ),
        (
            "acme/operator/gw-1",
            connect(
                "acme.gw-1",
                10,
                Some(LastWill::new("é/x", "x", QoS::AtMostOnce, false)),
            ),
            Fault::Malformed,
            None,
        ),
        (
            "acme/device/gw-1",
            publish(&own(Up::Batch), 1),
            Fault::Unexpected,
            None,
        ),
    ] {
        let mut session = Session::new(peer(path), now);
        let mut packet = packet;
        assert_eq!(session.receive(&mut packet, now), Err(fault));
        assert_eq!(session.refusal(fault), answer);
    }
    let mut open = opened(now);
    assert_eq!(
        open.receive(&mut connect("acme.gw-1", 10, None), now),
        Err(Fault::Unexpected)
    );
    assert_eq!(open.refusal(Fault::ClientId), None);
}

/// Feeds bytes in pieces until the session fails or they are used up.
fn feed(session: &mut Session, bytes: &[u8], piece: usize) -> Result<usize, Fault> {
    let (mut input, mut requests, now) = (BytesMut::new(), 0, Instant::now());
    for piece in bytes.chunks(piece) {
        input.extend_from_slice(piece);
        while let Some(request) = session.receive(&mut input, now)? {
            requests += 1;
            if matches!(request, Request::Open { .. }) {
                session.opened();
            }
        }
        // What is kept back is part of one packet, never more than the largest.
        assert!(input.len() <= wire::limits::MAX_MESSAGE * 2 + 2048);
    }
    Ok(requests)
}

fn roles() -> impl Strategy<Value = Identity> {
    prop_oneof![
        Just(device()),
        Just(peer("_backhaul/bridge/bridge")),
        Just(peer("acme/operator/ann"))
    ]
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        who in roles(),
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        piece in 1usize..64,
        greeted in any::<bool>(),
    ) {
        let mut session = Session::new(who.clone(), Instant::now());
        let mut all = BytesMut::new();
        if greeted {
            all.extend_from_slice(&connect(&who.name().to_string(), 10, None));
        }
        all.extend_from_slice(&bytes);
        let _ = feed(&mut session, &all, piece);
    }

    #[test]
    fn damaged_packets_never_panic(
        who in roles(),
        kinds in proptest::collection::vec(0u8..8, 1..6),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        piece in 1usize..64,
    ) {
        let will = LastWill::new(own(Up::State), "will", QoS::AtLeastOnce, true);
        let mut all = connect(&who.name().to_string(), 10, Some(will)).to_vec();
        for kind in kinds {
            all.extend_from_slice(&match kind {
                0 => publish(&own(Up::Batch), 3),
                1 => publish("site/door", 3),
                2 => publish("bh/1/acme.gw-1/ack", 3),
                3 => bytes(|out| {
                    let mut subscribe = v4::Subscribe::new("bh/1/+/state/+", QoS::AtLeastOnce);
                    subscribe.pkid = 1;
                    subscribe.write(out)
                }),
                4 => bytes(|out| {
                    let mut unsubscribe = v4::Unsubscribe::new("site/door");
                    unsubscribe.pkid = 1;
                    unsubscribe.write(out)
                }),
                5 => bytes(|out| v4::PubAck::new(1).write(out)),
                6 => BytesMut::from(&[0xc0, 0][..]),
                _ => BytesMut::from(&[0xe0, 0][..]),
            });
        }
        for (at, byte) in damage {
            let at = at.index(all.len());
            all[at] = byte;
        }
        all.truncate(cut.index(all.len()) + 1);
        let _ = feed(&mut Session::new(who, Instant::now()), &all, piece);
    }

    #[test]
    fn pieces_make_no_difference(kinds in proptest::collection::vec(0u8..3, 0..20), piece in 1usize..100) {
        let mut all = connect("acme.gw-1", 10, None).to_vec();
        for kind in &kinds {
            all.extend_from_slice(&match kind {
                0 => publish(&own(Up::Batch), 3),
                1 => publish(&own(Up::State), 0xffff),
                _ => BytesMut::from(&[0xc0, 0][..]),
            });
        }
        let requests = feed(&mut Session::new(device(), Instant::now()), &all, piece);
        prop_assert_eq!(requests, Ok(1 + kinds.len()));
    }
}
