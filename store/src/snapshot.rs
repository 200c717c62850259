//! Copies a store while it takes in and answers.
//!
//! No round of maintenance runs meanwhile, so nothing is freed, merged or swept. First each index is copied through a
//! read transaction and its blocks are linked, as they are never written again; then the journal is copied through read
//! transactions, so that it holds at least what no copied index has in blocks; then the dictionaries, so that every
//! record finds its own; then what the store's owner keeps beside it, so that it is as far as the cursors say. Journal files are not linked: a store that opens one writes to it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::journal::{FileError, copy, path_of};
use crate::store::Store;

/// The folder of snapshots in a store's folder.
pub const SNAPSHOTS: &str = "snapshots";

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The name is that of a snapshot, or of no folder.
    #[error("{0:?} is no name for a new snapshot")]
    Name(String),
    /// A file could not be read or written.
    #[error("{path}: {what}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// Copies what the store's owner keeps beside it into the folder of a snapshot, given the number after the last one of the
/// snapshot's journal; an error is a text for people.
pub type Beside<'a> = dyn FnMut(&Path, u64) -> Result<(), String> + 'a;

impl Store {
    /// Copies the store into the folder `snapshots/<name>` of its own, which a store can be opened on, and has `beside` add
    /// to it. Maintenance waits meanwhile; commits and queries go on.
    ///
    /// # Errors
    /// The name is taken or none, or the disk refused; nothing is left of the snapshot then.
    pub fn snapshot(&self, name: &str, beside: &mut Beside<'_>) -> Result<(), SnapshotError> {
        let is_name = !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
        let all = self.dir().join(SNAPSHOTS);
        let (new, place) = (all.join(format!("{name}.new")), all.join(name));
        if !is_name || place.exists() {
            return Err(SnapshotError::Name(name.to_owned()));
        }
        let _round = self.pause();
        self.make_room(&all)?;
        let made = self.copy_to(&new, beside).and_then(|()| {
            let io = |path: &Path| {
                let path = path.to_owned();
                move |error: io::Error| failed(&path, error)
            };
            fs::rename(&new, &place).map_err(io(&place))?;
            self.disk().sync_dir(&all).map_err(io(&all))
        });
        if made.is_err() {
            // What cannot be removed is no snapshot, as its name says.
            let _ = fs::remove_dir_all(&new);
        }
        made
    }

    /// Removes what a crash left of others, and refuses if the copies would take the room that is to stay free.
    fn make_room(&self, all: &Path) -> Result<(), SnapshotError> {
        fs::create_dir_all(all).map_err(|error| failed(all, error))?;
        for entry in fs::read_dir(all).map_err(|error| failed(all, error))? {
            let path = entry.map_err(|error| failed(all, error))?.path();
            if path.extension().is_some_and(|extension| extension == "new") {
                fs::remove_dir_all(&path).map_err(|error| failed(&path, error))?;
            }
        }
        let room = self.room().map_err(|error| failed(all, error))?;
        let usage = self.usage();
        let copies = usage.journal_bytes.saturating_add(usage.dictionary_bytes);
        match room.free < room.needed.saturating_add(copies) {
            true => Err(failed(
                all,
                format!(
                    "{} bytes are free, {} are to stay free, and the copies take {copies}",
                    room.free, room.needed
                ),
            )),
            false => Ok(()),
        }
    }

    fn copy_to(&self, to: &Path, beside: &mut Beside<'_>) -> Result<(), SnapshotError> {
        fs::create_dir_all(to).map_err(|error| failed(to, error))?;
        let mut dirs = vec![to.to_owned()];
        for (number, from) in self.partition_folders().into_iter().enumerate() {
            let folder = from.file_name().ok_or_else(|| failed(&from, "it has no name"))?;
            let dir = to.join(folder);
            fs::create_dir_all(&dir).map_err(|error| failed(&dir, error))?;
            self.copy_index(number, &dir)
                .map_err(|error| failed(&dir, error))?;
            for file in self.blocks_of(number) {
                let path = dir.join(&file.meta().file);
                fs::hard_link(file.path(), &path).map_err(|error| failed(&path, error))?;
            }
            dirs.push(dir);
        }
        let journal = to.join("journal");
        fs::create_dir_all(&journal).map_err(|error| failed(&journal, error))?;
        let end = self
            .copy_journal(&journal)
            .map_err(|(path, error)| failed(&path, error))?;
        let dict = to.join("dict.redb");
        self.copy_dictionaries(&dict)
            .map_err(|error| failed(&dict, error))?;
        beside(to, end).map_err(|what| failed(to, what))?;
        dirs.push(journal);
        for dir in dirs.iter().rev() {
            self.disk().sync_dir(dir).map_err(|error| failed(dir, error))?;
        }
        Ok(())
    }

    /// Copies the journal as it is at one moment; the number after its last one.
    fn copy_journal(&self, to: &Path) -> Result<u64, (PathBuf, FileError)> {
        let here = |error| (to.to_owned(), error);
        let cut = self.cut_journal().map_err(here)?;
        // Without a newest file there is none.
        let end = cut.newest.as_ref().map_or(0, |(_, _, end)| *end);
        for (first, end) in cut.older {
            let found = self.journal_file(first).map_err(here)?;
            let Some((file, _)) = found.filter(|(file, _)| file.first() == first) else {
                return Err(here(FileError::Damaged(format!("file {first} is gone"))));
            };
            let path = path_of(to, first);
            let copied = file
                .freeze()
                .and_then(|read| copy(&read, end, self.disk(), &path));
            copied.map_err(|error| (path, error))?;
        }
        if let Some((first, read, end)) = cut.newest {
            let path = path_of(to, first);
            copy(&read, end, self.disk(), &path).map_err(|error| (path, error))?;
        }
        Ok(end)
    }
}

fn failed(path: &Path, what: impl ToString) -> SnapshotError {
    SnapshotError::File {
        path: path.to_owned(),
        what: what.to_string(),
    }
}
