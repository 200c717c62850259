//! What one journal commit will hold, and what is owed once it is done.
//!
//! While a group is being committed the next one fills. Keys, dictionaries and rows of a group that is not committed
//! yet count for the decoding of later messages, which go into a later commit or the same one.

use std::collections::HashMap;
use std::sync::Arc;

use store::{BatchEntry, Entry, NewDictionary};
use wire::batch::{Key, KeyId};
use wire::dict::{DictHash, Dictionary};
use wire::message::SessionState;
use wire::{DeviceName, Nonce, SeqSet, SessionId};

use super::lane::LaneKind;

/// Bytes at which a group is committed.
const FULL_BYTES: u64 = 256 << 10;

/// Bytes, and decoded values, beyond which a group takes no more: what it holds in memory is many times its payloads.
const MOST_BYTES: u64 = 16 << 20;
const MOST_VALUES: usize = 8 << 20;

/// Milliseconds after its first entry at which a group is committed.
const FULL_MS: u64 = 1000;

/// Credit to give back when the group is done.
#[derive(Debug)]
pub(crate) struct Finish {
    pub(crate) device: DeviceName,
    pub(crate) nonce: Nonce,
    pub(crate) lane: LaneKind,
    pub(crate) bytes: u64,
}

/// A state that is to be answered when the group is done.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) device: DeviceName,
    pub(crate) nonce: Nonce,
    pub(crate) number: u32,
    pub(crate) sessions: Vec<SessionState>,
    pub(crate) let_go: Vec<SessionId>,
}

/// Entries that wait for a commit, or are in one.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) entries: Vec<Entry>,
    pub(crate) dictionaries: HashMap<(DeviceName, DictHash), NewDictionary>,
    pub(crate) finishes: Vec<Finish>,
    pub(crate) questions: Vec<Question>,
    keys: HashMap<(DeviceName, SessionId, KeyId), Arc<Key>>,
    rows: HashMap<(DeviceName, SessionId), SeqSet>,
    batches: HashMap<DeviceName, u32>,
    bytes: u64,
    values: usize,
    since_ms: Option<u64>,
    urgent: bool,
}

impl Group {
    /// Adds an entry of so many payload bytes, at a monotonic time in ms.
    pub(crate) fn add(&mut self, entry: Entry, bytes: u64, now_ms: u64) {
        self.entries.push(entry);
        self.bytes += bytes;
        self.since_ms.get_or_insert(now_ms);
    }

    /// Adds a batch; a key given with it counts from now on.
    pub(crate) fn add_batch(&mut self, entry: BatchEntry, seqs: &SeqSet, key: Option<Arc<Key>>, now_ms: u64) {
        let session = entry.batch.header.session;
        if let Some(key) = key {
            self.keys.insert((entry.device.clone(), session, key.id()), key);
        }
        self.rows
            .entry((entry.device.clone(), session))
            .or_default()
            .insert_all(seqs);
        *self.batches.entry(entry.device.clone()).or_default() += 1;
        self.values += entry.batch.groups.iter().map(|g| g.values.len()).sum::<usize>();
        let bytes = entry.payload.len() as u64;
        self.add(Entry::Batch(entry), bytes, now_ms);
    }

    /// Adds a dictionary, to be put before the entries.
    pub(crate) fn add_dictionary(&mut self, new: NewDictionary, now_ms: u64) {
        self.since_ms.get_or_insert(now_ms);
        self.dictionaries
            .insert((new.device.clone(), new.dictionary.hash()), new);
    }

    /// Commits as soon as no other commit runs.
    pub(crate) fn hurry(&mut self) {
        self.urgent = true;
    }

    /// When the group is to be committed, monotonic ms; `None` while it is empty.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        let since = self.since_ms?;
        Some(if self.urgent || self.bytes >= FULL_BYTES {
            since
        } else {
            since + FULL_MS
        })
    }

    /// Messages have to wait until the group is on its way.
    pub(crate) fn is_overfull(&self) -> bool {
        self.bytes >= MOST_BYTES || self.values >= MOST_VALUES
    }

    /// The journal is not keeping up.
    pub(crate) fn is_half_full(&self) -> bool {
        self.bytes >= MOST_BYTES / 2 || self.values >= MOST_VALUES / 2
    }

    /// Payload bytes of the entries.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many batches of a device are in the group.
    pub(crate) fn batches(&self, device: &DeviceName) -> u32 {
        self.batches.get(device).copied().unwrap_or(0)
    }

    /// A key that a batch of the group defines.
    pub(crate) fn key(&self, device: &DeviceName, session: SessionId, id: KeyId) -> Option<&Arc<Key>> {
        self.keys.get(&(device.clone(), session, id))
    }

    /// Rows of a session that are in the group.
    pub(crate) fn rows(&self, device: &DeviceName, session: SessionId) -> Option<&SeqSet> {
        self.rows.get(&(device.clone(), session))
    }

    /// A dictionary of the group.
    pub(crate) fn dictionary(&self, device: &DeviceName, hash: DictHash) -> Option<&Arc<Dictionary>> {
        let new = self.dictionaries.get(&(device.clone(), hash))?;
        Some(&new.dictionary)
    }

    /// Takes out the batches that rest on a key or dictionary of a group that failed: the journal would hold rows that
    /// nobody can decode. Their devices send them again.
    pub(crate) fn drop_dependents(&mut self, failed: &Group) {
        self.entries.retain(|entry| match entry {
            Entry::Batch(b) => {
                let session = b.batch.header.session;
                let by_key = b
                    .keyed
                    .is_some_and(|id| failed.key(&b.device, session, id).is_some());
                let own = |hash| self.dictionaries.contains_key(&(b.device.clone(), hash));
                let dict = b.batch.header.dict;
                !(by_key || failed.dictionary(&b.device, dict).is_some() && !own(dict))
            }
            _ => true,
        });
    }
}
