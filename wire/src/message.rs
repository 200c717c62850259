//! The prost messages of every channel; docs/wire.md describes each field.
//!
//! These are the raw shapes: fields may hold anything that prost accepts. `batch`, `dict`, `state` and `ack` turn them
//! into checked types. Every message names its format version in field 1; a reader refuses a newer one by name.

mod config;

pub use config::{ConfigState, DeviceConfig, RuleFile};

/// The format version that this crate writes.
pub const VERSION: u32 = 1;

/// Sequence numbers first..=first+more.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Range {
    /// First number.
    #[prost(uint64, tag = "1")]
    pub first: u64,
    /// How many follow it.
    #[prost(uint64, tag = "2")]
    pub more: u64,
}

/// A label pair.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Pair {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Channel `dict`: a list of label sets, whole or as an addition to a named one.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Dict {
    /// Format version.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Hash of the list that this one extends, 16 bytes; empty: starts from nothing.
    #[prost(bytes = "bytes", tag = "2")]
    pub base: bytes::Bytes,
    /// Hash of the whole resulting list, 16 bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub hash: bytes::Bytes,
    /// The appended sets.
    #[prost(message, repeated, tag = "4")]
    pub sections: Vec<DictSection>,
}

/// Consecutive label sets that share some labels.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DictSection {
    /// Labels of every set of the section (instance, job, external labels).
    #[prost(message, repeated, tag = "1")]
    pub common: Vec<Pair>,
    /// How many sets.
    #[prost(uint32, tag = "2")]
    pub sets: u32,
    /// The other labels of each set, front-coded: varint shared prefix, varint suffix length, suffix.
    #[prost(bytes = "bytes", tag = "3")]
    pub front: bytes::Bytes,
}

/// Channels `batch` and `backlog`: rows of one session in columns.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Batch {
    /// Format version.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Session of every row.
    #[prost(fixed64, tag = "2")]
    pub session: u64,
    /// Hash of the dictionary, 16 bytes; empty in a keyed batch: the key's.
    #[prost(bytes = "bytes", tag = "3")]
    pub dict: bytes::Bytes,
    /// Keyed: number of the session's key (from 1) that groups may refer to; 0: self-contained.
    #[prost(uint32, tag = "4")]
    pub key: u32,
    /// Self-contained: each series' first value becomes the session's key of this number (from 1); 0: none.
    #[prost(uint32, tag = "5")]
    pub defines: u32,
    /// The session's running sample total after the record of the highest seq here.
    #[prost(uint64, tag = "6")]
    pub total: u64,
    /// Boot of every row; 0 in a keyed batch: the key's.
    #[prost(fixed64, tag = "7")]
    pub boot: u64,
    /// Bound of the clock's error, ms; 0: trusted.
    #[prost(uint64, tag = "8")]
    pub clock_error_ms: u64,
    /// Rows by set of series.
    #[prost(message, repeated, tag = "9")]
    pub groups: Vec<Group>,
}

/// Rows that share a list of series. With a reference (a key's group, or a log segment's first row), values and times
/// are differences from it; without one the group stands alone.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Group {
    /// Series ids in rising order, as varint pairs (gap, more): `more + 1` ids after a gap; with a reference: empty,
    /// its series.
    #[prost(bytes = "bytes", tag = "1")]
    pub series: bytes::Bytes,
    /// 1 + index of the key's group that is the reference; 0: none.
    #[prost(uint32, tag = "2")]
    pub key_group: u32,
    /// How many rows follow the first.
    #[prost(uint32, tag = "3")]
    pub more_rows: u32,
    /// Three columns. Seqs: varint of the first, then tokens of deltas of deltas. Times, ms: zigzag varint of the first
    /// (less the reference's), then tokens of deltas of deltas. Offsets, time minus monotonic time, ms: zigzag varint
    /// of the first (less the reference's), then tokens of deltas; left out: all equal the reference's.
    #[prost(bytes = "bytes", tag = "4")]
    pub stamps: bytes::Bytes,
    /// Which series each row has, per row a varint 0 (all), or 1 + count of (gap, more) varint pairs of positions;
    /// empty: all in all.
    #[prost(bytes = "bytes", tag = "5")]
    pub present: bytes::Bytes,
    /// Bitmap over series, lowest bit first: 0: every value equals the reference, or without one, the first value;
    /// empty: all 0.
    #[prost(bytes = "bytes", tag = "6")]
    pub changed: bytes::Bytes,
    /// Pairs (varint gap, byte `mode << 2 | order`): after `gap` series with the default, one with this byte. With a
    /// reference the changed series are meant, and the default is the reference's mode in order 0; without one all
    /// series that have a value, and the default is the byte of the series before (0 at first).
    #[prost(bytes = "bytes", tag = "7")]
    pub modes: bytes::Bytes,
    /// Without a reference: zigzag varint of each series' first mantissa.
    #[prost(bytes = "bytes", tag = "8")]
    pub first: bytes::Bytes,
    /// Delta tokens of the changed series, series-major.
    #[prost(bytes = "bytes", tag = "9")]
    pub vals: bytes::Bytes,
    /// Values of mode 31.
    #[prost(bytes = "bytes", tag = "10")]
    pub raw: bytes::Bytes,
    /// Native histograms.
    #[prost(message, repeated, tag = "11")]
    pub histograms: Vec<HistogramCell>,
    /// Exemplars.
    #[prost(message, repeated, tag = "12")]
    pub exemplars: Vec<ExemplarCell>,
    /// Metric metadata.
    #[prost(message, repeated, tag = "13")]
    pub metadata: Vec<Metadata>,
}

/// A native histogram of one series in one row; a float is absent there.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HistogramCell {
    /// Position of the series in the group.
    #[prost(uint32, tag = "1")]
    pub position: u32,
    /// Row.
    #[prost(uint32, tag = "2")]
    pub row: u32,
    /// The histogram.
    #[prost(message, optional, tag = "3")]
    pub histogram: Option<Histogram>,
}

/// A native histogram, field for field that of Prometheus's remote write 2.0 without its timestamps.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Histogram {
    /// Counts are floats.
    #[prost(bool, tag = "1")]
    pub float: bool,
    /// Count, as an integer.
    #[prost(uint64, tag = "2")]
    pub count: u64,
    /// Count, as a float.
    #[prost(double, tag = "3")]
    pub count_float: f64,
    /// Sum.
    #[prost(double, tag = "4")]
    pub sum: f64,
    /// Schema: -4..=8, or -53 for custom bounds.
    #[prost(sint32, tag = "5")]
    pub schema: i32,
    /// Width of the zero bucket.
    #[prost(double, tag = "6")]
    pub zero_threshold: f64,
    /// Zero bucket, as an integer.
    #[prost(uint64, tag = "7")]
    pub zero_count: u64,
    /// Zero bucket, as a float.
    #[prost(double, tag = "8")]
    pub zero_count_float: f64,
    /// Spans of negative buckets.
    #[prost(message, repeated, tag = "9")]
    pub negative_spans: Vec<BucketSpan>,
    /// Integer buckets, deltas.
    #[prost(sint64, repeated, tag = "10")]
    pub negative_deltas: Vec<i64>,
    /// Float buckets.
    #[prost(double, repeated, tag = "11")]
    pub negative_counts: Vec<f64>,
    /// Spans of positive buckets.
    #[prost(message, repeated, tag = "12")]
    pub positive_spans: Vec<BucketSpan>,
    /// Integer buckets, deltas.
    #[prost(sint64, repeated, tag = "13")]
    pub positive_deltas: Vec<i64>,
    /// Float buckets.
    #[prost(double, repeated, tag = "14")]
    pub positive_counts: Vec<f64>,
    /// 0 unknown, 1 yes, 2 no, 3 gauge.
    #[prost(uint32, tag = "15")]
    pub reset_hint: u32,
    /// Upper bounds of schema -53.
    #[prost(double, repeated, tag = "16")]
    pub custom_values: Vec<f64>,
    /// Start of the counter, ms since the epoch; 0: unknown.
    #[prost(sint64, tag = "17")]
    pub start_ms: i64,
}

/// Consecutive buckets.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct BucketSpan {
    /// Gap to the span before.
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    /// Buckets.
    #[prost(uint32, tag = "2")]
    pub length: u32,
}

/// An exemplar of one series in one row.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExemplarCell {
    /// Position of the series in the group.
    #[prost(uint32, tag = "1")]
    pub position: u32,
    /// Row.
    #[prost(uint32, tag = "2")]
    pub row: u32,
    /// Labels.
    #[prost(message, repeated, tag = "3")]
    pub labels: Vec<Pair>,
    /// Value.
    #[prost(double, tag = "4")]
    pub value: f64,
    /// Time, ms since the epoch.
    #[prost(sint64, tag = "5")]
    pub time_ms: i64,
}

/// Type, help and unit of a metric, sent with a row when they are new or changed.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Metadata {
    /// Row that carries it.
    #[prost(uint32, tag = "1")]
    pub row: u32,
    /// Metric family.
    #[prost(string, tag = "2")]
    pub family: String,
    /// Prometheus's type word: counter, gauge, histogram, gaugehistogram, summary, info, stateset, unknown.
    #[prost(string, tag = "3")]
    pub kind: String,
    /// HELP.
    #[prost(string, tag = "4")]
    pub help: String,
    /// UNIT.
    #[prost(string, tag = "5")]
    pub unit: String,
}

/// Channel `alert`: one record of a device's alert.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Alert {
    /// Format version.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Session of the record.
    #[prost(fixed64, tag = "2")]
    pub session: u64,
    /// Its seq.
    #[prost(uint64, tag = "3")]
    pub seq: u64,
    /// Boot of the record.
    #[prost(fixed64, tag = "4")]
    pub boot: u64,
    /// Monotonic time of the record, ms since that boot.
    #[prost(uint64, tag = "5")]
    pub mono_ms: u64,
    /// Bound of the clock's error, ms; 0: trusted; u64::MAX: unknown.
    #[prost(uint64, tag = "6")]
    pub clock_error_ms: u64,
    /// Labels of the alert.
    #[prost(message, repeated, tag = "7")]
    pub labels: Vec<Pair>,
    /// Annotations.
    #[prost(message, repeated, tag = "8")]
    pub annotations: Vec<Pair>,
    /// Start, ms since the epoch.
    #[prost(sint64, tag = "9")]
    pub starts_ms: i64,
    /// End, ms since the epoch; 0: firing.
    #[prost(sint64, tag = "10")]
    pub ends_ms: i64,
    /// Where it came from.
    #[prost(string, tag = "11")]
    pub generator_url: String,
    /// The session's running sample total after this record.
    #[prost(uint64, tag = "12")]
    pub total: u64,
}

/// Samples of one reason.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ReasonCount {
    /// Reason, e.g. `wal_bytes`.
    #[prost(string, tag = "1")]
    pub reason: String,
    /// Samples.
    #[prost(uint64, tag = "2")]
    pub samples: u64,
}

/// Records that a device dropped.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Gap {
    /// Session of the records.
    #[prost(fixed64, tag = "1")]
    pub session: u64,
    /// First seq.
    #[prost(uint64, tag = "2")]
    pub first: u64,
    /// Last seq.
    #[prost(uint64, tag = "3")]
    pub last: u64,
    /// Time of the first, ms since the epoch; 0: unknown.
    #[prost(sint64, tag = "4")]
    pub from_ms: i64,
    /// Time of the last, ms since the epoch; 0: unknown.
    #[prost(sint64, tag = "5")]
    pub to_ms: i64,
    /// Samples in it that no earlier record of the bridge can have.
    #[prost(uint64, tag = "6")]
    pub samples: u64,
    /// Reason: wal_bytes, wal_age, wal_corrupt, wal_lost, time_unknown, limit.
    #[prost(string, tag = "7")]
    pub reason: String,
    /// Alerts among its records that no ack has settled, as far as the device knows which they were.
    #[prost(uint64, tag = "8")]
    pub alerts: u64,
}

/// What a device says of one of its sessions.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct SessionState {
    /// Session.
    #[prost(fixed64, tag = "1")]
    pub session: u64,
    /// Its boot.
    #[prost(fixed64, tag = "2")]
    pub boot: u64,
    /// Oldest record still in the WAL; 0: none.
    #[prost(uint64, tag = "3")]
    pub oldest: u64,
    /// Running sample total before the oldest record.
    #[prost(uint64, tag = "4")]
    pub total_before: u64,
    /// Last intact record; 0: none yet.
    #[prost(uint64, tag = "5")]
    pub last: u64,
    /// Running sample total after it.
    #[prost(uint64, tag = "6")]
    pub total: u64,
    /// Oldest record that is neither acked nor dropped; 0: none.
    #[prost(uint64, tag = "7")]
    pub unacked: u64,
    /// No record will be added.
    #[prost(bool, tag = "8")]
    pub closed: bool,
    /// Samples that the device dropped from this session, all reasons.
    #[prost(uint64, tag = "9")]
    pub dropped: u64,
}

/// Channel `state`, retained: what the device has. Also its will, with `connected` false.
#[derive(Clone, PartialEq, prost::Message)]
pub struct State {
    /// Format version.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Nonce of this connection.
    #[prost(fixed64, tag = "2")]
    pub nonce: u64,
    /// False in the will and in the goodbye.
    #[prost(bool, tag = "3")]
    pub connected: bool,
    /// Counts the states of this connection, from 1; the ack repeats it.
    #[prost(uint32, tag = "4")]
    pub number: u32,
    /// Payload bytes published on `batch` and `dict` so far on this connection.
    #[prost(uint64, tag = "5")]
    pub fresh_bytes: u64,
    /// Payload bytes published on `backlog` so far on this connection.
    #[prost(uint64, tag = "6")]
    pub backlog_bytes: u64,
    /// Records wait in the fresh lane for credit.
    #[prost(bool, tag = "7")]
    pub fresh_waits: bool,
    /// Bytes (estimated, as published) that wait in the backlog lane.
    #[prost(uint64, tag = "8")]
    pub backlog_waits: u64,
    /// Sessions of the WAL, at most 256.
    #[prost(message, repeated, tag = "9")]
    pub sessions: Vec<SessionState>,
    /// Sessions of which nothing is left in the WAL and nothing is unsettled: the bridge may forget them.
    #[prost(fixed64, repeated, tag = "10")]
    pub let_go: Vec<u64>,
    /// Gaps that no ack has settled yet, oldest first, at most 256.
    #[prost(message, repeated, tag = "11")]
    pub gaps: Vec<Gap>,
    /// Samples dropped in the device's life, by reason.
    #[prost(message, repeated, tag = "12")]
    pub dropped: Vec<ReasonCount>,
    /// Samples generated in the device's life.
    #[prost(uint64, tag = "13")]
    pub generated: u64,
    /// The device's wall clock, ms since the epoch.
    #[prost(sint64, tag = "14")]
    pub wall_ms: i64,
    /// The device's monotonic clock, ms since its boot.
    #[prost(uint64, tag = "15")]
    pub mono_ms: u64,
    /// The device trusts its wall clock.
    #[prost(bool, tag = "16")]
    pub clock_trusted: bool,
    /// Version of the agent.
    #[prost(string, tag = "17")]
    pub agent_version: String,
    /// End of its certificate, seconds since the epoch; 0: unknown.
    #[prost(sint64, tag = "18")]
    pub certificate_expiry: i64,
    /// Bytes in the WAL.
    #[prost(uint64, tag = "19")]
    pub wal_bytes: u64,
    /// Records of alerts that no ack has settled.
    #[prost(uint64, tag = "20")]
    pub alerts_pending: u64,
    /// Its rules; none: it evaluates none.
    #[prost(message, optional, tag = "21")]
    pub rules: Option<RulesState>,
    /// What it has of the channel `config`; none: it does not know the channel.
    #[prost(message, optional, tag = "22")]
    pub config: Option<ConfigState>,
}

/// What a device's own rules do.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct RulesState {
    /// XXH64 of all that was read of rule files, in order, so that a fleet can be asked who has which.
    #[prost(fixed64, tag = "1")]
    pub hash: u64,
    /// Rules.
    #[prost(uint32, tag = "2")]
    pub rules: u32,
    /// Rules whose last evaluation failed.
    #[prost(uint32, tag = "3")]
    pub failing: u32,
    /// Pending alerts.
    #[prost(uint32, tag = "4")]
    pub pending: u32,
    /// Firing alerts.
    #[prost(uint32, tag = "5")]
    pub firing: u32,
    /// Groups, pushed ones included; 0 from an agent that does not tell.
    #[prost(uint32, tag = "6")]
    pub groups: u32,
}

/// Records refused for good.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Refused {
    /// Reason: malformed, limit, out_of_retention, quarantine_full.
    #[prost(string, tag = "1")]
    pub reason: String,
    /// Seqs.
    #[prost(message, repeated, tag = "2")]
    pub ranges: Vec<Range>,
}

/// Records that lack a dictionary or key.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Wanting {
    /// Hash of the dictionary, 16 bytes; empty: a key is missing, send the rows self-contained.
    #[prost(bytes = "bytes", tag = "1")]
    pub dict: bytes::Bytes,
    /// Seqs.
    #[prost(message, repeated, tag = "2")]
    pub ranges: Vec<Range>,
}

/// What an ack says of one session.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SessionAck {
    /// Session.
    #[prost(fixed64, tag = "1")]
    pub session: u64,
    /// Settled (stored, or covered by a gap). In a full ack: all that is settled, so that what is missing here and acked
    /// before is to be sent again (rewind).
    #[prost(message, repeated, tag = "2")]
    pub settled: Vec<Range>,
    /// Refused for good; settled as well.
    #[prost(message, repeated, tag = "3")]
    pub refused: Vec<Refused>,
    /// Of an unknown version: send again only to a bridge of another epoch.
    #[prost(message, repeated, tag = "4")]
    pub held: Vec<Range>,
    /// Lacking a dictionary or key.
    #[prost(message, repeated, tag = "5")]
    pub wanting: Vec<Wanting>,
}

/// Channel `ack`: what is settled, and what may be sent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Ack {
    /// Format version.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Bridge's epoch.
    #[prost(fixed64, tag = "2")]
    pub epoch: u64,
    /// Nonce of the connection it answers; a device ignores any other.
    #[prost(fixed64, tag = "3")]
    pub nonce: u64,
    /// Number of the state that it answers, with a full list of `sessions`; 0: an addition.
    #[prost(uint32, tag = "4")]
    pub answers: u32,
    /// Sessions.
    #[prost(message, repeated, tag = "5")]
    pub sessions: Vec<SessionAck>,
    /// Payload bytes that may be published on `batch` and `dict` on this connection, in all; it only rises.
    #[prost(uint64, tag = "6")]
    pub fresh_credit: u64,
    /// Payload bytes that may be published on `backlog` on this connection, in all; it only rises.
    #[prost(uint64, tag = "7")]
    pub backlog_credit: u64,
    /// Bytes per second for backlog; 0: no limit beside the credit.
    #[prost(uint64, tag = "8")]
    pub backlog_rate: u64,
    /// The bridge's wall clock, ms since the epoch.
    #[prost(sint64, tag = "9")]
    pub wall_ms: i64,
    /// Sessions that the bridge has forgotten as the device let them go.
    #[prost(fixed64, repeated, tag = "10")]
    pub forgotten: Vec<u64>,
}
