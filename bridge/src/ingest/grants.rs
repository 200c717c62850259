//! Who is granted how much: first come, first served, while the budget lasts.

use store::Pressure;
use wire::DeviceName;

use super::credit::LEAST_AHEAD;
use super::lane::LaneKind;
use super::{Core, Now};

/// The least backlog rate that is announced, bytes per second: 0 would mean no limit.
const LEAST_RATE: u64 = 4096;

/// Milliseconds between two log lines on a store that takes nothing.
const COMPLAIN_MS: u64 = 60_000;

impl Core {
    /// Puts a lane into the queue if it is short of credit and has use for some.
    pub(super) fn ask_for_credit(&mut self, name: &DeviceName, kind: LaneKind) {
        let (window, tight) = (self.pool.window(), self.pool.is_tight());
        let Some(connection) = self.devices.get_mut(name).and_then(|d| d.connection.as_mut()) else {
            return;
        };
        let idle = kind == LaneKind::Backlog && connection.backlog_waits == 0;
        let lane = connection.lane(kind);
        if lane.queued() || lane.wants(window).is_none() || (idle && tight) {
            return;
        }
        lane.set_queued(true);
        self.pool.enqueue(name.clone(), kind);
    }

    /// Serves the queue from its head until the budget is used up. Nothing is granted while commits fail or the store says
    /// so; backlog waits apart while the store takes none.
    pub(super) fn grant(&mut self, now: Now) {
        if self.pressure > Pressure::None {
            self.complain_of_pressure(now);
        }
        if self.pressure == Pressure::All || self.failing {
            return;
        }
        while let Some((name, kind)) = self.pool.head().cloned() {
            if kind == LaneKind::Backlog && self.pressure == Pressure::Backlog {
                self.pool.park();
                continue;
            }
            if !self.grant_one(&name, kind, now) {
                return;
            }
            self.pool.dequeue();
            self.schedule(&name);
        }
    }

    fn complain_of_pressure(&mut self, now: Now) {
        let again_ms = self.complained_ms.map_or(0, |at| at + COMPLAIN_MS);
        if now.mono_ms < again_ms {
            return;
        }
        self.complained_ms = Some(now.mono_ms);
        match self.pressure {
            Pressure::All => tracing::warn!(
                "the store is short of disk or memory: devices are granted nothing and keep their data"
            ),
            _ => tracing::warn!("the store is short of memory: devices are granted no backlog for now"),
        }
    }

    /// Says whether the lane is served, or gone; if not, it stays at the head.
    fn grant_one(&mut self, name: &DeviceName, kind: LaneKind, now: Now) -> bool {
        let window = self.pool.window();
        let Some(device) = self.devices.get_mut(name) else {
            return true;
        };
        let Some(connection) = device.connection.as_mut() else {
            return true;
        };
        let lane = connection.lane(kind);
        if !lane.queued() {
            return true;
        }
        let least = LEAST_AHEAD.saturating_sub(lane.ahead());
        let dry = lane.is_dry();
        let wanted = lane.wants(window).unwrap_or(least);
        let bytes = match self.pool.take(wanted) {
            true => wanted,
            false if self.pool.take(least) => least,
            false => return false,
        };
        lane.grant(bytes);
        lane.set_queued(false);
        if connection.answered && bytes > 0 {
            device.pending.raised(dry, now.mono_ms);
        }
        true
    }

    /// Backlog bytes per second for each device that drains: a share of what is configured, or, while the journal does
    /// not keep up, of half the speed at which it commits; 0: no limit.
    pub(super) fn backlog_rate(&self) -> u64 {
        let busy = self.filling.is_half_full().then_some((self.speed / 2.0) as u64);
        let total = match (self.limits.backlog_rate, busy) {
            (0, None) => return 0,
            (0, Some(busy)) => busy,
            (set, None) => set,
            (set, Some(busy)) => set.min(busy),
        };
        (total / self.draining.max(1)).max(LEAST_RATE)
    }

    /// Counts the devices with backlog; done once per commit, as it looks at all of them.
    pub(super) fn count_draining(&mut self) {
        let connections = self.devices.values().filter_map(|d| d.connection.as_ref());
        self.draining = connections.filter(|c| c.backlog_waits > 0).count() as u64;
    }
}
