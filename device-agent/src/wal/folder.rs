//! Where segments and the meta file live: a locked folder, or memory.
//!
//! One segment is open for appending at a time. A failed append leaves the segment as it was, or says that it could not.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use wire::SessionId;

use crate::wal::disk::{Disk, LogFile, SystemDisk};
use crate::wal::{OpenError, Storage};

/// Largest meta file that is read, bytes; 200 sessions and 1024 gaps of many ranges stay below.
const MAX_META: u64 = 64 << 20;

/// Names a segment; `number` rises over all sessions of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SegmentName {
    pub(crate) number: u64,
    pub(crate) session: SessionId,
}

/// A folder of segments.
#[derive(Debug)]
pub(crate) enum Folder {
    Files(Files),
    Memory(Memory),
}

/// A folder on disk; dropping it releases the lock.
#[derive(Debug)]
pub(crate) struct Files {
    path: PathBuf,
    disk: Box<dyn Disk>,
    _lock: File,
    open: Option<Box<dyn LogFile>>,
    length: u64,
}

/// Segments in memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    segments: BTreeMap<SegmentName, Vec<u8>>,
    open: Option<SegmentName>,
}

impl SegmentName {
    pub(super) fn file(self) -> String {
        format!("{}-{:016x}.wal", self.session, self.number)
    }

    pub(super) fn parse(file: &str) -> Option<SegmentName> {
        let (session, number) = file.strip_suffix(".wal")?.split_once('-')?;
        let word = |text: &str| {
            let hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
            hex.then(|| u64::from_str_radix(text, 16).ok()).flatten()
        };
        Some(SegmentName {
            number: word(number)?,
            session: SessionId::new(word(session)?),
        })
    }
}

impl Folder {
    pub(crate) fn open(storage: &Storage) -> Result<Folder, OpenError> {
        match storage {
            Storage::Memory => Ok(Folder::Memory(Memory::default())),
            Storage::Folder(path) => Folder::on(path, Box::new(SystemDisk)),
        }
    }

    pub(crate) fn on(path: &Path, disk: Box<dyn Disk>) -> Result<Folder, OpenError> {
        Files::open(path, disk).map(Folder::Files)
    }

    /// All segments, oldest first.
    pub(crate) fn list(&self) -> Result<Vec<SegmentName>, OpenError> {
        match self {
            Folder::Memory(memory) => Ok(memory.segments.keys().copied().collect()),
            Folder::Files(files) => files.list().map_err(|source| OpenError::Folder {
                path: files.path.clone(),
                source,
            }),
        }
    }

    /// Makes a segment and opens it for appending.
    pub(crate) fn create(&mut self, name: SegmentName, header: &[u8], durable: bool) -> io::Result<()> {
        match self {
            Folder::Memory(memory) => {
                memory.segments.insert(name, header.to_vec());
                memory.open = Some(name);
                Ok(())
            }
            Folder::Files(files) => files.create(name, header, durable),
        }
    }

    /// Appends to the open segment.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), AppendError> {
        match self {
            Folder::Memory(memory) => {
                let open = memory.open.and_then(|name| memory.segments.get_mut(&name));
                open.ok_or(AppendError::Damaged(io::ErrorKind::NotFound.into()))?
                    .extend_from_slice(bytes);
                Ok(())
            }
            Folder::Files(files) => files.append(bytes),
        }
    }

    /// Makes what was appended durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        match self {
            Folder::Memory(_) => Ok(()),
            Folder::Files(files) => files.open.as_mut().map_or(Ok(()), |file| file.sync()),
        }
    }

    /// The bytes of a segment, at most `limit`.
    pub(crate) fn read(&self, name: SegmentName, limit: u64) -> io::Result<Vec<u8>> {
        match self {
            Folder::Memory(memory) => {
                let found = memory.segments.get(&name);
                found.cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
            }
            Folder::Files(files) => files.read(&name.file(), limit),
        }
    }

    pub(crate) fn remove(&mut self, name: SegmentName) -> io::Result<()> {
        match self {
            Folder::Memory(memory) => {
                memory.segments.remove(&name);
                Ok(())
            }
            Folder::Files(files) => match files.disk.remove(&files.path.join(name.file())) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            },
        }
    }

    /// Replaces the meta file durably. Memory keeps none.
    pub(crate) fn write_meta(&self, bytes: &[u8]) -> io::Result<()> {
        let Folder::Files(files) = self else { return Ok(()) };
        let temporary = files.path.join(".meta.new");
        match files.disk.remove(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = files.disk.create(&temporary)?;
        file.append(bytes)?;
        file.sync()?;
        files.disk.rename(&temporary, &files.path.join("meta"))?;
        files.sync_folder()
    }

    /// The meta file, if there is one; at most [`MAX_META`] bytes of it.
    pub(crate) fn read_meta(&self) -> io::Result<Option<Vec<u8>>> {
        let Folder::Files(files) = self else {
            return Ok(None);
        };
        match files.read("meta", MAX_META) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// How an append failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    /// The segment is as it was.
    #[error("{0}")]
    Undone(io::Error),
    /// Part of the bytes may be in the segment: nothing more may be appended to it.
    #[error("{0}")]
    Damaged(io::Error),
}

impl Files {
    fn open(path: &Path, disk: Box<dyn Disk>) -> Result<Files, OpenError> {
        let fault = |source| OpenError::Folder {
            path: path.to_path_buf(),
            source,
        };
        fs::create_dir_all(path).map_err(fault)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let lock = options.open(path.join("lock")).map_err(fault)?;
        lock.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => OpenError::Locked(path.to_path_buf()),
            TryLockError::Error(source) => fault(source),
        })?;
        Ok(Files {
            path: path.to_path_buf(),
            disk,
            _lock: lock,
            open: None,
            length: 0,
        })
    }

    fn list(&self) -> io::Result<Vec<SegmentName>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().to_str().and_then(SegmentName::parse));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create(&mut self, name: SegmentName, header: &[u8], durable: bool) -> io::Result<()> {
        let path = self.path.join(name.file());
        let mut file = self.disk.create(&path)?;
        if let Err(e) = file.append(header) {
            // Best effort: an empty or partial segment is also recognised at the next start.
            self.disk.remove(&path).ok();
            return Err(e);
        }
        if durable {
            self.sync_folder()?;
        }
        self.open = Some(file);
        self.length = header.len() as u64;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), AppendError> {
        let Some(file) = &mut self.open else {
            return Err(AppendError::Damaged(io::ErrorKind::NotFound.into()));
        };
        match file.append(bytes) {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(e) => match file.truncate(self.length) {
                Ok(()) => Err(AppendError::Undone(e)),
                Err(_) => Err(AppendError::Damaged(e)),
            },
        }
    }

    /// What cannot be read is given up, so an error is worth a second try.
    fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let path = self.path.join(name);
        let read = || self.disk.read(&path, limit);
        read().or_else(|_| read())
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.disk.sync_dir(&self.path)
    }
}
