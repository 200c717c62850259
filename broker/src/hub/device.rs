//! A device in the table: its connection, if there is one, and what it sent that still waits.

use std::sync::Arc;

use bytes::Bytes;
use wire::DeviceName;
use wire::topic::Up;

use super::credit::Credit;
use super::outbox::Outbox;
use super::queue::{Message, Queue};
use crate::conn::ConnId;

/// The connection of a device.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) conn: ConnId,
    pub(crate) will: Option<Bytes>,
    pub(crate) credit: Credit,
    pub(crate) outbox: Outbox,
    /// What it said last; handed to a bridge that subscribes.
    pub(crate) state: Option<Bytes>,
}

impl Link {
    pub(crate) fn new(conn: ConnId, will: Option<Bytes>) -> Self {
        Link {
            conn,
            will,
            credit: Credit::default(),
            outbox: Outbox::new(),
            state: None,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) name: Arc<DeviceName>,
    pub(crate) shard: u8,
    pub(crate) link: Option<Link>,
    pub(crate) queue: Queue,
    /// For each up channel, the bridge that takes it.
    pub(crate) routes: [Option<ConnId>; Up::ALL.len()],
    /// The bridge in whose ring the device stands.
    pub(crate) ring: Option<ConnId>,
}

impl Device {
    pub(crate) fn new(name: Arc<DeviceName>) -> Self {
        let shard = name.shard();
        Device {
            name,
            shard,
            link: None,
            queue: Queue::default(),
            routes: Default::default(),
            ring: None,
        }
    }

    /// The bridge that takes the oldest message that waits.
    pub(crate) fn route(&self) -> Option<ConnId> {
        self.routes[self.queue.head()?.channel as usize]
    }

    /// Whether the table may forget the device.
    pub(crate) fn is_idle(&self) -> bool {
        self.link.is_none() && self.queue.is_empty()
    }

    /// Sets the routes. What a bridge that took over a channel has never seen is dropped: the device sends it again, as
    /// the bridge's epoch is new. Its state is put in front of the new one. Answers how many messages were dropped.
    pub(crate) fn reroute(&mut self, routes: [Option<ConnId>; Up::ALL.len()]) -> usize {
        let taken_over = |channel: Up| {
            let (old, new) = (self.routes[channel as usize], routes[channel as usize]);
            new.is_some() && new != old
        };
        let dropped = self.queue.drop_channels(|c| c != Up::State && taken_over(c));
        let states = taken_over(Up::State);
        self.routes = routes;
        if states {
            self.hand_over_state();
        }
        dropped
    }

    /// Replaces the states that wait by the last one, as retained.
    pub(crate) fn hand_over_state(&mut self) {
        let said = self.link.as_ref().and_then(|link| link.state.clone());
        let last = said.or_else(|| self.queue.last_state().map(|m| m.payload.clone()));
        self.queue.drop_channels(|c| c == Up::State);
        if let Some(payload) = last {
            self.queue.push(Message {
                channel: Up::State,
                payload,
                retained: true,
            });
        }
    }
}
