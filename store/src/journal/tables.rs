//! The tables beside the values: dead letters, quarantine, cursors, rings.
//!
//! They are small, whole in memory, and written in the transactions of the newest file; each new file begins with all
//! of their rows. What a row holds is its owner's business.

use std::collections::BTreeMap;

use bytes::Bytes;
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use super::file::FileError;

/// Rows of a table.
pub(crate) type Rows<K> = BTreeMap<K, Bytes>;

/// Rows to write; `None` removes.
type Changes<K> = Vec<(K, Option<Bytes>)>;

/// All rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    /// Refused payloads.
    pub(crate) letters: Rows<u64>,
    /// Quarantined rows.
    pub(crate) quarantine: Rows<u64>,
    /// How far destinations have come, by name.
    pub(crate) cursors: Rows<String>,
    /// Hashrings by generation.
    pub(crate) rings: Rows<u32>,
}

/// What a transaction changes in them.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableWrites {
    pub(crate) letters: Changes<u64>,
    pub(crate) quarantine: Changes<u64>,
    pub(crate) cursors: Changes<String>,
    pub(crate) rings: Changes<u32>,
    /// The values have results of rules, of which an older version knows nothing.
    pub(crate) results: bool,
}

pub(super) const LETTERS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("dead_letters");
pub(super) const QUARANTINE: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("quarantine");
pub(super) const CURSORS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("cursors");
pub(super) const RINGS: TableDefinition<'static, u32, &[u8]> = TableDefinition::new("rings");

impl TableWrites {
    pub(super) fn write(&self, txn: &WriteTransaction) -> Result<(), FileError> {
        let numbers = [(LETTERS, &self.letters), (QUARANTINE, &self.quarantine)];
        for (name, changes) in numbers.into_iter().filter(|(_, changes)| !changes.is_empty()) {
            let mut table = txn.open_table(name).map_err(FileError::of)?;
            for (key, row) in changes {
                put(&mut table, *key, row.as_deref())?;
            }
        }
        if !self.cursors.is_empty() {
            let mut table = txn.open_table(CURSORS).map_err(FileError::of)?;
            for (key, row) in &self.cursors {
                put(&mut table, key.as_str(), row.as_deref())?;
            }
        }
        if !self.rings.is_empty() {
            let mut table = txn.open_table(RINGS).map_err(FileError::of)?;
            for (key, row) in &self.rings {
                put(&mut table, *key, row.as_deref())?;
            }
        }
        Ok(())
    }
}

impl Tables {
    /// Takes in what was written.
    pub(crate) fn apply(&mut self, writes: TableWrites) {
        change(&mut self.letters, writes.letters);
        change(&mut self.quarantine, writes.quarantine);
        change(&mut self.cursors, writes.cursors);
        change(&mut self.rings, writes.rings);
    }

    /// The writes that make empty tables into these.
    pub(super) fn as_writes(&self) -> TableWrites {
        TableWrites {
            letters: all(&self.letters),
            quarantine: all(&self.quarantine),
            cursors: all(&self.cursors),
            rings: all(&self.rings),
            results: false,
        }
    }

    pub(super) fn read(txn: &ReadTransaction) -> Result<Self, FileError> {
        Ok(Tables {
            letters: rows(txn, LETTERS, |key| key)?,
            quarantine: rows(txn, QUARANTINE, |key| key)?,
            cursors: rows(txn, CURSORS, |key: &str| key.to_owned())?,
            rings: rows(txn, RINGS, |key| key)?,
        })
    }
}

fn all<K: Ord + Clone>(rows: &Rows<K>) -> Changes<K> {
    let rows = rows.iter();
    rows.map(|(key, row)| (key.clone(), Some(row.clone()))).collect()
}

fn change<K: Ord>(rows: &mut Rows<K>, changes: Changes<K>) {
    for (key, row) in changes {
        match row {
            Some(row) => rows.insert(key, row),
            None => rows.remove(&key),
        };
    }
}

fn put<K: redb::Key + 'static>(
    table: &mut redb::Table<'_, K, &[u8]>,
    key: K::SelfType<'_>,
    row: Option<&[u8]>,
) -> Result<(), FileError> {
    match row {
        Some(row) => table.insert(key, row).map(drop),
        None => table.remove(key).map(drop),
    }
    .map_err(FileError::of)
}

/// Rows of a table; none if it was never written.
fn rows<K: redb::Key + 'static, O: Ord>(
    txn: &ReadTransaction,
    name: TableDefinition<'_, K, &[u8]>,
    own: impl Fn(K::SelfType<'_>) -> O,
) -> Result<Rows<O>, FileError> {
    let table = match txn.open_table(name) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Rows::new()),
        table => table.map_err(FileError::of)?,
    };
    let mut rows = Rows::new();
    for row in table.iter().map_err(FileError::of)? {
        let (key, value) = row.map_err(FileError::of)?;
        rows.insert(own(key.value()), Bytes::copy_from_slice(value.value()));
    }
    Ok(rows)
}
