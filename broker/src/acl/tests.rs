use super::*;

fn peer(uri: &str) -> Identity {
    Identity::from_uri(&format!("spiffe://backhaul/{uri}")).unwrap()
}

fn up(name: &str, channel: Up) -> String {
    Topic::Up(name.parse().unwrap(), channel).to_string()
}

#[test]
fn a_device_publishes_its_own_up_topics_and_no_others() {
    let device = peer("acme/device/gw-1");
    for channel in Up::ALL {
        assert_eq!(
            publish(&device, &up("acme.gw-1", channel)),
            Ok(Target::Up(channel))
        );
    }
    for topic in [
        up("acme.gw-2", Up::Batch),
        up("other.gw-1", Up::Batch),
        "bh/1/acme.gw-1/ack".to_owned(),
        "bh/1/acme.gw-1/batch/+".to_owned(),
        "bh/1/+/batch/00".to_owned(),
        "sensors/x".to_owned(),
        "$SYS/x".to_owned(),
    ] {
        assert_eq!(publish(&device, &topic), Err(Fault::PublishAcl), "{topic}");
    }
}

#[test]
fn a_device_hears_its_own_down_topics_and_no_others() {
    let device = peer("acme/device/gw-1");
    assert_eq!(
        subscribe(&device, "bh/1/acme.gw-1/ack"),
        Ok(Filter::Down(Down::Ack))
    );
    assert_eq!(
        subscribe(&device, "bh/1/acme.gw-1/config"),
        Ok(Filter::Down(Down::Config))
    );
    for filter in [
        "bh/1/acme.gw-2/ack",
        "bh/1/+/ack",
        "bh/1/acme.gw-1/#",
        "#",
        "$share/g/bh/1/acme.gw-1/ack",
        "bh/1/+/batch/+",
    ] {
        assert_eq!(subscribe(&device, filter), Err(Fault::SubscribeAcl), "{filter}");
    }
}

#[test]
fn a_devices_will_is_its_own_state() {
    let device = peer("acme/device/gw-1");
    assert_eq!(will(&device, &up("acme.gw-1", Up::State)), Ok(()));
    assert_eq!(will(&device, &up("acme.gw-1", Up::Batch)), Err(Fault::WillAcl));
    assert_eq!(will(&device, &up("acme.gw-2", Up::State)), Err(Fault::WillAcl));
    assert_eq!(
        will(&peer("_backhaul/bridge/bridge"), "bh/1/acme.gw-1/ack"),
        Err(Fault::WillAcl)
    );
}

#[test]
fn a_bridge_consumes_channels_by_shard_and_answers_devices_of_its_tenant() {
    let all = peer("_backhaul/bridge/bridge");
    let one = peer("acme/bridge/b1");
    assert_eq!(subscribe(&all, "bh/1/+/batch/+"), Ok(Filter::Up(Up::Batch, None)));
    assert_eq!(
        subscribe(&all, "bh/1/+/state/0a"),
        Ok(Filter::Up(Up::State, Some(10)))
    );
    for filter in [
        "bh/1/+/batch/0A",
        "bh/1/+/batch/a",
        "bh/1/+/ack",
        "bh/1/#",
        "#",
        "bh/1/acme.x/batch/+",
    ] {
        assert_eq!(subscribe(&all, filter), Err(Fault::SubscribeAcl), "{filter}");
    }
    assert!(matches!(
        publish(&all, "bh/1/acme.gw-1/ack"),
        Ok(Target::Down(_, Down::Ack))
    ));
    assert!(matches!(
        publish(&one, "bh/1/acme.gw-1/cmd"),
        Ok(Target::Down(_, Down::Cmd))
    ));
    assert_eq!(publish(&one, "bh/1/other.gw-1/ack"), Err(Fault::PublishAcl));
    assert_eq!(publish(&all, &up("acme.gw-1", Up::Batch)), Err(Fault::PublishAcl));
}

#[test]
fn an_operator_has_the_other_topics_and_reads_states_of_its_tenant() {
    let operator = peer("acme/operator/ann");
    assert_eq!(publish(&operator, "site/door"), Ok(Target::Other));
    for topic in [
        "bh",
        "bh/1/acme.gw-1/cmd",
        "bh/2/x",
        "$SYS/x",
        "a/+",
        "a/#",
        &"a/".repeat(20),
    ] {
        assert_eq!(publish(&operator, topic), Err(Fault::PublishAcl), "{topic}");
    }
    for filter in [
        "site/#",
        "#",
        "+/door",
        "bh/1/+/state/+",
        &up("acme.gw-1", Up::State),
    ] {
        assert!(subscribe(&operator, filter).is_ok(), "{filter}");
    }
    for filter in [
        "bh/1/+/batch/+",
        "bh/#",
        "bh/1/acme.gw-1/ack",
        "$share/g/site/#",
        "a/#/b",
        "a+/b",
        "#a",
    ] {
        assert_eq!(subscribe(&operator, filter), Err(Fault::SubscribeAcl), "{filter}");
    }
    assert!(may_see(&operator, &up("acme.gw-1", Up::State)));
    assert!(!may_see(&operator, &up("other.gw-1", Up::State)));
    assert!(may_see(&operator, "site/door"));
}

#[test]
fn other_roles_may_do_nothing() {
    for role in ["acme/broker/b", "acme/relay/r"] {
        assert!(publish(&peer(role), "site/door").is_err());
        assert!(subscribe(&peer(role), "site/door").is_err());
    }
}
