//! Keys: the values that keyed batches and log records are differences from.
//!
//! A key is made by the batch that defines it: of every group its series, and of every series its first value and the
//! mode it was written in. Sender and receiver make the same one, each from what it has: the sender when it encodes the
//! batch, the receiver when it decodes it. Its numbers only rise within a session.
//!
//! A key as bytes (`Key::encode`, for who keeps keys on disk; it never travels): version 1, id and group count as
//! varints, session and boot (8 bytes each, little-endian), the dictionary's hash; then every group: time and offset as
//! signed varints, the series as runs after their count, and for each series, in order, its mode as runs of (mode,
//! length) and its bits XORed with those before.

use std::fmt;
use std::sync::Arc;

use crate::batch::{BatchError, decimal, runs, xor};
use crate::dict::{DictHash, SeriesId};
use crate::limits::{MAX_CELLS, MAX_GROUPS, MAX_SERIES};
use crate::number::{BootId, SessionId};
use crate::varint::{Reader, put, put_signed};

/// Version of a key's bytes.
const VERSION: u8 = 1;

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

    /// Writes it, so that `decode` gives the same.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        put(out, u64::from(self.id.get()));
        put(out, self.groups.len() as u64);
        out.extend_from_slice(&self.session.get().to_le_bytes());
        out.extend_from_slice(&self.boot.get().to_le_bytes());
        out.extend_from_slice(self.dict.as_bytes());
        for group in &self.groups {
            group.encode(out);
        }
    }

    /// Reads what `encode` wrote.
    ///
    /// # Errors
    /// `Malformed`, or `Limit` if it has more groups or series than a batch can.
    pub fn decode(bytes: &[u8]) -> Result<Key, BatchError> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != VERSION {
            return Err(BatchError::Malformed("version of a key"));
        }
        let id = u32::try_from(reader.varint()?).ok().and_then(KeyId::new);
        let count = reader.size()?;
        if count > MAX_GROUPS {
            return Err(BatchError::Limit("groups"));
        }
        let mut key = Key {
            id: id.ok_or(BatchError::Malformed("number of a key"))?,
            session: SessionId::new(fixed(&mut reader)?),
            boot: BootId::new(fixed(&mut reader)?),
            dict: DictHash::from_slice(reader.take(16)?).ok_or(BatchError::Malformed("dictionary hash"))?,
            groups: Vec::with_capacity(count),
        };
        let mut left = MAX_CELLS;
        for _ in 0..count {
            let group = GroupKey::decode(&mut reader, left)?;
            left -= group.series.len();
            key.groups.push(group);
        }
        match reader.is_empty() {
            true => Ok(key),
            false => Err(BatchError::Malformed("a key's end")),
        }
    }
}

fn fixed(reader: &mut Reader<'_>) -> Result<u64, BatchError> {
    let bytes = reader.take(8)?.try_into();
    Ok(u64::from_le_bytes(
        bytes.map_err(|_| BatchError::Malformed("a fixed number"))?,
    ))
}

/// What the rows of one list of series are differences from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupKey {
    pub(crate) series: Arc<[SeriesId]>,
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
    pub fn series(&self) -> &Arc<[SeriesId]> {
        &self.series
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_signed(out, self.time_ms);
        put_signed(out, self.offset_ms);
        let (count, mut column) = runs::encode(self.series.iter().map(|id| u64::from(id.get())));
        put(out, count);
        out.append(&mut column);
        for modes in self.modes.chunk_by(|a, b| a == b) {
            out.push(modes[0]);
            put(out, modes.len() as u64);
        }
        let mut before = 0;
        for bits in &self.bits {
            xor::put(out, before, *bits);
            before = *bits;
        }
    }

    /// Reads a group of at most `most` series.
    fn decode(reader: &mut Reader<'_>, most: usize) -> Result<GroupKey, BatchError> {
        let (time_ms, offset_ms) = (reader.signed()?, reader.signed()?);
        let count = reader.varint()?;
        if count > MAX_SERIES as u64 {
            return Err(BatchError::Limit("series"));
        }
        let runs = runs::decode(reader, count, MAX_SERIES as u64)?;
        // Runs do not overlap and end below `MAX_SERIES`.
        let len = runs.iter().map(|run| run.end - run.start).sum::<u64>() as usize;
        if len > most {
            return Err(BatchError::Limit("series"));
        }
        let ids = runs.into_iter().flatten();
        let mut group = GroupKey {
            series: ids.map(|id| SeriesId::new(id as u32)).collect(),
            bits: Vec::with_capacity(len),
            modes: Vec::with_capacity(len),
            time_ms,
            offset_ms,
        };
        while group.modes.len() < len {
            let (mode, more) = (reader.byte()?, reader.size()?);
            if !decimal::is_mode(mode) || more == 0 || more > len - group.modes.len() {
                return Err(BatchError::Malformed("modes of a key"));
            }
            group.modes.resize(group.modes.len() + more, mode);
        }
        let mut before = 0;
        for _ in 0..len {
            before = xor::next(reader, before)?;
            group.bits.push(before);
        }
        Ok(group)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODES: [u8; 6] = [0, 3, 19, 28, 29, 31];

    fn group() -> impl Strategy<Value = GroupKey> {
        let bits = prop_oneof![any::<u64>(), any::<f64>().prop_map(f64::to_bits), Just(0)];
        let series = proptest::collection::btree_map(0u32..2000, (bits, 0..MODES.len()), 0..60);
        (series, any::<i64>(), any::<i64>()).prop_map(|(series, time_ms, offset_ms)| GroupKey {
            series: series.keys().map(|id| SeriesId::new(*id)).collect(),
            bits: series.values().map(|(bits, _)| *bits).collect(),
            modes: series.values().map(|(_, mode)| MODES[*mode]).collect(),
            time_ms,
            offset_ms,
        })
    }

    fn key() -> impl Strategy<Value = Key> {
        let groups = proptest::collection::vec(group(), 0..5);
        (
            1..=u32::MAX,
            any::<u64>(),
            any::<u64>(),
            any::<[u8; 16]>(),
            groups,
        )
            .prop_map(|(id, session, boot, dict, groups)| Key {
                id: KeyId(id),
                session: SessionId::new(session),
                boot: BootId::new(boot),
                dict: DictHash::from_slice(&dict).unwrap(),
                groups,
            })
    }

    proptest! {
        #[test]
        fn keys_survive_their_bytes(key in key()) {
            let mut bytes = Vec::new();
            key.encode(&mut bytes);
            prop_assert_eq!(Key::decode(&bytes), Ok(key));
        }

        #[test]
        fn cut_or_changed_bytes_are_an_error_or_another_key(key in key(), at: usize, byte: u8, cut: bool) {
            let mut bytes = Vec::new();
            key.encode(&mut bytes);
            let at = at % bytes.len();
            if cut {
                prop_assert!(Key::decode(&bytes[..at]).is_err());
            } else {
                bytes[at] = byte;
                let _ = Key::decode(&bytes);
            }
        }

        #[test]
        fn arbitrary_bytes_are_an_error_or_a_key(mut bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
            bytes[0] = VERSION;
            let _ = Key::decode(&bytes);
        }
    }

    #[test]
    fn what_claims_more_series_than_there_may_be_is_refused() {
        let mut bytes = vec![VERSION, 1, 1];
        bytes.extend_from_slice(&[0; 32 + 2]);
        bytes.extend_from_slice(&[1, 0]);
        put(&mut bytes, u64::from(u32::MAX));
        assert!(Key::decode(&bytes).is_err());
    }
}
