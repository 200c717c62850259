//! What a caller commits: deliveries of devices and what devices say of themselves.

use std::sync::Arc;

use bytes::Bytes;
use wire::batch::{Batch, Key, KeyId};
use wire::message::{Alert, ConfigState, Gap, ReasonCount, RulesState, SessionState};
use wire::{DeviceName, SeqSet, SessionId, Timestamp};

/// The lane a batch came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Channel `batch`.
    Fresh,
    /// Channel `backlog`.
    Backlog,
}

/// One thing to make durable. Entries of a device take effect in the order given, except that all gaps of a commit
/// precede its session states, as a state's oldest record is to be read after the gaps it lists.
#[derive(Debug, Clone)]
pub enum Entry {
    /// Rows of one session.
    Batch(BatchEntry),
    /// One alert's record; it has a seq but no samples.
    Alert {
        /// Who.
        device: DeviceName,
        /// When it arrived, by the bridge's clock.
        received: Timestamp,
        /// The alert as received.
        alert: Alert,
    },
    /// A gap that a device declares.
    Gap {
        /// Who.
        device: DeviceName,
        /// When it arrived, by the bridge's clock.
        received: Timestamp,
        /// The gap as received.
        gap: Gap,
    },
    /// What a device says of one of its sessions. Records below its oldest that were never stored become a gap
    /// `lost_at_store`.
    SessionSeen {
        /// Who.
        device: DeviceName,
        /// When it arrived, by the bridge's clock.
        received: Timestamp,
        /// The session's state as received.
        state: SessionState,
    },
    /// What a device says of itself.
    DeviceSeen {
        /// Who.
        device: DeviceName,
        /// When it arrived, by the bridge's clock.
        received: Timestamp,
        /// The summary.
        seen: Seen,
    },
    /// Records refused for good. They settle, count as dropped and rest in the dead-letter table.
    Refused {
        /// Who.
        device: DeviceName,
        /// When they arrived, by the bridge's clock.
        received: Timestamp,
        /// Their session.
        session: SessionId,
        /// Their seqs; those that are settled already are left out.
        seqs: SeqSet,
        /// How many samples they hold as far as could be told.
        samples: u64,
        /// Why.
        reason: RefusedReason,
        /// The payload as received; cut if it is longer than the table takes.
        payload: Bytes,
    },
    /// A device lets a session go: its counters are kept, its seqs forgotten, and rows of it that still arrive are
    /// acked and dropped until max_age + 1 day have passed.
    LetGo {
        /// Who.
        device: DeviceName,
        /// When it said so, by the bridge's clock.
        received: Timestamp,
        /// The session.
        session: SessionId,
    },
    /// All sessions that a device has. If the journal was damaged before, a device may have let go of some others without
    /// the store knowing it: they are let go now.
    Sessions {
        /// Who.
        device: DeviceName,
        /// When it said so, by the bridge's clock.
        received: Timestamp,
        /// Those of its log, and those that it lets go.
        sessions: Vec<SessionId>,
    },
    /// An operator forgets a device: its ledger goes, its samples stay.
    Forget {
        /// Who.
        device: DeviceName,
        /// When, by the bridge's clock.
        received: Timestamp,
    },
}

/// A delivered batch, decoded.
#[derive(Debug, Clone)]
pub struct BatchEntry {
    /// Who, by its certificate.
    pub device: DeviceName,
    /// The lane it came by.
    pub lane: Lane,
    /// When it arrived, by the bridge's clock.
    pub received: Timestamp,
    /// The MQTT payload as received; it is what the journal keeps.
    pub payload: Bytes,
    /// The payload decoded. `header.dict` names the dictionary (of the key, if keyed), which must have been put.
    pub batch: Batch,
    /// The key whose values the payload refers to; `None`: self-contained.
    pub keyed: Option<KeyId>,
    /// The key that the payload defines, as decoding it gave.
    pub defines: Option<Arc<Key>>,
}

/// Why records are refused for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefusedReason {
    /// Not decodable.
    Malformed,
    /// Over a limit.
    Limit,
    /// Older than what is kept.
    OutOfRetention,
}

impl RefusedReason {
    /// The reason as acks and counters spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            RefusedReason::Malformed => "malformed",
            RefusedReason::Limit => "limit",
            RefusedReason::OutOfRetention => "out_of_retention",
        }
    }
}

/// What a device's state says of the device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// False in a will and in a goodbye.
    pub connected: bool,
    /// Version of the agent.
    pub agent_version: String,
    /// The device's wall clock minus the bridge's at arrival, ms.
    pub clock_offset_ms: i64,
    /// The device trusts its wall clock.
    pub clock_trusted: bool,
    /// End of its certificate, seconds since the epoch; 0: unknown.
    pub certificate_expiry: i64,
    /// Samples generated in the device's life, as it counts them; a cross-check.
    pub generated: u64,
    /// Samples dropped in the device's life by reason, as it counts them; a cross-check.
    pub dropped: Vec<ReasonCount>,
    /// Bytes in its WAL.
    pub wal_bytes: u64,
    /// Records of alerts that it has and no ack has settled.
    pub alerts_pending: u64,
    /// Its own rules; `None`: it evaluates none.
    pub rules: Option<RulesState>,
    /// What became of the configurations pushed to it; `None`: it knows none.
    pub config: Option<ConfigState>,
}
