//! Keys: the values that keyed batches and log records are differences from.
//!
//! A key is made by the batch that defines it: of every group its series, and of every series its first value and the
//! mode it was written in. Sender and receiver make the same one, each from what it has: the sender when it encodes the
//! batch, the receiver when it decodes it. Its numbers only rise within a session.

use std::fmt;

use crate::dict::{DictHash, SeriesId};
use crate::number::{BootId, SessionId};

/// The number of a key within its session, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(u32);

impl KeyId {
    /// The first key of a session.
    pub const FIRST: KeyId = KeyId(1);

    /// From the number of a message or file; `None` for 0.
    pub const fn new(n: u32) -> Option<Self> {
        match n {
            0 => None,
            n => Some(KeyId(n)),
        }
    }

    /// The number, never 0.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The key after this one.
    #[must_use]
    pub const fn next(self) -> KeyId {
        KeyId(self.0.saturating_add(1))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What keyed batches of a session are differences from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub(crate) id: KeyId,
    pub(crate) session: SessionId,
    pub(crate) boot: BootId,
    pub(crate) dict: DictHash,
    pub(crate) groups: Vec<GroupKey>,
}

impl Key {
    /// Its number.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The session that it belongs to.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The dictionary of its series, and of keyed batches that name none.
    pub fn dict(&self) -> DictHash {
        self.dict
    }

    /// Its groups, in the order of the batch that defined it.
    pub fn groups(&self) -> &[GroupKey] {
        &self.groups
    }

    /// How many series it has, in all groups.
    pub fn series(&self) -> usize {
        self.groups.iter().map(|group| group.series.len()).sum()
    }
}

/// What the rows of one list of series are differences from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupKey {
    pub(crate) series: Vec<SeriesId>,
    /// Bits of each series' first value; those of 0.0 if it had none.
    pub(crate) bits: Vec<u64>,
    /// The mode each was written in; 0 if there was no value.
    pub(crate) modes: Vec<u8>,
    /// Time of the first row, ms.
    pub(crate) time_ms: i64,
    /// That time minus the monotonic one, ms.
    pub(crate) offset_ms: i64,
}

impl GroupKey {
    /// The series that it has values of.
    pub fn series(&self) -> &[SeriesId] {
        &self.series
    }
}
