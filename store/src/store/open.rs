//! Opens a folder: lock, dictionaries, the chain of journal files, replay.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};

use super::partitions;
use super::replay::{Begun, Rebuild, replay};
use super::{Progress, Store, Writer};
use crate::config::Config;
use crate::dicts::Dicts;
use crate::error::{Damage, OpenError};
use crate::heads::{HeadLimits, Heads};
use crate::journal::{self, Checkpoint, FileError, Journal, JournalFile, Limits, Sums, Tables};
use crate::ledger::{DeviceRef, Ledger, There};
use crate::metadata::MetadataTable;
use crate::quarantine::Quarantine;
use crate::rings::{self, Hashrings, Rings};

impl Store {
    /// Opens a folder, or makes it, and reads the whole journal; `progress` is told now and then. Files that are damaged
    /// are renamed to `….damaged` and reported by [`Store::damage`]; what devices still have of them, they send again.
    pub fn open(dir: &Path, config: Config, progress: &mut dyn FnMut(Progress)) -> Result<Store, OpenError> {
        let journal_dir = dir.join("journal");
        std::fs::create_dir_all(&journal_dir).map_err(|error| io_error(&journal_dir, error))?;
        // A folder is as lasting as its name in the one above.
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        for above in [Some(dir), parent].into_iter().flatten() {
            config
                .disk
                .sync_dir(above)
                .map_err(|error| io_error(above, error))?;
        }
        let lock = lock(dir)?;
        let mut damage = Vec::new();
        let dict = dir.join("dict.redb");
        let dicts = open_dicts(&dict, &config, &mut damage)?;
        let metadata = MetadataTable::load(&dicts).unwrap_or_else(|error| {
            // Devices tell it again; the dictionaries beside it are worth more.
            let what = format!("metadata: {error}");
            damage.push(Damage { path: dict, what });
            MetadataTable::default()
        });
        remove_unfinished(&config, &journal_dir)?;
        let chain = open_chain(&config, &journal_dir, &mut damage)?;
        let mut lossy = chain.end.is_some() || !damage.is_empty();

        let rings = open_rings(dir, &config.hashrings, &chain, &mut damage)?;
        let heads = Heads::new(rings.clone(), head_limits(&config));
        let (partitions, sealed) = partitions::open(dir, &config, &rings.partitions(), &heads, &mut damage)?;
        let before = damage.len();
        let rebuilt = replay(chain, &config, (&dicts, &heads), &mut damage, progress)?;
        let Rebuild {
            keys,
            mut ledger,
            routed,
            newest,
            next,
            above,
            unnamed,
            begun,
        } = rebuilt;
        let sealed_beyond = Some(sealed).filter(|sealed| *sealed >= next);
        // Numbers of a file that was set aside may be sealed.
        let next = next.max(sealed + 1);
        heads.gate().applied(next - 1);
        dicts.committed(next - 1);
        let from = newest
            .as_ref()
            .map_or(0, |(_, checkpoint, _)| checkpoint.next_device);
        let (newest, tables) = match newest {
            None => (None, Tables::default()),
            Some((file, checkpoint, bytes)) => (file.map(|file| (file, bytes)), checkpoint.tables),
        };
        lossy |= damage.len() > before;
        let quarantine = Quarantine::load(&tables.quarantine);
        let taken_over = balance(&mut ledger, (from, above), &begun, &heads, &quarantine);
        let adopted = unnamed + taken_over;
        if adopted > 0 {
            damage.push(Damage {
                path: journal_dir.clone(),
                what: format!("{adopted} devices are known from their samples in blocks alone"),
            });
        }
        if lossy || adopted > 0 {
            ledger.doubt();
        }
        // Later records do not name devices that the ledger knows, so those need a checkpoint that has them.
        let newest = newest.filter(|_| adopted == 0);
        let limits = Limits {
            file_bytes: config.journal_file_bytes,
            cache: config.cache_bytes,
        };
        let journal = Journal::new(config.disk.clone(), journal_dir, newest, next, limits);
        Ok(Store {
            config,
            dicts,
            metadata,
            rings,
            heads,
            numbers: AtomicU64::new(journal.next()),
            clock: AtomicI64::new(i64::MIN),
            quarantine: RwLock::new(quarantine),
            writer: Mutex::new(Writer {
                journal,
                tables,
                cursors: Vec::new(),
                routed,
            }),
            dir: dir.to_owned(),
            ledger: RwLock::new(ledger),
            keys: RwLock::new(keys),
            sealed_beyond,
            damage,
            partitions: RwLock::new(partitions),
            upkeep: Mutex::default(),
            preparing: Mutex::default(),
            _lock: lock,
        })
    }
}

/// Holds the ledger against heads, blocks and quarantine, of which it may know too little if a file was damaged. Says how
/// many devices it takes over from them, those whose number is not below `from`, the next one of its checkpoint. Numbers below
/// `above` are in use.
fn balance(
    ledger: &mut Ledger,
    (from, above): (DeviceRef, DeviceRef),
    begun: &Begun,
    heads: &Heads,
    quarantine: &Quarantine,
) -> usize {
    let is_lost = |number: DeviceRef| number >= from && !ledger.has_had(number);
    let mut unknown = heads.owners(is_lost);
    let mut quarantined: BTreeMap<DeviceRef, u64> = BTreeMap::new();
    for (_, held) in quarantine.rows() {
        *quarantined.entry(held.device).or_default() += held.rows.samples;
        if is_lost(held.device) {
            unknown.insert(held.device, held.rows.device.clone());
        }
    }
    let adopted = ledger.adopt(unknown);
    ledger.reserve(above.max(heads.above_owners()));
    ledger.reconcile(|number| {
        let taken = heads.tally(number);
        let since = taken.taken_from(begun.first);
        There {
            before: taken.taken.saturating_sub(since),
            since,
            given_before: begun.given.get(&number).copied().unwrap_or(0),
            unread: begun.unread.get(&number).copied().unwrap_or(0),
            quarantined: quarantined.get(&number).copied().unwrap_or(0),
        }
    });
    ledger.leave_out(heads.left_out());
    adopted
}

fn head_limits(config: &Config) -> HeadLimits {
    HeadLimits {
        head_bytes: config.head_bytes,
        late_bytes: config.late_bytes,
        own_rows: config.own_rows,
    }
}

/// The journal as found: older files by first number, and the newest with its checkpoint.
pub(super) struct Chain {
    pub(super) older: Vec<(u64, PathBuf)>,
    pub(super) newest: Option<(JournalFile, Checkpoint)>,
    /// Where the newest one's values end, as a later file was set aside; the newest is not written again then.
    pub(super) end: Option<u64>,
}

impl Chain {
    /// Where each older file's values end: what lies beyond is void.
    pub(super) fn ends(&self) -> Vec<u64> {
        let newest = self.newest.as_ref().map(|(file, _)| file.first());
        let firsts = self.older.iter().map(|(first, _)| *first).skip(1);
        firsts.chain(newest).collect()
    }
}

/// The generations that the journal names, and the rings that are to route; every partition on disk gets a number.
fn open_rings(
    dir: &Path,
    now: &Hashrings,
    chain: &Chain,
    damage: &mut Vec<Damage>,
) -> Result<Arc<Rings>, OpenError> {
    let newest = chain.newest.as_ref();
    let journaled = newest.map(|(_, checkpoint)| checkpoint.tables.rings.clone());
    let (rings, unread) = Rings::new(journaled.unwrap_or_default(), now);
    for (generation, error) in unread {
        damage.push(Damage {
            path: newest.map(|(file, _)| file.path().to_owned()).unwrap_or_default(),
            what: format!(
                "generation {generation} of the hashrings: {error}; its rows go where the rings of now say"
            ),
        });
    }
    for name in rings::on_disk(dir).map_err(|error| io_error(dir, error))? {
        rings.partition(&name);
    }
    Ok(Arc::new(rings))
}

fn open_chain(config: &Config, dir: &Path, damage: &mut Vec<Damage>) -> Result<Chain, OpenError> {
    let mut older = journal::files(dir).map_err(|error| io_error(dir, error))?;
    let mut end = None;
    while let Some((first, path)) = older.pop() {
        let opened =
            JournalFile::open(&config.disk, &path, config.cache_bytes, Sums::Check).and_then(|file| {
                let checkpoint = file.checkpoint()?;
                Ok((file, checkpoint))
            });
        match opened {
            Ok(newest) => {
                let end = end.or(lost_after(dir, newest.0.first())?);
                let newest = Some(newest);
                return Ok(Chain { older, newest, end });
            }
            Err(FileError::Damaged(what)) => damage.push(set_aside(config, &path, &what)?),
            Err(error) => return Err(file_error(&path, error)),
        }
        end = Some(first);
    }
    let end = end.or(lost_after(dir, 0)?);
    Ok(Chain {
        older,
        newest: None,
        end,
    })
}

/// The number of the first file after another that an earlier start set aside. As long as there is no commit, there is
/// none that is newer.
fn lost_after(dir: &Path, newest: u64) -> Result<Option<u64>, OpenError> {
    let lost = journal::set_aside(dir).map_err(|error| io_error(dir, error))?;
    Ok(lost.into_iter().filter(|first| *first > newest).min())
}

fn open_dicts(path: &Path, config: &Config, damage: &mut Vec<Damage>) -> Result<Dicts, OpenError> {
    let open = || {
        Dicts::open(
            &config.disk,
            path.to_owned(),
            config.cache_bytes,
            config.cached_sets,
        )
    };
    match open() {
        Err(FileError::Damaged(what)) => {
            damage.push(set_aside(config, path, &what)?);
            open().map_err(|error| file_error(path, error))
        }
        other => other.map_err(|error| file_error(path, error)),
    }
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| io_error(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(path)),
        Err(TryLockError::Error(error)) => Err(io_error(&path, error)),
    }
}

/// Deletes files that were begun and did not get their checkpoint.
fn remove_unfinished(config: &Config, dir: &Path) -> Result<(), OpenError> {
    for entry in std::fs::read_dir(dir).map_err(|error| io_error(dir, error))? {
        let path = entry.map_err(|error| io_error(dir, error))?.path();
        if path.extension().is_some_and(|extension| extension == "new") {
            config
                .disk
                .remove(&path)
                .map_err(|error| io_error(&path, error))?;
        }
    }
    Ok(())
}

pub(super) fn set_aside(config: &Config, path: &Path, what: &str) -> Result<Damage, OpenError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    let aside = PathBuf::from(aside);
    config
        .disk
        .rename(path, &aside)
        .map_err(|error| io_error(path, error))?;
    Ok(Damage {
        path: aside,
        what: format!("{what}; the file was set aside"),
    })
}

pub(super) fn io_error(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io {
        path: path.to_owned(),
        source,
    }
}

pub(super) fn damaged(path: &Path, what: String) -> OpenError {
    OpenError::Damaged {
        path: path.to_owned(),
        what,
    }
}

pub(super) fn file_error(path: &Path, error: FileError) -> OpenError {
    match error {
        FileError::Newer { found, known } => OpenError::Newer {
            path: path.to_owned(),
            found: u32::try_from(found).unwrap_or(u32::MAX),
            known: u32::try_from(known).unwrap_or(u32::MAX),
        },
        FileError::Damaged(what) => damaged(path, what),
        FileError::Io(source) => io_error(path, source),
    }
}
