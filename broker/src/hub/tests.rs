//! The table against random histories: nothing is lost without a count, doubled, reordered or stuck.

use prometheus::Registry;
use proptest::prelude::*;
use prost::Message as _;
use wire::message::{Ack, State};
use wire::{Topic, payload};

use super::*;
use crate::acl::Filter;

const DEVICES: u64 = 4;

fn device(n: u64) -> Identity {
    Identity::from_uri(&format!("spiffe://backhaul/acme/device/gw-{n}")).unwrap()
}

fn bridge(n: u64) -> Identity {
    Identity::from_uri(&format!("spiffe://backhaul/_backhaul/bridge/b{n}")).unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    Device(u64),
    Bridge(u64),
    Subscribe(u64, Up),
    Unsubscribe(u64, Up),
    State(u64),
    Grant(u64),
    Batch(u64),
    Backlog(u64),
    Alert(u64),
    Take(u64),
    Confirm(u64),
    LeaveDevice(u64, bool),
    LeaveBridge(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (d, b) = (0..DEVICES, 0..2_u64);
    let channel = prop::sample::select(&[Up::State, Up::Batch, Up::Backlog, Up::Alert][..]);
    prop_oneof![
        1 => d.clone().prop_map(Step::Device),
        1 => b.clone().prop_map(Step::Bridge),
        2 => (b.clone(), channel.clone()).prop_map(|(n, c)| Step::Subscribe(n, c)),
        1 => (b.clone(), channel).prop_map(|(n, c)| Step::Unsubscribe(n, c)),
        2 => d.clone().prop_map(Step::State),
        2 => d.clone().prop_map(Step::Grant),
        6 => d.clone().prop_map(Step::Batch),
        3 => d.clone().prop_map(Step::Backlog),
        1 => d.clone().prop_map(Step::Alert),
        3 => b.clone().prop_map(Step::Take),
        3 => b.clone().prop_map(Step::Confirm),
        1 => (d, any::<bool>()).prop_map(|(n, bye)| Step::LeaveDevice(n, bye)),
        1 => b.prop_map(Step::LeaveBridge),
    ]
}

/// The table, and what a test knows of it.
struct World {
    hub: Hub,
    metrics: Metrics,
    next: u64,
    devices: HashMap<u64, ConnId>,
    bridges: HashMap<u64, ConnId>,
    unconfirmed: HashMap<ConnId, Vec<u16>>,
    said: u64,
    heard: HashMap<String, u64>,
}

impl World {
    fn new() -> Self {
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let limits = Limits {
            bridge_window_messages: 4,
            ..Limits::default()
        };
        World {
            hub: Hub::new(limits, metrics.clone()),
            metrics,
            next: 0,
            devices: HashMap::new(),
            bridges: HashMap::new(),
            unconfirmed: HashMap::new(),
            said: 0,
            heard: HashMap::new(),
        }
    }

    fn connect(&mut self, peer: &Identity) -> ConnId {
        self.next += 1;
        let conn = ConnId::new(self.next);
        let will = Will {
            topic: String::new(),
            payload: Bytes::from("will"),
            retain: true,
        };
        self.hub.connect(conn, peer, Some(will)).unwrap();
        conn
    }

    fn say(&mut self, n: u64, channel: Up) {
        let Some(conn) = self.devices.get(&n).copied() else {
            return;
        };
        self.said += 1;
        let payload = Bytes::from(format!("{:08}", self.said));
        if self.hub.up(conn, channel, payload).is_err() {
            self.hub.disconnect(conn, Fault::Credit);
            self.devices.remove(&n);
        }
    }

    fn take(&mut self, conn: ConnId, budget: usize) {
        for delivery in self.hub.take(conn, budget).0 {
            self.unconfirmed.entry(conn).or_default().extend(delivery.pkid);
            let Some(Topic::Up(name, channel)) = Topic::parse(&delivery.topic) else {
                panic!("{} is no up topic", delivery.topic);
            };
            if channel != Up::State {
                let number = std::str::from_utf8(&delivery.payload).unwrap().parse().unwrap();
                let before = self.heard.insert(name.to_string(), number);
                assert!(before < Some(number), "{name}: {number} after {before:?}");
            }
        }
    }

    fn confirm_all(&mut self, conn: ConnId) {
        for pkid in self.unconfirmed.remove(&conn).unwrap_or_default() {
            assert_eq!(self.hub.acked(conn, pkid), Ok(()));
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Device(n) => {
                let conn = self.connect(&device(n));
                self.devices.insert(n, conn);
            }
            Step::Bridge(n) => {
                let conn = self.connect(&bridge(n));
                self.bridges.insert(n, conn);
            }
            Step::Subscribe(n, channel) => {
                if let Some(conn) = self.bridges.get(&n) {
                    self.hub.subscribe(*conn, &[(Filter::Up(channel, None), true)]);
                }
            }
            Step::Unsubscribe(n, channel) => {
                if let Some(conn) = self.bridges.get(&n) {
                    self.hub.unsubscribe(*conn, &[Filter::Up(channel, None)]);
                }
            }
            Step::State(n) => {
                if let Some(conn) = self.devices.get(&n) {
                    let state = State {
                        version: 1,
                        nonce: n,
                        ..State::default()
                    };
                    let state = Bytes::from(payload::seal(&state.encode_to_vec()));
                    self.hub.up(*conn, Up::State, state).unwrap();
                }
            }
            Step::Grant(n) => {
                let credit = 1 << 20;
                let ack = Ack {
                    nonce: n,
                    fresh_credit: credit,
                    backlog_credit: credit,
                    ..Ack::default()
                };
                let ack = Bytes::from(payload::seal(&ack.encode_to_vec()));
                if let Some(conn) = self.bridges.values().next() {
                    self.hub.down(*conn, device(n).name(), Down::Ack, ack).unwrap();
                }
            }
            Step::Batch(n) => self.say(n, Up::Batch),
            Step::Backlog(n) => self.say(n, Up::Backlog),
            Step::Alert(n) => self.say(n, Up::Alert),
            Step::Take(n) => {
                if let Some(conn) = self.bridges.get(&n).copied() {
                    self.take(conn, 20);
                }
            }
            Step::Confirm(n) => {
                if let Some(conn) = self.bridges.get(&n).copied() {
                    self.confirm_all(conn);
                }
            }
            Step::LeaveDevice(n, goodbye) => {
                if let Some(conn) = self.devices.remove(&n) {
                    self.hub
                        .disconnect(conn, if goodbye { Fault::Goodbye } else { Fault::Gone });
                }
            }
            Step::LeaveBridge(n) => {
                if let Some(conn) = self.bridges.remove(&n) {
                    self.hub.disconnect(conn, Fault::Gone);
                    self.unconfirmed.remove(&conn);
                }
            }
        }
    }

    fn check(&self) {
        let queued: usize = self.hub.devices.values().map(|d| d.queue.bytes()).sum();
        assert_eq!(self.metrics.queued_bytes.get(), queued as i64);
        let in_flight: usize = self.hub.bridges.values().map(|b| b.window.messages()).sum();
        assert_eq!(self.metrics.in_flight.get(), in_flight as i64);
        for device in self.hub.devices.values() {
            assert!(!device.is_idle(), "{} is kept for nothing", device.name);
            if let Some(conn) = device.route() {
                assert!(
                    device.ring.is_some(),
                    "{} waits for {conn} outside any ring",
                    device.name
                );
            }
        }
    }

    /// Lets every bridge take and confirm until nothing moves: what still waits has no bridge.
    fn drain(&mut self) {
        let bridges: Vec<ConnId> = self.bridges.values().copied().collect();
        for _ in 0..1000 {
            for conn in &bridges {
                self.take(*conn, 1000);
                self.confirm_all(*conn);
            }
        }
        for device in self.hub.devices.values() {
            assert_eq!(
                device.route(),
                None,
                "{} has a message that was not taken",
                device.name
            );
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_doubled_reordered_or_stuck(steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            world.check();
        }
        world.drain();
        world.check();
        let conns: Vec<ConnId> = world.devices.values().chain(world.bridges.values()).copied().collect();
        for conn in conns {
            world.hub.disconnect(conn, Fault::Shutdown);
        }
        prop_assert!(world.hub.clients.is_empty() && world.hub.holders.is_empty());
    }
}

#[test]
fn the_newest_bridge_takes_over_and_the_older_one_gets_it_back() {
    let mut world = World::new();
    for step in [
        Step::Bridge(0),
        Step::Subscribe(0, Up::State),
        Step::Subscribe(0, Up::Batch),
        Step::Device(1),
        Step::State(1),
        Step::Grant(1),
        Step::Batch(1),
        Step::Bridge(1),
        Step::Subscribe(1, Up::State),
        Step::Subscribe(1, Up::Batch),
    ] {
        world.step(step);
    }
    let [old, new] = [world.bridges[&0], world.bridges[&1]];
    assert!(world.hub.take(old, 1000).0.is_empty());
    let taken = world.hub.take(new, 1000).0;
    assert_eq!(taken.len(), 1, "the state; the batch was for the other one");
    assert!(taken[0].retain);
    world.step(Step::LeaveBridge(1));
    let taken = world.hub.take(old, 1000).0;
    assert_eq!(taken.len(), 1);
    assert!(taken[0].retain);
}

#[test]
fn a_waiting_bridge_is_woken_by_the_first_message_only() {
    let mut world = World::new();
    world.step(Step::Bridge(0));
    world.step(Step::Subscribe(0, Up::State));
    world.step(Step::Device(1));
    world.hub.effects();
    world.step(Step::State(1));
    let wakes = |effects: Vec<Effect>| effects.iter().filter(|e| matches!(e, Effect::Wake(_))).count();
    assert_eq!(wakes(world.hub.effects()), 1);
    world.step(Step::State(1));
    assert_eq!(wakes(world.hub.effects()), 0);
}
