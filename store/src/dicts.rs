//! dict.redb: devices' dictionaries by name and hash, and the ones in memory; also the rows of `metadata`.
//!
//! A dictionary is on disk before any batch that names it is journaled. It is stored as the payloads that carry it on
//! channel `dict`, each after its length (u32, little-endian). A file that saw a failed commit is copied into a new
//! one before the next, so that nothing relies on pages whose write failed.

mod uses;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use uses::Uses;
use wire::DeviceName;
use wire::dict::{self, DictHash, Dictionary};

use crate::disk::{Disk, remove_if_there};
use crate::journal::{FileError, begin, disk_bytes, guard, open_checked, open_database};

const VERSION: u64 = 1;

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const DICTS: Table = TableDefinition::new("dicts");
/// Files of before it had metadata lack this one.
const METADATA: Table = TableDefinition::new("metadata");

/// A dictionary to be made durable.
#[derive(Debug, Clone)]
pub struct NewDictionary {
    /// Whose it is.
    pub device: DeviceName,
    /// The list.
    pub dictionary: Arc<Dictionary>,
    /// The payload of channel `dict` that carried all of it, if one did: it is stored as it came.
    pub payload: Option<Bytes>,
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
    cache: HashMap<(DeviceName, DictHash), (Arc<Dictionary>, u64)>,
    sets: usize,
    max_sets: usize,
    clock: u64,
    uses: Uses,
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
        if let Some((dict, used)) = inner.cache.get_mut(&(device.clone(), hash)) {
            *used = clock;
            return Some(dict.clone());
        }
        if inner.db.is_none() {
            inner.db = self.copy().ok();
        }
        let bytes = guard(|| read(inner.db.as_ref(), &key_of(device, hash))).ok()??;
        let dict = decode(&bytes).filter(|dict| dict.hash() == hash)?;
        let dict = Arc::new(dict);
        inner.keep(device, hash, dict.clone());
        Some(dict)
    }

    /// Makes dictionaries durable in one transaction.
    pub(crate) fn put(&self, dicts: Vec<NewDictionary>) -> Result<(), FileError> {
        let mut known = Vec::with_capacity(dicts.len());
        let mut new = Vec::new();
        for dict in dicts {
            let hash = dict.dictionary.hash();
            let at_hand = self.get(&dict.device, hash);
            if at_hand.is_none() {
                new.push((key_of(&dict.device, hash), Some(dict.encode())));
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
            guard(|| write(&db, DICTS, &new))?;
            inner.db = Some(db);
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
        let rows: Vec<_> = rows
            .iter()
            .map(|(key, value)| (key.clone(), Some(value.clone())))
            .collect();
        // On an error the file is dropped here and copied before it is written again.
        guard(|| write(&db, METADATA, &rows))?;
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
        let rows: Vec<_> = gone
            .iter()
            .map(|(device, hash)| (key_of(device, *hash), None))
            .collect();
        // On an error the file is dropped here and copied before it is written again.
        if let Some(db) = inner.db.take() {
            guard(|| write(&db, DICTS, &rows))?;
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
            let (mut sound, mut bad) = (0, Vec::new());
            for row in table.iter().map_err(FileError::of)? {
                let (key, value) = row.map_err(FileError::of)?;
                let named = of_key(key.value());
                let dict = decode(value.value());
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

/// A row of a table.
type KeyAndValue = (Vec<u8>, Vec<u8>);

/// All rows of a table; none if it is not there.
fn rows(read: &redb::ReadTransaction, table: Table) -> Result<Vec<KeyAndValue>, FileError> {
    let table = match read.open_table(table) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(FileError::of(error)),
    };
    let mut all = Vec::new();
    for row in table.iter().map_err(FileError::of)? {
        let (key, value) = row.map_err(FileError::of)?;
        all.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(all)
}

/// Writes all rows in one transaction.
fn copy(read: &redb::ReadTransaction, to: &Database) -> Result<(), FileError> {
    let dicts = read.open_table(DICTS).map_err(FileError::of)?;
    let txn = begin(to)?;
    {
        let mut table = txn.open_table(DICTS).map_err(FileError::of)?;
        for row in dicts.iter().map_err(FileError::of)? {
            let (key, value) = row.map_err(FileError::of)?;
            table.insert(key.value(), value.value()).map_err(FileError::of)?;
        }
        let mut table = txn.open_table(METADATA).map_err(FileError::of)?;
        for (key, value) in rows(read, METADATA)? {
            table
                .insert(key.as_slice(), value.as_slice())
                .map_err(FileError::of)?;
        }
    }
    txn.commit().map_err(FileError::of)
}

impl Inner {
    fn keep(&mut self, device: &DeviceName, hash: DictHash, dict: Arc<Dictionary>) {
        let sets = dict.len();
        if self
            .cache
            .insert((device.clone(), hash), (dict, self.clock))
            .is_none()
        {
            self.sets += sets;
        }
        if self.sets > self.max_sets && self.cache.len() > 1 {
            self.evict();
        }
    }

    fn forget(&mut self, device: &DeviceName, hash: DictHash) {
        self.uses.forget(device, hash);
        if let Some((dict, _)) = self.cache.remove(&(device.clone(), hash)) {
            self.sets -= dict.len();
        }
    }

    /// Lets the longest unused go until an eighth is free.
    fn evict(&mut self) {
        let mut ages: Vec<(u64, (DeviceName, DictHash))> = self
            .cache
            .iter()
            .map(|(key, (_, used))| (*used, key.clone()))
            .collect();
        ages.sort_unstable();
        ages.pop();
        for (_, key) in ages {
            if self.sets <= self.max_sets / 8 * 7 {
                break;
            }
            if let Some((dict, _)) = self.cache.remove(&key) {
                self.sets -= dict.len();
            }
        }
    }
}

fn open_db(disk: &Arc<dyn Disk>, path: &Path, cache_bytes: usize) -> Result<Database, FileError> {
    with_tables(open_database(disk, path, cache_bytes)?)
}

/// Makes the tables of a new file.
fn with_tables(db: Database) -> Result<Database, FileError> {
    let version = {
        let read = db.begin_read().map_err(FileError::of)?;
        match read.open_table(META) {
            Ok(meta) => meta.get("version").map_err(FileError::of)?.map(|v| v.value()),
            Err(redb::TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(FileError::of(error)),
        }
    };
    match version {
        Some(version) if version > VERSION => Err(FileError::Newer {
            found: version,
            known: VERSION,
        }),
        Some(_) => Ok(db),
        None => {
            let txn = begin(&db)?;
            txn.open_table(META)
                .map_err(FileError::of)?
                .insert("version", VERSION)
                .map_err(FileError::of)?;
            txn.open_table(DICTS).map_err(FileError::of)?;
            txn.commit().map_err(FileError::of)?;
            Ok(db)
        }
    }
}

/// A file gets its name once it is whole, durably.
fn put_in_place(disk: &dyn Disk, new: &Path, path: &Path) -> std::io::Result<()> {
    disk.rename(new, path)?;
    match path.parent() {
        Some(dir) => disk.sync_dir(dir),
        None => Ok(()),
    }
}

fn read(db: Option<&Database>, key: &[u8]) -> Result<Option<Vec<u8>>, FileError> {
    let Some(db) = db else { return Ok(None) };
    let read = db.begin_read().map_err(FileError::of)?;
    let table = read.open_table(DICTS).map_err(FileError::of)?;
    let value = table.get(key).map_err(FileError::of)?;
    Ok(value.map(|v| v.value().to_vec()))
}

/// Writes rows; `None` removes.
fn write(db: &Database, table: Table, rows: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), FileError> {
    let txn = begin(db)?;
    {
        let mut table = txn.open_table(table).map_err(FileError::of)?;
        for (key, value) in rows {
            match value {
                Some(value) => table.insert(key.as_slice(), value.as_slice()).map(drop),
                None => table.remove(key.as_slice()).map(drop),
            }
            .map_err(FileError::of)?;
        }
    }
    txn.commit().map_err(FileError::of)
}

/// All dictionaries there are.
fn keys(db: Option<&Database>) -> Result<Vec<(DeviceName, DictHash)>, FileError> {
    let Some(db) = db else { return Ok(Vec::new()) };
    let read = db.begin_read().map_err(FileError::of)?;
    let table = read.open_table(DICTS).map_err(FileError::of)?;
    let mut all = Vec::new();
    for row in table.iter().map_err(FileError::of)? {
        let (key, _) = row.map_err(FileError::of)?;
        all.extend(of_key(key.value()));
    }
    Ok(all)
}

/// What a key stands for; `None` if it is none.
fn of_key(key: &[u8]) -> Option<(DeviceName, DictHash)> {
    let at = key.iter().position(|byte| *byte == 0)?;
    let name = std::str::from_utf8(&key[..at]).ok()?;
    Some((name.parse().ok()?, DictHash::from_slice(&key[at + 1..])?))
}

/// `<tenant>.<device>`, NUL, hash.
fn key_of(device: &DeviceName, hash: DictHash) -> Vec<u8> {
    let mut key = device.to_string().into_bytes();
    key.push(0);
    key.extend_from_slice(hash.as_bytes());
    key
}

impl NewDictionary {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match &self.payload {
            Some(payload) => put_payload(&mut out, payload),
            None => dict::encode(&self.dictionary, None)
                .iter()
                .for_each(|payload| put_payload(&mut out, payload)),
        }
        out
    }
}

fn put_payload(out: &mut Vec<u8>, payload: &[u8]) {
    // A payload is at most 64 KiB.
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(payload);
}

fn decode(mut bytes: &[u8]) -> Option<Dictionary> {
    let mut dict = Dictionary::new();
    while !bytes.is_empty() {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (payload, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        dict = dict::decode(payload).ok()?.apply(&dict).ok()?;
        bytes = rest;
    }
    Some(dict)
}
