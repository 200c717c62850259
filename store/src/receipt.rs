//! What a commit made durable, per device and session: the material of acks.

use wire::message::Alert;
use wire::{DeviceName, SeqSet, SessionId, Timestamp};

/// The outcome of one commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// One per device and session that the commit touched, in order of first touch.
    pub sessions: Vec<SessionReceipt>,
    /// Number of the journal's last value after the commit: what is settled by it stands at or below.
    pub number: u64,
    /// Bytes of records that the commit wrote into the journal.
    pub bytes: u64,
    /// Alerts that this commit settled first.
    pub alerts: Vec<StoredAlert>,
}

/// An alert's record that is in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAlert {
    /// Who raised it.
    pub device: DeviceName,
    /// When it arrived, by the bridge's clock.
    pub received: Timestamp,
    /// As received.
    pub alert: Alert,
}

/// What became of one session's entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionReceipt {
    /// Who.
    pub device: DeviceName,
    /// Which session.
    pub session: SessionId,
    /// Seqs of the entries that are settled now, redelivered ones included: what to ack.
    pub settled: SeqSet,
    /// Seqs that this commit settled first.
    pub newly_settled: SeqSet,
    /// Seqs that this commit refused for good, by reason; part of `settled`.
    pub refused: Vec<(&'static str, SeqSet)>,
    /// Rows stored by this commit, quarantined ones included.
    pub stored_rows: u64,
    /// Samples stored by this commit, quarantined ones included.
    pub stored_samples: u64,
    /// Rows quarantined by this commit.
    pub quarantined_rows: u64,
    /// Rows that were settled before.
    pub redelivered_rows: u64,
    /// The session was let go earlier or by this commit: answer `forgotten` to a device that lists it so.
    pub forgotten: bool,
}

impl SessionReceipt {
    pub(crate) fn new(device: DeviceName, session: SessionId) -> Self {
        SessionReceipt {
            device,
            session,
            settled: SeqSet::new(),
            newly_settled: SeqSet::new(),
            refused: Vec::new(),
            stored_rows: 0,
            stored_samples: 0,
            quarantined_rows: 0,
            redelivered_rows: 0,
            forgotten: false,
        }
    }
}
