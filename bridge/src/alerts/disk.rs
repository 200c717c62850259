//! alerts.redb: a row per alert, and how far the journal is taken in.
//!
//! Reports and the place in the journal are written in one transaction, so that a crash neither loses nor repeats one.
//! What Alertmanagers have taken is written later; after a crash they are told again, which they bear.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use prost::Message;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::book::Key;
use super::life::Life;

const ALERTS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("alerts");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const VERSION: &str = "version";
/// The journal is taken in below this number.
const BELOW: &str = "journal";

/// The file's name in the store's folder, and in its snapshots.
pub(crate) const FILE: &str = "alerts.redb";

/// Bytes of the file's cache.
const CACHE: usize = 4 << 20;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AlertsFileError {
    /// The system, or the file's structure.
    #[error("{}: {source}", path.display())]
    Redb {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<redb::Error>,
    },
    /// It has what no file has, and redb panicked.
    #[error("{}: the database is inconsistent", path.display())]
    Inconsistent {
        /// The file.
        path: PathBuf,
    },
    /// A later version of the program wrote it.
    #[error("{}: of version {version}; this program reads version 1", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        version: u64,
    },
}

impl AlertsFileError {
    /// Whether the file is at fault, and not the disk that it is on or who has it open.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            AlertsFileError::Redb { source, .. } => {
                !matches!(
                    **source,
                    redb::Error::Io(ref io) if io.kind() != std::io::ErrorKind::InvalidData
                ) && !matches!(**source, redb::Error::DatabaseAlreadyOpen)
            }
            AlertsFileError::Inconsistent { .. } => true,
            AlertsFileError::Version { .. } => false,
        }
    }
}

/// The open file.
pub(crate) struct Disk {
    path: PathBuf,
    database: Database,
}

/// What the file holds.
pub(crate) struct Kept {
    pub(crate) alerts: Vec<(Key, Life)>,
    pub(crate) below: u64,
}

impl Disk {
    /// Opens the file or makes it. A damaged one is set aside: alerts come again out of the journal, as far back as it goes.
    pub(crate) fn open(path: &Path) -> Result<(Disk, Kept), AlertsFileError> {
        match guard(path, || Disk::try_open(path)) {
            Err(error) if error.is_damage() => {
                tracing::error!(%error, "the file of alerts is damaged and set aside; they are read again from the journal");
                Disk::anew(path)
            }
            opened => opened,
        }
    }

    /// Sets the file aside and makes an empty one.
    pub(crate) fn anew(path: &Path) -> Result<(Disk, Kept), AlertsFileError> {
        let aside = path.with_extension("redb.damaged");
        std::fs::rename(path, aside).map_err(|error| wrong(path, redb::Error::Io(error)))?;
        Disk::try_open(path)
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn try_open(path: &Path) -> Result<(Disk, Kept), AlertsFileError> {
        let disk = Disk {
            database: Database::builder()
                .set_cache_size(CACHE)
                .create(path)
                .map_err(|error| wrong(path, error.into()))?,
            path: path.to_owned(),
        };
        let (version, kept) = disk.read().map_err(|error| wrong(path, error))?;
        match version {
            1 => Ok((disk, kept)),
            version => Err(AlertsFileError::Version {
                path: path.to_owned(),
                version,
            }),
        }
    }

    fn read(&self) -> Result<(u64, Kept), redb::Error> {
        let txn = self.database.begin_write()?;
        {
            let mut meta = txn.open_table(META)?;
            if meta.get(VERSION)?.is_none() {
                meta.insert(VERSION, 1)?;
            }
            txn.open_table(ALERTS)?;
        }
        txn.commit()?;
        let txn = self.database.begin_read()?;
        let meta = txn.open_table(META)?;
        let number = |name| Ok::<_, redb::Error>(meta.get(name)?.map_or(0, |value| value.value()));
        let mut alerts = Vec::new();
        for row in txn.open_table(ALERTS)?.iter()? {
            let (key, value) = row?;
            match Life::decode(value.value()) {
                Ok(life) => alerts.push((key.value(), life)),
                Err(error) => tracing::error!(%error, "a row of alerts.redb is no alert; it is left out"),
            }
        }
        let below = number(BELOW)?;
        Ok((number(VERSION)?, Kept { alerts, below }))
    }

    /// Makes changes durable in one transaction.
    pub(crate) fn write(
        &self,
        rows: &[(Key, Vec<u8>)],
        gone: &[Key],
        below: u64,
    ) -> Result<(), AlertsFileError> {
        guard(&self.path, || {
            self.try_write(rows, gone, below)
                .map_err(|error| wrong(&self.path, error))
        })
    }

    fn try_write(&self, rows: &[(Key, Vec<u8>)], gone: &[Key], below: u64) -> Result<(), redb::Error> {
        let mut txn = self.database.begin_write()?;
        txn.set_durability(Durability::Immediate)?;
        {
            let mut alerts = txn.open_table(ALERTS)?;
            for (key, row) in rows {
                alerts.insert(*key, row.as_slice())?;
            }
            for key in gone {
                alerts.remove(*key)?;
            }
            txn.open_table(META)?.insert(BELOW, below)?;
        }
        txn.commit()?;
        Ok(())
    }
}

impl Disk {
    /// Makes a new file of what this one holds, for which the journal is taken in below a number.
    pub(crate) fn copy(&self, to: &Path, below: u64) -> Result<(), AlertsFileError> {
        guard(&self.path, || {
            self.try_copy(to, below).map_err(|error| wrong(to, error))
        })
    }

    fn try_copy(&self, to: &Path, below: u64) -> Result<(), redb::Error> {
        let from = self.database.begin_read()?;
        let copy = Database::builder().set_cache_size(CACHE).create(to)?;
        let mut txn = copy.begin_write()?;
        txn.set_durability(Durability::Immediate)?;
        {
            let mut alerts = txn.open_table(ALERTS)?;
            for row in from.open_table(ALERTS)?.iter()? {
                let (key, life) = row?;
                alerts.insert(key.value(), life.value())?;
            }
            let mut meta = txn.open_table(META)?;
            meta.insert(VERSION, 1)?;
            meta.insert(BELOW, below)?;
        }
        txn.commit()?;
        Ok(())
    }
}

fn wrong(path: &Path, source: redb::Error) -> AlertsFileError {
    AlertsFileError::Redb {
        path: path.to_owned(),
        source: Box::new(source),
    }
}

/// Turns a panic of redb into damage.
fn guard<T>(path: &Path, act: impl FnOnce() -> Result<T, AlertsFileError>) -> Result<T, AlertsFileError> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| {
        Err(AlertsFileError::Inconsistent {
            path: path.to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_there_after_a_start_and_in_a_copy_and_a_damaged_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.redb");
        let life = Life {
            tenant: "default".to_owned(),
            starts_ms: 5,
            ..Life::default()
        };
        {
            let (disk, kept) = Disk::open(&path).unwrap();
            assert_eq!((kept.alerts.len(), kept.below), (0, 0));
            disk.write(&[(7, life.encode_to_vec()), (8, life.encode_to_vec())], &[], 3)
                .unwrap();
            disk.write(&[], &[8], 4).unwrap();
        }
        {
            let (_, kept) = Disk::open(&path).unwrap();
            assert_eq!((kept.alerts, kept.below), (vec![(7, life.clone())], 4));
        }
        let copy = dir.path().join("copy.redb");
        {
            let (disk, _) = Disk::open(&path).unwrap();
            disk.copy(&copy, 2).unwrap();
            disk.write(&[], &[7], 5).unwrap();
        }
        let (_, kept) = Disk::open(&copy).unwrap();
        assert_eq!((kept.alerts, kept.below), (vec![(7, life)], 2));
        std::fs::write(&path, vec![7; 100_000]).unwrap();
        let (_, kept) = Disk::open(&path).unwrap();
        assert_eq!((kept.alerts.len(), kept.below), (0, 0));
        assert!(path.with_extension("redb.damaged").exists());
    }
}
