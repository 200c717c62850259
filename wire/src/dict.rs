//! Dictionaries: a device's label sets in order, so that a batch names a series by a number.
//!
//! The list only grows. It is named by a hash of the whole list, so both sides can tell whether they mean the same one,
//! and it outlives sessions: a device that starts again with the same series sends nothing. On the channel `dict` it
//! travels whole, or as an addition to a list that the receiver has, in payloads of at most `MAX_MESSAGE` bytes;
//! the receiver computes the hash anew.

mod codec;
mod outline;
#[cfg(test)]
mod tests;
mod texts;

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

use crate::labels::Labels;
use crate::limits::{MAX_DICTIONARY, MAX_LABELS, MAX_NAME, MAX_SERIES, MAX_SET, MAX_VALUE};

pub use codec::{Decoder, DictMessage, decode, encode, outlines};
pub use outline::Outline;

/// Bytes that a list's hasher gets in one go.
const HASHED: usize = 4096;

/// Number of a label set in its dictionary, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesId(u32);

impl SeriesId {
    /// From an index into a dictionary.
    pub const fn new(n: u32) -> Self {
        SeriesId(n)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// As an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// XXH3-128 over the sets of a dictionary in order: per set its count of labels, per label name and value, each after
/// its length; counts and lengths are u32, little-endian.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DictHash([u8; 16]);

impl DictHash {
    /// From the bytes of a message or file.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        DictHash(bytes)
    }

    /// The bytes, big-endian.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// From 16 bytes; `None` for any other number of them.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(DictHash)
    }
}

impl fmt::Display for DictHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DictHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DictHash({self})")
    }
}

/// Why a dictionary cannot be read or extended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DictError {
    /// Of a newer version.
    #[error("dictionary of version {0}; this is version 1")]
    Version(u32),
    /// Not what a dictionary looks like.
    #[error("malformed dictionary: {0}")]
    Malformed(&'static str),
    /// Beyond a limit.
    #[error("dictionary exceeds the limit of {0}")]
    Limit(&'static str),
    /// It extends a list that is not this one.
    #[error("the dictionary extends {wanted}, which is not at hand")]
    Base {
        /// The list that it extends.
        wanted: DictHash,
    },
    /// The extended list is not the one that the message names.
    #[error("the dictionary's hash is {found}, the message says {said}")]
    Hash {
        /// As computed.
        found: DictHash,
        /// As the message says.
        said: DictHash,
    },
}

/// Whether a label set keeps to the limits of a dictionary, and if not, which one it breaks.
pub fn check_set(set: &Labels) -> Result<(), DictError> {
    if set.len() > MAX_LABELS {
        return Err(DictError::Limit("labels of a series"));
    }
    let mut text = 0;
    for (name, value) in set.iter() {
        if name.len() > MAX_NAME {
            return Err(DictError::Limit("bytes of a label's name"));
        }
        if value.len() > MAX_VALUE {
            return Err(DictError::Limit("bytes of a label's value"));
        }
        text += name.len() + value.len() + 2;
    }
    match text > MAX_SET {
        true => Err(DictError::Limit("bytes of a label set")),
        false => Ok(()),
    }
}

/// Bytes of a set's names and values and their separators.
fn text_len(set: &Labels) -> usize {
    set.iter().map(|(name, value)| name.len() + value.len() + 2).sum()
}

/// A list of label sets that only grows.
#[derive(Clone)]
pub struct Dictionary {
    sets: Vec<Labels>,
    text: usize,
    // All sets so far, so that the hash of a growing list costs what is appended.
    hasher: Box<Xxh3>,
}

impl Dictionary {
    /// The empty list.
    pub fn new() -> Self {
        Dictionary {
            sets: Vec::new(),
            text: 0,
            hasher: Box::new(Xxh3::new()),
        }
    }

    /// Adds a set and names it. Fails with `Limit` if the set or the list would exceed one. Whether the set is there
    /// already is not looked at.
    pub fn append(&mut self, set: Labels) -> Result<SeriesId, DictError> {
        check_set(&set)?;
        let id = SeriesId(self.sets.len() as u32);
        self.extend_checked([set])?;
        Ok(id)
    }

    /// Adds sets that keep to the limits. After an error at another than the first the list is of no use.
    fn extend_checked(&mut self, sets: impl IntoIterator<Item = Labels>) -> Result<(), DictError> {
        let mut bytes = Vec::new();
        for set in sets {
            if self.sets.len() >= MAX_SERIES {
                return Err(DictError::Limit("series of a device"));
            }
            let text = self.text + text_len(&set);
            if text > MAX_DICTIONARY {
                return Err(DictError::Limit("bytes of a device's labels"));
            }
            self.text = text;
            put_hashed(&set, &mut bytes);
            self.sets.push(set);
            if bytes.len() >= HASHED {
                self.hasher.update(&bytes);
                bytes.clear();
            }
        }
        self.hasher.update(&bytes);
        Ok(())
    }

    /// How many sets there are.
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// The set of a number.
    pub fn get(&self, id: SeriesId) -> Option<&Labels> {
        self.sets.get(id.index())
    }

    /// All sets, in order.
    pub fn sets(&self) -> &[Labels] {
        &self.sets
    }

    /// The list's name.
    pub fn hash(&self) -> DictHash {
        digest(&self.hasher)
    }

    /// The name of the list's first `len` sets, in O(len); `None` if there are fewer.
    pub fn hash_at(&self, len: usize) -> Option<DictHash> {
        let mut hasher = Xxh3::new();
        let mut scratch = Vec::new();
        for set in self.sets.get(..len)? {
            hash_set(&mut hasher, set, &mut scratch);
        }
        Some(digest(&hasher))
    }
}

impl Default for Dictionary {
    fn default() -> Self {
        Dictionary::new()
    }
}

impl PartialEq for Dictionary {
    fn eq(&self, other: &Self) -> bool {
        self.sets == other.sets
    }
}

impl Eq for Dictionary {}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dictionary({} series, {})", self.len(), self.hash())
    }
}

fn digest(hasher: &Xxh3) -> DictHash {
    DictHash(hasher.digest128().to_be_bytes())
}

fn hash_set(hasher: &mut Xxh3, set: &Labels, bytes: &mut Vec<u8>) {
    bytes.clear();
    put_hashed(set, bytes);
    hasher.update(bytes);
}

/// Appends what is hashed of a set. The hasher gets it in one piece, or with others: its own buffer costs more than this
/// copy for texts as short as labels.
fn put_hashed(set: &Labels, bytes: &mut Vec<u8>) {
    // Limits keep every count and length far below u32::MAX.
    bytes.extend_from_slice(&(set.len() as u32).to_le_bytes());
    for text in set.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
}
