//! One file of the journal: a redb database that begins with the ledger as it was when the file was begun.
//!
//! It is made under a name that ends in `.new` and renamed once its checkpoint is committed, so every `<seq>.redb` has
//! one. redb may panic on a file that was altered under it; that counts as damage here.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{Builder, Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

/// Format version of journal files.
pub(crate) const VERSION: u64 = 1;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const BLOBS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blobs");
const DEVICES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("devices");
const LETTERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("dead_letters");

/// Why a file is not read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// A newer version wrote it.
    #[error("format version {0}")]
    Newer(u64),
    /// It is no journal file, or not intact.
    #[error("{0}")]
    Damaged(String),
    /// The disk or the file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl FileError {
    /// Damage unless it is the system's refusal.
    pub(crate) fn of(error: impl Into<redb::Error>) -> Self {
        match error.into() {
            redb::Error::Io(io) if io.kind() != io::ErrorKind::InvalidData => FileError::Io(io),
            other => FileError::Damaged(other.to_string()),
        }
    }
}

/// What the first transaction of a file holds.
#[derive(Debug, Default, Clone)]
pub(crate) struct Checkpoint {
    /// The number that the next new device gets.
    pub(crate) next_device: u32,
    /// Devices' ledgers, encoded, by number.
    pub(crate) devices: Vec<(u32, Vec<u8>)>,
    /// The dead-letter table.
    pub(crate) letters: Vec<(u64, Vec<u8>)>,
}

/// What one commit writes.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// Values from `first` on.
    pub(crate) first: u64,
    pub(crate) blobs: Vec<Vec<u8>>,
    /// Rows for the dead-letter table, and how many of its oldest go.
    pub(crate) letters: Vec<(u64, Vec<u8>)>,
    pub(crate) letters_below: u64,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct JournalFile {
    db: Database,
    path: PathBuf,
    first: u64,
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
    /// Makes a file with its checkpoint; it replaces one of the same number.
    pub(crate) fn create(
        dir: &Path,
        first: u64,
        checkpoint: &Checkpoint,
        cache: usize,
    ) -> Result<Self, FileError> {
        let path = path_of(dir, first);
        let new = path.with_extension("redb.new");
        remove_if_there(&new)?;
        let made = guard(|| {
            let db = Builder::new()
                .set_cache_size(cache)
                .create(&new)
                .map_err(FileError::of)?;
            write_checkpoint(&db, first, checkpoint)?;
            Ok(db)
        });
        let db = match made {
            Ok(db) => db,
            Err(error) => {
                // The half-made file is deleted at the next start if this fails too.
                let _ = std::fs::remove_file(&new);
                return Err(error);
            }
        };
        std::fs::rename(&new, &path)?;
        File::open(dir)?.sync_all()?;
        Ok(JournalFile { db, path, first })
    }

    /// Opens a file, repairing it after a crash; `progress` gets the repair's fraction.
    pub(crate) fn open(path: &Path, cache: usize) -> Result<Self, FileError> {
        let first = first_of(path).ok_or_else(|| FileError::Damaged("not a journal file's name".into()))?;
        let db = guard(|| {
            Builder::new()
                .set_cache_size(cache)
                .open(path)
                .map_err(FileError::of)
        })?;
        let file = JournalFile {
            db,
            path: path.to_owned(),
            first,
        };
        guard(|| file.check_meta())?;
        Ok(file)
    }

    fn check_meta(&self) -> Result<(), FileError> {
        let read = self.db.begin_read().map_err(FileError::of)?;
        let meta = read.open_table(META).map_err(FileError::of)?;
        let get = |key| {
            meta.get(key)
                .map_err(FileError::of)?
                .map(|v| v.value())
                .ok_or_else(|| FileError::Damaged(format!("no {key} in its meta table")))
        };
        let version = get("version")?;
        if version > VERSION {
            return Err(FileError::Newer(version));
        }
        match get("first")? == self.first {
            true => Ok(()),
            false => Err(FileError::Damaged("its name is not its first number".into())),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The checkpoint that the file began with, but the dead letters as they are now.
    pub(crate) fn checkpoint(&self) -> Result<Checkpoint, FileError> {
        guard(|| {
            let read = self.db.begin_read().map_err(FileError::of)?;
            let meta = read.open_table(META).map_err(FileError::of)?;
            let next = meta
                .get("next_device")
                .map_err(FileError::of)?
                .map_or(0, |v| v.value());
            let devices = read.open_table(DEVICES).map_err(FileError::of)?;
            let letters = read.open_table(LETTERS).map_err(FileError::of)?;
            let mut checkpoint = Checkpoint {
                next_device: u32::try_from(next).unwrap_or(u32::MAX),
                ..Checkpoint::default()
            };
            for row in devices.iter().map_err(FileError::of)? {
                let (number, bytes) = row.map_err(FileError::of)?;
                checkpoint.devices.push((number.value(), bytes.value().to_vec()));
            }
            for row in letters.iter().map_err(FileError::of)? {
                let (number, bytes) = row.map_err(FileError::of)?;
                checkpoint.letters.push((number.value(), bytes.value().to_vec()));
            }
            Ok(checkpoint)
        })
    }

    /// Hands over every value below `end` in order; stops at the first error of the file itself.
    pub(crate) fn each_value(&self, end: u64, mut see: impl FnMut(u64, &[u8])) -> Result<(), FileError> {
        guard(|| {
            let read = self.db.begin_read().map_err(FileError::of)?;
            let blobs = read.open_table(BLOBS).map_err(FileError::of)?;
            for row in blobs.range(self.first..end).map_err(FileError::of)? {
                let (number, value) = row.map_err(FileError::of)?;
                see(number.value(), value.value());
            }
            Ok(())
        })
    }

    /// One transaction, on disk when this returns `Ok`. After an error the file must not be written again.
    pub(crate) fn commit(&self, writes: &Writes) -> Result<(), FileError> {
        guard(|| {
            let txn = begin(&self.db)?;
            {
                let mut blobs = txn.open_table(BLOBS).map_err(FileError::of)?;
                for (number, value) in (writes.first..).zip(&writes.blobs) {
                    blobs.insert(number, value.as_slice()).map_err(FileError::of)?;
                }
            }
            if !writes.letters.is_empty() {
                let mut letters = txn.open_table(LETTERS).map_err(FileError::of)?;
                for (number, letter) in &writes.letters {
                    letters
                        .insert(*number, letter.as_slice())
                        .map_err(FileError::of)?;
                }
                letters
                    .retain_in(..writes.letters_below, |_, _| false)
                    .map_err(FileError::of)?;
            }
            txn.commit().map_err(FileError::of)
        })
    }
}

/// A write transaction as this store wants them: on disk at commit, in two phases, as it holds bytes of devices.
pub(crate) fn begin(db: &Database) -> Result<redb::WriteTransaction, FileError> {
    let mut txn = db.begin_write().map_err(FileError::of)?;
    txn.set_durability(Durability::Immediate).map_err(FileError::of)?;
    txn.set_two_phase_commit(true);
    Ok(txn)
}

fn write_checkpoint(db: &Database, first: u64, checkpoint: &Checkpoint) -> Result<(), FileError> {
    let txn = begin(db)?;
    {
        let mut meta = txn.open_table(META).map_err(FileError::of)?;
        for (key, number) in [
            ("version", VERSION),
            ("first", first),
            ("next_device", u64::from(checkpoint.next_device)),
        ] {
            meta.insert(key, number).map_err(FileError::of)?;
        }
        txn.open_table(BLOBS).map_err(FileError::of)?;
        let mut devices = txn.open_table(DEVICES).map_err(FileError::of)?;
        for (number, bytes) in &checkpoint.devices {
            devices.insert(*number, bytes.as_slice()).map_err(FileError::of)?;
        }
        let mut letters = txn.open_table(LETTERS).map_err(FileError::of)?;
        for (number, bytes) in &checkpoint.letters {
            letters.insert(*number, bytes.as_slice()).map_err(FileError::of)?;
        }
    }
    txn.commit().map_err(FileError::of)
}

/// Turns a panic of redb into damage.
pub(crate) fn guard<T>(act: impl FnOnce() -> Result<T, FileError>) -> Result<T, FileError> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| {
        Err(FileError::Damaged(
            "the database is inconsistent (redb panicked)".into(),
        ))
    })
}

pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
