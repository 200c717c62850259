//! Commits of the journal by number.

use std::collections::VecDeque;
use std::sync::Arc;

use super::TailError;
use crate::Store;
use crate::journal::{FileError, JournalFile, Reader};
use crate::record::Record;

/// One commit.
#[derive(Debug)]
pub(super) struct Commit {
    /// Number of its first value.
    pub(super) first: u64,
    /// Its records; none if it could not be read.
    pub(super) records: VecDeque<Record>,
    /// Number after its last value.
    pub(super) after: u64,
}

/// Reads commits; has the file that it read last.
#[derive(Debug, Default)]
pub(super) struct Commits {
    /// The file, and the number up to which its values are known to stand.
    file: Option<(Arc<JournalFile>, u64)>,
}

impl Commits {
    /// The file that holds a number, or the first after it that is there.
    pub(super) fn begin(
        &mut self,
        store: &Store,
        number: u64,
    ) -> Result<Option<Arc<JournalFile>>, TailError> {
        self.file = store.journal_file(number).map_err(error)?;
        Ok(self.file.as_ref().map(|(file, _)| file.clone()))
    }

    /// The commit whose first value has a number, which must be below the journal's end; the next one that is there, if
    /// that one is not. What is left of a damaged file counts as one commit that cannot be read.
    pub(super) fn read(&mut self, store: &Store, number: u64) -> Result<Commit, TailError> {
        match self.try_read(store, number) {
            Err(FileError::Damaged(what)) => {
                self.file = None;
                let after = store.journal_file_after(number);
                tracing::error!(
                    number,
                    what,
                    "a file of the journal cannot be read; what it holds is left out"
                );
                after
                    .map(|after| Commit {
                        first: number,
                        records: VecDeque::new(),
                        after,
                    })
                    .ok_or(TailError(what))
            }
            read => read.map_err(error),
        }
    }

    fn try_read(&mut self, store: &Store, number: u64) -> Result<Commit, FileError> {
        let (file, end) = match &self.file {
            Some((file, end)) if file.first() <= number && number < *end => (file.clone(), *end),
            _ => {
                let found = store.journal_file(number)?;
                self.file.clone_from(&found);
                found.ok_or_else(|| FileError::Damaged(format!("no file has value {number}")))?
            }
        };
        let mut reader = Reader::default();
        let mut commit = Commit {
            first: number.max(file.first()),
            records: VecDeque::new(),
            after: end,
        };
        file.each_value(commit.first, end, |number, value| {
            let records = reader.push(value);
            match &records {
                // The commit goes on in the next value.
                Ok(records) if records.is_empty() => return true,
                Ok(_) => {}
                Err(fault) => {
                    tracing::error!(file = %file.path().display(), number, %fault, "a commit is left out");
                }
            }
            commit.records = records.unwrap_or_default().into();
            commit.after = number + 1;
            false
        })?;
        Ok(commit)
    }
}

pub(super) fn error(error: FileError) -> TailError {
    TailError(error.to_string())
}
