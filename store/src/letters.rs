//! Dead letters: refused payloads, raw, for whoever wants to know why. Bounded by count and bytes; the oldest go first.

use std::collections::VecDeque;

use bytes::Bytes;
use prost::Message;
use wire::{DeviceName, SessionId, Timestamp};

use crate::journal::LetterWrites;
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

/// The table in memory, as it is on disk.
#[derive(Debug)]
pub(crate) struct Letters {
    rows: VecDeque<(u64, Vec<u8>)>,
    bytes: u64,
    next: u64,
    max_rows: usize,
    max_bytes: u64,
}

impl Letters {
    pub(crate) fn new(max_rows: usize, max_bytes: u64) -> Self {
        Letters {
            rows: VecDeque::new(),
            bytes: 0,
            next: 0,
            max_rows,
            max_bytes,
        }
    }

    /// Takes in what a file holds.
    pub(crate) fn load(&mut self, rows: Vec<(u64, Vec<u8>)>) {
        self.rows = rows.into();
        self.bytes = self.rows.iter().map(|(_, row)| row.len() as u64).sum();
        self.next = self.rows.back().map_or(0, |(number, _)| number + 1);
    }

    /// What to write for new letters. Nothing changes here until `apply`.
    pub(crate) fn plan(&self, new: Vec<LetterRecord>) -> LetterWrites {
        let rows: Vec<(u64, Vec<u8>)> = (self.next..)
            .zip(new)
            .map(|(number, letter)| (number, letter.encode_to_vec()))
            .collect();
        let mut bytes = self.bytes + rows.iter().map(|(_, row)| row.len() as u64).sum::<u64>();
        let mut count = self.rows.len() + rows.len();
        let mut below = 0;
        for (number, row) in self.rows.iter().chain(&rows) {
            if bytes <= self.max_bytes && count <= self.max_rows {
                break;
            }
            bytes -= row.len() as u64;
            count -= 1;
            below = number + 1;
        }
        LetterWrites { rows, below }
    }

    /// Takes in what was written.
    pub(crate) fn apply(&mut self, rows: Vec<(u64, Vec<u8>)>, below: u64) {
        for (number, row) in rows {
            self.next = number + 1;
            self.bytes += row.len() as u64;
            self.rows.push_back((number, row));
        }
        while let Some((number, row)) = self.rows.front()
            && *number < below
        {
            self.bytes -= row.len() as u64;
            self.rows.pop_front();
        }
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &(u64, Vec<u8>)> {
        self.rows.iter()
    }

    pub(crate) fn list(&self) -> Vec<DeadLetter> {
        self.rows.iter().filter_map(|(_, row)| letter(row)).collect()
    }
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
