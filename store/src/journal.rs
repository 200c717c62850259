//! The chain of journal files and the one that is written.
//!
//! Values are numbered through all files; a file's name is the number of its first. A file that saw a failed commit is
//! never written again: the next commit begins a new file, and what the old one may hold from that number on is void.
//! So a commit that was reported as failed has no effect, whatever of it reached the disk.

mod blob;
mod file;

use std::path::{Path, PathBuf};

pub(crate) use blob::Reader;
pub(crate) use file::{Checkpoint, FileError, JournalFile, Writes, begin, guard, remove_if_there};

use crate::record::Record;

/// The end of the chain.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: PathBuf,
    newest: Option<JournalFile>,
    /// Number of the next value.
    next: u64,
    /// Bytes of values in the newest file.
    written: u64,
    file_bytes: u64,
    cache: usize,
    /// Disk bytes of the files before the newest.
    older_bytes: u64,
}

/// Dead letters that a commit adds.
#[derive(Debug, Default)]
pub(crate) struct LetterWrites {
    pub(crate) rows: Vec<(u64, Vec<u8>)>,
    /// Rows below this number go.
    pub(crate) below: u64,
}

impl Journal {
    /// A journal that goes on after `newest`, whose values end before `next`; without one it begins a file at the first
    /// commit.
    pub(crate) fn new(dir: PathBuf, newest: Option<(JournalFile, u64)>, next: u64, limits: Limits) -> Self {
        let (newest, written) = newest.unzip();
        let mut journal = Journal {
            dir,
            newest,
            next,
            written: written.unwrap_or(0),
            file_bytes: limits.file_bytes,
            cache: limits.cache,
            older_bytes: 0,
        };
        journal.measure_older();
        journal
    }

    /// Writes records in one transaction. `checkpoint` is asked for if a new file is begun.
    pub(crate) fn append(
        &mut self,
        records: &[Record],
        letters: LetterWrites,
        checkpoint: impl FnOnce() -> Checkpoint,
    ) -> Result<u64, FileError> {
        let file = match self.newest.take() {
            Some(file) if self.written < self.file_bytes => file,
            full => {
                let file = JournalFile::create(&self.dir, self.next, &checkpoint(), self.cache);
                if let (Err(_), Some(full)) = (&file, full) {
                    // It is intact, only long; the next commit tries again.
                    self.newest = Some(full);
                }
                self.written = 0;
                let file = match file {
                    Ok(file) => file,
                    Err(error) => {
                        self.written = self.file_bytes;
                        return Err(error);
                    }
                };
                self.newest = Some(file);
                self.measure_older();
                self.newest
                    .take()
                    .ok_or_else(|| FileError::Damaged("no file".into()))?
            }
        };
        let writes = Writes {
            first: self.next,
            blobs: blob::encode(records),
            letters: letters.rows,
            letters_below: letters.below,
        };
        let bytes: u64 = writes.blobs.iter().map(|b| b.len() as u64).sum();
        // On an error the file is dropped here and never written again.
        file.commit(&writes)?;
        self.newest = Some(file);
        self.next += writes.blobs.len() as u64;
        self.written += bytes;
        Ok(bytes)
    }

    /// Number of the last value written.
    pub(crate) fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// Bytes that the files take on disk.
    pub(crate) fn bytes(&self) -> u64 {
        let newest = self.newest.as_ref().map_or(0, |file| disk_bytes(file.path()));
        self.older_bytes + newest
    }

    fn measure_older(&mut self) {
        let newest = self.newest.as_ref().map(|file| file.path().to_owned());
        let paths = files(&self.dir).unwrap_or_default();
        self.older_bytes = paths
            .iter()
            .filter(|(_, path)| Some(path) != newest.as_ref())
            .map(|(_, path)| disk_bytes(path))
            .sum();
    }
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

/// Allocated bytes of a file; redb's files are sparse at their end.
pub(crate) fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map_or(0, |meta| meta.blocks() * 512)
}
