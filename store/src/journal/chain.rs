//! The files before the newest: read again by whoever lags behind, and unlinked when nobody needs them.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use super::file::{FileError, JournalFile, Sums};
use super::{Extent, disk_bytes, files};
use crate::disk::Disk;

/// Older files in order.
#[derive(Debug, Default)]
pub(super) struct Chain(VecDeque<Older>);

#[derive(Debug)]
struct Older {
    first: u64,
    path: PathBuf,
    bytes: u64,
    /// While somebody reads it.
    open: Weak<JournalFile>,
}

impl Chain {
    /// The files of a folder but the newest.
    pub(super) fn new(dir: &Path, newest: Option<u64>) -> Self {
        let found = files(dir).unwrap_or_default();
        let older = found.into_iter().filter(|(first, _)| Some(*first) != newest);
        Chain(
            older
                .map(|(first, path)| Older {
                    first,
                    bytes: disk_bytes(&path),
                    path,
                    open: Weak::new(),
                })
                .collect(),
        )
    }

    pub(super) fn push(&mut self, file: &Arc<JournalFile>) {
        self.0.push_back(Older {
            first: file.first(),
            path: file.path().to_owned(),
            bytes: disk_bytes(file.path()),
            open: Arc::downgrade(file),
        });
    }

    /// A new file took the name of one that holds no values.
    pub(super) fn replaced(&mut self, first: u64) {
        self.0.retain(|older| older.first != first);
    }

    /// Removes files that end at or below a number, but not the last `keep`; how many, and the error that stopped it.
    /// `end` is where the last one ends.
    pub(super) fn free(
        &mut self,
        disk: &dyn Disk,
        below: u64,
        end: u64,
        keep: usize,
    ) -> (usize, Option<io::Error>) {
        let mut freed = 0;
        while let Some(oldest) = self.0.front() {
            if self.0.len() <= keep {
                break;
            }
            if self.0.get(1).map_or(end, |next| next.first) > below {
                break;
            }
            match disk.remove(&oldest.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return (freed, Some(error)),
                _ => freed += 1,
            }
            self.0.pop_front();
        }
        (freed, None)
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.0.front().map(|older| older.first)
    }

    /// The file that holds a number, or the first after it; `None`: only the newest may.
    pub(super) fn file_of(
        &mut self,
        disk: &Arc<dyn Disk>,
        number: u64,
        end: u64,
        cache: usize,
    ) -> Result<Option<(Arc<JournalFile>, u64)>, FileError> {
        let ends = self.0.iter().skip(1).map(|next| next.first).chain([end]);
        let Some((at, end)) = ends.enumerate().find(|(_, end)| number < *end) else {
            return Ok(None);
        };
        let Some(older) = self.0.get_mut(at) else {
            return Ok(None);
        };
        let file = match older.open.upgrade() {
            Some(file) => file,
            None => {
                let file = Arc::new(JournalFile::open(disk, &older.path, cache, Sums::Trust)?);
                older.open = Arc::downgrade(&file);
                file
            }
        };
        Ok(Some((file, end)))
    }

    /// What each file holds; `end` is where the last one ends.
    pub(super) fn extents(&self, end: u64) -> Vec<Extent> {
        let ends = self.0.iter().skip(1).map(|next| next.first).chain([end]);
        let extent = |(older, end): (&Older, u64)| Extent {
            first: older.first,
            end,
            bytes: older.bytes,
        };
        self.0.iter().zip(ends).map(extent).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|older| older.bytes).sum()
    }
}
