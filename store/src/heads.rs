//! The heads: every stored row that no block has, in memory, ready for queries.
//!
//! A partition per member of the ring, each behind its own lock; in it one head per tenant, so that no query can see
//! another tenant's series. Where a batch's series belong is worked out once per dictionary and list of series and
//! kept per device (`layout`), so a sample costs neither a hash nor a look-up. Devices are spread over writers, so that
//! several threads can apply, each the records of its devices in their order.

mod catalog;
mod cells;
mod column;
mod delivery;
mod found;
mod group;
mod homes;
mod layout;
mod merge;
mod meter;
mod names;
mod owners;
mod piece;
mod place;
mod presence;
mod registry;
mod results;
mod rows;
mod seal;
mod segment;
mod select;
mod selection;
mod shared;
mod span;
mod status;
mod stored;
mod sweep;
mod tenant;
#[cfg(test)]
mod tests;
mod times;
mod window_head;

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use wire::batch::Batch;
use wire::dict::Dictionary;
use wire::{DeviceName, Labels, Tenant, Timestamp};

use crate::block::Blocks;
use crate::ledger::DeviceRef;
use crate::rings::{MAX_PARTITIONS, Rings};
use crate::sealed::RecordId;
use crate::tally::Tally;
use cells::Cells;
pub(crate) use delivery::Arrival;
use delivery::{Delivery, Job};
use homes::Homes;
use layout::{Layouts, Part};
use piece::Freezer;
pub(crate) use seal::{Gate, SealGroup, SealInput, SealTarget};
pub use selection::Selection;
use stored::{Stored, TimesCache};
use tenant::TenantHead;

/// Writers that devices are spread over.
const WRITERS: usize = 16;

/// All heads.
#[derive(Debug)]
pub(crate) struct Heads {
    rings: Arc<Rings>,
    /// As many as there can be, of which the rings have numbered the first.
    partitions: Vec<RwLock<Partition>>,
    /// The last is the bridge's own.
    writers: Vec<Mutex<Writer>>,
    limits: HeadLimits,
    /// Read while a commit is made, written between two.
    gate: RwLock<()>,
    /// All that is journaled up to this number is here,
    applied: AtomicU64,
    /// but these records, which could not be read at start; in order.
    left_out: OnceLock<Vec<RecordId>>,
    homes: Homes,
}

/// Budgets of the heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeadLimits {
    /// Bytes of rows at which windows are sealed before they are over.
    pub(crate) head_bytes: usize,
    /// The same of rows that came when their window was long over.
    pub(crate) late_bytes: usize,
    /// Rows kept of each group of the bridge's own series.
    pub(crate) own_rows: usize,
}

#[derive(Debug, Default)]
struct Partition {
    tenants: BTreeMap<Tenant, TenantHead>,
    /// What became of the samples in blocks.
    totals: HashMap<DeviceRef, Tally>,
    /// The journal has no file before this number.
    oldest_file: u64,
    /// The folder of its blocks; `None` until it is loaded.
    blocks: Option<Blocks>,
}

impl Partition {
    fn head(&mut self, tenant: &Tenant) -> &mut TenantHead {
        // A look-up first, as an entry would need a copy of the name.
        if !self.tenants.contains_key(tenant) {
            self.tenants.insert(tenant.clone(), TenantHead::default());
        }
        self.tenants.entry(tenant.clone()).or_default()
    }
}

#[derive(Debug, Default)]
struct Writer {
    layouts: HashMap<DeviceName, Layouts>,
    /// Counts rows in the order of the journal: of two samples of one time the later wins.
    order: u64,
    freezer: Freezer,
    stored_times: TimesCache,
}

impl Heads {
    pub(crate) fn new(rings: Arc<Rings>, limits: HeadLimits) -> Self {
        // That of results may come beside them.
        let most = MAX_PARTITIONS.max(rings.count()) + 1;
        Heads {
            partitions: (0..most).map(|_| RwLock::default()).collect(),
            rings,
            writers: (0..=WRITERS).map(|_| Mutex::default()).collect(),
            limits,
            gate: RwLock::default(),
            applied: AtomicU64::new(0),
            left_out: OnceLock::new(),
            homes: Homes::default(),
        }
    }

    /// Takes the records that replay could not read, once it is done.
    pub(crate) fn leave_out(&self, mut records: Vec<RecordId>) {
        records.sort_unstable();
        records.dedup();
        // There is one replay.
        let _ = self.left_out.set(records);
    }

    /// Those records.
    pub(crate) fn left_out(&self) -> &[RecordId] {
        self.left_out.get().map_or(&[], Vec::as_slice)
    }

    fn writer(&self, device: &DeviceName) -> MutexGuard<'_, Writer> {
        let mut hasher = DefaultHasher::new();
        device.hash(&mut hasher);
        self.lock(hasher.finish() as usize % WRITERS)
    }

    fn lock(&self, writer: usize) -> MutexGuard<'_, Writer> {
        self.writers[writer]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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

    /// Whether a batch's groups have layouts in a ring's generation, so that `apply` needs no dictionary.
    pub(crate) fn knows(&self, device: &DeviceName, batch: &Batch, ring: u32) -> bool {
        let mut writer = self.writer(device);
        let layouts = writer.layouts.get_mut(device);
        layouts.is_some_and(|layouts| {
            // Here and not where one is added, so that none goes between this answer and its use.
            layouts.bound();
            let hash = batch.header.dict;
            batch.groups.iter().all(|g| layouts.has(hash, ring, &g.series))
        })
    }

    /// Puts the taken rows of a batch in; `take` has a flag per row, group by group. `dict` is the batch's dictionary,
    /// needed if the batch has a group without a layout ([`Heads::knows`]).
    pub(crate) fn apply(
        &self,
        (number, device): (DeviceRef, &DeviceName),
        batch: Batch,
        take: &[bool],
        dict: Option<&Dictionary>,
        arrival: Arrival,
    ) {
        let mut writer = self.writer(device);
        let mut rest = take;
        let named = (batch.header.dict, arrival.ring, arrival.received_ms);
        for mut group in batch.groups {
            let (take, after) = rest.split_at(group.rows.len().min(rest.len()));
            rest = after;
            if !take.contains(&true) {
                continue;
            }
            let layout = self.layout(&mut writer, (number, device), named, &group, dict);
            let Some(layout) = layout else { continue };
            let order = writer.order;
            writer.order += group.rows.len() as u64;
            let delivery = Delivery::new(&mut group, take, (number, arrival, order));
            for part in layout.parts() {
                self.append(device.tenant(), part, &delivery, &mut writer);
            }
        }
    }

    /// Says how many samples took the place of another value.
    fn append(&self, tenant: &Tenant, part: &Part, delivery: &Delivery<'_>, writer: &mut Writer) -> u64 {
        let mut stored = Stored::default();
        let (jobs, replaced) = loop {
            let appended = match self.write(part.partition()).tenants.get_mut(tenant) {
                Some(head) => head.append(part, delivery, &stored),
                None => return 0,
            };
            match appended {
                Ok(appended) => break appended,
                // Blocks are read without the lock; if they have changed then, they are read again.
                Err(behind) => {
                    stored = Stored::read(behind, part.partition(), delivery, &mut writer.stored_times);
                }
            }
        };
        if jobs.is_empty() {
            return replaced;
        }
        let done: Vec<_> = jobs
            .into_iter()
            .map(|job| delivery.freeze(job, part, &mut writer.freezer))
            .collect();
        if let Some(head) = self.write(part.partition()).tenants.get_mut(tenant) {
            head.put(done);
        }
        replaced
    }

    /// Appends a row of the bridge's own series. They are in no block.
    pub(crate) fn append_own(&self, tenant: &Tenant, time: Timestamp, row: &[(Labels, f64)]) {
        let mut writer = self.lock(WRITERS);
        let order = writer.order;
        writer.order += 1;
        let cells = Arc::new(Cells::new(row.iter().map(|(_, value)| *value).collect(), 1));
        for part in self.place_own(tenant, row) {
            let mut partition = self.write(part.partition());
            let Some(head) = partition.tenants.get_mut(tenant) else {
                continue;
            };
            let jobs = head.append_own(&part, (time.ms(), order), &cells, self.limits.own_rows);
            let freeze = |job: Job| job.freeze_own(&mut writer.freezer);
            let done: Vec<_> = jobs.into_iter().filter_map(freeze).collect();
            head.put(done);
        }
    }

    /// What became of a device's samples.
    pub(crate) fn tally(&self, device: DeviceRef) -> Tally {
        let mut sum = Tally::default();
        for partition in 0..self.rings.count() {
            let partition = self.read(partition);
            if let Some(sealed) = partition.totals.get(&device) {
                sum.add(sealed);
            }
            for head in partition.tenants.values() {
                head.add_tally(device, &mut sum);
            }
        }
        sum
    }

    /// Forgets what is kept to find a device's series quickly; its samples stay.
    pub(crate) fn forget(&self, device: &DeviceName) {
        self.writer(device).layouts.remove(device);
    }
}
