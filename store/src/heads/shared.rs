//! Closed rows of a group in a range of time, their times decoded once for all of its series.

use super::merge::Merged;
use super::piece::Piece;
use super::segment::Rows;

/// Pieces one after the other in time.
pub(super) struct SharedRows<'a> {
    pieces: Vec<Part<'a>>,
    /// Times of all rows of the pieces.
    times: Vec<i64>,
    scratch: Vec<f64>,
}

/// A piece, and which of its rows are in the range.
struct Part<'a> {
    piece: &'a Piece,
    /// Where its times begin.
    times: usize,
    from: usize,
    to: usize,
}

impl<'a> SharedRows<'a> {
    /// `None` if rows are not frozen or overlap in time: then each series is to be merged on its own.
    pub(super) fn new(rows: &'a [Rows], start: i64, end: i64) -> Option<Self> {
        let mut shared = SharedRows {
            pieces: Vec::with_capacity(rows.len()),
            times: Vec::new(),
            scratch: Vec::new(),
        };
        for rows in rows {
            let Rows::Frozen(piece) = rows else { return None };
            let from = shared.times.len();
            piece.times(&mut shared.times).ok()?;
            let times = &shared.times[from..];
            shared.pieces.push(Part {
                piece,
                times: from,
                from: times.partition_point(|time| *time < start),
                to: times.partition_point(|time| *time <= end),
            });
        }
        shared.times.is_sorted_by(|a, b| a < b).then_some(shared)
    }

    /// Whether open samples follow the closed ones and one another.
    fn goes_on(&self, open: &[(i64, u64, f64)]) -> bool {
        let first = open.first().map(|(time, ..)| time);
        (self.times.last() < first || first.is_none()) && open.is_sorted_by(|a, b| a.0 < b.0)
    }

    /// Adds a series' samples; false, and nothing is added, if its open ones do not follow the closed.
    pub(super) fn read(&mut self, position: usize, open: &[(i64, u64, f64)], into: &mut Merged) -> bool {
        if !self.goes_on(open) {
            return false;
        }
        let rows: usize = self
            .pieces
            .iter()
            .map(|part| part.to.saturating_sub(part.from))
            .sum();
        into.reserve(rows + open.len());
        for part in &self.pieces {
            let times = &self.times[part.times..part.times + part.piece.rows()];
            match part.piece.whole_values(position, &mut self.scratch) {
                Some(()) => {
                    if part.from < part.to && self.scratch.len() == times.len() {
                        into.add(&times[part.from..part.to], &self.scratch[part.from..part.to]);
                    }
                }
                None => part.piece.values(position, &mut self.scratch, |row, value| {
                    if (part.from..part.to).contains(&row) {
                        into.add(&[times[row]], &[value]);
                    }
                }),
            }
        }
        for (time, _, value) in open {
            into.add(&[*time], &[*value]);
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
            into.add(&[*time], &[*value]);
            return true;
        }
        for part in self.pieces.iter().rev() {
            let mut newest = None;
            part.piece.values(position, &mut self.scratch, |row, value| {
                if (part.from..part.to).contains(&row) {
                    newest = Some((row, value));
                }
            });
            if let Some((row, value)) = newest {
                into.add(&[self.times[part.times + row]], &[value]);
                break;
            }
        }
        true
    }
}
