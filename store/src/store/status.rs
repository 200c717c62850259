//! What is in memory, and what room is left on the disk.

use wire::{DeviceName, Tenant};

use super::{Store, read};
use crate::status::{ActiveSeries, HeadStatus};

/// Free bytes of the store's file system, and those below which nothing is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Free bytes.
    pub free: u64,
    /// The bound (`Config::min_free_disk`).
    pub needed: u64,
}

impl Store {
    /// Counts a tenant's series in the heads by their labels; each list has so many entries at most.
    pub fn head_status(&self, tenant: &Tenant, limit: usize) -> HeadStatus {
        self.heads.status(tenant, limit)
    }

    /// Every device with its active series, those with the most first.
    pub fn active_series(&self) -> Vec<ActiveSeries> {
        let ledger = read(&self.ledger);
        let devices = ledger.devices();
        let devices: Vec<_> = devices
            .map(|(number, device)| (number, device.name().clone()))
            .collect();
        drop(ledger);
        let active = |(number, device): (u32, DeviceName)| {
            let series = self.heads.active_of(device.tenant(), number) as u64;
            ActiveSeries { device, series }
        };
        let mut all: Vec<ActiveSeries> = devices.into_iter().map(active).collect();
        all.sort_unstable_by(|a, b| b.series.cmp(&a.series).then_with(|| a.device.cmp(&b.device)));
        all
    }

    /// The room on the store's disk.
    ///
    /// # Errors
    /// The system does not say.
    pub fn room(&self) -> std::io::Result<Room> {
        Ok(Room {
            free: self.config.disk.free(&self.dir)?,
            needed: self.config.min_free_disk,
        })
    }
}
