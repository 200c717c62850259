//! The tables of dict.redb: versions, rows, keys.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use wire::DeviceName;
use wire::dict::{Decoder, DictHash, Dictionary, Outline};

use super::row;
use super::texts::{self, Recent, TEXTS};
use crate::disk::Disk;
use crate::journal::{FileError, begin, open_database};

/// Version 1 had no texts apart.
pub(super) const VERSION: u64 = 2;

pub(super) type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const DICTS: Table = TableDefinition::new("dicts");
/// Files of before it had metadata lack this one.
pub(super) const METADATA: Table = TableDefinition::new("metadata");

/// A row of a table.
pub(super) type KeyAndValue = (Vec<u8>, Vec<u8>);

/// All rows of a table; none if it is not there.
pub(super) fn rows(read: &ReadTransaction, table: Table) -> Result<Vec<KeyAndValue>, FileError> {
    let table = match read.open_table(table) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(FileError::of(error)),
    };
    let mut all = Vec::new();
    for row in table.iter().map_err(FileError::of)? {
        let (key, value) = row.map_err(FileError::of)?;
        all.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(all)
}

/// Writes all rows in one transaction.
pub(super) fn copy(read: &ReadTransaction, to: &Database) -> Result<(), FileError> {
    let dicts = read.open_table(DICTS).map_err(FileError::of)?;
    let txn = begin(to)?;
    {
        let mut table = txn.open_table(DICTS).map_err(FileError::of)?;
        for row in dicts.iter().map_err(FileError::of)? {
            let (key, value) = row.map_err(FileError::of)?;
            table.insert(key.value(), value.value()).map_err(FileError::of)?;
        }
        let texts = read.open_table(TEXTS).map_err(FileError::of)?;
        let mut table = txn.open_table(TEXTS).map_err(FileError::of)?;
        for row in texts.iter().map_err(FileError::of)? {
            let (key, value) = row.map_err(FileError::of)?;
            table.insert(key.value(), value.value()).map_err(FileError::of)?;
        }
        let mut table = txn.open_table(METADATA).map_err(FileError::of)?;
        for (key, value) in rows(read, METADATA)? {
            table
                .insert(key.as_slice(), value.as_slice())
                .map_err(FileError::of)?;
        }
    }
    txn.commit().map_err(FileError::of)
}

pub(super) fn open_db(disk: &Arc<dyn Disk>, path: &Path, cache_bytes: usize) -> Result<Database, FileError> {
    with_tables(open_database(disk, path, cache_bytes)?)
}

/// Makes the tables of a new file, and what one of an earlier version lacks.
pub(super) fn with_tables(db: Database) -> Result<Database, FileError> {
    let version = {
        let read = db.begin_read().map_err(FileError::of)?;
        match read.open_table(META) {
            Ok(meta) => meta.get("version").map_err(FileError::of)?.map(|v| v.value()),
            Err(TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(FileError::of(error)),
        }
    };
    match version {
        Some(version) if version > VERSION => Err(FileError::Newer {
            found: version,
            known: VERSION,
        }),
        Some(VERSION) => Ok(db),
        _ => {
            let txn = begin(&db)?;
            txn.open_table(META)
                .map_err(FileError::of)?
                .insert("version", VERSION)
                .map_err(FileError::of)?;
            txn.open_table(DICTS).map_err(FileError::of)?;
            txn.open_table(TEXTS).map_err(FileError::of)?;
            txn.commit().map_err(FileError::of)?;
            Ok(db)
        }
    }
}

/// A file gets its name once it is whole, durably.
pub(super) fn put_in_place(disk: &dyn Disk, new: &Path, path: &Path) -> std::io::Result<()> {
    disk.rename(new, path)?;
    match path.parent() {
        Some(dir) => disk.sync_dir(dir),
        None => Ok(()),
    }
}

/// The dictionary of a row; the inner `None`: it cannot be read.
pub(super) fn read(
    db: Option<&Database>,
    decoder: &mut Decoder,
    key: &[u8],
) -> Result<Option<Option<Dictionary>>, FileError> {
    let Some(db) = db else { return Ok(None) };
    let read = db.begin_read().map_err(FileError::of)?;
    let table = read.open_table(DICTS).map_err(FileError::of)?;
    let texts = read.open_table(TEXTS).map_err(FileError::of)?;
    let value = table.get(key).map_err(FileError::of)?;
    Ok(value.map(|row| row::decode(decoder, row.value(), |key| texts::get(&texts, key))))
}

/// Writes dictionaries by their keys.
pub(super) fn write_dicts(
    db: &Database,
    new: Vec<(Vec<u8>, Vec<Outline>)>,
    recent: &mut Recent,
) -> Result<(), FileError> {
    let txn = begin(db)?;
    {
        let mut dicts = txn.open_table(DICTS).map_err(FileError::of)?;
        let mut table = txn.open_table(TEXTS).map_err(FileError::of)?;
        for (key, outlines) in new {
            let mut row = Vec::new();
            for outline in outlines {
                let texts = outline.texts.into_iter();
                let keys: Result<Vec<u128>, FileError> =
                    texts.map(|text| texts::put(&mut table, recent, text)).collect();
                row::put(&mut row, &outline.body, &keys?);
            }
            dicts
                .insert(key.as_slice(), row.as_slice())
                .map_err(FileError::of)?;
        }
    }
    txn.commit().map_err(FileError::of)
}

/// Removes dictionaries, and the texts that no other one has.
pub(super) fn remove_dicts(db: &Database, gone: &[(DeviceName, DictHash)]) -> Result<(), FileError> {
    let txn = begin(db)?;
    let mut used = HashSet::new();
    {
        let mut table = txn.open_table(DICTS).map_err(FileError::of)?;
        for (device, hash) in gone {
            table
                .remove(key_of(device, *hash).as_slice())
                .map_err(FileError::of)?;
        }
        for row in table.iter().map_err(FileError::of)? {
            used.extend(row::keys(row.map_err(FileError::of)?.1.value()));
        }
    }
    texts::keep(&txn, &used)?;
    txn.commit().map_err(FileError::of)
}

pub(super) fn write_metadata(db: &Database, rows: &[KeyAndValue]) -> Result<(), FileError> {
    let txn = begin(db)?;
    {
        let mut table = txn.open_table(METADATA).map_err(FileError::of)?;
        for (key, value) in rows {
            table
                .insert(key.as_slice(), value.as_slice())
                .map_err(FileError::of)?;
        }
    }
    txn.commit().map_err(FileError::of)
}

/// All dictionaries there are.
pub(super) fn keys(db: Option<&Database>) -> Result<Vec<(DeviceName, DictHash)>, FileError> {
    let Some(db) = db else { return Ok(Vec::new()) };
    let read = db.begin_read().map_err(FileError::of)?;
    let table = read.open_table(DICTS).map_err(FileError::of)?;
    let mut all = Vec::new();
    for row in table.iter().map_err(FileError::of)? {
        let (key, _) = row.map_err(FileError::of)?;
        all.extend(of_key(key.value()));
    }
    Ok(all)
}

/// What a key stands for; `None` if it is none.
pub(super) fn of_key(key: &[u8]) -> Option<(DeviceName, DictHash)> {
    let at = key.iter().position(|byte| *byte == 0)?;
    let name = std::str::from_utf8(&key[..at]).ok()?;
    Some((name.parse().ok()?, DictHash::from_slice(&key[at + 1..])?))
}

/// `<tenant>.<device>`, NUL, hash.
pub(super) fn key_of(device: &DeviceName, hash: DictHash) -> Vec<u8> {
    let mut key = device.to_string().into_bytes();
    key.push(0);
    key.extend_from_slice(hash.as_bytes());
    key
}
