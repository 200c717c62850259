//! Keys that devices' batches defined: the last two of each session, of the last four sessions that defined one.
//!
//! They are rebuilt from the journal, each file of which begins with those of the time. A commit checks against the same
//! rule that a batch finds its key when the journal is read again, and journals it self-contained if not.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use wire::SessionId;
use wire::batch::{Key, KeyId};

use crate::ledger::DeviceRef;

const KEYS: usize = 2;
const SESSIONS: usize = 4;

/// One device's keys, the session that defined one last at the end.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeviceKeys(VecDeque<(SessionId, VecDeque<Arc<Key>>)>);

/// A device's keys in a journal file's first transaction.
#[derive(Clone, PartialEq, Eq, Message)]
struct KeysRecord {
    /// As `Key::encode` writes them, in the order in which they were taken in.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    keys: Vec<Bytes>,
}

impl DeviceKeys {
    pub(crate) fn get(&self, session: SessionId, id: KeyId) -> Option<&Arc<Key>> {
        let (_, keys) = self.0.iter().find(|(s, _)| *s == session)?;
        keys.iter().find(|key| key.id() == id)
    }

    /// Whether a key would be kept: it is not older than those there.
    pub(crate) fn wants(&self, key: &Key) -> bool {
        match self.0.iter().find(|(s, _)| *s == key.session()) {
            Some((_, keys)) => keys.back().is_none_or(|newest| newest.id() < key.id()),
            None => true,
        }
    }

    pub(crate) fn insert(&mut self, key: Arc<Key>) {
        if !self.wants(&key) {
            return;
        }
        let session = key.session();
        let at = self.0.iter().position(|(s, _)| *s == session);
        let mut keys = at
            .and_then(|at| self.0.remove(at))
            .map(|(_, keys)| keys)
            .unwrap_or_default();
        keys.push_back(key);
        if keys.len() > KEYS {
            keys.pop_front();
        }
        self.0.push_back((session, keys));
        if self.0.len() > SESSIONS {
            self.0.pop_front();
        }
    }

    pub(crate) fn forget(&mut self, session: SessionId) {
        self.0.retain(|(s, _)| *s != session);
    }

    /// All of them, in an order in which they can be inserted again.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.0.iter().flat_map(|(_, keys)| keys)
    }

    /// The row of a checkpoint.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let bytes = |key: &Arc<Key>| {
            let mut out = Vec::new();
            key.encode(&mut out);
            out.into()
        };
        let keys = self.iter().map(bytes).collect();
        KeysRecord { keys }.encode_to_vec()
    }

    /// Reads a row of a checkpoint; `None` if it is malformed.
    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let record = KeysRecord::decode(row).ok()?;
        let mut keys = DeviceKeys::default();
        for bytes in record.keys {
            keys.insert(Arc::new(Key::decode(&bytes).ok()?));
        }
        Some(keys)
    }
}

/// Every device's keys.
#[derive(Debug, Default)]
pub(crate) struct Keys(HashMap<DeviceRef, DeviceKeys>);

impl Keys {
    pub(crate) fn of(&self, device: DeviceRef) -> Option<&DeviceKeys> {
        self.0.get(&device)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (DeviceRef, &DeviceKeys)> {
        self.0.iter().map(|(device, keys)| (*device, keys))
    }

    /// Takes in a device as a checkpoint has it.
    pub(crate) fn put(&mut self, device: DeviceRef, keys: DeviceKeys) {
        self.0.insert(device, keys);
    }

    /// Takes in all of others, which are of other devices.
    pub(crate) fn merge(&mut self, others: Keys) {
        self.0.extend(others.0);
    }

    pub(crate) fn insert(&mut self, device: DeviceRef, key: Arc<Key>) {
        self.0.entry(device).or_default().insert(key);
    }

    pub(crate) fn forget(&mut self, device: DeviceRef, session: SessionId) {
        if let Some(keys) = self.0.get_mut(&device) {
            keys.forget(session);
        }
    }

    pub(crate) fn forget_device(&mut self, device: DeviceRef) {
        self.0.remove(&device);
    }
}
