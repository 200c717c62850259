//! Rows that are not frozen: shared times, and where the values of each are.

use super::cells::{RowCells, RowView};
use super::piece::{Freezer, Piece, ROWS};

/// Up to a piece of rows.
#[derive(Debug, Default)]
pub(crate) struct OpenRows {
    /// Times and orders.
    stamps: Vec<(i64, u64)>,
    rows: Vec<RowCells>,
    /// Series of the group.
    series: usize,
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

    /// Adds a row. `present` says of the series at a position in the group whether it has a value; `None`: all have.
    pub(crate) fn push(
        &mut self,
        stamp: (i64, u64),
        row: RowCells,
        series: usize,
        present: Option<&dyn Fn(usize) -> bool>,
    ) {
        let bit = 1u32 << self.stamps.len();
        self.stamps.push(stamp);
        self.rows.push(row);
        self.series = series;
        let Some(has) = present else {
            return self.present.iter_mut().for_each(|mask| *mask |= bit);
        };
        if self.present.is_empty() {
            self.present.resize(series, bit - 1);
        }
        for (position, mask) in self.present.iter_mut().enumerate() {
            *mask |= if has(position) { bit } else { 0 };
        }
    }

    /// The rows that a series has, as a mask.
    pub(crate) fn mask(&self, position: usize) -> u32 {
        let all = u32::MAX >> (32 - self.stamps.len().clamp(1, 32));
        self.present.get(position).copied().unwrap_or(all)
    }

    /// The samples of a series, as (time, order, value).
    pub(crate) fn samples(&self, position: usize) -> impl Iterator<Item = (i64, u64, f64)> + '_ {
        let mask = self.mask(position);
        let rows = self.stamps.iter().zip(&self.rows).enumerate();
        rows.filter(move |(row, _)| mask >> row & 1 == 1)
            .map(move |(_, ((time, order), row))| (*time, *order, row.value(position)))
    }

    /// Appends the samples of a series in a range of time, both ends included.
    pub(crate) fn copy(&self, position: usize, (start, end): (i64, i64), out: &mut Vec<(i64, u64, f64)>) {
        let mask = self.mask(position);
        out.reserve(self.stamps.len());
        for (at, ((time, order), row)) in self.stamps.iter().zip(&self.rows).enumerate() {
            if (start..=end).contains(time) && mask >> at & 1 == 1 {
                out.push((*time, *order, row.value(position)));
            }
        }
    }

    /// The newest sample of a series in a range of time, both ends included.
    pub(crate) fn newest(&self, position: usize, start: i64, end: i64) -> Option<(i64, u64, f64)> {
        let mask = self.mask(position);
        let rows = self.stamps.iter().enumerate();
        let there = rows.filter(|(row, (time, _))| (start..=end).contains(time) && mask >> row & 1 == 1);
        let newest = there.max_by_key(|(_, stamp)| **stamp);
        newest.map(|(row, (time, order))| (*time, *order, self.rows[row].value(position)))
    }

    /// Freezes all rows, in order of time. `modes` has the mode of each series, as a hint.
    pub(crate) fn freeze(&self, modes: &mut [u8], freezer: &mut Freezer) -> Piece {
        let mut by_time: Vec<usize> = (0..self.rows.len()).collect();
        by_time.sort_by_key(|row| self.stamps[*row]);
        let stamps: Vec<(i64, u64)> = by_time.iter().map(|row| self.stamps[*row]).collect();
        let rows: Vec<RowView<'_>> = by_time.iter().map(|row| self.rows[*row].view()).collect();
        let every = rows.len() as u32;
        freezer.freeze(&stamps, modes, |position, column| {
            match self.present.get(position) {
                Some(mask) if mask.count_ones() < every => {
                    let mut there = 0u32;
                    for (at, row) in by_time.iter().enumerate() {
                        if mask >> row & 1 == 1 {
                            column.push(rows[at].value(position));
                            there |= 1 << at;
                        }
                    }
                    Some(there)
                }
                _ => {
                    column.extend(rows.iter().map(|row| row.value(position)));
                    None
                }
            }
        })
    }

    /// Bytes of memory; of values that are shared, those of the group's series.
    pub(crate) fn bytes(&self) -> usize {
        8 * self.series * self.rows.len()
            + size_of::<(i64, u64)>() * self.stamps.capacity()
            + size_of::<RowCells>() * self.rows.capacity()
            + 4 * self.present.capacity()
    }
}
