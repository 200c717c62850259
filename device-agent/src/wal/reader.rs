//! Rows out of a segment's bytes.
//!
//! A row decodes with the dictionary records before it and the row that it refers to. Where one of those is damaged, the
//! row is reported as unreadable; it is never decoded against anything else.

use std::collections::HashMap;
use std::sync::Arc;

use wire::batch::{Group, GroupKey, decode_group};
use wire::dict::{self, Dictionary};
use wire::{Seq, SeqSet, SessionId};

use crate::input::Moment;
use crate::wal::format::{Found, Kind, walk};

/// A record of one scrape.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LoggedRow {
    pub(crate) seq: Seq,
    /// Running sample total of the session after this record.
    pub(crate) total: u64,
    pub(crate) stamp: Moment,
    /// The wall clock was trusted when this was logged.
    pub(crate) trusted: bool,
    /// Of the dictionary that the ids of `group` belong to; 0 for rows that were read back.
    pub(crate) lineage: u32,
    /// One row.
    pub(crate) group: Group,
}

/// Rows of one segment.
#[derive(Debug, Clone)]
pub(crate) struct ReadRows {
    pub(crate) session: SessionId,
    pub(crate) dictionary: Arc<Dictionary>,
    pub(crate) rows: Vec<LoggedRow>,
    /// Wanted records up to the last row that cannot be read.
    pub(crate) unreadable: SeqSet,
}

/// How much is read at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadLimit {
    pub(crate) rows: usize,
    pub(crate) values: usize,
}

/// The first wanted rows of a segment, oldest first.
pub(crate) fn read_rows(bytes: &[u8], session: SessionId, wanted: &SeqSet, limit: ReadLimit) -> ReadRows {
    let mut dictionary = Dictionary::new();
    let mut references = HashMap::new();
    let mut rows: Vec<LoggedRow> = Vec::new();
    let mut seen = SeqSet::new();
    let mut values = 0;
    for found in walk(bytes, session) {
        let Found::Record(header, payload) = found else {
            continue;
        };
        if header.kind == Kind::Dictionary {
            apply(&mut dictionary, payload);
            continue;
        }
        if header.kind == Kind::Alert {
            continue;
        }
        if rows.len() >= limit.rows || values >= limit.values {
            break;
        }
        let is_wanted = wanted.contains(header.seq);
        let group = decode(header.seq, payload, dictionary.len(), &mut references, is_wanted);
        if let (true, Some(group)) = (is_wanted, group) {
            values += group.values.len();
            seen.insert(header.seq);
            rows.push(LoggedRow {
                seq: header.seq,
                total: header.total,
                stamp: header.stamp,
                trusted: header.trusted,
                lineage: 0,
                group,
            });
        }
    }
    let full = rows.len() >= limit.rows || values >= limit.values;
    let mut unreadable = wanted.clone();
    unreadable.remove_all(&seen);
    if let (true, Some(last)) = (full, rows.last()) {
        unreadable.remove_range(last.seq.next(), Seq::new(u64::MAX));
    }
    ReadRows {
        session,
        dictionary: Arc::new(dictionary),
        rows,
        unreadable,
    }
}

/// The dictionary at a segment's end, as far as it is intact.
pub(crate) fn read_dictionary(bytes: &[u8], session: SessionId) -> Dictionary {
    let mut dictionary = Dictionary::new();
    for found in walk(bytes, session) {
        if let Found::Record(header, payload) = found
            && header.kind == Kind::Dictionary
        {
            apply(&mut dictionary, payload);
        }
    }
    dictionary
}

/// An addition to a list that is not at hand is passed over: what needs it is then out of the list's range.
pub(super) fn apply(dictionary: &mut Dictionary, payload: &[u8]) {
    if let Ok(extended) = dict::decode(payload).and_then(|message| message.apply(dictionary)) {
        *dictionary = extended;
    }
}

pub(super) fn decode(
    seq: Seq,
    payload: &[u8],
    series: usize,
    references: &mut HashMap<Seq, GroupKey>,
    is_wanted: bool,
) -> Option<Group> {
    let (back, body) = split_varint(payload)?;
    let reference = match back {
        0 => None,
        _ if !is_wanted => return None,
        back => Some(references.get(&Seq::new(seq.get().checked_sub(back)?))?),
    };
    let (group, key) = decode_group(body, series, reference).ok()?;
    if let Some(key) = key {
        references.insert(seq, key);
    }
    let whole = group.rows.len() == 1 && group.rows[0].seq == seq;
    whole.then_some(group)
}

/// LEB128.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n as u8) | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn split_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut n = 0u64;
    for (at, &byte) in bytes.iter().take(9).enumerate() {
        n |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some((n, &bytes[at + 1..]));
        }
    }
    None
}
