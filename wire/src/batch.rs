//! Batches: rows of one session in columns.
//!
//! A row is what one record has for one list of series: a scrape of a target, or a write request. A batch holds rows of
//! any records of one session, in groups that share their series. Values stand in a column per series and are written
//! as differences: within the batch alone (self-contained), or from a key, the first values of an earlier
//! self-contained batch of the session. No batch refers to any but its key, so they decode in any order.
//!
//! `Encoder` writes batches; `peek` opens one without its columns, for de-duplication and to find out which dictionary
//! and key it needs, and `Raw::decode` reads the columns. Every value comes back bit for bit.

mod columns;
pub mod decimal;
mod decode;
mod encode;
mod group;
mod key;
mod presence;
mod raw;
mod runs;
mod stamps;
#[cfg(test)]
mod tests;
mod tokens;
pub mod xor;

use crate::dict::DictHash;
use crate::number::{BootId, Seq, SessionId};
use crate::seqs::SeqSet;

pub use decode::decode_group;
pub use encode::{Encoded, EncodedGroup, Encoder, Encoding, encode};
pub use group::{Group, Row};
pub use key::{GroupKey, Key, KeyId};
pub use presence::Presence;
pub use raw::{Decoded, Newer, Raw, peek};

/// What is true of every row of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Session of the records.
    pub session: SessionId,
    /// Boot of the device that the monotonic times count from.
    pub boot: BootId,
    /// Dictionary of the series.
    pub dict: DictHash,
    /// The session's running sample total after the record of the highest seq in the batch.
    pub total: u64,
    /// Bound of the clock's error, ms; 0: trusted.
    pub clock_error_ms: u64,
}

/// Rows of one session.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// What is true of every row.
    pub header: Header,
    /// Rows by list of series.
    pub groups: Vec<Group>,
}

impl Batch {
    /// How many samples (floats and histograms) there are.
    pub fn samples(&self) -> u64 {
        self.groups.iter().map(Group::samples).sum()
    }

    /// The seqs of all rows.
    pub fn seqs(&self) -> SeqSet {
        self.rows().map(|row| row.seq).collect()
    }

    /// The highest seq, whose record `header.total` belongs to.
    pub fn last_seq(&self) -> Option<Seq> {
        self.rows().map(|row| row.seq).max()
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.groups.iter().flat_map(|group| &group.rows)
    }
}

/// Why a batch cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Of a newer version: to be held, not refused.
    #[error("batch of version {}; this is version 1", .0.version)]
    Version(Newer),
    /// It needs this key, and none or another was given: to be asked for again, not refused.
    #[error("the batch needs key {0} of its session")]
    KeyMissing(KeyId),
    /// Not what a batch looks like: to be refused.
    #[error("malformed batch: {0}")]
    Malformed(&'static str),
    /// Beyond a limit: to be refused.
    #[error("batch exceeds the limit of {0}")]
    Limit(&'static str),
}
