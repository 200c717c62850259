//! The tables beside the values: dead letters, quarantine, cursors, rings.
//!
//! They are small, whole in memory, and written in the transactions of the newest file; each new file begins with all
//! of their rows. What a row holds is its owner's business.

use std::collections::BTreeMap;

use bytes::Bytes;
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use super::checkpoint::RowKey;
use super::file::FileError;

/// Rows of a table.
pub(crate) type Rows<K> = BTreeMap<K, Bytes>;

/// Rows to write; `None` removes.
pub(super) type Changes<K> = Vec<(K, Option<Bytes>)>;

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
        put_all(txn, LETTERS, &self.letters, |number| *number)?;
        put_all(txn, QUARANTINE, &self.quarantine, |number| *number)?;
        put_all(txn, CURSORS, &self.cursors, String::as_str)?;
        put_all(txn, RINGS, &self.rings, |generation| *generation)
    }

    /// The rows it changes of those that a checkpoint may have ahead.
    pub(super) fn rows(&self) -> impl Iterator<Item = RowKey> + '_ {
        let letters = self.letters.iter().map(|(number, _)| RowKey::Letter(*number));
        let quarantine = self.quarantine.iter();
        letters.chain(quarantine.map(|(number, _)| RowKey::Quarantine(*number)))
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

/// Writes changes to a table, which is made if there are any.
pub(super) fn put_all<'k, K: redb::Key + 'static, O>(
    txn: &WriteTransaction,
    name: TableDefinition<'_, K, &[u8]>,
    changes: &'k Changes<O>,
    key: impl Fn(&'k O) -> K::SelfType<'k>,
) -> Result<(), FileError> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut table = txn.open_table(name).map_err(FileError::of)?;
    for (at, row) in changes {
        match row {
            Some(row) => table.insert(key(at), &**row).map(drop),
            None => table.remove(key(at)).map(drop),
        }
        .map_err(FileError::of)?;
    }
    Ok(())
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
