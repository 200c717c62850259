//! Looks a store's folder over while nobody serves it, and changes nothing.
//!
//! The folder is opened as after a crash, on a disk that keeps what is written in memory. That reads the journal and
//! folds the ledger; beside it, every index is held against its copy, every block against the catalog and what is in it,
//! what is sealed against the journal, and each device's ledger against what queries find.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::block::BlockFile;
use crate::config::Config;
use crate::disk::Disk;
use crate::error::{Damage, OpenError};
use crate::index;
use crate::journal::{FileError, JournalFile, Sums, files};
use crate::ledger::DeviceLedger;
use crate::overlay::Overlay;
use crate::ring::Algorithm;
use crate::rings::{Hashrings, RESULTS, folder_of, on_disk};
use crate::store::{Progress, Store};
use crate::tally::Tally;

/// Bytes of redb's cache for a file that is looked over.
const CACHE: usize = 4 << 20;

/// How far a check has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The journal is read.
    Journal(Progress),
    /// Blocks are read: bytes of those that were, and of all.
    Blocks(u64, u64),
    /// Devices are read back: how many were, of how many.
    Devices(usize, usize),
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Journal files.
    pub journal_files: usize,
    /// Partitions.
    pub partitions: usize,
    /// Blocks that the catalogs name.
    pub blocks: usize,
    /// Samples in sound blocks.
    pub block_samples: u64,
    /// Dictionaries.
    pub dictionaries: usize,
    /// Devices of the ledger.
    pub devices: usize,
    /// Samples of devices that queries find.
    pub samples: u64,
    /// Results of rules that queries find.
    pub results: u64,
    /// What is wrong, file by file and device by device.
    pub damage: Vec<Damage>,
    /// What is left of a crash or of damage found earlier, and does no harm.
    pub leftovers: Vec<PathBuf>,
}

/// Looks a folder over.
///
/// # Errors
/// It is no store's folder, another process serves it, or a newer backhaul wrote it.
pub fn check(dir: &Path, see: &mut dyn FnMut(Step)) -> Result<Report, OpenError> {
    let mut look = Look {
        dir,
        disk: Arc::new(Overlay::default()),
        report: Report::default(),
    };
    let store = look.open(see)?;
    look.blocks(&store, see);
    look.dictionaries(&store);
    look.devices(&store, see);
    look.results(&store);
    Ok(look.report)
}

/// Opens a folder for reading alone, as it would be after a start.
pub(crate) fn open_to_read(dir: &Path, see: &mut dyn FnMut(Progress)) -> Result<Store, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(Overlay::default());
    let config = config(dir, disk)?;
    Store::open(dir, config, see)
}

/// A configuration that lets nothing go and makes no partition that is not there.
fn config(dir: &Path, disk: Arc<dyn Disk>) -> Result<Config, OpenError> {
    let journal = dir.join("journal");
    let io = |source| OpenError::Io {
        path: dir.to_owned(),
        source,
    };
    if !journal.is_dir() {
        return Err(OpenError::Config(format!(
            "{} is no store's folder: it has no journal",
            dir.display()
        )));
    }
    // The newest rings that can be read; without any, those of the partitions that are there.
    let mut rings = None;
    for (_, path) in files(&journal).map_err(io)?.into_iter().rev() {
        let tables = JournalFile::open(&disk, &path, CACHE, Sums::Trust).and_then(|file| file.checkpoint());
        let newest = tables.ok().and_then(|checkpoint| {
            let (_, text) = checkpoint.tables.rings.last_key_value()?;
            Hashrings::parse(text, Algorithm::Ketama).ok()
        });
        if newest.is_some() {
            rings = newest;
            break;
        }
    }
    let mut names = on_disk(dir).map_err(io)?;
    names.retain(|name| name != RESULTS);
    Ok(Config {
        disk,
        min_free_disk: 0,
        hashrings: rings.or_else(|| Hashrings::of_names(names)).unwrap_or_default(),
        ..Config::default()
    })
}

struct Look<'a> {
    dir: &'a Path,
    disk: Arc<dyn Disk>,
    report: Report,
}

impl Look<'_> {
    /// Compares the indexes, opens the store, and reports what either found.
    fn open(&mut self, see: &mut dyn FnMut(Step)) -> Result<Store, OpenError> {
        let config = config(self.dir, self.disk.clone())?;
        let io = |source| OpenError::Io {
            path: self.dir.to_owned(),
            source,
        };
        let partitions = on_disk(self.dir).map_err(io)?;
        self.report.partitions = partitions.len();
        self.report.journal_files = files(&self.dir.join("journal")).map_err(io)?.len();
        for name in &partitions {
            let folder = folder_of(name).map_err(|error| OpenError::Config(error.to_string()))?;
            self.index(&self.dir.join(folder));
        }
        self.leftovers().map_err(io)?;
        let store = Store::open(self.dir, config, &mut |step| see(Step::Journal(step)))?;
        self.report.damage.extend(store.damage().iter().cloned());
        if let Some(number) = store.sealed_beyond_journal() {
            let what = format!(
                "a window is sealed up to number {number}, and the journal ends before it: its newest file is missing"
            );
            self.damaged(self.dir.join("journal"), what);
        }
        Ok(store)
    }

    fn damaged(&mut self, path: PathBuf, what: impl Into<String>) {
        self.report.damage.push(Damage {
            path,
            what: what.into(),
        });
    }

    /// Holds the two files of an index against one another. What is wrong with one alone, the start tells.
    fn index(&mut self, dir: &Path) {
        if let Ok(false) = index::are_alike(&*self.disk, dir, CACHE) {
            self.damaged(dir.to_owned(), "index.redb and its copy differ");
        }
    }

    /// Files that the next start removes, and those that an earlier one set aside.
    fn leftovers(&mut self) -> std::io::Result<()> {
        for entry in std::fs::read_dir(self.dir)? {
            let path = entry?.path();
            let here = match path.is_dir() && path.file_name().is_some_and(|name| name != "snapshots") {
                true => std::fs::read_dir(&path)?
                    .map(|entry| entry.map(|entry| entry.path()))
                    .collect::<Result<Vec<_>, _>>()?,
                false => vec![path],
            };
            let is_left = |path: &PathBuf| {
                let extension = path.extension().and_then(|extension| extension.to_str());
                matches!(extension, Some("new" | "damaged"))
            };
            self.report.leftovers.extend(here.into_iter().filter(is_left));
        }
        self.report.leftovers.sort_unstable();
        Ok(())
    }

    fn blocks(&mut self, store: &Store, see: &mut dyn FnMut(Step)) {
        let blocks = store.block_files();
        let total: u64 = blocks.iter().map(|file| file.meta().bytes).sum();
        let mut done = 0;
        for file in &blocks {
            let meta = file.meta();
            let outcome = verify(file, &mut |samples| {
                let part = u128::from(meta.bytes) * u128::from(samples) / u128::from(meta.samples.max(1));
                see(Step::Blocks(done + (part as u64).min(meta.bytes), total));
            });
            match outcome {
                Ok(samples) => self.report.block_samples += samples,
                Err(error) => self.damaged(file.path(), error.to_string()),
            }
            done += meta.bytes;
            see(Step::Blocks(done, total));
        }
        self.report.blocks = blocks.len();
    }

    fn dictionaries(&mut self, store: &Store) {
        match store.check_dictionaries() {
            Ok((sound, bad)) => {
                self.report.dictionaries = sound;
                for what in bad {
                    self.damaged(self.dir.join("dict.redb"), what);
                }
            }
            Err(error) => self.damaged(self.dir.join("dict.redb"), error.to_string()),
        }
    }

    /// The equation of every device.
    fn devices(&mut self, store: &Store, see: &mut dyn FnMut(Step)) {
        let ledger = store.ledger();
        for (at, device) in ledger.iter().enumerate() {
            let read = store.read_back(&device.device);
            self.report.samples += read.samples;
            if let Some(what) = unequal(device, read) {
                self.damaged(self.dir.to_owned(), format!("device {}: {what}", device.device));
            }
            see(Step::Devices(at + 1, ledger.len()));
        }
        self.report.devices = ledger.len();
    }

    /// What was recorded is found, but for what gave way, equal or not, and what is gone with blocks.
    fn results(&mut self, store: &Store) {
        match store.results() {
            Ok((tally, found)) => {
                self.report.results = found;
                if let Some(what) = unequal_results(tally, found) {
                    self.damaged(self.dir.to_owned(), what);
                }
            }
            Err(error) => self.damaged(self.dir.to_owned(), error.to_string()),
        }
    }
}

/// What of the results of rules does not add up.
fn unequal_results(tally: Tally, found: u64) -> Option<String> {
    let removed = tally.same + tally.conflict + tally.retention + tally.damaged;
    (tally.taken != found + removed).then(|| {
        format!(
            "results of rules: {} samples were recorded, and {found} are found and {removed} were removed",
            tally.taken
        )
    })
}

/// Reads a whole block and holds it against its catalog; gives its samples.
fn verify(file: &BlockFile, progress: &mut dyn FnMut(u64)) -> Result<u64, FileError> {
    let found = file.open()?.verify(progress)?;
    let meta = file.meta();
    // Samples that an older block of the window had are not the catalog's once more.
    let owners = found.owners.len() == meta.owners.len()
        && found
            .owners
            .iter()
            .zip(&meta.owners)
            .all(|(found, said)| found.0 == said.0 && found.1 >= said.1);
    match owners && (found.series, found.samples) == (meta.series, meta.samples) {
        true => Ok(found.samples),
        false => Err(FileError::Damaged(format!(
            "it has {} samples of {} series, and the catalog says {} of {}",
            found.samples, found.series, meta.samples, meta.series
        ))),
    }
}

/// What does not add up.
fn unequal(device: &DeviceLedger, read: crate::query::ReadBack) -> Option<String> {
    let dropped: u64 = device.dropped.values().sum();
    let removed: u64 = device.removed.values().sum::<u64>() + read.joined;
    let found = read.samples + removed + device.quarantined;
    if found != device.stored + device.recovered {
        return Some(format!(
            "{} samples are stored and {} recovered, and {} are found, {removed} were removed and {} are in quarantine",
            device.stored, device.recovered, read.samples, device.quarantined
        ));
    }
    if device.generated != device.stored + dropped + device.pending {
        return Some(format!(
            "{} samples were generated, and {} are stored, {dropped} dropped and {} pending",
            device.generated, device.stored, device.pending
        ));
    }
    (read.duplicates > 0).then(|| format!("{} samples are found twice", read.duplicates))
}
