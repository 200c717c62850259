//! Cursors of destinations, and the journal as destinations read it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Store;
use crate::cursors::Cursor;
use crate::error::CommitError;
use crate::journal::{FileError, JournalFile, TableWrites};

impl Store {
    /// Number of the journal's next value; what is below it was committed. Takes no lock.
    pub fn next_number(&self) -> u64 {
        self.numbers.load(Ordering::Acquire)
    }

    /// The journal file that holds a value, or the first after it that is there, and the number where its values end: what
    /// it may have from there on is void. It stays readable while someone has it, also when it is unlinked.
    pub(crate) fn journal_file(&self, number: u64) -> Result<Option<(Arc<JournalFile>, u64)>, FileError> {
        self.writer().journal.file_of(number)
    }

    /// Every destination's cursor that was noted last, by name.
    pub fn cursors(&self) -> Vec<(String, Cursor)> {
        let writer = self.writer();
        let mut rows = writer.tables.cursors.clone();
        for (name, row) in &writer.cursors {
            match row {
                Some(row) => rows.insert(name.clone(), row.clone()),
                None => rows.remove(name),
            };
        }
        rows.into_iter()
            .filter_map(|(name, row)| Some((name, Cursor::decode(&row)?)))
            .collect()
    }

    /// Notes a destination's cursor, or removes it. It becomes durable with the next commit, or by [`Store::write_cursors`];
    /// until then the one before holds the journal's files.
    pub fn note_cursor(&self, name: &str, cursor: Option<&Cursor>) {
        let mut writer = self.writer();
        writer.cursors.retain(|(other, _)| other != name);
        writer.cursors.push((name.to_owned(), cursor.map(Cursor::encode)));
    }

    /// Makes noted cursors durable; costs nothing if there are none.
    pub fn write_cursors(&self) -> Result<(), CommitError> {
        let mut writer = self.writer();
        if !writer.cursors.is_empty() {
            self.write(&mut writer, &[], TableWrites::default())?;
        }
        Ok(())
    }

    /// Where the file after the one that holds a number begins; `None`: that one is the newest.
    pub(crate) fn journal_file_after(&self, number: u64) -> Option<u64> {
        let extents = self.writer().journal.extents();
        extents
            .iter()
            .map(|extent| extent.first)
            .find(|first| *first > number)
    }

    /// Bytes of journal files from a number on, roughly: of a file, as much as its numbers have part in it.
    pub fn journal_bytes_from(&self, number: u64) -> u64 {
        let extents = self.writer().journal.extents();
        extents.iter().map(|extent| extent.bytes_from(number)).sum()
    }

    /// The lowest number from which roughly so many bytes of journal files are left at most.
    pub fn journal_last_bytes(&self, bytes: u64) -> u64 {
        let extents = self.writer().journal.extents();
        let mut left = bytes;
        for extent in extents.iter().rev() {
            match left.checked_sub(extent.bytes) {
                Some(rest) => left = rest,
                None => return extent.number_of_last(left),
            }
        }
        extents.first().map_or(0, |extent| extent.first)
    }
}
