//! The file that is to be the newest next, before it is begun.
//!
//! It has a name that ends in `.new`. The transaction that begins it writes what its checkpoint lacks and the first values; the
//! name it then gets says that it is whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::CheckpointRows;
use super::file::{
    BLOBS, Closing, DEVICES, FileError, JournalFile, KEYS, META, VERSION, begin, guard, open_database,
    path_of,
};
use super::tables::TableWrites;
use crate::disk::{Disk, remove_if_there};

/// A file without a number.
#[derive(Debug)]
pub(crate) struct NextFile {
    disk: Arc<dyn Disk>,
    db: Closing,
    path: PathBuf,
}

/// What the first transaction of a file holds beside rows that were written ahead.
pub(super) struct First<'a> {
    /// Number of the first value.
    pub(super) number: u64,
    pub(super) values: &'a [Vec<u8>],
    /// The number that the next new device gets.
    pub(super) next_device: u32,
    pub(super) rows: &'a CheckpointRows,
    /// What the commit changes in the tables beside the values.
    pub(super) tables: &'a TableWrites,
}

impl NextFile {
    /// Makes an empty file; it replaces one of the same name.
    pub(super) fn create(disk: &Arc<dyn Disk>, path: PathBuf, cache: usize) -> Result<Self, FileError> {
        remove_if_there(&**disk, &path)?;
        match guard(|| open_database(disk, &path, cache)) {
            Ok(db) => Ok(NextFile {
                disk: disk.clone(),
                db: Closing::of(db),
                path,
            }),
            Err(error) => {
                remove(&**disk, &path);
                Err(error)
            }
        }
    }

    /// Writes rows ahead.
    pub(crate) fn write(&self, rows: &CheckpointRows) -> Result<(), FileError> {
        guard(|| {
            // Nobody reads the file before `begin`, so one phase will do.
            let txn = self.db.get()?.begin_write().map_err(FileError::of)?;
            rows.write(&txn)?;
            txn.commit().map_err(FileError::of)
        })
    }

    /// Makes it a file of the journal with its first values, over one of the same number. On an error it may be there or not.
    pub(super) fn begin(self, dir: &Path, first: &First<'_>) -> Result<JournalFile, FileError> {
        let path = path_of(dir, first.number);
        let named = guard(|| self.write_first(first)).and_then(|()| {
            self.disk.rename(&self.path, &path)?;
            Ok(self.disk.sync_dir(dir)?)
        });
        match named {
            Ok(()) => Ok(JournalFile::begun(self.db, path, first.number)),
            Err(error) => {
                self.discard();
                Err(error)
            }
        }
    }

    fn write_first(&self, first: &First<'_>) -> Result<(), FileError> {
        let txn = begin(self.db.get()?)?;
        {
            let mut meta = txn.open_table(META).map_err(FileError::of)?;
            for (key, number) in [
                ("version", VERSION),
                ("first", first.number),
                ("next_device", u64::from(first.next_device)),
            ] {
                meta.insert(key, number).map_err(FileError::of)?;
            }
            txn.open_table(DEVICES).map_err(FileError::of)?;
            txn.open_table(KEYS).map_err(FileError::of)?;
            let mut blobs = txn.open_table(BLOBS).map_err(FileError::of)?;
            for (number, value) in (first.number..).zip(first.values) {
                blobs.insert(number, value.as_slice()).map_err(FileError::of)?;
            }
        }
        first.rows.write(&txn)?;
        first.tables.write(&txn)?;
        txn.commit().map_err(FileError::of)
    }

    /// Removes it.
    pub(crate) fn discard(self) {
        let NextFile { disk, db, path } = self;
        drop(db);
        remove(&*disk, &path);
    }
}

/// What cannot be removed is removed at the next start.
fn remove(disk: &dyn Disk, path: &Path) {
    let _ = disk.remove(path);
}
