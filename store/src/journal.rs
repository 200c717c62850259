//! The chain of journal files and the one that is written.
//!
//! Values are numbered through all files; a file's name is the number of its first. A file that saw a failed commit is
//! never written again: the next commit begins a new file, and what the old one may hold from that number on is void.
//! So a commit that was reported as failed has no effect, whatever of it reached the disk.

mod blob;
mod chain;
mod copy;
mod file;
mod tables;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use blob::Reader;
use chain::Chain;
pub(crate) use copy::copy;

pub(crate) use file::{
    Checkpoint, FileError, JournalFile, Sums, begin, guard, open_checked, open_database, path_of,
};
pub(crate) use tables::{Rows, TableWrites, Tables};

use crate::disk::Disk;
use crate::record::Record;

/// The end of the chain.
#[derive(Debug)]
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    newest: Option<Arc<JournalFile>>,
    older: Chain,
    /// Number of the next value.
    next: u64,
    /// Files were unlinked and their folder is not synced since.
    unsynced: bool,
    /// Bytes of values in the newest file.
    written: u64,
    limits: Limits,
}

impl Journal {
    /// A journal that goes on after `newest`, whose values end before `next`; without one it begins a file at the first
    /// commit.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        newest: Option<(JournalFile, u64)>,
        next: u64,
        limits: Limits,
    ) -> Self {
        let (newest, written) = newest.unzip();
        let newest = newest.map(Arc::new);
        let older = Chain::new(&dir, newest.as_ref().map(|file| file.first()));
        Journal {
            disk,
            dir,
            newest,
            older,
            next,
            unsynced: false,
            written: written.unwrap_or(0),
            limits,
        }
    }

    /// Number of the next value.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Writes records and rows of other tables in one transaction. `checkpoint` is asked for if a new file is begun.
    /// Returns the bytes of values written.
    pub(crate) fn append(
        &mut self,
        records: &[Record],
        tables: &TableWrites,
        checkpoint: impl FnOnce() -> Checkpoint,
    ) -> Result<u64, FileError> {
        if self.newest.is_none() || self.written >= self.limits.file_bytes {
            self.begin_file(&checkpoint())?;
        }
        // On an error the file is never written again.
        let Some(file) = self.newest.take() else {
            return Err(FileError::Damaged("no file was begun".into()));
        };
        let values = blob::encode(records);
        if let Err(error) = file.commit(self.next, &values, tables) {
            self.older.push(&file);
            return Err(error);
        }
        self.newest = Some(file);
        let bytes: u64 = values.iter().map(|value| value.len() as u64).sum();
        self.next += values.len() as u64;
        self.written += bytes;
        Ok(bytes)
    }

    /// Number of the last value written.
    pub(crate) fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// Begins the next file. On an error the newest stays as it is, only longer than it should be.
    fn begin_file(&mut self, checkpoint: &Checkpoint) -> Result<(), FileError> {
        let file = JournalFile::create(&self.disk, &self.dir, self.next, checkpoint, self.limits.cache)?;
        if let Some(full) = self.newest.take() {
            self.older.push(&full);
        }
        self.older.replaced(file.first());
        self.newest = Some(Arc::new(file));
        self.written = 0;
        Ok(())
    }

    /// Unlinks files whose values are all below a number, oldest first, but never the newest. Says how many; on an error
    /// the rest waits.
    pub(crate) fn free(&mut self, below: u64) -> Result<usize, FileError> {
        // After a failed commit there is no newest: the last of the older ones has the checkpoint.
        let keep = usize::from(self.newest.is_none());
        let (freed, error) = self.older.free(&*self.disk, below, self.end_of_older(), keep);
        self.unsynced |= freed > 0;
        if self.unsynced {
            self.disk.sync_dir(&self.dir)?;
            self.unsynced = false;
        }
        error.map_or(Ok(freed), |error| Err(error.into()))
    }

    /// Where values of the files before the newest end.
    fn end_of_older(&self) -> u64 {
        self.newest.as_ref().map_or(self.next, |file| file.first())
    }

    /// The lowest number that a file may still hold.
    pub(crate) fn oldest(&self) -> u64 {
        self.older.first().unwrap_or_else(|| self.end_of_older())
    }

    /// The file that holds a number, or the next one that is there, and where its values end.
    pub(crate) fn file_of(&mut self, number: u64) -> Result<Option<(Arc<JournalFile>, u64)>, FileError> {
        if let Some(newest) = self.newest.as_ref().filter(|file| file.first() <= number) {
            return Ok(Some((newest.clone(), self.next)));
        }
        let end = self.end_of_older();
        let found = self.older.file_of(&self.disk, number, end, self.limits.cache)?;
        let newest = || self.newest.clone().map(|file| (file, self.next));
        Ok(found.or_else(newest))
    }

    /// The journal as it is now.
    pub(crate) fn cut(&self) -> Result<JournalCut, FileError> {
        let Some(newest) = &self.newest else {
            return match self.older.len() {
                0 => Ok(JournalCut::default()),
                _ => Err(FileError::Damaged(
                    "the last commit failed; try again after the next".into(),
                )),
            };
        };
        Ok(JournalCut {
            older: self
                .older
                .extents(newest.first())
                .iter()
                .map(|extent| (extent.first, extent.end))
                .collect(),
            newest: Some((newest.first(), newest.freeze()?, self.next)),
        })
    }

    /// How many files there are.
    pub(crate) fn files(&self) -> usize {
        self.older.len() + usize::from(self.newest.is_some())
    }

    /// What each file holds, oldest first.
    pub(crate) fn extents(&self) -> Vec<Extent> {
        let mut extents = self.older.extents(self.end_of_older());
        extents.extend(self.newest.as_ref().map(|file| Extent {
            first: file.first(),
            end: self.next,
            bytes: disk_bytes(file.path()),
        }));
        extents
    }

    /// Where the values of the files end that must go so that the rest takes no more bytes than `most`; 0: none must.
    pub(crate) fn excess(&self, most: u64) -> u64 {
        let mut bytes = 0;
        let beyond = self.extents().into_iter().rev().find(|extent| {
            bytes += extent.bytes;
            bytes > most
        });
        // The newest stays, however long it is.
        beyond.map_or(0, |extent| extent.end.min(self.end_of_older()))
    }

    /// Bytes that the files take on disk.
    pub(crate) fn bytes(&self) -> u64 {
        let newest = self.newest.as_ref().map_or(0, |file| disk_bytes(file.path()));
        self.older.bytes() + newest
    }
}

/// The numbers of a file's values and its bytes on disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) bytes: u64,
}

impl Extent {
    /// The part of its bytes that numbers from one on have.
    pub(crate) fn bytes_from(&self, number: u64) -> u64 {
        let values = self.end.saturating_sub(self.first).max(1);
        let left = self.end.saturating_sub(number.max(self.first));
        part(self.bytes, left, values)
    }

    /// The number from which so many of its bytes are left.
    pub(crate) fn number_of_last(&self, bytes: u64) -> u64 {
        let values = self.end.saturating_sub(self.first);
        self.end - part(values, bytes.min(self.bytes), self.bytes.max(1))
    }
}

/// `whole * a / b` for `a <= b`, `b > 0`.
fn part(whole: u64, a: u64, b: u64) -> u64 {
    let part = u128::from(whole) * u128::from(a) / u128::from(b);
    u64::try_from(part).unwrap_or(whole)
}

/// The journal at one moment.
#[derive(Default)]
pub(crate) struct JournalCut {
    /// The files before the newest: number of the first value, and where values end.
    pub(crate) older: Vec<(u64, u64)>,
    /// The same of the newest, and what it holds.
    pub(crate) newest: Option<(u64, redb::ReadTransaction, u64)>,
}

/// Sizes of a journal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of values at which the next file is begun.
    pub(crate) file_bytes: u64,
    /// Bytes of redb's cache.
    pub(crate) cache: usize,
}

/// The chain in order, as (first number, path).
pub(crate) fn files(dir: &Path) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if let Some(first) = file::first_of(&path) {
            found.push((first, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The first numbers of files that were set aside.
pub(crate) fn set_aside(dir: &Path) -> std::io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "damaged") {
            found.extend(file::first_of(&path.with_extension("")));
        }
    }
    Ok(found)
}

/// Allocated bytes of a file; redb's files are sparse at their end.
pub(crate) fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map_or(0, |meta| meta.blocks() * 512)
}
