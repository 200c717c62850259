//! What the journal before a place says of devices: their names, and the keys that later batches refer to.

use std::collections::HashMap;
use std::sync::Arc;

use wire::batch::{Batch, Key};
use wire::{DeviceName, SessionId, Timestamp};

use super::TailError;
use super::commits::error;
use crate::Store;
use crate::journal::JournalFile;
use crate::keys::{DeviceKeys, Keys};
use crate::ledger::{Class, DeviceRef, RowFact, decode_device};
use crate::plan::row_facts;
use crate::record::{Record, What};

/// Devices as they are at a place of the journal.
#[derive(Debug, Default)]
pub(super) struct Devices {
    names: HashMap<DeviceRef, DeviceName>,
    keys: Keys,
}

/// A record's batch and which of its rows are stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) number: DeviceRef,
    pub(super) device: DeviceName,
    pub(super) received: Timestamp,
    pub(super) batch: Batch,
    /// One per row, group by group.
    pub(super) rows: Vec<RowFact>,
}

impl Stored {
    fn taken(&self) -> impl Iterator<Item = &RowFact> {
        self.rows.iter().filter(|row| row.class == Class::Stored)
    }

    /// Stored samples.
    pub(super) fn samples(&self) -> u64 {
        self.taken().map(|row| row.samples).sum()
    }

    /// Times of the earliest and the latest stored row.
    pub(super) fn times(&self) -> Option<(i64, i64)> {
        let times = || self.taken().map(|row| row.time_ms);
        times().min().zip(times().max())
    }
}

impl Devices {
    /// The devices of a file's checkpoint.
    pub(super) fn load(&mut self, store: &Store, file: &JournalFile) -> Result<(), TailError> {
        let checkpoint = file.checkpoint().map_err(error)?;
        for (number, bytes) in checkpoint.devices {
            if let Some(device) = decode_device(&bytes) {
                self.names.insert(number, device.name().clone());
            }
        }
        for (number, row) in checkpoint.keys {
            let keys = DeviceKeys::decode(&row).unwrap_or_default();
            for key in keys.iter() {
                self.keep(store, number, key.clone());
            }
        }
        Ok(())
    }

    /// A key never changes, so the store's own is shared if it has it still.
    fn keep(&mut self, store: &Store, number: DeviceRef, key: Arc<Key>) {
        let name = self.names.get(&number);
        let shared = name.and_then(|name| store.key(name, key.session(), key.id()));
        self.keys.insert(number, shared.unwrap_or(key));
    }

    pub(super) fn name(&mut self, record: &Record) -> Option<DeviceName> {
        if let Ok(name) = record.name.parse::<DeviceName>() {
            self.names.insert(record.device, name);
        }
        self.names.get(&record.device).cloned()
    }

    /// Takes from a record what later ones refer to.
    pub(super) fn note(&mut self, store: &Store, record: &Record) {
        let Some(name) = self.name(record) else { return };
        match &record.what {
            Some(What::Batch(batch)) => {
                let defines = wire::batch::peek(&batch.payload).is_ok_and(|raw| raw.defines().is_some());
                if defines {
                    self.decode(store, record.device, &name, &batch.payload);
                }
            }
            Some(What::LetGo(let_go)) => self.keys.forget(record.device, SessionId::new(let_go.session)),
            Some(What::Forget(_)) => self.keys.forget_device(record.device),
            _ => {}
        }
    }

    /// The stored rows of a record: of a batch, or of quarantined rows whose time has come. `None`: it has none, or cannot
    /// be read.
    pub(super) fn stored(&mut self, store: &Store, record: Record) -> Option<Stored> {
        let (payload, classes) = match &record.what {
            Some(What::Batch(batch)) => (&batch.payload, &batch.classes[..]),
            Some(What::Released(released)) => (&released.payload, &[][..]),
            _ => {
                self.note(store, &record);
                return None;
            }
        };
        let device = self.name(&record)?;
        let batch = self.decode(store, record.device, &device, payload)?;
        let mut rows = row_facts(&batch, |_| Class::Stored);
        Class::decode(classes, &mut rows)?;
        Some(Stored {
            number: record.device,
            device,
            received: Timestamp::from_ms(record.received_ms),
            batch,
            rows,
        })
    }

    /// Reads a batch's columns, and keeps the key that it defines.
    fn decode(
        &mut self,
        store: &Store,
        number: DeviceRef,
        name: &DeviceName,
        payload: &[u8],
    ) -> Option<Batch> {
        let raw = wire::batch::peek(payload).ok()?;
        let key = raw
            .key()
            .and_then(|id| self.keys.of(number)?.get(raw.session(), id).cloned());
        let hash = raw.dict().or(key.as_ref().map(|key| key.dict()))?;
        let series = store.dictionary(name, hash)?.len();
        let decoded = raw.decode(series, key.as_deref()).ok()?;
        if let Some(key) = decoded.key {
            self.keep(store, number, Arc::new(key));
        }
        Some(decoded.batch)
    }
}
