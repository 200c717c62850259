//! A device's ledger as a journal file's first transaction holds it.

use prost::Message;
use wire::message::ReasonCount;
use wire::{SessionId, Timestamp};

use super::device::Device;
use super::fact::{reason, removal};
use super::session::Session;
use super::settled::Run;
use super::view::{GapView, Reasons};
use crate::record::SeenRecord;

#[derive(Clone, PartialEq, Message)]
struct DeviceRecord {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    sessions: Vec<SessionRecord>,
    #[prost(message, repeated, tag = "3")]
    tombs: Vec<TombRecord>,
    #[prost(message, repeated, tag = "4")]
    gaps: Vec<GapRecord>,
    #[prost(uint64, tag = "5")]
    gaps_total: u64,
    #[prost(uint64, tag = "6")]
    past_generated: u64,
    #[prost(uint64, tag = "7")]
    stored: u64,
    #[prost(message, repeated, tag = "8")]
    dropped: Vec<ReasonCount>,
    #[prost(uint64, tag = "9")]
    quarantined: u64,
    #[prost(uint64, tag = "10")]
    redelivered: u64,
    #[prost(uint64, tag = "11")]
    alerts: u64,
    #[prost(sint64, tag = "12")]
    last_seen_ms: i64,
    #[prost(sint64, optional, tag = "13")]
    newest_ms: Option<i64>,
    #[prost(message, optional, tag = "14")]
    seen: Option<SeenRecord>,
    #[prost(message, repeated, tag = "15")]
    removed: Vec<ReasonCount>,
    #[prost(uint64, tag = "16")]
    damaged: u64,
    #[prost(uint64, tag = "17")]
    recovered: u64,
    #[prost(uint64, repeated, tag = "18")]
    left_out: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionRecord {
    #[prost(fixed64, tag = "1")]
    session: u64,
    #[prost(uint64, tag = "2")]
    stored: u64,
    #[prost(uint64, tag = "3")]
    dropped: u64,
    #[prost(uint64, tag = "4")]
    known_seq: u64,
    #[prost(uint64, tag = "5")]
    known_total: u64,
    #[prost(uint64, optional, tag = "6")]
    closed_seq: Option<u64>,
    #[prost(uint64, tag = "7")]
    closed_total: u64,
    #[prost(string, tag = "8")]
    guessed: String,
    /// Six numbers a run: seqs left out before it, seqs in it less one, samples, 1 if they are a guess, total before it + 1
    /// and after it + 1 (0: unknown).
    #[prost(uint64, repeated, tag = "9")]
    runs: Vec<u64>,
    #[prost(bool, tag = "10")]
    doubted: bool,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct TombRecord {
    #[prost(fixed64, tag = "1")]
    session: u64,
    #[prost(sint64, tag = "2")]
    until_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
struct GapRecord {
    #[prost(fixed64, tag = "1")]
    session: u64,
    #[prost(uint64, tag = "2")]
    first: u64,
    #[prost(uint64, tag = "3")]
    last: u64,
    #[prost(sint64, optional, tag = "4")]
    from_ms: Option<i64>,
    #[prost(sint64, optional, tag = "5")]
    to_ms: Option<i64>,
    #[prost(uint64, tag = "6")]
    samples: u64,
    #[prost(string, tag = "7")]
    reason: String,
    #[prost(uint64, tag = "8")]
    alerts: u64,
}

/// Writes a device.
pub(crate) fn encode(device: &Device) -> Vec<u8> {
    DeviceRecord {
        name: device.name.to_string(),
        sessions: device
            .sessions
            .iter()
            .map(|(id, s)| session_record(id, s))
            .collect(),
        tombs: device
            .tombs
            .iter()
            .map(|(id, until)| TombRecord {
                session: id.get(),
                until_ms: until.ms(),
            })
            .collect(),
        gaps: device.gaps.iter().map(gap_record).collect(),
        gaps_total: device.gaps_total,
        past_generated: device.past_generated,
        stored: device.stored,
        dropped: counts(&device.dropped),
        removed: counts(&device.removed),
        damaged: device.damaged,
        recovered: device.recovered,
        left_out: device.left_out.to_vec(),
        quarantined: device.quarantined,
        redelivered: device.redelivered,
        alerts: device.alerts,
        last_seen_ms: device.last_seen.ms(),
        newest_ms: device.newest.map(Timestamp::ms),
        seen: Some(SeenRecord::from(&device.seen)),
    }
    .encode_to_vec()
}

fn counts(reasons: &Reasons) -> Vec<ReasonCount> {
    let count = |(reason, samples): (&&str, &u64)| ReasonCount {
        reason: (*reason).to_owned(),
        samples: *samples,
    };
    reasons.iter().map(count).collect()
}

/// Reads a device; `None` if the bytes are no device.
pub(crate) fn decode(bytes: &[u8]) -> Option<Device> {
    let record = DeviceRecord::decode(bytes).ok()?;
    let mut device = Device::new(record.name.parse().ok()?);
    for session in &record.sessions {
        device
            .sessions
            .insert(SessionId::new(session.session), session_of(session)?);
    }
    for tomb in &record.tombs {
        device
            .tombs
            .insert(SessionId::new(tomb.session), Timestamp::from_ms(tomb.until_ms));
    }
    device.gaps = record.gaps.iter().map(gap_of).collect();
    device.gaps_total = record.gaps_total;
    device.past_generated = record.past_generated;
    device.stored = record.stored;
    device.dropped = record
        .dropped
        .iter()
        .map(|c| (reason(&c.reason), c.samples))
        .collect();
    device.removed = record
        .removed
        .iter()
        .map(|c| (removal(&c.reason), c.samples))
        .collect();
    device.damaged = record.damaged;
    device.recovered = record.recovered;
    device.left_out = record.left_out.into();
    device.quarantined = record.quarantined;
    device.redelivered = record.redelivered;
    device.alerts = record.alerts;
    device.last_seen = Timestamp::from_ms(record.last_seen_ms);
    device.newest = record.newest_ms.map(Timestamp::from_ms);
    device.seen = record.seen.map(Into::into).unwrap_or_default();
    Some(device)
}

fn session_record(id: SessionId, session: &Session) -> SessionRecord {
    let mut runs = Vec::with_capacity(4 * session.settled.len());
    let mut from = 0;
    for (first, run) in session.settled.runs() {
        let total = |t: Option<u64>| t.map_or(0, |t| t.saturating_add(1));
        runs.extend([
            first - from,
            run.last - first,
            run.samples,
            u64::from(run.guessed),
            total(run.before),
            total(run.after),
        ]);
        from = run.last;
    }
    SessionRecord {
        session: id.get(),
        stored: session.stored,
        dropped: session.dropped,
        known_seq: session.known.0,
        known_total: session.known.1,
        closed_seq: session.closed.map(|(seq, _)| seq),
        closed_total: session.closed.map_or(0, |(_, total)| total),
        guessed: session.guessed.unwrap_or("").to_owned(),
        runs,
        doubted: session.doubted,
    }
}

fn session_of(record: &SessionRecord) -> Option<Session> {
    let mut session = Session {
        stored: record.stored,
        dropped: record.dropped,
        known: (record.known_seq, record.known_total),
        closed: record.closed_seq.map(|seq| (seq, record.closed_total)),
        doubted: record.doubted,
        ..Session::default()
    };
    let mut from = 0u64;
    for run in record.runs.chunks(6) {
        let [gap, more, samples, guessed, before, after] = *run else {
            return None;
        };
        let first = from.checked_add(gap)?;
        let last = first.checked_add(more)?;
        let run = Run {
            last,
            samples,
            guessed: guessed != 0,
            before: before.checked_sub(1),
            after: after.checked_sub(1),
        };
        // Runs of a written set do not touch, so nothing is concluded here that was not before.
        session.settled.insert(first, run);
        from = last;
    }
    session.guessed = (!record.guessed.is_empty()).then(|| reason(&record.guessed));
    Some(session)
}

fn gap_record(gap: &GapView) -> GapRecord {
    GapRecord {
        session: gap.session.get(),
        first: gap.first,
        last: gap.last,
        from_ms: gap.from.map(Timestamp::ms),
        to_ms: gap.to.map(Timestamp::ms),
        samples: gap.samples,
        reason: gap.reason.to_owned(),
        alerts: gap.alerts,
    }
}

fn gap_of(record: &GapRecord) -> GapView {
    GapView {
        session: SessionId::new(record.session),
        first: record.first,
        last: record.last,
        from: record.from_ms.map(Timestamp::from_ms),
        to: record.to_ms.map(Timestamp::from_ms),
        samples: record.samples,
        reason: reason(&record.reason),
        alerts: record.alerts,
    }
}
