//! Which partition holds a series, and which group its rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use wire::batch::Group as Rows;
use wire::dict::{DictHash, Dictionary};
use wire::labels::{DEVICE_ID, ring_hash};
use wire::{DeviceName, Labels, Tenant};

use super::layout::{GroupLayout, Part};
use super::{Heads, Writer};
use crate::ledger::DeviceRef;

/// A label set as it is stored: that of a dictionary with `device_id` set, without a copy in the common case.
enum Stored<'a> {
    Added(&'a Labels, usize, &'a str),
    Given(std::borrow::Cow<'a, Labels>),
}

impl<'a> Stored<'a> {
    fn of_device(set: &'a Labels, id: &'a str) -> Self {
        match set.get(DEVICE_ID) {
            Some(_) => Stored::Given(std::borrow::Cow::Owned(set.of_device(id))),
            None => Stored::Added(set, set.iter().filter(|(name, _)| *name < DEVICE_ID).count(), id),
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let (set, at, id) = match self {
            Stored::Added(set, at, id) => (*set, *at, Some((DEVICE_ID, *id))),
            Stored::Given(set) => (&**set, set.len(), None),
        };
        set.iter().take(at).chain(id).chain(set.iter().skip(at))
    }
}

impl Heads {
    /// The partition of a series. The only question that is asked of the ring.
    fn partition_of(&self, hash: u64) -> usize {
        self.ring.place(hash)
    }

    /// The layout of a group, made and kept if there is none; `None` if there is none and no dictionary to make it of.
    pub(super) fn layout(
        &self,
        writer: &mut Writer,
        (number, device): (DeviceRef, &DeviceName),
        (hash, ring, now_ms): (DictHash, u32, i64),
        group: &Rows,
        dict: Option<&Dictionary>,
    ) -> Option<Arc<GroupLayout>> {
        if let Some(layouts) = writer.layouts.get_mut(device)
            && let Some(layout) = layouts.touch(hash, ring, &group.series, now_ms)
        {
            return Some(layout);
        }
        let sets = stored(group, dict?, device)?;
        let parts = self.place(device.tenant(), Some(number), &sets);
        let layouts = match writer.layouts.get_mut(device) {
            Some(layouts) => layouts,
            None => writer.layouts.entry(device.clone()).or_default(),
        };
        let layout = GroupLayout::new(hash, ring, &group.series, parts);
        Some(layouts.insert(layout, now_ms))
    }

    /// Registers series with their partitions and finds or makes the groups that hold their rows.
    fn place(&self, tenant: &Tenant, owner: Option<DeviceRef>, sets: &[Stored<'_>]) -> Vec<Part> {
        let mut by_partition: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for (position, set) in sets.iter().enumerate() {
            let place = self.partition_of(ring_hash(tenant, set.pairs()));
            by_partition.entry(place).or_default().push(position as u32);
        }
        let mut parts = Vec::new();
        for (place, positions) in by_partition {
            let mut partition = self.write(place);
            let head = partition.head(tenant);
            let refs: Vec<(u32, u32)> = positions
                .into_iter()
                .filter_map(|position| {
                    let series = head.register(sets[position as usize].pairs());
                    Some((position, series.ok()?))
                })
                .collect();
            head.groups_for(owner, refs, |group, positions| {
                parts.push(Part::new(place, group, positions));
            });
        }
        parts
    }

    /// The places of a row of the bridge's own series.
    pub(super) fn place_own(&self, tenant: &Tenant, row: &[(Labels, f64)]) -> Vec<Part> {
        let sets: Vec<Stored<'_>> = row
            .iter()
            .map(|(set, _)| Stored::Given(std::borrow::Cow::Borrowed(set)))
            .collect();
        self.place(tenant, None, &sets)
    }

    /// How many series a batch's group would add to those of its device that the heads hold.
    pub(crate) fn new_series(&self, device: &DeviceName, group: &Rows, dict: &Dictionary) -> usize {
        let Some(sets) = stored(group, dict, device) else {
            return 0;
        };
        let tenant = device.tenant();
        let is_new = |set: &&Stored<'_>| {
            let partition = self.read(self.partition_of(ring_hash(tenant, set.pairs())));
            let head = partition.tenants.get(tenant);
            !head.is_some_and(|head| head.is_active(set.pairs()))
        };
        sets.iter().filter(is_new).count()
    }
}

fn stored<'a>(group: &Rows, dict: &'a Dictionary, device: &'a DeviceName) -> Option<Vec<Stored<'a>>> {
    let id = device.device().as_str();
    let sets = group.series.iter().map(|series| dict.get(*series));
    sets.map(|set| set.map(|set| Stored::of_device(set, id)))
        .collect()
}
