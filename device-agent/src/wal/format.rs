//! Bytes of a segment: header and records, both checksummed. docs/wal.md is the specification.
//!
//! [`walk`] reads arbitrary bytes: it yields what is intact in order, says where something is not, and never fails.

use wire::{BootId, Seq, SessionId, Timestamp};

use crate::input::Moment;

const MAGIC: &[u8; 8] = b"BHWAL001";

/// Bytes of a segment's header.
pub(crate) const HEADER: usize = 68;

/// Bytes of a record before its payload.
pub(crate) const RECORD: usize = 45;

/// Largest payload that is read or written, bytes.
pub(crate) const MAX_PAYLOAD: usize = wire::limits::MAX_MESSAGE + 16;

const UNTRUSTED: u8 = 0x80;

/// First bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) session: SessionId,
    pub(crate) number: u64,
    pub(crate) boot: BootId,
    pub(crate) first: Seq,
    pub(crate) total_before: u64,
    pub(crate) stamp: Moment,
}

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Dictionary,
    Row,
    Alert,
}

/// A record without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) kind: Kind,
    /// The wall clock was trusted when this was written.
    pub(crate) trusted: bool,
    pub(crate) samples: u32,
    pub(crate) seq: Seq,
    /// Running sample total of the session after this record.
    pub(crate) total: u64,
    pub(crate) stamp: Moment,
}

/// What [`walk`] finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// An intact record.
    Record(RecordHeader, &'a [u8]),
    /// This many bytes are no record, but one follows.
    Damage(usize),
    /// This many bytes at the end are no record.
    Tail(usize),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(MAGIC);
        for word in [
            self.session.get(),
            self.number,
            self.boot.get(),
            self.first.get(),
            self.total_before,
        ] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.stamp.wall.ms().to_le_bytes());
        out.extend_from_slice(&self.stamp.mono_ms.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// `None` if the bytes are damaged, or of another session than the file's name says.
    pub(crate) fn decode(bytes: &[u8], session: SessionId) -> Option<SegmentHeader> {
        let head = bytes.get(..HEADER)?;
        let (body, crc) = head.split_at(HEADER - 4);
        if !body.starts_with(MAGIC) || crc32c::crc32c(body) != u32_at(crc, 0)? {
            return None;
        }
        let header = SegmentHeader {
            session: SessionId::new(u64_at(body, 8)?),
            number: u64_at(body, 16)?,
            boot: BootId::new(u64_at(body, 24)?),
            first: Seq::new(u64_at(body, 32)?),
            total_before: u64_at(body, 40)?,
            stamp: Moment {
                wall: Timestamp::from_ms(u64_at(body, 48)?.cast_signed()),
                mono_ms: u64_at(body, 56)?,
            },
        };
        (header.session == session).then_some(header)
    }
}

/// Appends a record to a buffer. The payload must not exceed [`MAX_PAYLOAD`].
pub(crate) fn put_record(out: &mut Vec<u8>, session: SessionId, header: &RecordHeader, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    let kind = match header.kind {
        Kind::Dictionary => 1,
        Kind::Row => 2,
        Kind::Alert => 3,
    };
    let start = out.len();
    out.extend_from_slice(&length);
    out.extend_from_slice(&[0; 4]);
    out.push(if header.trusted { kind } else { kind | UNTRUSTED });
    out.extend_from_slice(&header.samples.to_le_bytes());
    out.extend_from_slice(&header.seq.get().to_le_bytes());
    out.extend_from_slice(&header.total.to_le_bytes());
    out.extend_from_slice(&header.stamp.wall.ms().to_le_bytes());
    out.extend_from_slice(&header.stamp.mono_ms.to_le_bytes());
    out.extend_from_slice(payload);
    let crc = checksum(session, length, &out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(session: SessionId, length: [u8; 4], rest: &[u8]) -> u32 {
    let seed = crc32c::crc32c(&session.get().to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &length), rest)
}

/// The record at the start of the bytes, and how long it is.
fn record(bytes: &[u8], session: SessionId) -> Option<(RecordHeader, &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    if length > MAX_PAYLOAD {
        return None;
    }
    let kind = match *bytes.get(8)? & !UNTRUSTED {
        1 => Kind::Dictionary,
        2 => Kind::Row,
        3 => Kind::Alert,
        _ => return None,
    };
    let whole = bytes.get(..RECORD + length)?;
    if checksum(session, whole[..4].try_into().ok()?, &whole[8..]) != u32_at(whole, 4)? {
        return None;
    }
    let header = RecordHeader {
        kind,
        trusted: whole[8] & UNTRUSTED == 0,
        samples: u32_at(whole, 9)?,
        seq: Seq::new(u64_at(whole, 13)?),
        total: u64_at(whole, 21)?,
        stamp: Moment {
            wall: Timestamp::from_ms(u64_at(whole, 29)?.cast_signed()),
            mono_ms: u64_at(whole, 37)?,
        },
    };
    Some((header, &whole[RECORD..]))
}

/// Everything in a segment's bytes, its header skipped if it is intact.
pub(crate) fn walk(bytes: &[u8], session: SessionId) -> impl Iterator<Item = Found<'_>> {
    let mut at = match SegmentHeader::decode(bytes, session) {
        Some(_) => HEADER,
        None => 0,
    };
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        if let Some((header, payload)) = record(&bytes[at..], session) {
            at += RECORD + payload.len();
            return Some(Found::Record(header, payload));
        }
        let damaged = at;
        match (at + 1..bytes.len()).find(|&next| record(&bytes[next..], session).is_some()) {
            Some(next) => {
                at = next;
                Some(Found::Damage(next - damaged))
            }
            None => {
                at = bytes.len();
                Some(Found::Tail(bytes.len() - damaged))
            }
        }
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
