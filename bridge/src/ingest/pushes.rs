//! Pushing configurations: to a device whose state shows another one than is wanted of it.
//!
//! A device that refused what is wanted is not asked again until something changes. A push that is lost is made again within
//! two minutes or so.

use wire::DeviceName;

use super::{Core, Effect, Now};
use crate::device_rules;

/// How often connected devices are looked through for pushes that were lost, ms.
const SWEEP_MS: u64 = 60_000;

/// Shortest time between two pushes of one configuration to one connection, ms: a device takes a moment to check it.
const AGAIN_MS: u64 = 30_000;

impl Core {
    /// Has devices pushed what is wanted of them.
    pub(crate) fn push_wanted(&mut self, wanted: device_rules::Current) {
        self.wanted = Some(wanted);
    }

    /// What is wanted has changed.
    pub(crate) fn wanted_changed(&mut self, now: Now) {
        let names: Vec<DeviceName> = self.devices.keys().cloned().collect();
        for name in names {
            self.push(&name, now);
        }
    }

    /// Makes pushes again that were lost on their way to connected devices.
    pub(super) fn sweep_pushes(&mut self, now: Now) {
        if now.mono_ms < self.swept_ms.saturating_add(SWEEP_MS) {
            return;
        }
        self.swept_ms = now.mono_ms;
        let connected = self
            .devices
            .iter()
            .filter(|(_, device)| device.connection.is_some());
        let names: Vec<DeviceName> = connected.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.push(&name, now);
        }
    }

    /// Pushes what a device lacks, by its last state.
    pub(super) fn push(&mut self, name: &DeviceName, now: Now) {
        let (Some(rules), Some(device)) = (&self.wanted, self.devices.get_mut(name)) else {
            return;
        };
        // A device that says nothing of configurations knows none.
        let Some(told) = &device.seen.config else { return };
        let rules = rules.borrow();
        let wanted = rules.of(name);
        let has_refused = !told.reason.is_empty();
        if has_refused && told.refused == wanted.hash && wanted.hash != 0 {
            return;
        }
        if !has_refused && told.hash == wanted.hash {
            return;
        }
        if let Some(connection) = &mut device.connection {
            let recent = |(hash, at_ms): (u64, u64)| hash == wanted.hash && now.mono_ms < at_ms + AGAIN_MS;
            if connection.pushed.is_some_and(recent) {
                return;
            }
            connection.pushed = Some((wanted.hash, now.mono_ms));
        }
        let payload = wanted.payload.clone();
        self.effects.push(Effect::Config(name.clone(), payload));
    }
}
