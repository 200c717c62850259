//! Pushing configurations: to a device whose state shows another one than is wanted of it.
//!
//! A device that refused what is wanted is not asked again until something changes. A push that is lost is made again after
//! the next state.

use wire::DeviceName;

use super::{Core, Effect, Now};
use crate::device_rules;

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
