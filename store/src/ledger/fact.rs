//! What a journaled record says of a device, and the words for what becomes of its samples.

use bytes::Bytes;
use wire::message::{Gap as GapMessage, SessionState};
use wire::{SeqSet, SessionId, Timestamp};

use crate::entry::Seen;

/// Reasons that a device may give; any other counts as `limit`.
const DEVICE_REASONS: [&str; 6] = [
    "wal_bytes",
    "wal_age",
    "wal_corrupt",
    "wal_lost",
    "time_unknown",
    "limit",
];

/// Reasons that arise here.
const OWN_REASONS: [&str; 4] = ["out_of_retention", "malformed", "quarantine_full", LOST_AT_STORE];

/// Neither the device nor the store has them.
pub(super) const LOST_AT_STORE: &str = "lost_at_store";

/// The one spelling of a reason why quarantined rows are gone; an unknown one is `deleted`.
pub(crate) fn removal(text: &str) -> &'static str {
    match text {
        QUARANTINE_EXPIRED => QUARANTINE_EXPIRED,
        _ => DELETED,
    }
}

/// Quarantined rows were still ahead of the clock after `quarantine_time`.
pub(crate) const QUARANTINE_EXPIRED: &str = "quarantine_expired";

/// An operator dropped quarantined rows.
pub(crate) const DELETED: &str = "deleted";

/// The one spelling of a reason; an unknown one is `limit`.
pub(crate) fn reason(text: &str) -> &'static str {
    DEVICE_REASONS
        .into_iter()
        .chain(OWN_REASONS)
        .find(|known| *known == text)
        .unwrap_or("limit")
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Settled before; no effect.
    Redelivered,
    /// In the heads.
    Stored,
    /// Stored, but too far in the future for queries.
    Quarantined,
    /// As quarantined, but there was no room.
    QuarantineFull,
    /// Older than what is kept.
    OutOfRetention,
    /// Of more series than are allowed.
    Limit,
}

const CLASSES: [Class; 6] = [
    Class::Redelivered,
    Class::Stored,
    Class::Quarantined,
    Class::QuarantineFull,
    Class::OutOfRetention,
    Class::Limit,
];

impl Class {
    fn byte(self) -> u8 {
        match self {
            Class::Redelivered => 0,
            Class::Stored => 1,
            Class::Quarantined => 2,
            Class::QuarantineFull => 3,
            Class::OutOfRetention => 4,
            Class::Limit => 5,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        CLASSES.get(usize::from(byte)).copied()
    }

    /// Why rows of the class are dropped, as the equation spells it; `None`: they are not.
    pub(crate) fn dropped(self) -> Option<&'static str> {
        match self {
            Class::Redelivered | Class::Stored | Class::Quarantined => None,
            Class::QuarantineFull => Some("quarantine_full"),
            Class::OutOfRetention => Some("out_of_retention"),
            Class::Limit => Some("limit"),
        }
    }

    /// A byte per row; empty if all are stored.
    pub(crate) fn encode(classes: impl Iterator<Item = Class> + Clone) -> Bytes {
        match classes.clone().all(|class| class == Class::Stored) {
            true => Bytes::new(),
            false => classes.map(Class::byte).collect(),
        }
    }

    /// Sets the classes of rows; `None` if the bytes are not theirs.
    pub(crate) fn decode(bytes: &[u8], rows: &mut [RowFact]) -> Option<()> {
        if bytes.is_empty() {
            return Some(());
        }
        if bytes.len() != rows.len() {
            return None;
        }
        for (row, byte) in rows.iter_mut().zip(bytes) {
            row.class = Class::from_byte(*byte)?;
        }
        Some(())
    }
}

/// A row as the ledger sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowFact {
    pub(crate) seq: u64,
    pub(crate) samples: u64,
    pub(crate) time_ms: i64,
    pub(crate) class: Class,
}

/// What a journaled record says.
#[derive(Debug, Clone)]
pub(crate) enum Fact {
    Rows {
        session: SessionId,
        total: u64,
        rows: Vec<RowFact>,
    },
    Alert {
        session: SessionId,
        seq: u64,
        total: u64,
    },
    Gap(GapMessage),
    Session(SessionState),
    Seen(Seen),
    Refused {
        session: SessionId,
        seqs: SeqSet,
        samples: u64,
        reason: &'static str,
    },
    LetGo {
        session: SessionId,
        until: Timestamp,
    },
    /// Quarantined samples that are in the heads now; `newest` is the time of the latest.
    Released {
        samples: u64,
        newest: Timestamp,
    },
    /// Quarantined samples that are gone.
    Removed {
        samples: u64,
        reason: &'static str,
    },
    Forget,
}
