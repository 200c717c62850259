//! Who has subscribed to what.

use wire::Identity;
use wire::topic::{Down, Up};

use super::outbox::{Note, Posted};
use super::{Effect, Hub};
use crate::acl::Filter;
use crate::conn::ConnId;
use crate::metrics::Drop;

impl Hub {
    /// Subscribes a device or bridge; what is asked for is granted.
    pub(crate) fn subscribe(&mut self, conn: ConnId, filters: &[(Filter, bool)]) {
        for (filter, qos1) in filters {
            match filter {
                Filter::Down(channel) => self.subscribe_device(conn, *channel, *qos1),
                Filter::Up(channel, shard) => {
                    if let Some(bridge) = self.bridges.get_mut(&conn) {
                        bridge.subscribe(*channel, *shard, *qos1);
                    }
                }
                Filter::Other(_) => {}
            }
        }
        if filters.iter().any(|(filter, _)| matches!(filter, Filter::Up(..))) {
            let states = filters
                .iter()
                .any(|(filter, _)| matches!(filter, Filter::Up(Up::State, _)));
            self.reroute(states.then_some(conn));
        }
    }

    fn subscribe_device(&mut self, conn: ConnId, channel: Down, qos1: bool) {
        let Some(name) = self.clients.get(&conn).map(Identity::name) else {
            return;
        };
        let Some(link) = self.devices.get_mut(name).and_then(|device| device.link.as_mut()) else {
            return;
        };
        link.outbox.subscribe(channel, qos1);
        if let (Down::Config, Some(payload)) = (channel, self.configs.get(name)) {
            if link.outbox.post(Note {
                channel,
                payload,
                retained: true,
            }) == Posted::Full
            {
                self.metrics.dropped(Drop::OutboxFull, 1);
            }
            self.effects.push(Effect::Wake(conn));
        }
    }

    /// Gives up subscriptions.
    pub(crate) fn unsubscribe(&mut self, conn: ConnId, filters: &[Filter]) {
        for filter in filters {
            match filter {
                Filter::Down(channel) => {
                    let name = self.clients.get(&conn).map(Identity::name);
                    let device = name.and_then(|name| self.devices.get_mut(name));
                    if let Some(link) = device.and_then(|device| device.link.as_mut()) {
                        link.outbox.unsubscribe(*channel);
                    }
                }
                Filter::Up(channel, shard) => {
                    if let Some(bridge) = self.bridges.get_mut(&conn) {
                        bridge.unsubscribe(*channel, *shard);
                    }
                }
                Filter::Other(_) => {}
            }
        }
        if filters.iter().any(|filter| matches!(filter, Filter::Up(..))) {
            self.reroute(None);
        }
    }
}
