//! Whose the samples in blocks are, as the blocks tell it: for a ledger that lost devices.
//!
//! Blocks name a device by its number alone, but each series that is stored has its `device_id`.

use std::collections::{BTreeMap, BTreeSet};

use wire::labels::DEVICE_ID;
use wire::{DeviceId, DeviceName};

use super::Heads;
use crate::block::BlockFile;
use crate::journal::FileError;
use crate::ledger::DeviceRef;
use crate::results::OWNER;

impl Heads {
    /// The lowest number above those of all devices that have, or had, samples in blocks.
    pub(crate) fn above_owners(&self) -> DeviceRef {
        let of_partition = |partition| {
            let partition = self.read(partition);
            let owners = partition.totals.keys().copied();
            owners.filter(|owner| *owner != OWNER).max()
        };
        let highest = (0..self.rings.count()).filter_map(of_partition).max();
        highest.map_or(0, |number| number.saturating_add(1))
    }

    /// Those of the devices that are asked for that have samples in blocks. One whose blocks cannot be read is left out.
    pub(crate) fn owners(&self, asked: impl Fn(DeviceRef) -> bool) -> BTreeMap<DeviceRef, DeviceName> {
        let asked = |owner| owner != OWNER && asked(owner);
        let mut found = BTreeMap::new();
        for partition in 0..self.rings.count() {
            if !self.read(partition).totals.keys().any(|owner| asked(*owner)) {
                continue;
            }
            for file in self.blocks(partition).into_iter().rev() {
                let owners = file.meta().owners.iter().map(|(owner, _)| *owner);
                let wanted: BTreeSet<DeviceRef> = owners
                    .filter(|owner| asked(*owner) && !found.contains_key(owner))
                    .collect();
                if wanted.is_empty() {
                    continue;
                }
                if let Err(error) = self.name_owners(partition, &file, &wanted, &mut found) {
                    file.doubt();
                    let path = file.path();
                    tracing::warn!(file = %path.display(), %error, "a block cannot be read; it does not tell its devices");
                }
            }
        }
        found
    }

    fn name_owners(
        &self,
        partition: usize,
        file: &BlockFile,
        wanted: &BTreeSet<DeviceRef>,
        found: &mut BTreeMap<DeviceRef, DeviceName>,
    ) -> Result<(), FileError> {
        let series = file.open()?.series_of_owners()?;
        let tenant = &file.meta().tenant;
        let partition = self.read(partition);
        let Some(head) = partition.tenants.get(tenant) else {
            return Ok(());
        };
        for (owner, series) in series.into_iter().filter(|(owner, _)| wanted.contains(owner)) {
            let mut labels = head.registry().texts(series);
            let id = labels.find(|(name, _)| *name == DEVICE_ID);
            if let Some(id) = id.and_then(|(_, value)| DeviceId::new(value).ok()) {
                found.insert(owner, DeviceName::new(tenant.clone(), id));
            }
        }
        Ok(())
    }
}
