//! One file of the journal: a redb database that begins with the ledger as it was when the file was begun.
//!
//! redb may panic on a file that was altered under it; that counts as damage here.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redb::{
    Builder, Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
};

use super::tables::{TableWrites, Tables};
use crate::disk::{Access, Boxed, Disk};

/// Format version of journal files. 2: they may have results of rules; 3: native histograms among these.
pub(crate) const VERSION: u64 = 3;

pub(super) const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");
pub(super) const BLOBS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("blobs");
pub(super) const DEVICES: TableDefinition<'static, u32, &[u8]> = TableDefinition::new("devices");
pub(super) const KEYS: TableDefinition<'static, u32, &[u8]> = TableDefinition::new("keys");

/// Why a file is not read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// A newer version wrote it.
    #[error("format version {found}, known are those up to {known}")]
    Newer {
        /// The file's.
        found: u64,
        /// The newest that is known here.
        known: u64,
    },
    /// It is no journal file, or not intact.
    #[error("{0}")]
    Damaged(String),
    /// The disk or the file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl FileError {
    /// Damage unless it is the system's refusal; a file that is too short is damaged.
    pub(crate) fn of(error: impl Into<redb::Error>) -> Self {
        match error.into() {
            redb::Error::Io(io)
                if !matches!(
                    io.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                FileError::Io(io)
            }
            other => FileError::Damaged(other.to_string()),
        }
    }
}

/// What a file begins with.
#[derive(Debug, Default, Clone)]
pub(crate) struct Checkpoint {
    /// The number that the next new device gets.
    pub(crate) next_device: u32,
    /// Devices' ledgers, encoded, by number.
    pub(crate) devices: Vec<(u32, Vec<u8>)>,
    /// Devices' keys, encoded, by number.
    pub(crate) keys: Vec<(u32, Vec<u8>)>,
    /// The other tables.
    pub(crate) tables: Tables,
}

/// Whether a file's sums are checked when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sums {
    /// All that the file holds is to be relied on.
    Check,
    /// What is read has sums of its own.
    Trust,
}

/// A database of which nothing is heard when it cannot be closed, as its file is damaged.
#[derive(Debug)]
pub(super) struct Closing(Option<Database>);

impl Closing {
    pub(super) fn of(db: Database) -> Self {
        Closing(Some(db))
    }

    pub(super) fn get(&self) -> Result<&Database, FileError> {
        let db = self.0.as_ref();
        db.ok_or_else(|| FileError::Damaged("it is closed".into()))
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let db = self.0.take();
        // The next start repairs it, or sets it aside.
        let _ = guard(|| {
            drop(db);
            Ok(())
        });
    }
}

/// An open file.
#[derive(Debug)]
pub(crate) struct JournalFile {
    db: Closing,
    path: PathBuf,
    first: u64,
    /// The format version that it says.
    version: AtomicU64,
}

/// The path of the file that begins with a value's number.
pub(crate) fn path_of(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.redb"))
}

/// The number in a file's name.
pub(crate) fn first_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".redb")?;
    (name.len() == 20 && name.bytes().all(|b| b.is_ascii_digit()))
        .then(|| name.parse().ok())
        .flatten()
}

impl JournalFile {
    /// A file that was made just now.
    pub(super) fn begun(db: Closing, path: PathBuf, first: u64) -> Self {
        JournalFile {
            db,
            path,
            first,
            version: AtomicU64::new(VERSION),
        }
    }

    /// Opens a file that is there, repairing it after a crash.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        path: &Path,
        cache: usize,
        sums: Sums,
    ) -> Result<Self, FileError> {
        let first = first_of(path).ok_or_else(|| FileError::Damaged("not a journal file's name".into()))?;
        let db = guard(|| match sums {
            Sums::Check => open_checked(disk, path, cache),
            Sums::Trust => open_database(disk, path, cache),
        })?;
        let file = JournalFile {
            db: Closing::of(db),
            path: path.to_owned(),
            first,
            version: AtomicU64::default(),
        };
        let version = guard(|| file.check_meta())?;
        file.version.store(version, Ordering::Relaxed);
        Ok(file)
    }

    /// The version of a file of ours.
    fn check_meta(&self) -> Result<u64, FileError> {
        let read = self.db.get()?.begin_read().map_err(FileError::of)?;
        let meta = read.open_table(META).map_err(FileError::of)?;
        let get = |key| {
            meta.get(key)
                .map_err(FileError::of)?
                .map(|v| v.value())
                .ok_or_else(|| FileError::Damaged(format!("no {key} in its meta table")))
        };
        let version = get("version")?;
        if version > VERSION {
            return Err(FileError::Newer {
                found: version,
                known: VERSION,
            });
        }
        match get("first")? == self.first {
            true => Ok(version),
            false => Err(FileError::Damaged("its name is not its first number".into())),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The checkpoint that the file began with, but the tables beside the values as they are now.
    pub(crate) fn checkpoint(&self) -> Result<Checkpoint, FileError> {
        guard(|| {
            let read = self.db.get()?.begin_read().map_err(FileError::of)?;
            let meta = read.open_table(META).map_err(FileError::of)?;
            let next = meta
                .get("next_device")
                .map_err(FileError::of)?
                .map_or(0, |v| v.value());
            Ok(Checkpoint {
                next_device: u32::try_from(next).unwrap_or(u32::MAX),
                devices: numbered(&read, DEVICES)?,
                keys: numbered(&read, KEYS)?,
                tables: Tables::read(&read)?,
            })
        })
    }

    /// The file as it is now, whatever is written from here on.
    pub(crate) fn freeze(&self) -> Result<ReadTransaction, FileError> {
        guard(|| self.db.get()?.begin_read().map_err(FileError::of))
    }

    /// Hands over the values from `from` to before `end` in order, until `see` says false; stops at the first error of
    /// the file itself.
    pub(crate) fn each_value(
        &self,
        from: u64,
        end: u64,
        mut see: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), FileError> {
        guard(|| {
            let read = self.db.get()?.begin_read().map_err(FileError::of)?;
            let blobs = read.open_table(BLOBS).map_err(FileError::of)?;
            let from = from.max(self.first).min(end);
            for row in blobs.range(from..end).map_err(FileError::of)? {
                let (number, value) = row.map_err(FileError::of)?;
                if !see(number.value(), value.value()) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Writes values from a number on, and rows of other tables, in one transaction, which is on disk when this returns
    /// `Ok`. After an error the file must not be written again.
    pub(crate) fn commit(
        &self,
        first: u64,
        values: &[Vec<u8>],
        tables: &TableWrites,
    ) -> Result<(), FileError> {
        guard(|| {
            let txn = begin(self.db.get()?)?;
            if !values.is_empty() {
                let mut blobs = txn.open_table(BLOBS).map_err(FileError::of)?;
                for (number, value) in (first..).zip(values) {
                    blobs.insert(number, value.as_slice()).map_err(FileError::of)?;
                }
            }
            tables.write(&txn)?;
            let raise = tables.results && self.version.load(Ordering::Relaxed) < VERSION;
            if raise {
                let mut meta = txn.open_table(META).map_err(FileError::of)?;
                meta.insert("version", VERSION).map_err(FileError::of)?;
            }
            txn.commit().map_err(FileError::of)?;
            if raise {
                self.version.store(VERSION, Ordering::Relaxed);
            }
            Ok(())
        })
    }
}

fn numbered(
    read: &ReadTransaction,
    name: TableDefinition<'_, u32, &[u8]>,
) -> Result<Vec<(u32, Vec<u8>)>, FileError> {
    let table = read.open_table(name).map_err(FileError::of)?;
    let rows = table.iter().map_err(FileError::of)?;
    rows.map(|row| {
        let (number, bytes) = row.map_err(FileError::of)?;
        Ok((number.value(), bytes.value().to_vec()))
    })
    .collect()
}

/// Opens a database's file, or makes it.
pub(crate) fn open_database(disk: &Arc<dyn Disk>, path: &Path, cache: usize) -> Result<Database, FileError> {
    let backend = disk.backend(path, Access::Write)?;
    Builder::new()
        .set_cache_size(cache)
        .create_with_backend(Boxed(backend))
        .map_err(FileError::of)
}

/// The same with a file whose rows have no sums of their own: those of its pages are checked, which redb does by itself only
/// after a crash.
pub(crate) fn open_checked(disk: &Arc<dyn Disk>, path: &Path, cache: usize) -> Result<Database, FileError> {
    let repaired = Arc::new(AtomicBool::new(false));
    let seen = repaired.clone();
    let backend = disk.backend(path, Access::Write)?;
    let mut db = Builder::new()
        .set_cache_size(cache)
        .set_repair_callback(move |_| seen.store(true, Ordering::Relaxed))
        .create_with_backend(Boxed(backend))
        .map_err(FileError::of)?;
    if !repaired.load(Ordering::Relaxed) {
        // Where it says that something was not clean, it is so now.
        db.check_integrity().map_err(FileError::of)?;
    }
    Ok(db)
}

/// A write transaction as this store wants them: on disk at commit, in two phases, as it holds bytes of devices.
pub(crate) fn begin(db: &Database) -> Result<redb::WriteTransaction, FileError> {
    let mut txn = db.begin_write().map_err(FileError::of)?;
    txn.set_durability(Durability::Immediate).map_err(FileError::of)?;
    txn.set_two_phase_commit(true);
    Ok(txn)
}

/// Turns a panic of redb into damage.
pub(crate) fn guard<T>(act: impl FnOnce() -> Result<T, FileError>) -> Result<T, FileError> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| {
        Err(FileError::Damaged(
            "the database is inconsistent (redb panicked)".into(),
        ))
    })
}
