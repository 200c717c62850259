//! A disk for tests: real files of a folder, of which it is known what is durable, and operations that fail on demand.
//!
//! A program under test sees what a page cache shows: its own writes, at once. A [`FaultDisk::power_cut`] leaves what a
//! disk may hold then: of each file what was synced and any subset of the writes since, each whole or torn at sectors of
//! 512 bytes; of each folder the names that were synced and any subset of the changes since, a rename whole or not at all.
//! A file that was removed keeps its bytes aside until the removal is synced.

mod faults;
mod file;
mod names;
mod seam;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faults::Faults;
pub use faults::{Fault, Operation};
use file::Inode;
use names::Folder;

/// A folder whose files can lose what was not synced. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct FaultDisk {
    state: Arc<Mutex<State>>,
}

/// An open file; dead after a power cut.
#[derive(Debug, Clone)]
pub struct FaultFile {
    state: Arc<Mutex<State>>,
    inode: u64,
    /// Of the disk when it was opened.
    life: u64,
    _user: Arc<()>,
}

#[derive(Debug)]
struct State {
    root: PathBuf,
    /// Removed files by inode, until that is durable.
    gone: PathBuf,
    inodes: HashMap<u64, Inode>,
    folders: HashMap<PathBuf, Folder>,
    next_inode: u64,
    /// Rises with every power cut.
    life: u64,
    faults: Faults,
    random: fastrand::Rng,
}

impl FaultDisk {
    /// A disk over a folder; what is in it is durable. Beside it a folder `<name>.gone` is made, or emptied.
    ///
    /// # Errors
    /// The system's.
    pub fn new(root: &Path, seed: u64) -> io::Result<FaultDisk> {
        let mut gone = root.as_os_str().to_owned();
        gone.push(".gone");
        fs::create_dir_all(root)?;
        fs::create_dir_all(&gone)?;
        for left in fs::read_dir(&gone)? {
            fs::remove_file(left?.path())?;
        }
        let mut state = State {
            root: root.to_owned(),
            gone: PathBuf::from(gone),
            inodes: HashMap::new(),
            folders: HashMap::new(),
            next_inode: 1,
            life: 0,
            faults: Faults::default(),
            random: fastrand::Rng::with_seed(seed),
        };
        state.scan(root)?;
        Ok(FaultDisk {
            state: Arc::new(Mutex::new(state)),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a file; makes it if `create` says so.
    ///
    /// # Errors
    /// The system's, and what was asked for.
    pub fn open(&self, path: &Path, create: bool) -> io::Result<FaultFile> {
        let mut state = self.state();
        state.faults.alive()?;
        let inode = match state.find(path)? {
            Some(inode) => inode,
            None if create => state.create(path)?,
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(FaultFile {
            state: Arc::clone(&self.state),
            inode,
            life: state.life,
            _user: Arc::clone(&state.inode(inode)?.users),
        })
    }

    /// Gives a file another name in its folder, over one that has it.
    ///
    /// # Errors
    /// The system's, and what was asked for.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operation(Operation::Name, |state| state.rename(from, to))
    }

    /// Removes a file.
    ///
    /// # Errors
    /// The system's, and what was asked for.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operation(Operation::Name, |state| state.remove(path))
    }

    /// Makes names of a folder durable.
    ///
    /// # Errors
    /// What was asked for.
    pub fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.before_sync()?;
        state.sync_dir(dir)
    }

    /// Files of the folder that were made behind the disk's back.
    ///
    /// # Errors
    /// The system's.
    pub fn strays(&self) -> io::Result<Vec<PathBuf>> {
        let state = self.state();
        let mut found = Vec::new();
        state.strays(&state.root, &mut found)?;
        Ok(found)
    }

    /// Operations that change something, so far.
    pub fn operations(&self) -> u64 {
        self.state().faults.operations
    }

    /// The power goes in the midst of the operation after so many more; every later one fails until [`Self::power_cut`].
    pub fn cut_after(&self, operations: u64) {
        let mut state = self.state();
        state.faults.cut_at = Some(state.faults.operations + operations + 1);
    }

    /// Whether the power is out.
    pub fn is_out(&self) -> bool {
        self.state().faults.out
    }

    /// Bytes that may be written before the disk is full; `None`: no end.
    pub fn room(&self, bytes: Option<u64>) {
        self.state().faults.room = bytes;
    }

    /// Bytes that may still be written.
    pub fn left(&self) -> u64 {
        self.state().faults.room.unwrap_or(u64::MAX)
    }

    /// Refuses every change, or no more.
    pub fn read_only(&self, yes: bool) {
        self.state().faults.read_only = yes;
    }

    /// Lets operations fail.
    pub fn fail(&self, fault: Fault) {
        self.state().faults.asked.push(fault);
    }

    /// Takes back what [`Self::fail`], [`Self::room`], [`Self::read_only`] and [`Self::cut_after`] asked for.
    pub fn heal(&self) {
        self.state().faults.heal();
    }

    /// The power goes, if it has not, and comes back: the folder's files are as a disk may have them then. Files that are
    /// open are dead.
    ///
    /// # Errors
    /// The system's.
    pub fn power_cut(&self) -> io::Result<()> {
        let mut state = self.state();
        state.life += 1;
        state.faults = Faults::default();
        state.settle_names()?;
        let State { inodes, random, .. } = &mut *state;
        let mut numbers: Vec<u64> = inodes.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            if let Some(inode) = inodes.get_mut(&number) {
                inode.power_cut(random)?;
            }
        }
        Ok(())
    }
}

impl FaultFile {
    fn with<T>(&self, act: impl FnOnce(&mut State, u64) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.life != self.life {
            return Err(faults::io_error());
        }
        act(&mut state, self.inode)
    }

    /// Bytes.
    ///
    /// # Errors
    /// The system's.
    pub fn len(&self) -> io::Result<u64> {
        self.with(|state, inode| Ok(state.inode(inode)?.len()))
    }

    /// Whether it has no byte.
    ///
    /// # Errors
    /// The system's.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills the buffer from an offset on.
    ///
    /// # Errors
    /// The system's, and what was asked for.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|state, inode| {
            state.faults.alive()?;
            state.faults.check(Operation::Read)?;
            state.inode(inode)?.read(offset, out)
        })
    }

    /// Writes bytes at an offset. Of a write that fails for want of room a part may be there.
    ///
    /// # Errors
    /// The system's, and what was asked for.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|state, inode| {
            let fits = state.faults.take_room(bytes.len());
            if fits < bytes.len() {
                state.operation(Operation::Write, |state| {
                    state.inode(inode)?.write(offset, &bytes[..fits])
                })?;
                return Err(faults::no_space());
            }
            state.operation(Operation::Write, |state| state.inode(inode)?.write(offset, bytes))
        })
    }

    /// Cuts the file, or lengthens it with zeros.
    ///
    /// # Errors
    /// The system's, and what was asked for.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|state, inode| state.operation(Operation::Write, |state| state.inode(inode)?.set_len(len)))
    }

    /// Makes the file's bytes durable. After a failure some writes never become so, and may be gone at once.
    ///
    /// # Errors
    /// What was asked for.
    pub fn sync(&self) -> io::Result<()> {
        self.with(|state, inode| {
            if let Err(error) = state.before_sync() {
                if !state.faults.out {
                    let State { inodes, random, .. } = state;
                    if let Some(inode) = inodes.get_mut(&inode) {
                        inode.fail_sync(random)?;
                    }
                }
                return Err(error);
            }
            state.inode(inode)?.sync();
            Ok(())
        })
    }
}

impl State {
    fn inode(&mut self, number: u64) -> io::Result<&mut Inode> {
        self.inodes
            .get_mut(&number)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// An operation that changes something; the one in which the power goes may or may not have been begun.
    fn operation(
        &mut self,
        kind: Operation,
        act: impl FnOnce(&mut State) -> io::Result<()>,
    ) -> io::Result<()> {
        self.faults.alive()?;
        if self.faults.count() {
            if self.random.bool() {
                act(self)?;
            }
            return Err(faults::io_error());
        }
        self.faults.writable()?;
        self.faults.check(kind)?;
        act(self)
    }

    fn before_sync(&mut self) -> io::Result<()> {
        self.faults.alive()?;
        if self.faults.count() {
            return Err(faults::io_error());
        }
        self.faults.writable()?;
        self.faults.check(Operation::Sync)
    }
}
