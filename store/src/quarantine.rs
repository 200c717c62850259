//! Rows too far in the future: stored and counted, listed, but not in the heads.
//!
//! Their samples stay in the journal; this is the list of them, within a budget of bytes at 16 a sample.

use wire::{DeviceName, Seq, SessionId, Timestamp};

/// Rows of one batch in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Who.
    pub device: DeviceName,
    /// Their session.
    pub session: SessionId,
    /// The lowest of their seqs.
    pub first: Seq,
    /// The highest of their seqs.
    pub last: Seq,
    /// When they arrived, by the bridge's clock.
    pub received: Timestamp,
    /// Time of the earliest row.
    pub from: Timestamp,
    /// Time of the latest row.
    pub to: Timestamp,
    /// How many rows.
    pub rows: u64,
    /// How many samples.
    pub samples: u64,
}

/// The quarantine's list.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    rows: Vec<Quarantined>,
    bytes: u64,
}

impl Quarantine {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn push(&mut self, rows: Quarantined) {
        self.bytes += bytes_of(rows.samples);
        self.rows.push(rows);
    }

    pub(crate) fn rows(&self) -> &[Quarantined] {
        &self.rows
    }
}

/// What a row of this many samples takes of the budget, bytes.
pub(crate) fn bytes_of(samples: u64) -> u64 {
    samples.saturating_mul(16).saturating_add(64)
}
