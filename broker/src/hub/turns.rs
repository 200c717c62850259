//! Whose turn it is: messages to a bridge, one device after another, and which bridge a device's messages go to.
//!
//! A device stands in at most one ring, that of the bridge which takes its oldest message; while it has such a message it
//! stands in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use wire::topic::Up;
use wire::{DeviceName, Identity, Topic};

use super::bridge::Bridge;
use super::device::Device;
use super::{Effect, Hub};
use crate::conn::ConnId;
use crate::metrics::Drop;
use crate::packet::Delivery;

impl Hub {
    /// What may be sent on a connection now, about `budget` bytes of payload, and whether there is more.
    pub(crate) fn take(&mut self, conn: ConnId, budget: usize) -> (Vec<Delivery>, bool) {
        if self.bridges.contains_key(&conn) {
            return self.take_for_bridge(conn, budget);
        }
        let name = self.clients.get(&conn).map(Identity::name);
        let Some(link) = name.and_then(|name| self.devices.get_mut(name)?.link.as_mut()) else {
            return (Vec::new(), false);
        };
        let (mut deliveries, mut bytes) = (Vec::new(), 0);
        while bytes < budget {
            let (Some((note, pkid)), Some(name)) = (link.outbox.take(), name) else {
                return (deliveries, false);
            };
            self.metrics.down.inc();
            bytes += note.payload.len();
            let topic = Topic::Down(name.clone(), note.channel).to_string();
            deliveries.push(Delivery {
                topic,
                payload: note.payload,
                retain: note.retained,
                pkid,
            });
        }
        (deliveries, true)
    }

    fn take_for_bridge(&mut self, conn: ConnId, budget: usize) -> (Vec<Delivery>, bool) {
        let (mut deliveries, mut bytes) = (Vec::new(), 0);
        while bytes < budget {
            let Some(delivery) = self.next_turn(conn) else {
                return (deliveries, false);
            };
            bytes += delivery.payload.len();
            deliveries.push(delivery);
        }
        (deliveries, true)
    }

    /// One message of the device whose turn it is.
    fn next_turn(&mut self, conn: ConnId) -> Option<Delivery> {
        loop {
            let bridge = self
                .bridges
                .get_mut(&conn)
                .filter(|bridge| bridge.window.has_room())?;
            let name = bridge.ring.pop_front()?;
            let Some(device) = self.devices.get_mut(&name) else {
                continue;
            };
            device.ring = None;
            // Its queue may have been emptied or refilled since it took its place, as it connected again.
            let turn = if device.route() == Some(conn) {
                device.queue.pop()
            } else {
                None
            };
            let sent = turn.map(|message| {
                let bytes = message.payload.len();
                let pkid = bridge.qos1(message.channel).then(|| bridge.window.take(bytes));
                self.metrics.in_flight.add(i64::from(pkid.is_some()));
                self.metrics.queued_bytes.sub(bytes as i64);
                self.metrics.passed.inc();
                let topic = Topic::Up(DeviceName::clone(&name), message.channel).to_string();
                Delivery {
                    topic,
                    payload: message.payload,
                    retain: message.retained,
                    pkid,
                }
            });
            seat(device, &mut self.bridges, &mut self.effects);
            if device.is_idle() {
                self.devices.remove(&name);
            }
            if sent.is_some() {
                return sent;
            }
        }
    }

    /// Finds the bridge of every device and channel again; `states`: a bridge that asked for states (again).
    pub(super) fn reroute(&mut self, states: Option<ConnId>) {
        for bridge in self.bridges.values_mut() {
            bridge.ring.clear();
        }
        let (mut before, mut after, mut dropped) = (0, 0, 0);
        for device in self.devices.values_mut() {
            before += device.queue.bytes();
            device.ring = None;
            dropped += device.reroute(routes(&self.bridges, device));
            if states.is_some() && device.routes[Up::State as usize] == states {
                device.hand_over_state();
            }
            after += device.queue.bytes();
            seat(device, &mut self.bridges, &mut self.effects);
        }
        self.devices.retain(|_, device| !device.is_idle());
        self.metrics.queued_bytes.add(after as i64 - before as i64);
        self.metrics.dropped(Drop::BridgeChanged, dropped);
    }
}

/// The newest bridge that takes each channel of a device.
pub(super) fn routes(bridges: &BTreeMap<ConnId, Bridge>, device: &Device) -> [Option<ConnId>; Up::ALL.len()] {
    Up::ALL.map(|channel| {
        let takes = |(conn, bridge): (&ConnId, &Bridge)| {
            bridge.takes(&device.name, device.shard, channel).then_some(*conn)
        };
        bridges.iter().rev().find_map(takes)
    })
}

/// Puts a device with a message that a bridge takes into that bridge's ring, once.
pub(super) fn seat(device: &mut Device, bridges: &mut BTreeMap<ConnId, Bridge>, effects: &mut Vec<Effect>) {
    if device.ring.is_some() {
        return;
    }
    let Some(conn) = device.route() else {
        return;
    };
    let Some(bridge) = bridges.get_mut(&conn) else {
        return;
    };
    if bridge.ring.is_empty() {
        effects.push(Effect::Wake(conn));
    }
    bridge.ring.push_back(Arc::clone(&device.name));
    device.ring = Some(conn);
}
