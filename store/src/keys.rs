//! Keys that devices' batches defined: the last two of each session, of the last four sessions that defined one.
//!
//! They are rebuilt from the journal. A commit checks against the same rule that a batch finds its key when the journal
//! is read again, and journals it self-contained if not.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use wire::batch::{Key, KeyId};
use wire::{DeviceName, SessionId};

const KEYS: usize = 2;
const SESSIONS: usize = 4;

/// One device's keys, the session that defined one last at the end.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeviceKeys(VecDeque<(SessionId, VecDeque<Arc<Key>>)>);

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
}

/// Every device's keys.
#[derive(Debug, Default)]
pub(crate) struct Keys(HashMap<DeviceName, DeviceKeys>);

impl Keys {
    pub(crate) fn of(&self, device: &DeviceName) -> Option<&DeviceKeys> {
        self.0.get(device)
    }

    pub(crate) fn insert(&mut self, device: &DeviceName, key: Arc<Key>) {
        match self.0.get_mut(device) {
            Some(keys) => keys.insert(key),
            None => self.0.entry(device.clone()).or_default().insert(key),
        }
    }

    pub(crate) fn forget(&mut self, device: &DeviceName, session: SessionId) {
        if let Some(keys) = self.0.get_mut(device) {
            keys.forget(session);
        }
    }

    pub(crate) fn forget_device(&mut self, device: &DeviceName) {
        self.0.remove(device);
    }
}
