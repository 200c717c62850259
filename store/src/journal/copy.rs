//! A journal file's rows in a new file.

use std::path::Path;
use std::sync::Arc;

use redb::{Key, ReadTransaction, ReadableTable, TableDefinition, TableError, Value, WriteTransaction};

use super::file::{BLOBS, DEVICES, FileError, KEYS, META, begin, guard, open_database};
use super::tables::{CURSORS, LETTERS, QUARANTINE, RINGS};
use crate::disk::Disk;

/// Bytes of redb's cache for the new file: what does not fit goes to the disk before the commit.
const CACHE: usize = 16 << 20;

/// Makes a file of what a transaction sees, without values from `end` on.
pub(crate) fn copy(
    read: &ReadTransaction,
    end: u64,
    disk: &Arc<dyn Disk>,
    path: &Path,
) -> Result<(), FileError> {
    guard(|| {
        let db = open_database(disk, path, CACHE)?;
        let txn = begin(&db)?;
        rows(read, &txn, META, |_| true)?;
        rows(read, &txn, BLOBS, |number| number < end)?;
        rows(read, &txn, DEVICES, |_| true)?;
        rows(read, &txn, KEYS, |_| true)?;
        rows(read, &txn, LETTERS, |_| true)?;
        rows(read, &txn, QUARANTINE, |_| true)?;
        rows(read, &txn, CURSORS, |_| true)?;
        rows(read, &txn, RINGS, |_| true)?;
        txn.commit().map_err(FileError::of)
    })
}

/// Copies the rows of a table, if it is there, up to the first whose key is not wanted.
fn rows<K: Key + 'static, V: Value + 'static>(
    read: &ReadTransaction,
    txn: &WriteTransaction,
    name: TableDefinition<'static, K, V>,
    wanted: impl Fn(K::SelfType<'_>) -> bool,
) -> Result<(), FileError> {
    let from = match read.open_table(name) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        from => from.map_err(FileError::of)?,
    };
    let mut to = txn.open_table(name).map_err(FileError::of)?;
    for row in from.iter().map_err(FileError::of)? {
        let (key, value) = row.map_err(FileError::of)?;
        if !wanted(key.value()) {
            break;
        }
        to.insert(key.value(), value.value()).map_err(FileError::of)?;
    }
    Ok(())
}
