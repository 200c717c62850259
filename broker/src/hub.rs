//! The table of who is connected and what waits for whom: a pure state machine.
//!
//! The up path: [`Hub::up`] checks credit and queues a device's message; [`Hub::take`] hands a bridge the next messages,
//! one device after another, within its window. The down path: [`Hub::down`] puts a bridge's message into the device's
//! outbox. Each call may leave [`Effect`]s (who to wake, who to cut off), which the shell fetches with [`Hub::effects`].
//!
//! Of several bridges that subscribe to the same, the newest connection gets it: a message goes to one bridge only.

mod bridge;
mod configs;
mod credit;
mod device;
mod outbox;
mod queue;
mod subscriptions;
mod turns;

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use wire::topic::{Down, Up};
use wire::{DeviceName, Identity, Role};

use self::bridge::Bridge;
use self::configs::Configs;
use self::device::{Device, Link};
use self::outbox::{Note, Posted};
use self::queue::Message;
use self::turns::{routes, seat};
use crate::config::Limits;
use crate::conn::ConnId;
use crate::fault::Fault;
use crate::metrics::{Drop, Metrics};
use crate::packet::Will;
use crate::window::Window;

/// Connections beyond the cap that only bridges and operators may use.
const RESERVED: usize = 64;

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Something waits for this connection, or its window has room again.
    Wake(ConnId),
    /// Close this connection.
    Cut(ConnId, Fault),
    /// Show operators a device's new state.
    Copy(Arc<DeviceName>, Bytes),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Hub {
    limits: Limits,
    metrics: Metrics,
    /// Who holds each identity.
    holders: HashMap<Identity, ConnId>,
    clients: HashMap<ConnId, Identity>,
    /// Boxed, as a table leaves room for more.
    devices: HashMap<Arc<DeviceName>, Box<Device>>,
    bridges: BTreeMap<ConnId, Bridge>,
    configs: Configs,
    effects: Vec<Effect>,
}

impl Hub {
    /// An empty table.
    pub(crate) fn new(limits: Limits, metrics: Metrics) -> Self {
        let configs = Configs::new(limits.configs, limits.config_bytes);
        Hub {
            limits,
            metrics,
            holders: HashMap::new(),
            clients: HashMap::new(),
            devices: HashMap::new(),
            bridges: BTreeMap::new(),
            configs,
            effects: Vec::new(),
        }
    }

    /// What is to be done since the last call.
    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        mem::take(&mut self.effects)
    }

    /// Registers a connection; one of the same identity is taken over.
    pub(crate) fn connect(&mut self, conn: ConnId, peer: &Identity, will: Option<Will>) -> Result<(), Fault> {
        if let Some(old) = self.holders.get(peer).copied() {
            self.metrics.takeovers.inc();
            self.disconnect(old, Fault::TakenOver);
            self.effects.push(Effect::Cut(old, Fault::TakenOver));
        }
        // However many devices there are, a bridge must get in.
        let reserve = if peer.role() == Role::Device { 0 } else { RESERVED };
        if self.clients.len() >= self.limits.connections + reserve {
            return Err(Fault::ConnectionCap);
        }
        self.holders.insert(peer.clone(), conn);
        self.clients.insert(conn, peer.clone());
        match peer.role() {
            Role::Device => self.connect_device(conn, peer, will.map(|w| w.payload)),
            Role::Bridge => {
                let limits = &self.limits;
                let window = Window::new(limits.bridge_window_messages, limits.bridge_window_bytes);
                self.bridges.insert(conn, Bridge::new(peer.clone(), window));
            }
            _ => {}
        }
        self.metrics.opened(peer.role());
        Ok(())
    }

    fn connect_device(&mut self, conn: ConnId, peer: &Identity, will: Option<Bytes>) {
        let name = Arc::new(peer.name().clone());
        let device = self
            .devices
            .entry(Arc::clone(&name))
            .or_insert_with(|| Box::new(Device::new(name)));
        let before = device.queue.bytes();
        // States are few, and the will of a connection that was taken over is one.
        let dropped = device.queue.drop_channels(|c| c != Up::State);
        self.metrics.dropped(Drop::DeviceReconnected, dropped);
        self.metrics
            .queued_bytes
            .sub(before as i64 - device.queue.bytes() as i64);
        device.link = Some(Link::new(conn, will));
        device.routes = routes(&self.bridges, device);
        seat(device, &mut self.bridges, &mut self.effects);
    }

    /// Forgets a connection; a second call does nothing. Without a goodbye a device's will is passed on.
    pub(crate) fn disconnect(&mut self, conn: ConnId, fault: Fault) {
        let Some(peer) = self.clients.remove(&conn) else {
            return;
        };
        self.holders.remove(&peer);
        self.metrics.closed(peer.role(), fault);
        match peer.role() {
            Role::Device => self.disconnect_device(peer.name(), fault),
            Role::Bridge => {
                if let Some(bridge) = self.bridges.remove(&conn) {
                    let lost = bridge.window.messages();
                    self.metrics.dropped(Drop::BridgeGone, lost);
                    self.metrics.in_flight.sub(lost as i64);
                    self.reroute(None);
                }
            }
            _ => {}
        }
    }

    fn disconnect_device(&mut self, name: &DeviceName, fault: Fault) {
        let Some(device) = self.devices.get_mut(name) else {
            return;
        };
        let Some(link) = device.link.take() else {
            return;
        };
        if let (Some(will), true) = (link.will, fault != Fault::Goodbye) {
            self.effects
                .push(Effect::Copy(Arc::clone(&device.name), will.clone()));
            self.enqueue(
                name,
                Message {
                    channel: Up::State,
                    payload: will,
                    retained: false,
                },
            );
        }
        if self.devices.get(name).is_some_and(|device| device.is_idle()) {
            self.devices.remove(name);
        }
    }

    /// Takes a device's message.
    pub(crate) fn up(&mut self, conn: ConnId, channel: Up, payload: Bytes) -> Result<(), Fault> {
        let peer = self.clients.get(&conn).ok_or(Fault::Gone)?;
        let device = self.devices.get_mut(peer.name()).ok_or(Fault::Gone)?;
        let link = device
            .link
            .as_mut()
            .filter(|link| link.conn == conn)
            .ok_or(Fault::Gone)?;
        link.credit.spend(channel, &payload, device.queue.alert_bytes())?;
        self.metrics.received(channel, payload.len());
        if channel == Up::State {
            link.state = Some(payload.clone());
            self.effects
                .push(Effect::Copy(Arc::clone(&device.name), payload.clone()));
        }
        let name = Arc::clone(&device.name);
        self.enqueue(
            &name,
            Message {
                channel,
                payload,
                retained: false,
            },
        );
        Ok(())
    }

    fn enqueue(&mut self, name: &DeviceName, message: Message) {
        if let Some(device) = self.devices.get_mut(name) {
            let before = device.queue.bytes();
            device.queue.push(message);
            self.metrics
                .queued_bytes
                .add(device.queue.bytes() as i64 - before as i64);
            seat(device, &mut self.bridges, &mut self.effects);
        }
    }

    /// Takes a bridge's message to a device.
    pub(crate) fn down(
        &mut self,
        conn: ConnId,
        name: &DeviceName,
        channel: Down,
        payload: Bytes,
    ) -> Result<(), Fault> {
        if !self.bridges.contains_key(&conn) {
            return Err(Fault::Gone);
        }
        if channel == Down::Config && !self.configs.keep(name, payload.clone()) {
            self.metrics.dropped(Drop::ConfigTable, 1);
        }
        let Some(link) = self.devices.get_mut(name).and_then(|device| device.link.as_mut()) else {
            // A configuration waits in its table for the device.
            self.metrics
                .dropped(Drop::NotConnected, usize::from(channel != Down::Config));
            return Ok(());
        };
        if channel == Down::Ack {
            link.credit.grant(&payload);
        }
        match link.outbox.post(Note {
            channel,
            payload,
            retained: false,
        }) {
            Posted::Queued => {}
            Posted::Replaced(acks) => self.metrics.dropped(Drop::OutboxFull, acks),
            Posted::NotSubscribed => self.metrics.dropped(Drop::NotSubscribed, 1),
            Posted::Full => self.metrics.dropped(Drop::OutboxFull, 1),
        }
        self.effects.push(Effect::Wake(link.conn));
        Ok(())
    }

    /// Takes a PUBACK.
    pub(crate) fn acked(&mut self, conn: ConnId, pkid: u16) -> Result<(), Fault> {
        if let Some(bridge) = self.bridges.get_mut(&conn) {
            if !bridge.window.free(pkid) {
                return Err(Fault::UnsolicitedAck);
            }
            self.metrics.in_flight.dec();
            return Ok(());
        }
        let name = self.clients.get(&conn).ok_or(Fault::Gone)?.name();
        let link = self.devices.get_mut(name).and_then(|device| device.link.as_mut());
        if link.is_some_and(|link| link.outbox.acked(pkid)) {
            Ok(())
        } else {
            Err(Fault::UnsolicitedAck)
        }
    }

    /// The last state of every connected device.
    pub(crate) fn states(&self) -> Vec<(Arc<DeviceName>, Bytes)> {
        let linked = self
            .devices
            .values()
            .filter_map(|device| Some((device, device.link.as_ref()?)));
        linked
            .filter_map(|(device, link)| Some((Arc::clone(&device.name), link.state.clone()?)))
            .collect()
    }
}

#[cfg(test)]
mod tests;
