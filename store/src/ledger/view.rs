//! The ledger as others read it.

use std::collections::BTreeMap;

use wire::{DeviceName, SessionId, Timestamp};

use crate::entry::Seen;

/// Samples by reason.
pub type Reasons = BTreeMap<&'static str, u64>;

/// What the store knows of one device. At any moment
/// `generated = stored + Σ dropped + pending` and, read back, `samples = stored + recovered - Σ removed - quarantined`.
#[derive(Debug, Clone)]
pub struct DeviceLedger {
    /// Who.
    pub device: DeviceName,
    /// Samples that the device made, over all its sessions.
    pub generated: u64,
    /// Samples that a commit accepted, quarantined ones included; never taken back.
    pub stored: u64,
    /// Samples that will never be stored, by reason.
    pub dropped: Reasons,
    /// Stored samples that a query no longer finds, by reason: `same_timestamp` (equal values collapsed), `conflict`
    /// (a later one of the same time won), `retention` (their block's time was over), `quarantine_expired`, `deleted` (an
    /// operator dropped them from the quarantine), `damaged` (their file was set aside).
    pub removed: Reasons,
    /// Samples that the store holds although its ledger does not have them as stored, as the journal's newest file or
    /// `dict.redb` was damaged. Those of them that the device sends again count as stored, and as removed
    /// (`same_timestamp`); of the others some may count as dropped (`lost_at_store`) and be found all the same.
    pub recovered: u64,
    /// Samples in the device's log that are not settled here.
    pub pending: u64,
    /// Samples in quarantine: stored, but no query finds them.
    pub quarantined: u64,
    /// Rows that arrived again after they were settled.
    pub redelivered: u64,
    /// Alerts' records stored.
    pub alerts: u64,
    /// Gaps ever recorded.
    pub gaps_total: u64,
    /// The latest gaps, oldest first; at most 1024.
    pub gaps: Vec<GapView>,
    /// Sessions that the device has not let go.
    pub sessions: Vec<SessionLedger>,
    /// When a message of it was last committed, by the bridge's clock.
    pub last_seen: Timestamp,
    /// Time of its newest sample that is not quarantined; `None`: none yet.
    pub newest_sample: Option<Timestamp>,
    /// Its last state.
    pub seen: Seen,
}

/// What the store knows of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLedger {
    /// Which.
    pub session: SessionId,
    /// Samples made in it.
    pub generated: u64,
    /// Samples stored of it.
    pub stored: u64,
    /// Samples dropped of it.
    pub dropped: u64,
    /// The device adds nothing to it any more.
    pub closed: bool,
    /// Intervals of its settled set: its cost.
    pub intervals: usize,
}

/// Records that were never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapView {
    /// Session of the records.
    pub session: SessionId,
    /// First seq.
    pub first: u64,
    /// Last seq.
    pub last: u64,
    /// Time of the first; `None`: unknown.
    pub from: Option<Timestamp>,
    /// Time of the last; `None`: unknown.
    pub to: Option<Timestamp>,
    /// Samples.
    pub samples: u64,
    /// Why, as the equation's terms are called.
    pub reason: &'static str,
    /// Alerts among the records, as far as the device knew.
    pub alerts: u64,
}
