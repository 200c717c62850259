//! The index of a partition: its series, the catalog of its blocks, what is sealed, totals per device.
//!
//! Every change is one transaction in `index.redb`, and then the same one in `index.copy.redb`. The two count their
//! commits, so a start sees which is ahead, and a file that is damaged is made anew from the other. A file that saw a
//! failed commit is not written again: the next commit first makes it anew from the other, and writes what was true
//! before the failure, so that a failed change leaves nothing once a later one is durable. Until then a crash may bring
//! it back; so what it names must stay on disk that long.

mod file;
mod list;
mod pages;
mod rows;
mod state;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wire::Tenant;

use crate::block::BlockMeta;
use crate::disk::Disk;
use crate::error::Damage;
use crate::journal::FileError;
use crate::ledger::DeviceRef;
use crate::sealed::Sealed;
use crate::tally::Tally;
use crate::window::Window;
use file::{IndexFile, Loaded};
pub(crate) use list::SeriesList;
use state::State;

const FIRST: &str = "index.redb";
const COPY: &str = "index.copy.redb";

/// An index, open for changes.
#[derive(Debug)]
pub(crate) struct Index {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    cache: usize,
    /// `None` after a failed commit, and if it was damaged: made anew from the other before it is written.
    first: Option<IndexFile>,
    copy: Option<IndexFile>,
    /// A change failed, so a file may be ahead of the state: the next transaction writes the small tables whole.
    ahead: bool,
    state: State,
}

/// What an index holds at start.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The series of each tenant, in order of ids.
    pub(crate) series: Vec<(Tenant, SeriesList)>,
    /// Of each tenant, a number above those of all series that were dropped.
    pub(crate) above_dropped: Vec<(Tenant, u32)>,
    /// The blocks, by rising gen.
    pub(crate) blocks: Vec<BlockMeta>,
    /// What blocks have of windows.
    pub(crate) sealed: Vec<(Tenant, Window, Sealed)>,
    /// Sealed samples of each device, and what was removed of them.
    pub(crate) totals: Vec<(DeviceRef, Tally)>,
    /// The gen of the next block.
    pub(crate) next_gen: u64,
}

/// What one transaction changes.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// New series.
    pub(crate) series: Vec<(Tenant, SeriesList)>,
    /// Series that go; their ids are never used again.
    pub(crate) dropped_series: Vec<(Tenant, u32)>,
    pub(crate) add: Vec<BlockMeta>,
    /// Gens of blocks that go.
    pub(crate) remove: Vec<u64>,
    pub(crate) sealed: Vec<(Tenant, Window, Sealed)>,
    /// Windows whose row goes.
    pub(crate) unsealed: Vec<(Tenant, Window)>,
    /// New totals of devices; zeros take the row out.
    pub(crate) totals: Vec<(DeviceRef, Tally)>,
    /// It never falls.
    pub(crate) next_gen: u64,
}

/// Whether the two files of a partition's index hold the same, if they say that they do: after a crash the copy may be a
/// commit behind.
pub(crate) fn are_alike(disk: &dyn Disk, dir: &Path, cache: usize) -> Result<bool, FileError> {
    let load = |name| IndexFile::open(disk, &dir.join(name), cache)?.load(true);
    let (first, copy) = (load(FIRST)?, load(COPY)?);
    Ok(first.commits() != copy.commits() || first.is_like(&copy))
}

impl Index {
    /// Opens a partition's index, or makes one in a folder that has none. Damaged files are set aside; if both are, the
    /// index starts empty. redb's caches take `cache` bytes.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        cache: usize,
    ) -> Result<(Self, Contents, Vec<Damage>), FileError> {
        let mut index = Index {
            disk: disk.clone(),
            dir: dir.to_owned(),
            cache: cache / 2,
            first: None,
            copy: None,
            ahead: false,
            state: State::default(),
        };
        let mut damage = Vec::new();
        let first = index.load(FIRST, true, &mut damage)?;
        let copy = index.load(COPY, first.is_none(), &mut damage)?;
        let first_commits = first.as_ref().map_or(0, |(_, loaded)| loaded.commits());
        let newest = match (first, copy) {
            (None, None) => Loaded::default(),
            (None, Some((copy, loaded))) => {
                index.copy = Some(copy);
                loaded
            }
            (Some(_), Some((copy, ahead))) if first_commits < ahead.commits() => {
                let loaded = copy.load(true)?;
                index.copy = Some(copy);
                loaded
            }
            // The copy is behind if a crash came between the two.
            (Some((first, loaded)), copy) => {
                index.first = Some(first);
                let same = copy.filter(|(_, behind)| behind.commits() == loaded.commits());
                index.copy = same.map(|(copy, _)| copy);
                loaded
            }
        };
        let contents = index.start(newest)?;
        Ok((index, contents, damage))
    }

    /// Opens and reads a file; sets it aside if it is damaged.
    fn load(
        &self,
        name: &str,
        series: bool,
        damage: &mut Vec<Damage>,
    ) -> Result<Option<(IndexFile, Loaded)>, FileError> {
        let path = self.dir.join(name);
        if !path.exists() {
            return Ok(None);
        }
        let opened = IndexFile::open(&*self.disk, &path, self.cache).and_then(|file| {
            let loaded = file.load(series)?;
            Ok((file, loaded))
        });
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(FileError::Damaged(what)) => {
                let aside = path.with_extension("redb.damaged");
                self.disk.rename(&path, &aside)?;
                damage.push(Damage {
                    path: aside,
                    what: format!(
                        "{what}; set aside, {name} is made anew from its copy, or empty if there is none"
                    ),
                });
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes in what was read. Makes a missing file, so that there are two again; if that fails, the next commit tries.
    fn start(&mut self, loaded: Loaded) -> Result<Contents, FileError> {
        let wasteful = loaded.is_wasteful();
        let (mut contents, state) = loaded.split()?;
        self.state = state;
        let healed = match wasteful {
            true => self.renumber(&mut contents),
            false => self.heal(),
        };
        if let Err(error) = healed {
            tracing::warn!(dir = %self.dir.display(), %error, "an index has one good file only");
        }
        Ok(contents)
    }

    /// Writes all series anew, so that what was dropped takes no room.
    fn renumber(&mut self, contents: &mut Contents) -> Result<(), FileError> {
        let before = self.state.take_series();
        let change = Change {
            series: std::mem::take(&mut contents.series),
            ..Change::default()
        };
        self.ahead = true;
        let done = self.commit(&change);
        contents.series = change.series;
        if done.is_err() {
            self.state.put_series(before);
        }
        done
    }

    /// Makes a change durable in both files. After an error it has no effect, but may be found after a crash: what it
    /// names must stay on disk until a later change is durable.
    pub(crate) fn commit(&mut self, change: &Change) -> Result<(), FileError> {
        self.heal()?;
        let prepared = self.state.prepare(change, self.ahead)?;
        for file in [&mut self.first, &mut self.copy] {
            // A file that fails is dropped here and made anew before it is written.
            let Some(open) = file.take() else { continue };
            if let Err(error) = open.commit(&prepared.writes) {
                self.ahead = true;
                self.state.skip(&prepared);
                return Err(error);
            }
            *file = Some(open);
        }
        self.ahead = false;
        self.state.apply(prepared);
        Ok(())
    }

    /// Copies it into another folder, as it is now; the copy's copy is made when it is opened.
    pub(crate) fn copy_to(&self, dir: &Path) -> Result<(), FileError> {
        let from = self.first.as_ref().or(self.copy.as_ref());
        let from = from.ok_or_else(|| FileError::Damaged("neither file is sound just now".into()))?;
        IndexFile::create(&*self.disk, &dir.join(FIRST), self.cache, Some(from)).map(drop)
    }

    /// Makes a file that is missing or failed anew from the other one, or both if there is none.
    fn heal(&mut self) -> Result<(), FileError> {
        match (&self.first, &self.copy) {
            (Some(_), Some(_)) => {}
            (Some(first), None) => self.copy = Some(self.make(COPY, Some(first))?),
            (None, Some(copy)) => self.first = Some(self.make(FIRST, Some(copy))?),
            (None, None) => {
                std::fs::create_dir_all(&self.dir)?;
                if let Some(parent) = self.dir.parent() {
                    self.disk.sync_dir(parent)?;
                }
                self.first = Some(self.make(FIRST, None)?);
                self.copy = Some(self.make(COPY, None)?);
            }
        }
        Ok(())
    }

    fn make(&self, name: &str, from: Option<&IndexFile>) -> Result<IndexFile, FileError> {
        let path = self.dir.join(name);
        let new = path.with_extension("redb.new");
        match self.disk.remove(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file = IndexFile::create(&*self.disk, &new, self.cache, from)?;
        self.disk.rename(&new, &path)?;
        self.disk.sync_dir(&self.dir)?;
        Ok(file)
    }
}
