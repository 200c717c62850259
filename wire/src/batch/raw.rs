//! A received batch before its columns are read.

use crate::batch::decode::{self, Budget};
use crate::batch::key::{Key, KeyId};
use crate::batch::{Batch, BatchError, Header, stamps};
use crate::dict::DictHash;
use crate::limits::{MAX_BATCH_ROWS, MAX_BODY, MAX_GROUPS, MAX_NUMBER, MAX_ROWS};
use crate::message::{self, BucketSpan, ExemplarCell, HistogramCell, Metadata, Pair};
use crate::number::{BootId, Seq, SessionId};
use crate::payload::{self, PayloadError};
use crate::seqs::SeqSet;
use crate::shape::{self, Shape, ShapeError};
use crate::varint::{Reader, Short};

const HISTOGRAM: &[Shape] = &[
    Shape::message::<BucketSpan>(9, &[]),
    Shape::numbers(10),
    Shape::numbers(11),
    Shape::message::<BucketSpan>(12, &[]),
    Shape::numbers(13),
    Shape::numbers(14),
    Shape::numbers(16),
];

/// What prost allocates for in a group.
pub(crate) const GROUP: &[Shape] = &[
    Shape::message::<HistogramCell>(11, &[Shape::message::<message::Histogram>(3, HISTOGRAM)]),
    Shape::message::<ExemplarCell>(12, &[Shape::message::<Pair>(3, &[])]),
    Shape::message::<Metadata>(13, &[]),
];

const BATCH: &[Shape] = &[Shape::message::<message::Group>(9, GROUP)];

/// What can be told of a batch of a newer version: its session and the seqs of its rows, which stand in the same fields
/// in every version, so that they can be acked as held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newer {
    /// The batch's version.
    pub version: u32,
    /// Its session.
    pub session: SessionId,
    /// The seqs of its rows; empty if they could not be read.
    pub seqs: SeqSet,
}

/// A batch and the key that it defines.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The batch.
    pub batch: Batch,
    /// The key that it defines.
    pub key: Option<Key>,
}

/// A batch whose columns are not read yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Raw {
    message: message::Batch,
    seqs: SeqSet,
    dict: Option<DictHash>,
}

/// Opens a payload of channels `batch` and `backlog` as far as its session and seqs. What fails here cannot be acked at
/// all, except a `Version` that tells them; what fails in `Raw::decode` can be refused by its seqs.
pub fn peek(payload: &[u8]) -> Result<Raw, BatchError> {
    let body: bytes::Bytes = payload::open(payload, MAX_BODY)?.into_owned().into();
    let message: message::Batch = match shape::decode(body.clone(), BATCH) {
        Err(ShapeError::Version(version)) => return Err(newer(version, body)),
        other => other?,
    };
    let dict = match message.dict.is_empty() {
        true => None,
        false => Some(DictHash::from_slice(&message.dict).ok_or(BatchError::Malformed("dictionary hash"))?),
    };
    let seqs = seqs_of(&message)?;
    match message.key {
        0 if dict.is_none() => Err(BatchError::Malformed("neither dictionary nor key")),
        key if key > 0 && message.defines > 0 => Err(BatchError::Malformed("a keyed batch defines a key")),
        _ if message.total > MAX_NUMBER => Err(BatchError::Limit("sample total")),
        _ => Ok(Raw { message, seqs, dict }),
    }
}

fn newer(version: u32, body: bytes::Bytes) -> BatchError {
    let message: message::Batch = match shape::decode_unversioned(body, BATCH) {
        Ok(message) => message,
        Err(error) => return error.into(),
    };
    BatchError::Version(Newer {
        version,
        session: SessionId::new(message.session),
        seqs: seqs_of(&message).unwrap_or_default(),
    })
}

fn seqs_of(message: &message::Batch) -> Result<SeqSet, BatchError> {
    if message.groups.len() > MAX_GROUPS {
        return Err(BatchError::Limit("groups"));
    }
    let mut left = MAX_BATCH_ROWS;
    let mut all = SeqSet::new();
    for group in &message.groups {
        let rows = group.more_rows as usize + 1;
        left = left
            .checked_sub(rows)
            .filter(|_| rows <= MAX_ROWS)
            .ok_or(BatchError::Limit("rows"))?;
        let seqs = stamps::decode_seqs(&mut Reader::new(&group.stamps), rows)?;
        all.extend(seqs.into_iter().map(|seq| Seq::new(seq as u64)));
    }
    Ok(all)
}

impl Raw {
    /// Session of the rows.
    pub fn session(&self) -> SessionId {
        SessionId::new(self.message.session)
    }

    /// The key that it needs; `None`: self-contained.
    pub fn key(&self) -> Option<KeyId> {
        KeyId::new(self.message.key)
    }

    /// The dictionary that it needs; `None`: that of its key.
    pub fn dict(&self) -> Option<DictHash> {
        self.dict
    }

    /// The key that it defines.
    pub fn defines(&self) -> Option<KeyId> {
        KeyId::new(self.message.defines)
    }

    /// The session's running sample total after the record of the highest seq in the batch.
    pub fn total(&self) -> u64 {
        self.message.total
    }

    /// The seqs of its rows.
    pub fn seqs(&self) -> &SeqSet {
        &self.seqs
    }

    /// Reads the columns. `series` is the length of the dictionary that the batch, or else its key, names; `key` must be
    /// the one that it needs (else `KeyMissing`), if it needs one.
    pub fn decode(&self, series: usize, key: Option<&Key>) -> Result<Decoded, BatchError> {
        let key = match self.key() {
            None => None,
            Some(id) => {
                let fits = |key: &&Key| key.id == id && key.session == self.session();
                Some(key.filter(fits).ok_or(BatchError::KeyMissing(id))?)
            }
        };
        let header = Header {
            session: self.session(),
            boot: key.map_or(BootId::new(self.message.boot), |key| key.boot),
            dict: self
                .dict
                .or(key.map(|key| key.dict))
                .ok_or(BatchError::Malformed("no dictionary"))?,
            total: self.message.total,
            clock_error_ms: self.message.clock_error_ms,
        };
        let mut budget = Budget::new(series);
        let mut groups = Vec::with_capacity(self.message.groups.len());
        let mut keys = Vec::new();
        for message in &self.message.groups {
            let reference = match message.key_group {
                0 => None,
                place => {
                    let groups = key.map_or(&[][..], |key| &key.groups);
                    Some(
                        groups
                            .get(place as usize - 1)
                            .ok_or(BatchError::Malformed("group of the key"))?,
                    )
                }
            };
            let (group, group_key) = decode::group(message, reference, &mut budget)?;
            groups.push(group);
            keys.extend(group_key);
        }
        let key = self.defines().map(|id| Key {
            id,
            session: header.session,
            boot: header.boot,
            dict: header.dict,
            groups: keys,
        });
        let batch = Batch { header, groups };
        Ok(Decoded { batch, key })
    }
}

impl From<PayloadError> for BatchError {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::TooLarge { .. } => BatchError::Limit("bytes of a body"),
            PayloadError::Codec(_) => BatchError::Malformed("unknown payload codec"),
            PayloadError::Corrupt => BatchError::Malformed("payload"),
        }
    }
}

impl From<ShapeError> for BatchError {
    fn from(error: ShapeError) -> Self {
        match error {
            ShapeError::Limit => BatchError::Limit("memory of a message"),
            ShapeError::Malformed | ShapeError::Version(_) => BatchError::Malformed("protobuf"),
        }
    }
}

impl From<Short> for BatchError {
    fn from(_: Short) -> Self {
        BatchError::Malformed("column ends early")
    }
}
