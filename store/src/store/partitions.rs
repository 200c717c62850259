//! The partitions' folders: index and blocks, opened at start and changed by maintenance.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wire::Tenant;

use super::open::{file_error, io_error, set_aside};
use super::{Store, read, write};
use crate::block::Blocks;
use crate::config::Config;
use crate::disk::remove_if_there;
use crate::error::{Damage, OpenError};
use crate::heads::Heads;
use crate::index::{Change, Contents, Index};
use crate::journal::FileError;
use crate::rings::folder_of;

/// Bytes of redb's caches for an index that is written.
const INDEX_CACHE: usize = 2 << 20;

/// Blocks of a partition that stay open.
const OPEN_BLOCKS: usize = 64;

/// One partition on disk.
#[derive(Debug)]
pub(super) struct PartitionDisk {
    pub(super) dir: PathBuf,
    index: Index,
    next_gen: u64,
    /// Blocks that a failed change may name; they go once a later one is durable.
    orphans: Vec<PathBuf>,
    /// Series that were taken out of the head and are still in the index.
    dropped: Vec<(Tenant, u32)>,
}

impl PartitionDisk {
    /// The gen of the next block.
    pub(super) fn take_gen(&mut self) -> u64 {
        self.next_gen += 1;
        self.next_gen - 1
    }

    /// Series to be dropped from the index with its next change.
    pub(super) fn drop_series(&mut self, series: Vec<(Tenant, u32)>) {
        self.dropped.extend(series);
    }

    pub(super) fn has_dropped(&self) -> bool {
        !self.dropped.is_empty()
    }

    /// Copies the index into a folder.
    pub(super) fn copy_index(&self, to: &Path) -> Result<(), FileError> {
        self.index.copy_to(to)
    }

    /// Makes a change durable. If that fails the blocks that it adds are removed after a later one.
    pub(super) fn commit(&mut self, config: &Config, mut change: Change) -> Result<(), FileError> {
        change.next_gen = self.next_gen;
        change.dropped_series = std::mem::take(&mut self.dropped);
        if let Err(error) = self.index.commit(&change) {
            self.dropped = change.dropped_series;
            self.orphans
                .extend(change.add.iter().map(|meta| self.dir.join(&meta.file)));
            return Err(error);
        }
        // What cannot be removed is no catalog's and goes at the next start.
        for path in self.orphans.drain(..) {
            if let Err(error) = remove_if_there(&*config.disk, &path) {
                tracing::warn!(file = %path.display(), %error, "a block that was not taken is not removed");
            }
        }
        Ok(())
    }
}

/// A partition that several may ask for.
pub(super) type Shared = Arc<Mutex<PartitionDisk>>;

/// Opens every partition, by number, and loads the heads with what they hold. Also gives the highest number that is
/// sealed.
pub(super) fn open(
    dir: &Path,
    config: &Config,
    names: &[String],
    heads: &Heads,
    damage: &mut Vec<Damage>,
) -> Result<(Vec<Shared>, u64), OpenError> {
    let mut partitions = Vec::new();
    let mut sealed = 0;
    for (number, name) in names.iter().enumerate() {
        let dir = dir.join(folder(name)?);
        let (partition, highest) = open_one(number, dir, config, heads, damage)?;
        sealed = sealed.max(highest);
        partitions.push(Arc::new(Mutex::new(partition)));
    }
    Ok((partitions, sealed))
}

impl Store {
    /// The partitions that are open, by number.
    pub(super) fn partitions(&self) -> Vec<Shared> {
        read(&self.partitions).clone()
    }

    /// Opens partitions that the rings brought since. What they hold goes into the heads, which may have rows of them.
    pub(super) fn open_new_partitions(&self, damage: &mut Vec<Damage>) -> Result<(), OpenError> {
        let names = self.rings.partitions();
        for (number, name) in names.iter().enumerate().skip(self.partitions().len()) {
            let dir = self.dir.join(folder(name)?);
            let (partition, _) = open_one(number, dir, &self.config, &self.heads, damage)?;
            write(&self.partitions).push(Arc::new(Mutex::new(partition)));
        }
        Ok(())
    }
}

fn folder(name: &str) -> Result<String, OpenError> {
    folder_of(name).map_err(|error| OpenError::Config(error.to_string()))
}

fn open_one(
    number: usize,
    dir: PathBuf,
    config: &Config,
    heads: &Heads,
    damage: &mut Vec<Damage>,
) -> Result<(PartitionDisk, u64), OpenError> {
    std::fs::create_dir_all(&dir).map_err(|error| io_error(&dir, error))?;
    let opened = Index::open(&config.disk, &dir, INDEX_CACHE);
    let (index, contents, found) = opened.map_err(|error| file_error(&dir, error))?;
    // Without an index nobody can tell what is in blocks, and they are not to be deleted for that.
    let lost = !found.is_empty() && contents.blocks.is_empty();
    damage.extend(found);
    clean(&dir, config, &contents, lost, damage)?;
    let sealed = contents.sealed.iter().map(|(_, _, sealed)| sealed.number).max();
    let next_gen = contents.next_gen;
    let blocks = Blocks::new(config.disk.clone(), &dir, OPEN_BLOCKS);
    heads.load(number, contents, blocks);
    for file in heads.blocks(number) {
        if !file.path().exists() {
            file.doubt();
        }
    }
    let partition = PartitionDisk {
        dir,
        index,
        next_gen: next_gen.max(1),
        orphans: Vec::new(),
        dropped: Vec::new(),
    };
    Ok((partition, sealed.unwrap_or(0)))
}

/// Deletes files that were not finished and blocks that no catalog names, or sets the latter aside if the catalog is lost.
fn clean(
    dir: &Path,
    config: &Config,
    contents: &Contents,
    lost: bool,
    damage: &mut Vec<Damage>,
) -> Result<(), OpenError> {
    let known: std::collections::HashSet<&str> = contents.blocks.iter().map(|meta| &*meta.file).collect();
    for entry in std::fs::read_dir(dir).map_err(|error| io_error(dir, error))? {
        let path = entry.map_err(|error| io_error(dir, error))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let unfinished = name.ends_with(".new");
        let unknown = name.ends_with(".redb") && !name.starts_with("index.") && !known.contains(name);
        if unknown && lost {
            damage.push(set_aside(config, &path, "a block whose index is lost")?);
        } else if unfinished || unknown {
            config
                .disk
                .remove(&path)
                .map_err(|error| io_error(&path, error))?;
        }
    }
    Ok(())
}

pub(super) fn lock(partition: &Mutex<PartitionDisk>) -> MutexGuard<'_, PartitionDisk> {
    // Nothing that holds it leaves it half changed.
    partition.lock().unwrap_or_else(PoisonError::into_inner)
}
