//! The heads: every stored row of the journal, in memory, ready for queries.
//!
//! A partition per member of the ring, each behind its own lock; in it one head per tenant, so that no query can see
//! another tenant's series. Where a batch's series belong is worked out once per dictionary and list of series and
//! kept per device (`layout`), so a sample costs neither a hash nor a look-up.

mod group;
mod layout;
mod merge;
mod piece;
mod postings;
mod select;
mod tenant;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use wire::batch::Batch;
use wire::dict::{DictHash, Dictionary};
use wire::{DeviceName, Labels, Tenant, Timestamp};

use crate::ledger::DeviceRef;
use crate::ring::Ring;
use layout::{GroupLayout, Layouts};
use piece::Freezer;
use tenant::{TenantHead, Tools};

/// What happened to samples of a device in the heads, since they were rebuilt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Samples taken in, histograms included.
    pub(crate) taken: u64,
    /// Samples that were there already, with the same value.
    pub(crate) same: u64,
    /// Samples that replaced another value of the same time.
    pub(crate) conflict: u64,
    /// Native histograms, which queries do not find yet.
    pub(crate) histograms: u64,
}

/// All heads.
#[derive(Debug)]
pub(crate) struct Heads {
    ring: Ring,
    partitions: Vec<RwLock<Partition>>,
    writer: Mutex<Writer>,
    own_rows: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Partition {
    tenants: BTreeMap<Tenant, TenantHead>,
}

#[derive(Debug, Default)]
struct Writer {
    layouts: HashMap<DeviceName, Layouts>,
    tallies: HashMap<DeviceRef, Tally>,
    /// Counts rows in the order of the journal: of two samples of one time the later wins.
    order: u64,
    freezer: Freezer,
}

impl Heads {
    pub(crate) fn new(ring: Ring, own_rows: usize) -> Self {
        Heads {
            partitions: ring.members().iter().map(|_| RwLock::default()).collect(),
            ring,
            writer: Mutex::default(),
            own_rows,
        }
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, partition: usize) -> RwLockReadGuard<'_, Partition> {
        self.partitions[partition]
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, partition: usize) -> RwLockWriteGuard<'_, Partition> {
        self.partitions[partition]
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a batch's groups have layouts, so that `apply` needs no dictionary.
    pub(crate) fn knows(&self, device: &DeviceName, batch: &Batch) -> bool {
        let writer = self.writer();
        let layouts = writer.layouts.get(device);
        layouts.is_some_and(|layouts| {
            let hash = batch.header.dict;
            batch
                .groups
                .iter()
                .all(|g| layouts.find(hash, &g.series).is_some())
        })
    }

    /// Puts the taken rows of a batch in; `take` has a flag per row, group by group. `dict` is the batch's dictionary,
    /// asked for once if the batch has a group that is new.
    pub(crate) fn apply(
        &self,
        (number, device): (DeviceRef, &DeviceName),
        batch: &Batch,
        take: &[bool],
        dict: Option<&Dictionary>,
    ) {
        let mut writer = self.writer();
        let mut rest = take;
        for group in &batch.groups {
            let (take, after) = rest.split_at(group.rows.len().min(rest.len()));
            rest = after;
            if !take.contains(&true) {
                continue;
            }
            let layout = self.layout(&mut writer, (number, device), batch.header.dict, group, dict);
            let Some(layout) = layout else { continue };
            let order = writer.order;
            writer.order += group.rows.len() as u64;
            let mut tally = Tally::default();
            for (r, _) in take.iter().enumerate().filter(|(_, take)| **take) {
                let histograms = group
                    .histograms
                    .iter()
                    .filter(|cell| cell.row as usize == r)
                    .count() as u64;
                tally.histograms += histograms;
                tally.taken += histograms;
            }
            let mut tools = Tools {
                tally: &mut tally,
                freezer: &mut writer.freezer,
            };
            for part in layout.parts() {
                let mut partition = self.write(part.partition());
                if let Some(head) = partition.tenants.get_mut(device.tenant()) {
                    head.append(part, group, take, order, &mut tools);
                }
            }
            writer.tallies.entry(number).or_default().add(tally);
        }
    }

    /// The layout of a group, made and kept if there is none.
    fn layout(
        &self,
        writer: &mut Writer,
        (number, device): (DeviceRef, &DeviceName),
        hash: DictHash,
        group: &wire::batch::Group,
        dict: Option<&Dictionary>,
    ) -> Option<std::sync::Arc<GroupLayout>> {
        if let Some(layouts) = writer.layouts.get_mut(device)
            && let Some(layout) = layouts.touch(hash, &group.series)
        {
            return Some(layout);
        }
        let dict = dict?;
        let labels = group
            .series
            .iter()
            .map(|id| dict.get(*id).map(|set| set.of_device(device.device().as_str())))
            .collect::<Option<Vec<Labels>>>()?;
        let parts = self.place(device.tenant(), Some(number), &labels);
        let layouts = match writer.layouts.get_mut(device) {
            Some(layouts) => layouts,
            None => writer.layouts.entry(device.clone()).or_default(),
        };
        Some(layouts.insert(GroupLayout::new(hash, group.series.clone(), parts)))
    }

    /// Registers series with their partitions and finds or makes the groups that hold their rows.
    fn place(&self, tenant: &Tenant, owner: Option<DeviceRef>, labels: &[Labels]) -> Vec<layout::Part> {
        let mut by_partition: BTreeMap<usize, Vec<(u32, u64)>> = BTreeMap::new();
        for (position, set) in labels.iter().enumerate() {
            let hash = set.ring_hash(tenant);
            let place = self.ring.place(hash);
            by_partition
                .entry(place)
                .or_default()
                .push((position as u32, hash));
        }
        let mut parts = Vec::new();
        for (place, members) in by_partition {
            let mut partition = self.write(place);
            let head = match partition.tenants.get_mut(tenant) {
                Some(head) => head,
                None => partition.tenants.entry(tenant.clone()).or_default(),
            };
            let refs: Vec<(u32, u32)> = members
                .into_iter()
                .map(|(position, hash)| (position, head.register(&labels[position as usize], hash)))
                .collect();
            head.groups_for(owner, refs, |group, positions| {
                parts.push(layout::Part::new(place, group, positions));
            });
        }
        parts
    }

    /// Appends a row of the bridge's own series.
    pub(crate) fn append_own(&self, tenant: &Tenant, time: Timestamp, row: &[(Labels, f64)]) {
        let labels: Vec<Labels> = row.iter().map(|(set, _)| set.clone()).collect();
        let mut writer = self.writer();
        let order = writer.order;
        writer.order += 1;
        for part in self.place(tenant, None, &labels) {
            let mut partition = self.write(part.partition());
            if let Some(head) = partition.tenants.get_mut(tenant) {
                head.append_own(&part, (time.ms(), order), row, self.own_rows, &mut writer.freezer);
            }
        }
    }

    pub(crate) fn tally(&self, device: DeviceRef) -> Tally {
        self.writer().tallies.get(&device).copied().unwrap_or_default()
    }

    /// Forgets what is kept to find a device's series quickly; its samples stay.
    pub(crate) fn forget(&self, number: DeviceRef, device: &DeviceName) {
        let mut writer = self.writer();
        writer.layouts.remove(device);
        writer.tallies.remove(&number);
    }
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.taken += other.taken;
        self.same += other.same;
        self.conflict += other.conflict;
        self.histograms += other.histograms;
    }
}
