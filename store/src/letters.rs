//! Dead letters: refused payloads, raw, for whoever wants to know why. Bounded by count and bytes; the oldest go first.

use bytes::Bytes;
use prost::Message;
use wire::{DeviceName, SessionId, Timestamp};

use crate::journal::Rows;
use crate::record::LetterRecord;

/// A refused payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Who.
    pub device: DeviceName,
    /// The session it is of.
    pub session: SessionId,
    /// When it arrived, by the bridge's clock.
    pub received: Timestamp,
    /// Why it was refused.
    pub reason: String,
    /// The payload as received, cut to 64 KiB.
    pub payload: Bytes,
}

/// Bounds of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) rows: usize,
    pub(crate) bytes: u64,
}

/// What to write for new letters: they, and the oldest that make room for them.
pub(crate) fn plan(table: &Rows<u64>, new: Vec<LetterRecord>, limits: Limits) -> Vec<(u64, Option<Bytes>)> {
    if new.is_empty() {
        return Vec::new();
    }
    let next = table.last_key_value().map_or(0, |(number, _)| number + 1);
    let new: Rows<u64> = (next..)
        .zip(new)
        .map(|(number, letter)| (number, letter.encode_to_vec().into()))
        .collect();
    let all = || table.iter().chain(&new);
    let mut bytes: u64 = all().map(|(_, row)| row.len() as u64).sum();
    let mut count = table.len() + new.len();
    let mut gone = Vec::new();
    for (number, row) in all() {
        if bytes <= limits.bytes && count <= limits.rows {
            break;
        }
        bytes -= row.len() as u64;
        count -= 1;
        gone.push((*number, None));
    }
    let mut writes: Vec<_> = new.into_iter().map(|(n, row)| (n, Some(row))).collect();
    writes.append(&mut gone);
    writes
}

/// Letters of the table, oldest first.
pub(crate) fn list(table: &Rows<u64>) -> Vec<DeadLetter> {
    table.values().filter_map(|row| letter(row)).collect()
}

fn letter(row: &[u8]) -> Option<DeadLetter> {
    let record = LetterRecord::decode(row).ok()?;
    Some(DeadLetter {
        device: record.device.parse().ok()?,
        session: SessionId::new(record.session),
        received: Timestamp::from_ms(record.received_ms),
        reason: record.reason,
        payload: record.payload,
    })
}
