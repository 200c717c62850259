//! Which cells of a group have a float.
//!
//! In memory a bitmap, series-major as the values are. In a message, per row: varint 0 if the row has every series, else
//! 1 + the count of runs, and each run as varints (positions left out before it, positions in it less one).

use crate::batch::BatchError;
use crate::batch::runs;
use crate::varint::{Reader, put};

/// A bitmap over the cells of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    words: Vec<u64>,
    len: usize,
}

impl Presence {
    /// Of `len` cells, none has a float.
    pub fn none(len: usize) -> Self {
        Presence {
            words: vec![0; len.div_ceil(64)],
            len,
        }
    }

    /// How many cells there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a cell has a float; false beyond the last.
    pub fn get(&self, cell: usize) -> bool {
        cell < self.len && self.words[cell / 64] >> (cell % 64) & 1 == 1
    }

    /// Says that a cell has a float, or has none; nothing beyond the last.
    pub fn set(&mut self, cell: usize, has: bool) {
        if cell < self.len {
            let bit = 1 << (cell % 64);
            match has {
                true => self.words[cell / 64] |= bit,
                false => self.words[cell / 64] &= !bit,
            }
        }
    }

    /// How many cells have a float.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The message's column; empty if every cell has a float.
    pub(crate) fn encode(&self, rows: usize) -> Vec<u8> {
        let mut out = Vec::new();
        if self.count() == self.len {
            return out;
        }
        let series = self.len / rows;
        for row in 0..rows {
            let has = (0..series).filter(|s| self.get(s * rows + row));
            let (runs, column) = runs::encode(has.map(|s| s as u64));
            match has_all(&column, runs, series) {
                true => put(&mut out, 0),
                false => {
                    put(&mut out, 1 + runs);
                    out.extend_from_slice(&column);
                }
            }
        }
        out
    }

    /// Reads the message's column.
    pub(crate) fn decode(column: &[u8], series: usize, rows: usize) -> Result<Self, BatchError> {
        let mut present = Presence::none(series * rows);
        let mut reader = Reader::new(column);
        for row in 0..rows {
            let positions = match reader.varint()? {
                0 => std::iter::once(0..series as u64).collect(),
                runs => runs::decode(&mut reader, runs - 1, series as u64)?,
            };
            for s in positions.into_iter().flatten() {
                present.set(s as usize * rows + row, true);
            }
        }
        match reader.is_empty() {
            true => Ok(present),
            false => Err(BatchError::Malformed("presence")),
        }
    }
}

/// Whether a row's runs are the one that covers every series.
fn has_all(column: &[u8], runs: u64, series: usize) -> bool {
    let mut all = Vec::new();
    put(&mut all, 0);
    put(&mut all, series.saturating_sub(1) as u64);
    runs == 1 && column == all
}
