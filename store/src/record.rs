//! What the journal holds: one record per committed entry.
//!
//! Protobuf, so that a later version can add fields. A record carries what the ledger decided (the class of each row),
//! so that folding the journal again decides nothing anew. The batch stays as the device sent it.

use bytes::Bytes;
use wire::message::{Alert, ConfigState, Gap, Histogram, Range, ReasonCount, RulesState, SessionState};

use crate::entry::Seen;

/// One record.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Record {
    /// Number of the device.
    #[prost(uint32, tag = "1")]
    pub(crate) device: u32,
    /// Its name, in the first record that has the number.
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    /// When it arrived, ms since the epoch by the bridge's clock.
    #[prost(sint64, tag = "3")]
    pub(crate) received_ms: i64,
    /// Generation of the ring that routed it.
    #[prost(uint32, tag = "4")]
    pub(crate) ring: u32,
    /// What it says.
    #[prost(oneof = "What", tags = "5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15")]
    pub(crate) what: Option<What>,
}

/// What a record says.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum What {
    #[prost(message, tag = "5")]
    Batch(BatchRecord),
    #[prost(message, tag = "6")]
    Alert(AlertRecord),
    #[prost(message, tag = "7")]
    Gap(Gap),
    #[prost(message, tag = "8")]
    Session(SessionState),
    #[prost(message, tag = "9")]
    Seen(SeenRecord),
    #[prost(message, tag = "10")]
    Refused(RefusedRecord),
    #[prost(message, tag = "11")]
    LetGo(LetGoRecord),
    #[prost(bool, tag = "12")]
    Forget(bool),
    #[prost(message, tag = "13")]
    Released(ReleasedRecord),
    #[prost(message, tag = "14")]
    Removed(RemovedRecord),
    #[prost(message, tag = "15")]
    Results(ResultsRecord),
}

/// A delivery.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct BatchRecord {
    /// 0: fresh, 1: backlog.
    #[prost(uint32, tag = "1")]
    pub(crate) lane: u32,
    /// A byte per row in the order of groups and rows (see `Class`); empty: all are stored.
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) classes: Bytes,
    /// As received.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) payload: Bytes,
}

/// An alert's record.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct AlertRecord {
    #[prost(message, optional, tag = "1")]
    pub(crate) alert: Option<Alert>,
}

/// What a device said of itself.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SeenRecord {
    #[prost(bool, tag = "1")]
    pub(crate) connected: bool,
    #[prost(string, tag = "2")]
    pub(crate) agent_version: String,
    #[prost(sint64, tag = "3")]
    pub(crate) clock_offset_ms: i64,
    #[prost(bool, tag = "4")]
    pub(crate) clock_trusted: bool,
    #[prost(sint64, tag = "5")]
    pub(crate) certificate_expiry: i64,
    #[prost(uint64, tag = "6")]
    pub(crate) generated: u64,
    #[prost(message, repeated, tag = "7")]
    pub(crate) dropped: Vec<ReasonCount>,
    #[prost(uint64, tag = "8")]
    pub(crate) wal_bytes: u64,
    #[prost(uint64, tag = "9")]
    pub(crate) alerts_pending: u64,
    #[prost(message, optional, tag = "10")]
    pub(crate) rules: Option<RulesState>,
    #[prost(message, optional, tag = "11")]
    pub(crate) config: Option<ConfigState>,
}

/// Records refused for good; their payload is in the dead-letter table.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct RefusedRecord {
    #[prost(fixed64, tag = "1")]
    pub(crate) session: u64,
    /// Seqs that were not settled before.
    #[prost(message, repeated, tag = "2")]
    pub(crate) seqs: Vec<Range>,
    #[prost(uint64, tag = "3")]
    pub(crate) samples: u64,
    #[prost(string, tag = "4")]
    pub(crate) reason: String,
}

/// A session let go.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct LetGoRecord {
    #[prost(fixed64, tag = "1")]
    pub(crate) session: u64,
    /// End of its tombstone, ms since the epoch.
    #[prost(sint64, tag = "2")]
    pub(crate) until_ms: i64,
}

/// Quarantined rows whose time has come, or that an operator released.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ReleasedRecord {
    /// Their number in the quarantine table.
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) samples: u64,
    /// A self-contained batch of them.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) payload: Bytes,
}

/// Quarantined rows that nobody will find.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct RemovedRecord {
    /// Their number in the quarantine table.
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) samples: u64,
    /// `quarantine_expired` or `deleted`.
    #[prost(string, tag = "3")]
    pub(crate) reason: String,
}

/// Results of the bridge's rules, of no device: the record's `device` is 0 and means nothing.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ResultsRecord {
    #[prost(string, tag = "1")]
    pub(crate) tenant: String,
    /// [`ResultLists`] in snappy's block format.
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) lists: Bytes,
}

/// Lists of series with their rows.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ResultLists {
    /// Names and values of labels, each once.
    #[prost(string, repeated, tag = "1")]
    pub(crate) symbols: Vec<String>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) lists: Vec<ResultList>,
}

/// Series that have a value at each of some times.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ResultList {
    /// Per series how many labels it has, then the symbols of each one's name and value.
    #[prost(uint32, repeated, tag = "1")]
    pub(crate) series: Vec<u32>,
    /// ms since the epoch, each but the first as the difference from the one before.
    #[prost(sint64, repeated, tag = "2")]
    pub(crate) times: Vec<i64>,
    /// Bits of values, series after series; empty if they are histograms.
    #[prost(fixed64, repeated, tag = "3")]
    pub(crate) values: Vec<u64>,
    /// Native histograms, series after series; empty if they are floats.
    #[prost(message, repeated, tag = "4")]
    pub(crate) histograms: Vec<Histogram>,
}

/// A row of the quarantine table.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct QuarantineRecord {
    #[prost(uint32, tag = "1")]
    pub(crate) device: u32,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(fixed64, tag = "3")]
    pub(crate) session: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) first: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) last: u64,
    #[prost(sint64, tag = "6")]
    pub(crate) received_ms: i64,
    #[prost(sint64, tag = "7")]
    pub(crate) from_ms: i64,
    #[prost(sint64, tag = "8")]
    pub(crate) to_ms: i64,
    #[prost(uint64, tag = "9")]
    pub(crate) rows: u64,
    #[prost(uint64, tag = "10")]
    pub(crate) samples: u64,
    /// A self-contained batch of the rows.
    #[prost(bytes = "bytes", tag = "11")]
    pub(crate) payload: Bytes,
}

/// A row of the dead-letter table.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct LetterRecord {
    #[prost(string, tag = "1")]
    pub(crate) device: String,
    #[prost(fixed64, tag = "2")]
    pub(crate) session: u64,
    #[prost(sint64, tag = "3")]
    pub(crate) received_ms: i64,
    #[prost(string, tag = "4")]
    pub(crate) reason: String,
    #[prost(bytes = "bytes", tag = "5")]
    pub(crate) payload: Bytes,
}

impl From<&Seen> for SeenRecord {
    fn from(seen: &Seen) -> Self {
        SeenRecord {
            connected: seen.connected,
            agent_version: seen.agent_version.clone(),
            clock_offset_ms: seen.clock_offset_ms,
            clock_trusted: seen.clock_trusted,
            certificate_expiry: seen.certificate_expiry,
            generated: seen.generated,
            dropped: seen.dropped.clone(),
            wal_bytes: seen.wal_bytes,
            alerts_pending: seen.alerts_pending,
            rules: seen.rules,
            config: seen.config.clone(),
        }
    }
}

impl From<SeenRecord> for Seen {
    fn from(record: SeenRecord) -> Self {
        Seen {
            connected: record.connected,
            agent_version: record.agent_version,
            clock_offset_ms: record.clock_offset_ms,
            clock_trusted: record.clock_trusted,
            certificate_expiry: record.certificate_expiry,
            generated: record.generated,
            dropped: record.dropped,
            wal_bytes: record.wal_bytes,
            alerts_pending: record.alerts_pending,
            rules: record.rules,
            config: record.config,
        }
    }
}
