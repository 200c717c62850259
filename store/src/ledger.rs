//! The ledger: per device and session what is settled, stored and dropped.
//!
//! It is a fold over the journal's records: the same `apply` runs after a commit and at start, so what is in memory is
//! always what the journal says. Only a commit that has happened is applied. The first transaction of a journal file
//! holds the whole ledger (`checkpoint`), so a start folds one file, not all.

mod balance;
mod checkpoint;
mod device;
mod fact;
mod session;
mod settled;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use wire::{DeviceName, SeqSet, Timestamp};

pub(crate) use balance::There;
pub(crate) use checkpoint::{decode as decode_device, encode as encode_device};
pub(crate) use device::{Device, lost_edge};
pub(crate) use fact::{Class, DELETED, Fact, QUARANTINE_EXPIRED, RowFact, reason, removal};
pub use view::{DeviceLedger, GapView, Reasons, SessionLedger};

use crate::sealed::RecordId;

/// The number that stands for a device in the journal.
pub(crate) type DeviceRef = u32;

/// Every device's ledger.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ledger {
    /// Boxed, as a map leaves room for more.
    devices: BTreeMap<DeviceRef, Box<Device>>,
    by_name: HashMap<DeviceName, DeviceRef>,
    next: DeviceRef,
    /// Numbers of devices that were forgotten since the ledger was begun.
    forgotten: BTreeSet<DeviceRef>,
}

impl Ledger {
    pub(crate) fn find(&self, name: &DeviceName) -> Option<DeviceRef> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn device(&self, name: &DeviceName) -> Option<&Device> {
        self.get(*self.by_name.get(name)?)
    }

    pub(crate) fn get(&self, device: DeviceRef) -> Option<&Device> {
        self.devices.get(&device).map(|device| &**device)
    }

    pub(crate) fn devices(&self) -> impl Iterator<Item = (DeviceRef, &Device)> {
        self.devices.iter().map(|(number, device)| (*number, &**device))
    }

    /// The number that the next new device gets.
    pub(crate) fn next_ref(&self) -> DeviceRef {
        self.next
    }

    /// Takes in a device as a checkpoint or a record names it.
    pub(crate) fn insert(&mut self, number: DeviceRef, device: Device) {
        self.next = self.next.max(number.saturating_add(1));
        self.by_name.insert(device.name().clone(), number);
        self.devices.insert(number, Box::new(device));
    }

    /// Takes in all devices of another ledger, which has none of these.
    pub(crate) fn merge(&mut self, other: Ledger) {
        self.next = self.next.max(other.next);
        self.devices.extend(other.devices);
        self.by_name.extend(other.by_name);
        self.forgotten.extend(other.forgotten);
    }

    /// Raises the next number, so that numbers of forgotten devices are not used again.
    pub(crate) fn reserve(&mut self, next: DeviceRef) {
        self.next = self.next.max(next);
    }

    /// Applies one fact of a journaled record.
    pub(crate) fn apply(&mut self, number: DeviceRef, received: Timestamp, fact: &Fact) {
        if matches!(fact, Fact::Forget) {
            if let Some(device) = self.devices.remove(&number) {
                self.by_name.remove(device.name());
                self.forgotten.insert(number);
            }
            return;
        }
        if let Some(device) = self.devices.get_mut(&number) {
            device.apply(received, fact);
        }
    }

    /// Counts, for every device, what damage took of stored samples, and what is there beyond them.
    pub(crate) fn reconcile(&mut self, there: impl Fn(DeviceRef) -> There) {
        for (number, device) in &mut self.devices {
            device.reconcile(there(*number));
        }
    }

    /// Notes the records whose rows heads and blocks lack, as they could not be read; in order.
    pub(crate) fn leave_out(&mut self, records: &[RecordId]) {
        let mut numbers: HashMap<DeviceRef, Vec<u64>> = HashMap::new();
        for record in records {
            numbers.entry(record.device).or_default().push(record.number);
        }
        for (device, known) in &mut self.devices {
            known.left_out = numbers.remove(device).unwrap_or_default().into();
        }
    }

    /// Says that records were lost.
    pub(crate) fn doubt(&mut self) {
        self.devices.values_mut().for_each(|device| device.doubt());
    }

    /// Whether it knows a device, or it was forgotten since the ledger was begun.
    pub(crate) fn has_had(&self, number: DeviceRef) -> bool {
        self.devices.contains_key(&number) || self.forgotten.contains(&number)
    }

    /// Takes in devices that others know by number and the ledger does not; says how many. Of two numbers of one device
    /// the higher is that of now.
    pub(crate) fn adopt(&mut self, owners: BTreeMap<DeviceRef, DeviceName>) -> usize {
        let before = self.devices.len();
        for (number, name) in owners.into_iter().rev() {
            if !self.has_had(number) && !self.by_name.contains_key(&name) {
                self.insert(number, Device::new(name));
            }
        }
        self.devices.len() - before
    }

    pub(crate) fn settled(&self, name: &DeviceName, session: wire::SessionId) -> SeqSet {
        self.device(name)
            .map(|device| device.settled(session))
            .unwrap_or_default()
    }
}
