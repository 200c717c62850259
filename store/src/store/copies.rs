//! What checks, dumps and snapshots need of a store's parts.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use wire::{Labels, Tenant};

use super::Store;
use super::partitions::lock;
use crate::block::BlockFile;
use crate::disk::Disk;
use crate::error::SelectError;
use crate::journal::{FileError, JournalCut};
use crate::query::SeriesSlice;

impl Store {
    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.config.disk
    }

    /// Keeps maintenance from running until the guard goes.
    pub(crate) fn pause(&self) -> impl Drop + use<'_> {
        self.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folders of the partitions that are open, by number.
    pub(crate) fn partition_folders(&self) -> Vec<PathBuf> {
        let partitions = self.partitions();
        partitions
            .iter()
            .map(|partition| lock(partition).dir.clone())
            .collect()
    }

    /// Copies a partition's index into a folder.
    pub(crate) fn copy_index(&self, number: usize, to: &Path) -> Result<(), FileError> {
        match self.partitions().get(number) {
            Some(partition) => lock(partition).copy_index(to),
            None => Err(FileError::Damaged("there is no such partition".into())),
        }
    }

    /// The blocks that a partition's catalog names.
    pub(crate) fn blocks_of(&self, number: usize) -> Vec<Arc<BlockFile>> {
        self.heads.blocks(number)
    }

    /// The blocks of all partitions.
    pub(crate) fn block_files(&self) -> Vec<Arc<BlockFile>> {
        let partitions = 0..self.partitions().len();
        partitions.flat_map(|number| self.heads.blocks(number)).collect()
    }

    /// The journal as it is between two commits.
    pub(crate) fn cut_journal(&self) -> Result<JournalCut, FileError> {
        self.writer().journal.cut()
    }

    /// The highest number that was sealed, if the journal ended before it at the start.
    pub(crate) fn sealed_beyond_journal(&self) -> Option<u64> {
        self.sealed_beyond
    }

    /// Copies the dictionaries into a new file.
    pub(crate) fn copy_dictionaries(&self, to: &Path) -> Result<(), FileError> {
        self.dicts.copy_to(to)
    }

    /// How many dictionaries can be read, and which cannot.
    pub(crate) fn check_dictionaries(&self) -> Result<(usize, Vec<String>), FileError> {
        self.dicts.check()
    }

    /// Samples of series by their labels, sorted, of a range of time, both ends included.
    pub(crate) fn select_series(
        &self,
        tenant: &Tenant,
        names: &[Labels],
        range: (i64, i64),
    ) -> Result<Vec<SeriesSlice>, SelectError> {
        self.heads.select_series(tenant, names, range)
    }
}
