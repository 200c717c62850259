//! Closed rows of a group in a range of time, their times decoded once for all of its series.
//!
//! What a series has in a group's pieces lies all over memory. So what is to be read of every piece is looked at first, and
//! then read: the processor waits for much of it at once, instead of for one after the other.

use std::hint::black_box;
use std::sync::Arc;

use super::merge::{Merged, Stretch};
use super::piece::Piece;
use super::segment::Rows;
use crate::block::ColumnTimes;

/// Pieces one after the other in time.
pub(super) struct SharedRows<'a> {
    pieces: Vec<Part<'a>>,
    /// Times of all rows of the pieces.
    times: ColumnTimes,
    /// Of each piece, the chunk of the series that is read.
    chunks: Vec<&'a [u8]>,
    scratch: Vec<f64>,
}

/// A piece, and which of the times are its rows'.
struct Part<'a> {
    piece: &'a Piece,
    rows: Stretch,
}

impl<'a> SharedRows<'a> {
    /// `None` if rows are not frozen or overlap in time: then each series is to be merged on its own.
    pub(super) fn new(rows: &'a [Rows], start: i64, end: i64) -> Option<Self> {
        let frozen: Option<Vec<&Piece>> = rows.iter().map(Rows::piece).collect();
        let frozen = frozen?;
        black_box(frozen.iter().fold(0, |all, piece| all ^ piece.touch()));
        let mut times = Vec::with_capacity(frozen.iter().map(|piece| piece.rows()).sum());
        let mut pieces = Vec::with_capacity(frozen.len());
        for piece in frozen {
            let from = times.len();
            piece.times(&mut times).ok()?;
            let of_piece = &times[from..];
            let before = of_piece.partition_point(|time| *time < start);
            let wanted = of_piece[before..].partition_point(|time| *time <= end);
            pieces.push(Part {
                piece,
                rows: Stretch {
                    of_chunk: from..times.len(),
                    wanted: from + before..from + before + wanted,
                },
            });
        }
        pieces.retain(|part| !part.rows.wanted.is_empty());
        let in_order = times.is_sorted_by(|a, b| a < b);
        in_order.then(|| SharedRows {
            chunks: Vec::with_capacity(pieces.len()),
            pieces,
            times: ColumnTimes::Listed(Arc::new(times)),
            scratch: Vec::new(),
        })
    }

    /// Whether open samples follow the closed ones and one another.
    fn goes_on(&self, open: &[(i64, u64, f64)]) -> bool {
        let first = open.first().map(|(time, ..)| *time);
        let last = self.times.len().checked_sub(1).map(|last| self.times.at(last));
        (last < first || first.is_none()) && open.is_sorted_by(|a, b| a.0 < b.0)
    }

    /// Adds a series' samples; false, and nothing is added, if its open ones do not follow the closed.
    pub(super) fn read(&mut self, position: usize, open: &[(i64, u64, f64)], into: &mut Merged) -> bool {
        if !self.goes_on(open) {
            return false;
        }
        let rows: usize = self.pieces.iter().map(|part| part.rows.wanted.len()).sum();
        into.reserve(rows + open.len());
        let of_series = self.pieces.iter().map(|part| part.piece.chunk(position));
        self.chunks.clear();
        self.chunks.extend(of_series);
        // A byte of each line of the cache.
        let lines = |chunk: &&'a [u8]| chunk.iter().step_by(64).chain(chunk.last());
        let lines = self.chunks.iter().flat_map(lines);
        black_box(lines.fold(0, |all, byte| all ^ byte));
        for (Part { piece, rows }, bytes) in self.pieces.iter().zip(&self.chunks) {
            if piece.has_all(position) {
                // Only a fault of memory makes one that cannot be read: it gives nothing.
                let _ = into.decode(&self.times, rows.clone(), |values| piece.decode(bytes, values));
                continue;
            }
            piece.values(position, &mut self.scratch, |row, value| {
                let at = rows.of_chunk.start + row;
                if rows.wanted.contains(&at) {
                    into.push(self.times.at(at), value);
                }
            });
        }
        for (time, _, value) in open {
            into.push(*time, *value);
        }
        true
    }

    /// The same of the newest sample alone, which is the only one that is decoded.
    pub(super) fn read_newest(
        &mut self,
        position: usize,
        open: &[(i64, u64, f64)],
        into: &mut Merged,
    ) -> bool {
        if !self.goes_on(open) {
            return false;
        }
        if let Some((time, _, value)) = open.last() {
            into.push(*time, *value);
            return true;
        }
        for Part { piece, rows } in self.pieces.iter().rev() {
            let mut newest = None;
            piece.values(position, &mut self.scratch, |row, value| {
                let at = rows.of_chunk.start + row;
                if rows.wanted.contains(&at) {
                    newest = Some((at, value));
                }
            });
            if let Some((at, value)) = newest {
                into.push(self.times.at(at), value);
                break;
            }
        }
        true
    }
}
