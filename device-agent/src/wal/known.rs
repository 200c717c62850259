//! Which dictionaries the bridge has: those that a batch which it settled used, in its present epoch.

use wire::BridgeEpoch;
use wire::dict::{DictHash, Dictionary};

use crate::wal::meta::DictionaryMeta;

/// Most dictionaries that are remembered, the latest ones.
const MAX: usize = 16;

/// Dictionaries of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) epoch: BridgeEpoch,
    list: Vec<(DictHash, usize)>,
}

impl Known {
    pub(crate) fn new(epoch: BridgeEpoch) -> Known {
        Known {
            epoch,
            list: Vec::new(),
        }
    }

    /// The bridge has a dictionary of this length.
    pub(crate) fn insert(&mut self, hash: DictHash, len: usize) {
        self.list.retain(|&(known, _)| known != hash);
        if self.list.len() >= MAX {
            self.list.remove(0);
        }
        self.list.push((hash, len));
    }

    /// The bridge asks for one that may be an extension of any.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    pub(crate) fn contains(&self, hash: DictHash) -> bool {
        self.list.iter().any(|&(known, _)| known == hash)
    }

    /// The longest beginning of a dictionary that the bridge has.
    pub(crate) fn prefix_of(&self, dictionary: &Dictionary) -> Option<(DictHash, usize)> {
        let within = self.list.iter().filter(|(_, len)| *len <= dictionary.len());
        let prefixes = within.filter(|(hash, len)| dictionary.hash_at(*len) == Some(*hash));
        prefixes.max_by_key(|(_, len)| *len).copied()
    }

    pub(crate) fn to_meta(&self) -> Vec<DictionaryMeta> {
        let entry = |&(hash, len): &(DictHash, usize)| DictionaryMeta {
            hash: hash.as_bytes().to_vec(),
            len: u32::try_from(len).unwrap_or(u32::MAX),
        };
        self.list.iter().map(entry).collect()
    }

    pub(crate) fn from_meta(epoch: u64, list: &[DictionaryMeta]) -> Option<Known> {
        let entry = |m: &DictionaryMeta| Some((DictHash::from_slice(&m.hash)?, m.len as usize));
        (epoch != 0).then(|| Known {
            epoch: BridgeEpoch::new(epoch),
            list: list.iter().filter_map(entry).take(MAX).collect(),
        })
    }
}
