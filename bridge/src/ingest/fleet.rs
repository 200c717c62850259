//! What only the running bridge knows of each device; the rest is in the store's ledger.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use wire::{DeviceId, DeviceName, SessionId, Tenant, Timestamp};

use super::delays::Delays;
use super::device::Device;

/// The present of one device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Live {
    /// It is connected to the broker.
    pub(crate) connected: bool,
    /// The session that it adds to.
    pub(crate) session: Option<SessionId>,
    /// Nothing before this time is missing; `None`: not known since the bridge's start.
    pub(crate) complete_until: Option<Timestamp>,
    /// How long its alerts were on their way.
    pub(crate) alert_delays: Delays,
}

/// The present of all devices; written by the ingest thread, read by queries.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    devices: RwLock<HashMap<DeviceName, Live>>,
}

impl Fleet {
    pub(super) fn note(&self, name: &DeviceName, device: &Device) {
        let live = Live {
            connected: device.connection.is_some(),
            session: device.session,
            complete_until: device.complete_until(),
            alert_delays: device.delays,
        };
        // A panic elsewhere cannot leave a map of plain values half written.
        self.devices
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.clone(), live);
    }

    /// Devices of a tenant whose data is known to be whole only until before a time, and until when.
    pub(crate) fn behind(&self, tenant: &Tenant, time: Timestamp) -> Vec<(DeviceId, Timestamp)> {
        let devices = self.devices.read().unwrap_or_else(PoisonError::into_inner);
        let behind = devices.iter().filter_map(|(name, live)| {
            let until = live.complete_until.filter(|until| *until < time)?;
            (name.tenant() == tenant).then(|| (name.device().clone(), until))
        });
        behind.collect()
    }

    /// Of the connected devices of a tenant: how many have delivered everything before a time, and how many there are.
    pub(crate) fn complete(&self, tenant: &Tenant, time: Timestamp) -> (usize, usize) {
        let devices = self.devices.read().unwrap_or_else(PoisonError::into_inner);
        let there = devices
            .iter()
            .filter(|(name, live)| name.tenant() == tenant && live.connected);
        there.fold((0, 0), |(complete, all), (_, live)| {
            let has_all = live.complete_until.is_some_and(|until| until >= time);
            (complete + usize::from(has_all), all + 1)
        })
    }

    /// Until when the data of each device of a tenant is whole, where that is known.
    pub(crate) fn completeness(&self, tenant: &Tenant) -> Vec<(DeviceId, Timestamp)> {
        let devices = self.devices.read().unwrap_or_else(PoisonError::into_inner);
        let of = devices.iter().filter(|(name, _)| name.tenant() == tenant);
        of.filter_map(|(name, live)| Some((name.device().clone(), live.complete_until?)))
            .collect()
    }

    /// The present of a device; the default for one not heard of since the start.
    pub(crate) fn get(&self, name: &DeviceName) -> Live {
        self.devices
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .copied()
            .unwrap_or_default()
    }
}
