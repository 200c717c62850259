//! dict.redb: devices' dictionaries by name and hash, and the ones in memory; also the rows of `metadata`.
//!
//! A dictionary is on disk before any batch that names it is journaled. It is stored as the payloads that carry it on
//! channel `dict` (`row`), the texts that devices share apart and once (`texts`). A file that saw a failed commit is copied
//! into a new one before the next, so that nothing relies on pages whose write failed.

mod file;
mod row;
#[cfg(test)]
mod tests;
mod texts;
mod uses;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use file::{
    DICTS, KeyAndValue, METADATA, copy, key_of, keys, of_key, open_db, put_in_place, read, remove_dicts,
    rows, with_tables, write_dicts, write_metadata,
};
use redb::{Database, ReadableDatabase, ReadableTable};
use texts::{Recent, TEXTS};
use uses::Uses;
use wire::DeviceName;
use wire::dict::{self, Decoder, DictHash, Dictionary, Outline};

use crate::disk::{Disk, remove_if_there};
use crate::journal::{FileError, disk_bytes, guard, open_checked};

/// A dictionary to be made durable.
#[derive(Debug, Clone)]
pub struct NewDictionary {
    /// Whose it is.
    pub device: DeviceName,
    /// The list.
    pub dictionary: Arc<Dictionary>,
    /// The payload of channel `dict` that carried all of it, if one did.
    pub outline: Option<Outline>,
}

/// Dictionaries on disk, some of them in memory.
#[derive(Debug)]
pub(crate) struct Dicts {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    cache_bytes: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// `None` after a failed commit.
    db: Option<Database>,
    cache: HashMap<(DeviceName, DictHash), Cached>,
    /// Sets of the dictionaries that are at hand.
    sets: usize,
    max_sets: usize,
    clock: u64,
    uses: Uses,
    texts: Recent,
    decoder: Decoder,
}

/// A dictionary that was used since the start. Each batch asks how long it is, so that is kept when its sets are not.
#[derive(Debug)]
struct Cached {
    sets: usize,
    dict: Option<Arc<Dictionary>>,
    used: u64,
}

impl Dicts {
    /// Opens the file, or makes it.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        path: PathBuf,
        cache_bytes: usize,
        max_sets: usize,
    ) -> Result<Self, FileError> {
        let new = path.with_extension("redb.new");
        remove_if_there(&**disk, &new)?;
        let db = match path.try_exists()? {
            true => guard(|| with_tables(open_checked(disk, &path, cache_bytes)?))?,
            false => {
                let db = guard(|| open_db(disk, &new, cache_bytes))?;
                put_in_place(&**disk, &new, &path)?;
                db
            }
        };
        let inner = Inner {
            db: Some(db),
            cache: HashMap::new(),
            sets: 0,
            max_sets,
            clock: 0,
            uses: Uses::default(),
            texts: Recent::default(),
            decoder: Decoder::default(),
        };
        Ok(Dicts {
            disk: disk.clone(),
            path,
            cache_bytes,
            inner: Mutex::new(inner),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that holds it leaves it half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The dictionary of a hash, from memory or disk; `None` if it was never put or cannot be read.
    pub(crate) fn get(&self, device: &DeviceName, hash: DictHash) -> Option<Arc<Dictionary>> {
        let mut inner = self.lock();
        inner.clock += 1;
        let clock = inner.clock;
        if let Some(cached) = inner.cache.get_mut(&(device.clone(), hash))
            && let Some(dict) = &cached.dict
        {
            cached.used = clock;
            return Some(dict.clone());
        }
        if inner.db.is_none() {
            inner.db = self.copy().ok();
        }
        let Inner { db, decoder, .. } = &mut *inner;
        let found = guard(|| read(db.as_ref(), decoder, &key_of(device, hash))).ok()??;
        let dict = Arc::new(found.filter(|dict| dict.hash() == hash)?);
        inner.keep(device, hash, dict.clone());
        Some(dict)
    }

    /// How many label sets the dictionary of a hash has; `None` if it was never put or cannot be read.
    pub(crate) fn sets(&self, device: &DeviceName, hash: DictHash) -> Option<usize> {
        let cached = self.lock().cache.get(&(device.clone(), hash)).map(|c| c.sets);
        cached.or_else(|| Some(self.get(device, hash)?.len()))
    }

    /// Makes dictionaries durable in one transaction.
    pub(crate) fn put(&self, dicts: Vec<NewDictionary>) -> Result<(), FileError> {
        let mut known = Vec::with_capacity(dicts.len());
        let mut new = Vec::new();
        for dict in dicts {
            let hash = dict.dictionary.hash();
            let at_hand = self.get(&dict.device, hash);
            if at_hand.is_none() {
                let outlines = match dict.outline {
                    Some(outline) => vec![outline],
                    None => dict::outlines(&dict.dictionary),
                };
                new.push((key_of(&dict.device, hash), outlines));
            }
            known.push((dict.device, hash, at_hand.unwrap_or(dict.dictionary)));
        }
        let mut inner = self.lock();
        if !new.is_empty() {
            let db = match inner.db.take() {
                Some(db) => db,
                None => self.copy()?,
            };
            // On an error the file is dropped here and copied before it is written again.
            let mut texts = inner.texts.clone();
            guard(|| write_dicts(&db, new, &mut texts))?;
            inner.db = Some(db);
            inner.texts = texts;
        }
        inner.clock += 1;
        for (device, hash, dict) in &known {
            inner.uses.note_latest(device, *hash);
            inner.keep(device, *hash, dict.clone());
        }
        Ok(())
    }

    /// All rows of the metadata, key and value.
    pub(crate) fn metadata(&self) -> Result<Vec<KeyAndValue>, FileError> {
        let inner = self.lock();
        let Some(db) = &inner.db else {
            return Ok(Vec::new());
        };
        guard(|| rows(&db.begin_read().map_err(FileError::of)?, METADATA))
    }

    /// Makes rows of the metadata durable in one transaction.
    pub(crate) fn put_metadata(&self, rows: &[KeyAndValue]) -> Result<(), FileError> {
        let mut inner = self.lock();
        let db = match inner.db.take() {
            Some(db) => db,
            None => self.copy()?,
        };
        // On an error the file is dropped here and copied before it is written again.
        guard(|| write_metadata(&db, rows))?;
        inner.db = Some(db);
        Ok(())
    }

    /// Notes that a record of the next commit names a dictionary, so that it stays; false if it is not there.
    pub(crate) fn claim(&self, device: &DeviceName, hash: DictHash) -> bool {
        if self.lock().uses.claim(device, hash) {
            return true;
        }
        // It may be on disk from before.
        let there = self.get(device, hash).is_some();
        if there {
            self.lock().uses.note_latest(device, hash);
        }
        there
    }

    /// Notes that a record of a number names a dictionary.
    pub(crate) fn note_use(&self, device: &DeviceName, hash: DictHash, number: u64) {
        self.lock().uses.note(device, hash, number);
    }

    /// Says which number a commit has had.
    pub(crate) fn committed(&self, number: u64) {
        self.lock().uses.latest = number;
    }

    /// A device's dictionaries need not be kept for it any more; the journal may name them.
    pub(crate) fn forget_device(&self, device: &DeviceName) {
        self.lock().uses.forget_device(device);
    }

    /// Removes dictionaries that no record from `oldest` on names, but not those of the quarantine, and of a device that
    /// is not forgotten not the one that was used last. Says how many.
    pub(crate) fn sweep(
        &self,
        oldest: u64,
        quarantined: &HashSet<(DeviceName, DictHash)>,
    ) -> Result<usize, FileError> {
        let mut inner = self.lock();
        if inner.db.is_none() {
            inner.db = Some(self.copy()?);
        }
        if !inner.uses.scanned {
            let all = guard(|| keys(inner.db.as_ref()))?;
            inner.uses.scan(all);
        }
        let mut gone = inner.uses.unused(oldest);
        gone.retain(|dict| !quarantined.contains(dict));
        if gone.is_empty() {
            return Ok(0);
        }
        // On an error the file is dropped here and copied before it is written again.
        if let Some(db) = inner.db.take() {
            inner.texts = Recent::default();
            guard(|| remove_dicts(&db, &gone))?;
            inner.db = Some(db);
        }
        for (device, hash) in &gone {
            inner.forget(device, *hash);
        }
        Ok(gone.len())
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        disk_bytes(&self.path)
    }

    /// Copies all rows into a new file.
    pub(crate) fn copy_to(&self, to: &Path) -> Result<(), FileError> {
        let read = {
            let inner = self.lock();
            match &inner.db {
                Some(db) => guard(|| db.begin_read().map_err(FileError::of))?,
                None => guard(|| {
                    let db = open_db(&self.disk, &self.path, self.cache_bytes)?;
                    db.begin_read().map_err(FileError::of)
                })?,
            }
        };
        guard(|| copy(&read, &open_db(&self.disk, to, self.cache_bytes)?))
    }

    /// How many dictionaries can be read, and which cannot.
    pub(crate) fn check(&self) -> Result<(usize, Vec<String>), FileError> {
        let read = {
            let inner = self.lock();
            let Some(db) = &inner.db else {
                return Err(FileError::Damaged("it could not be written".into()));
            };
            guard(|| db.begin_read().map_err(FileError::of))?
        };
        guard(|| {
            let table = read.open_table(DICTS).map_err(FileError::of)?;
            let texts = read.open_table(TEXTS).map_err(FileError::of)?;
            let mut decoder = Decoder::default();
            let (mut sound, mut bad) = (0, Vec::new());
            for row in table.iter().map_err(FileError::of)? {
                let (key, value) = row.map_err(FileError::of)?;
                let named = of_key(key.value());
                let dict = row::decode(&mut decoder, value.value(), |key| texts::get(&texts, key));
                match (named, dict) {
                    (Some((_, hash)), Some(dict)) if dict.hash() == hash => sound += 1,
                    (Some((device, hash)), _) => {
                        bad.push(format!("the dictionary {hash} of {device} is malformed"));
                    }
                    (None, _) => bad.push("a row's key is malformed".to_owned()),
                }
            }
            Ok((sound, bad))
        })
    }

    fn copy(&self) -> Result<Database, FileError> {
        let new = self.path.with_extension("redb.new");
        remove_if_there(&*self.disk, &new)?;
        let db = guard(|| {
            let old = open_db(&self.disk, &self.path, self.cache_bytes)?;
            let db = open_db(&self.disk, &new, self.cache_bytes)?;
            let read = old.begin_read().map_err(FileError::of)?;
            copy(&read, &db)?;
            Ok(db)
        })?;
        put_in_place(&*self.disk, &new, &self.path)?;
        Ok(db)
    }
}

impl Inner {
    fn keep(&mut self, device: &DeviceName, hash: DictHash, dict: Arc<Dictionary>) {
        let sets = dict.len();
        let cached = Cached {
            sets,
            dict: Some(dict),
            used: self.clock,
        };
        let before = self.cache.insert((device.clone(), hash), cached);
        if before.is_none_or(|before| before.dict.is_none()) {
            self.sets += sets;
        }
        if self.sets > self.max_sets {
            self.evict();
        }
    }

    fn forget(&mut self, device: &DeviceName, hash: DictHash) {
        self.uses.forget(device, hash);
        let cached = self.cache.remove(&(device.clone(), hash));
        if let Some(cached) = cached.filter(|cached| cached.dict.is_some()) {
            self.sets -= cached.sets;
        }
    }

    /// Lets the sets of the longest unused go until an eighth is free, but not those of the one used last.
    fn evict(&mut self) {
        let at_hand = self.cache.values_mut().filter(|cached| cached.dict.is_some());
        let mut at_hand: Vec<&mut Cached> = at_hand.collect();
        at_hand.sort_unstable_by_key(|cached| cached.used);
        at_hand.pop();
        for cached in at_hand {
            if self.sets <= self.max_sets / 8 * 7 {
                break;
            }
            cached.dict = None;
            self.sets -= cached.sets;
        }
    }
}
