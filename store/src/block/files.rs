//! The block files of a partition: which are open, and which go when nobody reads them any more.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Block, BlockMeta, damaged};
use crate::disk::{Disk, remove_if_there};
use crate::journal::FileError;

/// The folder of a partition; clones share the open files.
#[derive(Debug, Clone)]
pub(crate) struct Blocks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    max_open: usize,
    /// Open blocks by their gen, the longest unused first.
    open: Mutex<Vec<(u64, Arc<Block>)>>,
}

/// A block that the catalog has, or had while somebody reads it.
#[derive(Debug)]
pub(crate) struct BlockFile {
    meta: BlockMeta,
    shared: Arc<Shared>,
    removed: AtomicBool,
    doubted: AtomicBool,
}

impl Blocks {
    /// The blocks in a folder, of which at most `max_open` stay open.
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path, max_open: usize) -> Self {
        Blocks(Arc::new(Shared {
            disk,
            dir: dir.to_owned(),
            max_open: max_open.max(1),
            open: Mutex::default(),
        }))
    }

    /// A block of the catalog.
    pub(crate) fn file(&self, meta: BlockMeta) -> Arc<BlockFile> {
        Arc::new(BlockFile {
            meta,
            shared: self.0.clone(),
            removed: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
        })
    }
}

impl Shared {
    /// Takes a block out of those that are open.
    fn take(&self, generation: u64) -> Option<Arc<Block>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let at = open.iter().position(|(known, _)| *known == generation)?;
        Some(open.remove(at).1)
    }

    fn keep(&self, generation: u64, block: Arc<Block>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(known, _)| *known != generation);
        if open.len() >= self.max_open {
            open.remove(0);
        }
        open.push((generation, block));
    }
}

impl BlockFile {
    /// What the catalog says of it.
    pub(crate) fn meta(&self) -> &BlockMeta {
        &self.meta
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.shared.dir.join(&self.meta.file)
    }

    /// Opens it, if it is not open.
    pub(crate) fn open(&self) -> Result<Arc<Block>, FileError> {
        let block = match self.shared.take(self.meta.generation) {
            Some(block) => block,
            None => self.open_anew()?,
        };
        self.shared.keep(self.meta.generation, block.clone());
        Ok(block)
    }

    fn open_anew(&self) -> Result<Arc<Block>, FileError> {
        let block = Block::open(&*self.shared.disk, &self.path())?;
        match block.is(&self.meta) {
            true => Ok(Arc::new(block)),
            false => Err(damaged("it is not the block that the index means")),
        }
    }

    /// Somebody found it missing or damaged: maintenance is to look.
    pub(crate) fn doubt(&self) {
        self.doubted.store(true, Ordering::Release);
    }

    /// Whether somebody did.
    pub(crate) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Acquire)
    }

    /// It was looked at and is whole.
    pub(crate) fn clear(&self) {
        self.doubted.store(false, Ordering::Release);
    }

    /// Opens it anew, so that nothing of an earlier look counts, and reads all of it.
    pub(crate) fn verify(&self) -> Result<(), FileError> {
        drop(self.shared.take(self.meta.generation));
        self.open()?.verify(&mut |_| {}).map(drop)
    }

    /// Lets the file go when its last reader does: after the catalog has let it go, durably.
    pub(crate) fn remove(&self) {
        self.removed.store(true, Ordering::Release);
    }
}

impl Drop for BlockFile {
    fn drop(&mut self) {
        if self.removed.load(Ordering::Acquire) {
            self.shared.take(self.meta.generation);
            if let Err(error) = remove_if_there(&*self.shared.disk, &self.path()) {
                // No catalog names it, so the next start tries again.
                tracing::warn!(file = %self.path().display(), %error, "a block is not removed");
            }
        }
    }
}
