//! Opens a folder: lock, dictionaries, the chain of journal files, replay.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, RwLock};

use super::replay::Replay;
use super::{Progress, Store, Writer};
use crate::config::Config;
use crate::dicts::Dicts;
use crate::error::{Damage, OpenError};
use crate::heads::HeadLimits;
use crate::journal::{self, Checkpoint, FileError, Journal, JournalFile, Limits, Tables};
use crate::quarantine::Quarantine;
use crate::ring::Ring;

impl Store {
    /// Opens a folder, or makes it, and reads the whole journal; `progress` is told now and then. Files that are damaged
    /// are renamed to `….damaged` and reported by [`Store::damage`]; what devices still have of them, they send again.
    pub fn open(dir: &Path, config: Config, progress: &mut dyn FnMut(Progress)) -> Result<Store, OpenError> {
        if config.partitions == 0 || config.partitions > 256 {
            return Err(OpenError::Config("there must be 1 to 256 partitions".into()));
        }
        let ring = Ring::of_partitions(config.partitions, config.algorithm)
            .map_err(|error| OpenError::Config(error.to_string()))?;
        let journal_dir = dir.join("journal");
        std::fs::create_dir_all(&journal_dir).map_err(|error| io_error(&journal_dir, error))?;
        let lock = lock(dir)?;
        let mut damage = Vec::new();
        let dicts = open_dicts(&dir.join("dict.redb"), &config, &mut damage)?;
        remove_unfinished(&config, &journal_dir)?;
        let chain = open_chain(&config, &journal_dir, &mut damage)?;

        let mut replay = Replay::new(ring, head_limits(&config), &dicts);
        let mut tables = Tables::default();
        let mut state = Progress {
            files_total: chain.older.len() + usize::from(chain.newest.is_some()),
            ..Progress::default()
        };
        let ends = chain.ends();
        for ((path, first), end) in chain.older.iter().zip(ends) {
            replay_older(
                &mut replay,
                path,
                (*first, end),
                &config,
                &mut damage,
                &mut state,
                progress,
            )?;
        }
        let mut newest = None;
        if let Some((file, checkpoint)) = chain.newest {
            replay
                .begin_ledger(&checkpoint)
                .map_err(|what| damaged(file.path(), what))?;
            tables = checkpoint.tables;
            replay
                .file(&file, u64::MAX, &mut damage, &mut state, progress)
                .map_err(|error| file_error(file.path(), error))?;
            let (next, bytes) = (replay.next(), replay.bytes_of_file());
            newest = Some((file, bytes, next));
        }
        let next = newest
            .as_ref()
            .map_or(chain.next, |(file, _, next)| (*next).max(file.first()));
        let limits = Limits {
            file_bytes: config.journal_file_bytes,
            cache: config.cache_bytes,
        };
        let journal = Journal::new(
            config.disk.clone(),
            journal_dir,
            newest.map(|(file, bytes, _)| (file, bytes)),
            next,
            limits,
        );
        let parts = replay.finish();
        Ok(Store {
            config,
            dicts,
            heads: parts.heads,
            numbers: AtomicU64::new(journal.next()),
            quarantine: RwLock::new(Quarantine::load(&tables.quarantine)),
            writer: Mutex::new(Writer {
                journal,
                tables,
                cursors: Vec::new(),
            }),
            dir: dir.to_owned(),
            ledger: RwLock::new(parts.ledger),
            keys: RwLock::new(parts.keys),
            damage,
            _lock: lock,
        })
    }
}

fn head_limits(config: &Config) -> HeadLimits {
    HeadLimits {
        head_bytes: usize::MAX,
        late_bytes: usize::MAX,
        own_rows: config.own_rows,
    }
}

/// The journal as found: older files by path and first number, and the newest with its checkpoint.
struct Chain {
    older: Vec<(PathBuf, u64)>,
    newest: Option<(JournalFile, Checkpoint)>,
    /// Above every number that was in use, if there is no newest file.
    next: u64,
}

impl Chain {
    /// Where each older file's values end: what lies beyond is void.
    fn ends(&self) -> Vec<u64> {
        let newest = self.newest.as_ref().map(|(file, _)| file.first());
        let firsts = self.older.iter().map(|(_, first)| *first).skip(1);
        firsts.chain(newest).collect()
    }
}

fn open_chain(config: &Config, dir: &Path, damage: &mut Vec<Damage>) -> Result<Chain, OpenError> {
    let mut files = journal::files(dir).map_err(|error| io_error(dir, error))?;
    let next = files.last().map_or(1, |(first, _)| first + 1);
    while let Some((_, path)) = files.pop() {
        let opened = JournalFile::open(&config.disk, &path, config.cache_bytes).and_then(|file| {
            let checkpoint = file.checkpoint()?;
            Ok((file, checkpoint))
        });
        match opened {
            Ok(newest) => {
                return Ok(Chain {
                    older: files.into_iter().map(|(first, path)| (path, first)).collect(),
                    newest: Some(newest),
                    next,
                });
            }
            Err(FileError::Damaged(what)) => damage.push(set_aside(config, &path, &what)?),
            Err(error) => return Err(file_error(&path, error)),
        }
    }
    Ok(Chain {
        older: Vec::new(),
        newest: None,
        next,
    })
}

fn replay_older(
    replay: &mut Replay<'_>,
    path: &Path,
    (_, end): (u64, u64),
    config: &Config,
    damage: &mut Vec<Damage>,
    state: &mut Progress,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), OpenError> {
    let read = JournalFile::open(&config.disk, path, config.cache_bytes).and_then(|file| {
        replay.begin_file(&file.checkpoint()?);
        replay.file(&file, end, damage, state, progress)
    });
    match read {
        Ok(()) => Ok(()),
        Err(FileError::Damaged(what)) => {
            damage.push(set_aside(config, path, &what)?);
            Ok(())
        }
        Err(error) => Err(file_error(path, error)),
    }
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

fn set_aside(config: &Config, path: &Path, what: &str) -> Result<Damage, OpenError> {
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

fn io_error(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io {
        path: path.to_owned(),
        source,
    }
}

fn damaged(path: &Path, what: String) -> OpenError {
    OpenError::Damaged {
        path: path.to_owned(),
        what,
    }
}

fn file_error(path: &Path, error: FileError) -> OpenError {
    match error {
        FileError::Newer(found) => OpenError::Newer {
            path: path.to_owned(),
            found: u32::try_from(found).unwrap_or(u32::MAX),
            known: 1,
        },
        FileError::Damaged(what) => damaged(path, what),
        FileError::Io(source) => io_error(path, source),
    }
}
