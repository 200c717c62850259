//! Rows too far in the future: stored and counted, listed, but not in the heads until their time has come.
//!
//! A row of the table holds what one batch brought, self-contained. It is released as a whole when its latest row's time
//! has come; what is still ahead after `quarantine_time` is removed then, and the rest of it released.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use prost::Message;
use wire::batch::{Batch, Encoding};
use wire::dict::DictHash;
use wire::{DeviceName, Seq, SessionId, Timestamp};

use crate::journal::Rows;
use crate::ledger::DeviceRef;
use crate::record::QuarantineRecord;

/// Rows of one batch in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Who.
    pub device: DeviceName,
    /// Their session.
    pub session: SessionId,
    /// The lowest of their seqs.
    pub first: Seq,
    /// The highest of their seqs.
    pub last: Seq,
    /// When they arrived, by the bridge's clock.
    pub received: Timestamp,
    /// Time of the earliest row.
    pub from: Timestamp,
    /// Time of the latest row.
    pub to: Timestamp,
    /// How many rows.
    pub rows: u64,
    /// How many samples.
    pub samples: u64,
}

/// A row of the table, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) device: DeviceRef,
    pub(crate) rows: Quarantined,
    /// A self-contained batch.
    pub(crate) payload: Bytes,
    /// Bytes of the row.
    bytes: u64,
}

impl Held {
    /// Reads a row of the table; `None` if it is malformed.
    pub(crate) fn decode(row: &Bytes) -> Option<Self> {
        let record = QuarantineRecord::decode(row.clone()).ok()?;
        Some(Held {
            device: record.device,
            rows: Quarantined {
                device: record.name.parse().ok()?,
                session: SessionId::new(record.session),
                first: Seq::new(record.first),
                last: Seq::new(record.last),
                received: Timestamp::from_ms(record.received_ms),
                from: Timestamp::from_ms(record.from_ms),
                to: Timestamp::from_ms(record.to_ms),
                rows: record.rows,
                samples: record.samples,
            },
            payload: record.payload,
            bytes: row.len() as u64,
        })
    }

    /// The dictionary of its series; `None` if the payload is malformed.
    pub(crate) fn dict(&self) -> Option<DictHash> {
        wire::batch::peek(&self.payload).ok()?.dict()
    }
}

/// The table in memory, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    held: BTreeMap<u64, Held>,
    bytes: u64,
}

impl Quarantine {
    /// Takes in the rows of a table; those that are malformed are left out.
    pub(crate) fn load(rows: &Rows<u64>) -> Self {
        let mut quarantine = Quarantine::default();
        for (number, row) in rows {
            if let Some(held) = Held::decode(row) {
                quarantine.insert(*number, held);
            }
        }
        quarantine
    }

    fn insert(&mut self, number: u64, held: Held) {
        self.bytes += held.bytes;
        self.held.insert(number, held);
    }

    /// Takes in what was written.
    pub(crate) fn apply(&mut self, changes: &[(u64, Option<Bytes>)]) {
        for (number, row) in changes {
            if let Some(gone) = self.held.remove(number) {
                self.bytes -= gone.bytes;
            }
            if let Some(held) = row.as_ref().and_then(Held::decode) {
                self.insert(*number, held);
            }
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number that the next row gets.
    pub(crate) fn next(&self) -> u64 {
        self.held.last_key_value().map_or(0, |(number, _)| number + 1)
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = (u64, &Held)> {
        self.held.iter().map(|(number, held)| (*number, held))
    }

    /// Rows whose time has come, so many at most: the latest is not after `due`, or they arrived before `expired`.
    pub(crate) fn due(&self, due: Timestamp, expired: Timestamp, most: usize) -> Vec<(u64, Held)> {
        self.rows()
            .filter(|(_, held)| held.rows.to <= due || held.rows.received < expired)
            .take(most)
            .map(|(number, held)| (number, held.clone()))
            .collect()
    }

    /// The dictionaries of all rows.
    pub(crate) fn dicts(&self) -> HashSet<(DeviceName, DictHash)> {
        let held = self.held.values();
        held.filter_map(|held| Some((held.rows.device.clone(), held.dict()?)))
            .collect()
    }

    /// A device's rows.
    pub(crate) fn of(&self, device: &DeviceName) -> Vec<(u64, Held)> {
        self.rows()
            .filter(|(_, held)| held.rows.device == *device)
            .map(|(number, held)| (number, held.clone()))
            .collect()
    }
}

/// The table's row for rows of a batch.
pub(crate) fn encode(device: DeviceRef, name: &DeviceName, received: Timestamp, batch: &Batch) -> Bytes {
    let rows = || batch.groups.iter().flat_map(|group| &group.rows);
    let times = || rows().map(|row| row.time.ms());
    let seqs = || rows().map(|row| row.seq.get());
    QuarantineRecord {
        device,
        name: name.to_string(),
        session: batch.header.session.get(),
        first: seqs().min().unwrap_or(0),
        last: seqs().max().unwrap_or(0),
        received_ms: received.ms(),
        from_ms: times().min().unwrap_or(0),
        to_ms: times().max().unwrap_or(0),
        rows: rows().count() as u64,
        samples: batch.samples(),
        payload: self_contained(batch),
    }
    .encode_to_vec()
    .into()
}

/// A payload of a batch that needs no key.
pub(crate) fn self_contained(batch: &Batch) -> Bytes {
    wire::batch::encode(batch, Encoding::SelfContained).payload.into()
}
