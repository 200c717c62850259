//! A connected bridge: which channels and shards it has subscribed to, whose turn is next, what it has not confirmed.

use std::collections::VecDeque;
use std::sync::Arc;

use wire::topic::Up;
use wire::{DeviceName, Identity};

use crate::window::Window;

/// A set of shards.
#[derive(Debug, Clone, Copy, Default)]
struct Shards([u64; 4]);

impl Shards {
    fn set(&mut self, shard: Option<u8>, to: bool) {
        let Some(shard) = shard else {
            self.0 = [if to { u64::MAX } else { 0 }; 4];
            return;
        };
        let (word, bit) = (usize::from(shard / 64), 1 << (shard % 64));
        if to {
            self.0[word] |= bit
        } else {
            self.0[word] &= !bit
        }
    }

    fn has(&self, shard: u8) -> bool {
        self.0[usize::from(shard / 64)] & (1 << (shard % 64)) != 0
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Bridge {
    identity: Identity,
    shards: [Shards; Up::ALL.len()],
    qos1: [bool; Up::ALL.len()],
    /// Devices with something for this bridge, each once, in the order of their turns.
    pub(crate) ring: VecDeque<Arc<DeviceName>>,
    pub(crate) window: Window,
}

impl Bridge {
    /// A bridge without subscriptions.
    pub(crate) fn new(identity: Identity, window: Window) -> Self {
        Bridge {
            identity,
            shards: Default::default(),
            qos1: [false; Up::ALL.len()],
            ring: VecDeque::new(),
            window,
        }
    }

    /// Subscribes to one shard of a channel or to all. The last QoS asked for holds for the whole channel.
    pub(crate) fn subscribe(&mut self, channel: Up, shard: Option<u8>, qos1: bool) {
        self.shards[channel as usize].set(shard, true);
        self.qos1[channel as usize] = qos1;
    }

    /// Gives up one shard of a channel or all.
    pub(crate) fn unsubscribe(&mut self, channel: Up, shard: Option<u8>) {
        self.shards[channel as usize].set(shard, false);
    }

    /// Whether messages of this device and channel are for this bridge.
    pub(crate) fn takes(&self, device: &DeviceName, shard: u8, channel: Up) -> bool {
        self.shards[channel as usize].has(shard) && self.identity.covers(device.tenant())
    }

    /// Whether the channel goes with QoS 1.
    pub(crate) fn qos1(&self, channel: Up) -> bool {
        self.qos1[channel as usize]
    }
}
