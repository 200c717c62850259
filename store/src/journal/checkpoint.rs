//! Rows that a file's checkpoint is made of.

use std::collections::BTreeSet;
use std::ops::Bound;

use bytes::Bytes;
use redb::WriteTransaction;

use super::file::{DEVICES, FileError, KEYS};
use super::tables::{Changes, TableWrites, Tables, put_all};

/// Rows that are few: a commit may write them.
const FEW: usize = 256;

/// Rows and bytes of a portion.
const PORTION: (usize, usize) = (256, 512 << 10);

/// Sweeps after which what is stale is left to the commit that begins the file.
const SWEEPS: u32 = 3;

/// A row by its table and key, in the order of sweeps: what every commit changes comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RowKey {
    Letter(u64),
    Quarantine(u64),
    /// Of a device's keys.
    Keys(u32),
    /// Of a device's ledger.
    Device(u32),
}

/// Rows to write; `None` removes.
#[derive(Debug, Default)]
pub(crate) struct CheckpointRows {
    devices: Changes<u32>,
    keys: Changes<u32>,
    tables: TableWrites,
    bytes: usize,
}

impl CheckpointRows {
    pub(crate) fn put(&mut self, key: RowKey, row: Option<Bytes>) {
        self.bytes += 64 + row.as_ref().map_or(0, Bytes::len);
        match key {
            RowKey::Letter(number) => self.tables.letters.push((number, row)),
            RowKey::Quarantine(number) => self.tables.quarantine.push((number, row)),
            RowKey::Keys(device) => self.keys.push((device, row)),
            RowKey::Device(device) => self.devices.push((device, row)),
        }
    }

    /// Takes in all cursors and rings, of which there are few.
    pub(crate) fn put_cursors_and_rings(&mut self, tables: &Tables) {
        let all = tables.as_writes();
        self.tables.cursors = all.cursors;
        self.tables.rings = all.rings;
    }

    pub(crate) fn append(&mut self, mut other: CheckpointRows) {
        self.devices.append(&mut other.devices);
        self.keys.append(&mut other.keys);
        self.tables.letters.append(&mut other.tables.letters);
        self.tables.quarantine.append(&mut other.tables.quarantine);
        self.bytes += other.bytes;
    }

    /// Their bytes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn write(&self, txn: &WriteTransaction) -> Result<(), FileError> {
        put_all(txn, DEVICES, &self.devices, |device| *device)?;
        put_all(txn, KEYS, &self.keys, |device| *device)?;
        self.tables.write(txn)
    }
}

/// The rows that a file lacks while its checkpoint is written ahead of it: those not written yet, and those that changed
/// since.
#[derive(Debug)]
pub(crate) struct Stale {
    rows: BTreeSet<RowKey>,
    /// The last row of the sweep that was written.
    at: Option<RowKey>,
    sweeps: u32,
    ready: bool,
}

impl Stale {
    pub(crate) fn new(rows: BTreeSet<RowKey>) -> Self {
        Stale {
            rows,
            at: None,
            sweeps: 0,
            ready: false,
        }
    }

    pub(super) fn insert(&mut self, row: RowKey) {
        self.rows.insert(row);
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = RowKey> + '_ {
        self.rows.iter().copied()
    }

    /// A commit may write what is left.
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// The next rows of the sweep, which are stale no more; `encode` says how one is written. None at the end of a sweep.
    pub(super) fn portion(&mut self, mut encode: impl FnMut(RowKey) -> Option<Bytes>) -> CheckpointRows {
        let (most, most_bytes) = PORTION;
        let mut portion = CheckpointRows::default();
        for _ in 0..most {
            let after = self.at.map_or(Bound::Unbounded, Bound::Excluded);
            let next = self.rows.range((after, Bound::Unbounded)).next().copied();
            let Some(row) = next.filter(|_| portion.bytes() < most_bytes) else {
                break;
            };
            self.rows.remove(&row);
            self.at = Some(row);
            portion.put(row, encode(row));
        }
        if portion.bytes() == 0 {
            self.at = None;
            self.sweeps += 1;
            self.ready = self.rows.len() <= FEW || self.sweeps >= SWEEPS;
        }
        portion
    }
}
