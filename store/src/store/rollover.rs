//! What the next journal file begins with, and writing it ahead.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::PoisonError;
use std::thread;

use bytes::Bytes;

use super::{Store, disk, read};
use crate::error::CommitError;
use crate::journal::{CheckpointRows, RowKey, Stale, Tables};
use crate::keys::Keys;
use crate::ledger::{Fact, Ledger, encode_device};
use crate::plan::Effect;

/// Rows of a checkpoint that are worth a thread.
const FEW: usize = 500;

impl Store {
    /// Does a step of what the next journal file needs once the newest is full: writes some rows of its checkpoint ahead,
    /// beside commits. To be called about each second, and at once again while it says that there is more to do; else the
    /// commit that begins the file has to write all of them.
    ///
    /// # Errors
    /// The disk refused; the next call begins anew.
    pub fn prepare_journal(&self) -> Result<bool, CommitError> {
        let _one = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.begin_ahead()? {
            return Ok(true);
        }
        let taken = {
            let mut writer = self.writer();
            let writer = &mut *writer;
            let (ledger, keys, tables) = (read(&self.ledger), read(&self.keys), &writer.tables);
            writer
                .journal
                .take_next(|row| encode_row(row, &ledger, &keys, tables))
        };
        let Some((file, rows)) = taken else {
            return Ok(false);
        };
        let written = match rows.bytes() {
            0 => Ok(()),
            _ => file.write(&rows),
        };
        let mut writer = self.writer();
        let left = match &written {
            Ok(()) => writer.journal.put_next(file),
            Err(_) => {
                writer.journal.give_up_next();
                Some(file)
            }
        };
        drop(writer);
        if let Some(file) = left {
            file.discard();
        }
        written.map(|()| true).map_err(disk)
    }

    /// Makes the next file if it is time to, and lists the rows that it is to have.
    fn begin_ahead(&self) -> Result<bool, CommitError> {
        let make = {
            let writer = self.writer();
            writer.journal.wants_next().then(|| writer.journal.next_file())
        };
        let Some(make) = make else {
            return Ok(false);
        };
        self.check_room()?;
        let file = make().map_err(disk)?;
        let mut writer = self.writer();
        let rows = self.all_rows(&writer.tables);
        writer.journal.write_ahead(file, Stale::new(rows));
        Ok(true)
    }

    fn all_rows(&self, tables: &Tables) -> BTreeSet<RowKey> {
        let (ledger, keys) = (read(&self.ledger), read(&self.keys));
        let devices = ledger.devices().map(|(device, _)| RowKey::Device(device));
        let keys = keys.all().map(|(device, _)| RowKey::Keys(device));
        let letters = tables.letters.keys().copied().map(RowKey::Letter);
        let quarantine = tables.quarantine.keys().copied().map(RowKey::Quarantine);
        devices.chain(keys).chain(letters).chain(quarantine).collect()
    }

    /// The number of the next new device, and rows that a file begins with: those that are stale, or all, and those that
    /// are never written ahead. A commit waits for it, so all cores encode.
    pub(super) fn checkpoint(&self, tables: &Tables, stale: Option<&Stale>) -> (u32, CheckpointRows) {
        let wanted: Vec<RowKey> = match stale {
            Some(stale) => stale.rows().collect(),
            None => self.all_rows(tables).into_iter().collect(),
        };
        let (ledger, keys) = (read(&self.ledger), read(&self.keys));
        let encode = |part: &[RowKey]| {
            let mut rows = CheckpointRows::default();
            for row in part {
                rows.put(*row, encode_row(*row, &ledger, &keys, tables));
            }
            rows
        };
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let mut rows = CheckpointRows::default();
        thread::scope(|scope| {
            let mut parts = wanted.chunks(wanted.len().div_ceil(cores).max(FEW));
            let first = parts.next();
            let others: Vec<_> = parts.map(|part| scope.spawn(|| encode(part))).collect();
            rows = first.map(encode).unwrap_or_default();
            for part in others {
                let part = part.join();
                rows.append(part.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
        });
        rows.put_cursors_and_rings(tables);
        (ledger.next_ref(), rows)
    }
}

/// The rows of a checkpoint that an effect changes.
pub(super) fn rows_of(effect: &Effect) -> impl Iterator<Item = RowKey> + use<> {
    let keys = effect.key.is_some() || matches!(effect.fact, Fact::LetGo { .. } | Fact::Forget);
    let device = effect.device;
    let keys = keys.then_some(RowKey::Keys(device));
    keys.into_iter().chain([RowKey::Device(device)])
}

/// A row as it is now; `None`: there is none.
fn encode_row(row: RowKey, ledger: &Ledger, keys: &Keys, tables: &Tables) -> Option<Bytes> {
    match row {
        RowKey::Letter(number) => tables.letters.get(&number).cloned(),
        RowKey::Quarantine(number) => tables.quarantine.get(&number).cloned(),
        RowKey::Keys(device) => Some(keys.of(device)?.encode().into()),
        RowKey::Device(device) => Some(encode_device(ledger.get(device)?).into()),
    }
}
