//! The chain of journal files and the one that is written.
//!
//! Values are numbered through all files; a file's name is the number of its first. A file that saw a failed commit is
//! never written again: the next commit begins a new file, and what the old one may hold from that number on is void.
//! So a commit that was reported as failed has no effect, whatever of it reached the disk. Likewise a full file is not
//! written again once the next was to be begun.

mod blob;
mod chain;
mod checkpoint;
mod copy;
mod file;
mod next;
mod tables;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use blob::Reader;
use bytes::Bytes;
use chain::Chain;
pub(crate) use checkpoint::{CheckpointRows, RowKey, Stale};
pub(crate) use copy::copy;

pub(crate) use file::{
    Checkpoint, FileError, JournalFile, Sums, begin, guard, open_checked, open_database, path_of,
};
use next::First;
pub(crate) use next::NextFile;
pub(crate) use tables::{Rows, TableWrites, Tables};

use crate::disk::Disk;
use crate::record::Record;

/// A file that is so many times as long as it should be by this part waits no longer for the next to be ready.
const OVER: u64 = 4;

/// Cache bytes for each byte of a checkpoint that is written at once: it is to be written once.
const CHECKPOINT_CACHE: usize = 3;

/// The next file, and the rows of its checkpoint that it lacks.
#[derive(Debug)]
struct Ahead {
    /// Not here while rows are written to it.
    file: Option<NextFile>,
    stale: Stale,
}

/// The end of the chain.
#[derive(Debug)]
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    newest: Option<Arc<JournalFile>>,
    /// What is written ahead of the next file.
    ahead: Option<Ahead>,
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
            ahead: None,
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

    /// Writes records and rows of other tables in one transaction. If that begins a file, `checkpoint` is asked for the
    /// number of the next new device and for rows: those that are stale, or all. Returns the bytes of values written.
    pub(crate) fn append(
        &mut self,
        records: &[Record],
        tables: &TableWrites,
        checkpoint: impl FnOnce(Option<&Stale>) -> (u32, CheckpointRows),
    ) -> Result<u64, FileError> {
        let values = blob::encode(records);
        let begins = self.must_begin();
        // On an error the file is never written again.
        let file = match self.newest.take() {
            Some(file) if !begins => {
                if let Err(error) = file.commit(self.next, &values, tables) {
                    self.older.push(&file);
                    return Err(error);
                }
                file
            }
            full => {
                full.iter().for_each(|file| self.older.push(file));
                Arc::new(self.begin_file(&values, tables, checkpoint)?)
            }
        };
        self.newest = Some(file);
        tables.rows().for_each(|row| self.changed(row));
        let bytes: u64 = values.iter().map(|value| value.len() as u64).sum();
        self.next += values.len() as u64;
        self.written += bytes;
        Ok(bytes)
    }

    /// First number of the newest file, where values of those before it end.
    pub(crate) fn file(&self) -> u64 {
        self.newest.as_ref().map_or(self.next, |file| file.first())
    }

    /// Number of the last value written.
    pub(crate) fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// Whether the next commit begins a file.
    fn must_begin(&self) -> bool {
        let most = self.limits.file_bytes;
        let most = match &self.ahead {
            Some(ahead) if ahead.file.is_some() && ahead.stale.is_ready() => most,
            _ => most.saturating_add(most / OVER),
        };
        self.newest.is_none() || self.written >= most
    }

    /// Begins the next file with its first values.
    fn begin_file(
        &mut self,
        values: &[Vec<u8>],
        tables: &TableWrites,
        checkpoint: impl FnOnce(Option<&Stale>) -> (u32, CheckpointRows),
    ) -> Result<JournalFile, FileError> {
        // One that rows are being written to just now comes too late.
        let ahead = self
            .ahead
            .take()
            .and_then(|ahead| Some((ahead.file?, ahead.stale)));
        let (next_device, rows) = checkpoint(ahead.as_ref().map(|(_, stale)| stale));
        let file = match ahead {
            Some((file, _)) => file,
            None => {
                let path = path_of(&self.dir, self.next).with_extension("redb.new");
                let cache = rows.bytes().saturating_mul(CHECKPOINT_CACHE);
                NextFile::create(&self.disk, path, cache.max(self.limits.cache))?
            }
        };
        let first = First {
            number: self.next,
            values,
            next_device,
            rows: &rows,
            tables,
        };
        let file = file.begin(&self.dir, &first)?;
        self.older.replaced(file.first());
        self.written = 0;
        Ok(file)
    }

    /// Whether the newest file is full and nothing is written ahead of the next.
    pub(crate) fn wants_next(&self) -> bool {
        self.newest.is_some() && self.written >= self.limits.file_bytes && self.ahead.is_none()
    }

    /// What makes the next file, without the journal's lock.
    pub(crate) fn next_file(&self) -> impl FnOnce() -> Result<NextFile, FileError> + use<> {
        let (disk, cache) = (self.disk.clone(), self.limits.cache);
        let path = self.next_path();
        move || NextFile::create(&disk, path, cache)
    }

    fn next_path(&self) -> PathBuf {
        self.dir.join("next.redb.new")
    }

    /// Has rows of a checkpoint written ahead to a file that has none of these yet.
    pub(crate) fn write_ahead(&mut self, file: NextFile, stale: Stale) {
        let file = Some(file);
        self.ahead = Some(Ahead { file, stale });
    }

    /// Notes a row of a checkpoint that changes.
    pub(crate) fn changed(&mut self, row: RowKey) {
        if let Some(ahead) = &mut self.ahead {
            ahead.stale.insert(row);
        }
    }

    /// Takes out the next file and rows to write to it, unless there is none or it is ready; there are no rows at the end
    /// of a sweep.
    pub(crate) fn take_next(
        &mut self,
        encode: impl FnMut(RowKey) -> Option<Bytes>,
    ) -> Option<(NextFile, CheckpointRows)> {
        let ahead = self.ahead.as_mut().filter(|ahead| !ahead.stale.is_ready())?;
        let file = ahead.file.take()?;
        Some((file, ahead.stale.portion(encode)))
    }

    /// Puts it back; returned if a commit could not wait for it and began another.
    pub(crate) fn put_next(&mut self, file: NextFile) -> Option<NextFile> {
        match &mut self.ahead {
            Some(ahead) => ahead.file.replace(file),
            None => Some(file),
        }
    }

    /// Gives up what is written ahead.
    pub(crate) fn give_up_next(&mut self) {
        self.ahead = None;
    }

    /// Unlinks files whose values are all below a number, oldest first, but never the newest. Says how many; on an error
    /// the rest waits.
    pub(crate) fn free(&mut self, below: u64) -> Result<usize, FileError> {
        // After a failed commit there is no newest: the last of the older ones has the checkpoint.
        let keep = usize::from(self.newest.is_none());
        let (freed, error) = self.older.free(&*self.disk, below, self.file(), keep);
        self.unsynced |= freed > 0;
        if self.unsynced {
            self.disk.sync_dir(&self.dir)?;
            self.unsynced = false;
        }
        error.map_or(Ok(freed), |error| Err(error.into()))
    }

    /// The lowest number that a file may still hold.
    pub(crate) fn oldest(&self) -> u64 {
        self.older.first().unwrap_or_else(|| self.file())
    }

    /// The file that holds a number, or the next one that is there, and where its values end.
    pub(crate) fn file_of(&mut self, number: u64) -> Result<Option<(Arc<JournalFile>, u64)>, FileError> {
        if let Some(newest) = self.newest.as_ref().filter(|file| file.first() <= number) {
            return Ok(Some((newest.clone(), self.next)));
        }
        let end = self.file();
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
        let mut extents = self.older.extents(self.file());
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
        beyond.map_or(0, |extent| extent.end.min(self.file()))
    }

    /// Bytes that the files take on disk.
    pub(crate) fn bytes(&self) -> u64 {
        let newest = self.newest.as_ref().map_or(0, |file| disk_bytes(file.path()));
        let ahead = self.ahead.as_ref().map_or(0, |_| disk_bytes(&self.next_path()));
        self.older.bytes() + newest + ahead
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
