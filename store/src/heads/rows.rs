//! Rows that are not frozen: shared times, values row after row.

use super::piece::{Freezer, Piece, ROWS};

/// Room that is made first, rows; it doubles up to a piece's.
const FIRST: usize = 4;

/// Up to a piece of rows.
#[derive(Debug, Default)]
pub(crate) struct OpenRows {
    /// Times and orders.
    stamps: Vec<(i64, u64)>,
    values: Vec<f64>,
    /// A mask of rows per series; empty while nothing is absent.
    present: Vec<u32>,
}

impl OpenRows {
    pub(crate) fn len(&self) -> usize {
        self.stamps.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.stamps.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.stamps.len() >= ROWS
    }

    pub(crate) fn times(&self) -> impl Iterator<Item = i64> + '_ {
        self.stamps.iter().map(|(time, _)| *time)
    }

    /// Times and orders of the rows.
    pub(crate) fn stamps(&self) -> &[(i64, u64)] {
        &self.stamps
    }

    fn start(&mut self, time: i64, order: u64, series: usize) {
        let rows = self.stamps.len();
        if self.values.capacity() < (rows + 1) * series {
            let room = (2 * rows).clamp(FIRST, ROWS);
            self.values.reserve_exact(room * series - self.values.len());
        }
        self.stamps.push((time, order));
    }

    /// Adds a row with a value of each of the group's `series`.
    pub(crate) fn push(&mut self, time: i64, order: u64, row: impl ExactSizeIterator<Item = f64>) {
        self.start(time, order, row.len());
        let bit = 1u32 << (self.stamps.len() - 1);
        self.values.extend(row);
        self.present.iter_mut().for_each(|mask| *mask |= bit);
    }

    /// Adds a row in which values may be absent.
    pub(crate) fn push_sparse(
        &mut self,
        time: i64,
        order: u64,
        row: impl ExactSizeIterator<Item = Option<f64>>,
    ) {
        let series = row.len();
        self.start(time, order, series);
        let bit = 1u32 << (self.stamps.len() - 1);
        if self.present.is_empty() {
            self.present.resize(series, bit - 1);
        }
        for (mask, value) in self.present.iter_mut().zip(row) {
            *mask |= if value.is_some() { bit } else { 0 };
            self.values.push(value.unwrap_or(0.0));
        }
    }

    /// The rows that a series has, as a mask.
    pub(crate) fn mask(&self, position: usize) -> u32 {
        let all = u32::MAX >> (32 - self.stamps.len().clamp(1, 32));
        self.present.get(position).copied().unwrap_or(all)
    }

    /// Whether every value is there.
    pub(crate) fn is_whole(&self) -> bool {
        self.present.is_empty()
    }

    /// Appends the value of a series in each row, absent or not.
    pub(crate) fn column(&self, position: usize, out: &mut Vec<f64>) {
        let series = self.values.len() / self.stamps.len().max(1);
        out.extend(self.values.iter().skip(position).step_by(series.max(1)));
    }

    /// The samples of a series, as (time, order, value).
    pub(crate) fn samples(&self, position: usize) -> impl Iterator<Item = (i64, u64, f64)> + '_ {
        let mask = self.mask(position);
        let series = self.values.len() / self.stamps.len().max(1);
        (0..self.stamps.len())
            .filter(move |row| mask >> row & 1 == 1)
            .map(move |row| {
                let (time, order) = self.stamps[row];
                (time, order, self.values[row * series + position])
            })
    }

    /// Appends the samples of a series in a range of time, both ends included.
    pub(crate) fn copy(&self, position: usize, (start, end): (i64, i64), out: &mut Vec<(i64, u64, f64)>) {
        let mask = self.mask(position);
        let series = self.values.len() / self.stamps.len().max(1);
        out.reserve(self.stamps.len());
        for (row, (time, order)) in self.stamps.iter().enumerate() {
            if (start..=end).contains(time) && mask >> row & 1 == 1 {
                out.push((*time, *order, self.values[row * series + position]));
            }
        }
    }

    /// The newest sample of a series in a range of time, both ends included.
    pub(crate) fn newest(&self, position: usize, start: i64, end: i64) -> Option<(i64, u64, f64)> {
        let mask = self.mask(position);
        let series = self.values.len() / self.stamps.len().max(1);
        let rows = self.stamps.iter().enumerate();
        let there = rows.filter(|(row, (time, _))| (start..=end).contains(time) && mask >> row & 1 == 1);
        let newest = there.max_by_key(|(_, stamp)| **stamp);
        newest.map(|(row, (time, order))| (*time, *order, self.values[row * series + position]))
    }

    /// Freezes all rows, in order of time. `modes` has the mode of each series, as a hint.
    pub(crate) fn freeze(&self, modes: &mut [u8], freezer: &mut Freezer) -> Piece {
        let rows = self.stamps.len();
        let series = modes.len();
        if self.is_whole() && self.stamps.is_sorted() {
            return freezer.freeze(&self.stamps, modes, |position, column| {
                let rows = self.values.chunks_exact(series.max(1));
                column.extend(rows.map(|row| row[position]));
                None
            });
        }
        let mut by_time: Vec<usize> = (0..rows).collect();
        by_time.sort_by_key(|row| self.stamps[*row]);
        let stamps: Vec<(i64, u64)> = by_time.iter().map(|row| self.stamps[*row]).collect();
        freezer.freeze(&stamps, modes, |position, column| {
            match self.present.get(position) {
                Some(mask) if mask.count_ones() < rows as u32 => {
                    let mut there = 0u32;
                    for (at, row) in by_time
                        .iter()
                        .enumerate()
                        .filter(|(_, row)| mask >> **row & 1 == 1)
                    {
                        column.push(self.values[row * series + position]);
                        there |= 1 << at;
                    }
                    Some(there)
                }
                _ => {
                    column.extend(by_time.iter().map(|row| self.values[row * series + position]));
                    None
                }
            }
        })
    }

    /// Empties it for more rows; room is kept.
    pub(crate) fn clear(&mut self) {
        self.stamps.clear();
        self.values.clear();
        self.present = Vec::new();
    }

    /// Whether it has room for rows, filled or not.
    pub(crate) fn has_room(&self) -> bool {
        self.values.capacity() > 0
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        8 * (self.values.capacity() + 2 * self.stamps.capacity()) + 4 * self.present.capacity()
    }
}
