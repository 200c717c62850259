//! Names of files: what is durable of a folder, and what was changed since.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::State;
use crate::faults::Operation;
use crate::file::Inode;

type Names = BTreeMap<OsString, u64>;

/// A change of names that is not durable.
#[derive(Debug, Clone)]
enum Change {
    Made(OsString, u64),
    Renamed(OsString, OsString, u64),
    Removed(OsString, u64),
}

/// A folder's names, by inode.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    now: Names,
    durable: Names,
    changes: Vec<Change>,
    /// Folders in it whose names are durable.
    folders: BTreeSet<OsString>,
}

impl Change {
    fn apply(self, names: &mut Names) {
        let unlink = |names: &mut Names, name: &OsString, inode: u64| {
            if names.get(name) == Some(&inode) {
                names.remove(name);
            }
        };
        match self {
            Change::Made(name, inode) => {
                names.insert(name, inode);
            }
            Change::Renamed(from, to, inode) => {
                unlink(names, &from, inode);
                names.insert(to, inode);
            }
            Change::Removed(name, inode) => unlink(names, &name, inode),
        }
    }
}

impl Folder {
    fn change(&mut self, change: Change) {
        change.clone().apply(&mut self.now);
        self.changes.push(change);
    }

    /// Every inode that has a name here, now or perhaps after a power cut.
    fn inodes(&self) -> impl Iterator<Item = u64> {
        let changed = self.changes.iter().map(|change| match change {
            Change::Made(_, inode) | Change::Renamed(_, _, inode) | Change::Removed(_, inode) => *inode,
        });
        self.now
            .values()
            .chain(self.durable.values())
            .copied()
            .chain(changed)
    }

    fn sync(&mut self) {
        self.changes.clear();
        self.durable = self.now.clone();
    }
}

fn split(path: &Path) -> io::Result<(PathBuf, OsString)> {
    match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) => Ok((dir.to_owned(), name.to_owned())),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(path)
}

impl State {
    /// Takes a folder as durable, with everything in it.
    pub(crate) fn scan(&mut self, dir: &Path) -> io::Result<()> {
        self.folders.entry(dir.to_owned()).or_default();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let (_, name) = split(&path)?;
            if path.is_dir() {
                self.folders
                    .entry(dir.to_owned())
                    .or_default()
                    .folders
                    .insert(name);
                self.scan(&path)?;
            } else {
                self.find(&path)?;
            }
        }
        Ok(())
    }

    /// The inode of a path. A file that came there behind the disk's back is durable.
    pub(crate) fn find(&mut self, path: &Path) -> io::Result<Option<u64>> {
        let (dir, name) = split(path)?;
        let folder = self.folders.entry(dir).or_default();
        if let Some(inode) = folder.now.get(&name) {
            return Ok(Some(*inode));
        }
        let file = match open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let number = self.next_inode;
        self.next_inode += 1;
        folder.now.insert(name.clone(), number);
        folder.durable.insert(name, number);
        self.inodes.insert(number, Inode::new(file)?);
        Ok(Some(number))
    }

    /// Makes an empty file.
    pub(crate) fn create(&mut self, path: &Path) -> io::Result<u64> {
        let number = self.next_inode;
        self.operation(Operation::Name, |state| {
            let (dir, name) = split(path)?;
            let file = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(path)?;
            state.next_inode += 1;
            state.inodes.insert(number, Inode::new(file)?);
            let folder = state.folders.entry(dir).or_default();
            folder.change(Change::Made(name, number));
            Ok(())
        })?;
        Ok(number)
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (dir, name) = split(from)?;
        let (to_dir, to_name) = split(to)?;
        if dir != to_dir {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        let inode = self.find(from)?.ok_or(io::ErrorKind::NotFound)?;
        if let Some(victim) = self.find(to)? {
            fs::rename(to, self.gone.join(victim.to_string()))?;
        }
        fs::rename(from, to)?;
        let folder = self.folders.entry(dir).or_default();
        folder.change(Change::Renamed(name, to_name, inode));
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (dir, name) = split(path)?;
        let inode = self.find(path)?.ok_or(io::ErrorKind::NotFound)?;
        fs::rename(path, self.gone.join(inode.to_string()))?;
        let folder = self.folders.entry(dir).or_default();
        folder.change(Change::Removed(name, inode));
        Ok(())
    }

    pub(crate) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let folder = self.folders.entry(dir.to_owned()).or_default();
        folder.sync();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                folder.folders.insert(split(&path)?.1);
            }
        }
        self.forget()
    }

    /// Lets go of the bytes that no name leads to any more, now or after a power cut; who has them open reads on.
    fn forget(&mut self) -> io::Result<()> {
        let named: BTreeSet<u64> = self.folders.values().flat_map(Folder::inodes).collect();
        for entry in fs::read_dir(&self.gone)? {
            let path = entry?.path();
            let number = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            if !number.is_some_and(|number| named.contains(&number)) {
                fs::remove_file(&path)?;
            }
        }
        self.inodes
            .retain(|number, inode| named.contains(number) || inode.is_open());
        Ok(())
    }

    /// Files that were not made by this disk.
    pub(crate) fn strays(&self, dir: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let (_, name) = split(&path)?;
            let known = self
                .folders
                .get(dir)
                .is_some_and(|folder| folder.now.contains_key(&name));
            match path.is_dir() {
                true => self.strays(&path, found)?,
                false if !known => found.push(path),
                false => {}
            }
        }
        Ok(())
    }

    /// The names as a power cut leaves them.
    pub(crate) fn settle_names(&mut self) -> io::Result<()> {
        let mut dirs: Vec<PathBuf> = self.folders.keys().cloned().collect();
        dirs.sort_unstable();
        for dir in dirs {
            if dir.is_dir() {
                self.settle_folder(&dir)?;
            }
        }
        let live: BTreeSet<u64> = self
            .folders
            .values()
            .flat_map(|f| f.now.values().copied())
            .collect();
        self.inodes.retain(|number, _| live.contains(number));
        for entry in fs::read_dir(&self.gone)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    fn settle_folder(&mut self, dir: &Path) -> io::Result<()> {
        let State {
            folders,
            random,
            gone,
            ..
        } = self;
        let Some(folder) = folders.get_mut(dir) else {
            return Ok(());
        };
        let whole = random.bool();
        let stop = random.usize(0..=folder.changes.len());
        let mut names = std::mem::take(&mut folder.durable);
        for (at, change) in folder.changes.drain(..).enumerate() {
            let lands = if whole { at < stop } else { random.bool() };
            if lands {
                change.apply(&mut names);
            }
        }
        for (name, inode) in &folder.now {
            if names.get(name) != Some(inode) {
                fs::rename(dir.join(name), gone.join(inode.to_string()))?;
            }
        }
        for (name, inode) in &names {
            if folder.now.get(name) != Some(inode) {
                fs::rename(gone.join(inode.to_string()), dir.join(name))?;
            }
        }
        folder.now = names.clone();
        folder.durable = names;
        let durable = folder.folders.clone();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() && !durable.contains(&split(&path)?.1) {
                if self.random.bool() {
                    self.folders.retain(|folder, _| !folder.starts_with(&path));
                    fs::remove_dir_all(&path)?;
                } else if let Some(folder) = self.folders.get_mut(dir) {
                    folder.folders.insert(split(&path)?.1);
                }
            }
        }
        Ok(())
    }
}
