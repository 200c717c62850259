//! A frozen piece of a group: up to 32 rows, each series a chunk.
//!
//! Times are differences of differences, orders (places in the journal) differences, as varints. A series' chunk holds
//! its present values only; which rows those are is a mask, kept for series with absent ones.

use wire::varint::{Reader, Short, put_signed};

use crate::chunk;

/// Rows of a piece.
pub(crate) const ROWS: usize = 32;

/// Series between two stored offsets.
const STEP: usize = 16;

/// Frozen rows.
#[derive(Debug)]
pub(crate) struct Piece {
    first: i64,
    last: i64,
    rows: u8,
    stamps: Box<[u8]>,
    chunks: Box<[u8]>,
    /// Bytes of each chunk, and the offset of every 16th.
    lens: Box<[u16]>,
    starts: Box<[u32]>,
    /// Series with absent values, by position, and the rows they have.
    masks: Box<[(u32, u32)]>,
}

/// Rows that are not frozen yet.
#[derive(Debug, Default)]
pub(crate) struct OpenRows {
    times: Vec<i64>,
    orders: Vec<u64>,
    /// Row after row.
    values: Vec<f64>,
    /// A mask of rows per series; empty while nothing is absent.
    present: Vec<u32>,
}

impl OpenRows {
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.times.len() >= ROWS
    }

    pub(crate) fn times(&self) -> &[i64] {
        &self.times
    }

    /// Adds a row of as many values as the group has series.
    pub(crate) fn push(&mut self, time: i64, order: u64, row: impl Iterator<Item = Option<f64>>) {
        let bit = 1u32 << self.times.len();
        self.times.push(time);
        self.orders.push(order);
        let start = self.values.len();
        if start == 0 {
            self.values.reserve_exact(ROWS * row.size_hint().0);
        }
        let mut absent = Vec::new();
        for value in row {
            if value.is_none() {
                absent.push(self.values.len() - start);
            }
            self.values.push(value.unwrap_or(0.0));
        }
        if !absent.is_empty() && self.present.is_empty() {
            self.present.resize(self.values.len() - start, bit - 1);
        }
        self.present.iter_mut().for_each(|mask| *mask |= bit);
        for position in absent {
            self.present[position] &= !bit;
        }
    }

    /// The samples of a series, as (time, order, value).
    pub(crate) fn samples(&self, position: usize) -> impl Iterator<Item = (i64, u64, f64)> + '_ {
        let series = self.values.len().checked_div(self.times.len()).unwrap_or(0);
        let mask = self.present.get(position).copied().unwrap_or(u32::MAX);
        (0..self.times.len())
            .filter(move |row| mask >> row & 1 == 1)
            .map(move |row| {
                (
                    self.times[row],
                    self.orders[row],
                    self.values[row * series + position],
                )
            })
    }

    /// Freezes all rows, in order of time, and is empty then. `modes` has the mode of each series, as a hint.
    pub(crate) fn freeze(&mut self, modes: &mut [u8], freezer: &mut Freezer) -> Piece {
        let rows = self.times.len();
        let series = modes.len();
        let mut by_time: Vec<usize> = (0..rows).collect();
        by_time.sort_by_key(|row| (self.times[*row], self.orders[*row]));
        freezer.clear();
        let mut column = [0.0; ROWS];
        for (position, mode) in modes.iter_mut().enumerate() {
            let mut len = rows;
            match self.present.get(position) {
                Some(mask) if mask.count_ones() < rows as u32 => {
                    let there = by_time
                        .iter()
                        .enumerate()
                        .filter(|(_, row)| mask >> **row & 1 == 1);
                    len = 0;
                    let mut rows_there = 0u32;
                    for (at, row) in there {
                        column[len] = self.values[row * series + position];
                        len += 1;
                        rows_there |= 1 << at;
                    }
                    freezer.masks.push((position as u32, rows_there));
                }
                _ => {
                    for (cell, row) in column.iter_mut().zip(&by_time) {
                        *cell = self.values[row * series + position];
                    }
                }
            }
            freezer.push(&column[..len], mode);
        }
        let piece = freezer.finish(&by_time, self);
        self.times.clear();
        self.orders.clear();
        self.values.clear();
        self.present = Vec::new();
        piece
    }
}

/// Writes pieces; keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct Freezer {
    encoder: chunk::Encoder,
    bytes: Vec<u8>,
    lens: Vec<u16>,
    starts: Vec<u32>,
    masks: Vec<(u32, u32)>,
    stamps: Vec<u8>,
}

impl Freezer {
    fn clear(&mut self) {
        self.bytes.clear();
        self.lens.clear();
        self.starts.clear();
        self.masks.clear();
        self.stamps.clear();
    }

    fn push(&mut self, column: &[f64], mode: &mut u8) {
        let start = self.bytes.len();
        if self.lens.len().is_multiple_of(STEP) {
            self.starts.push(start as u32);
        }
        self.encoder.encode(column, mode, &mut self.bytes);
        // 32 values take at most 9 bytes each and some of head.
        self.lens.push((self.bytes.len() - start) as u16);
    }

    fn finish(&mut self, by_time: &[usize], open: &OpenRows) -> Piece {
        let time = |at: usize| by_time.get(at).map_or(0, |row| open.times[*row]);
        let (mut last, mut delta, mut order) = (0i64, 0i64, 0i64);
        for row in by_time {
            let step = open.times[*row].wrapping_sub(last);
            put_signed(&mut self.stamps, step.wrapping_sub(delta));
            (last, delta) = (open.times[*row], step);
            put_signed(&mut self.stamps, (open.orders[*row] as i64).wrapping_sub(order));
            order = open.orders[*row] as i64;
        }
        Piece {
            first: time(0),
            last: time(by_time.len().saturating_sub(1)),
            rows: by_time.len() as u8,
            stamps: self.stamps.as_slice().into(),
            chunks: self.bytes.as_slice().into(),
            lens: self.lens.as_slice().into(),
            starts: self.starts.as_slice().into(),
            masks: self.masks.as_slice().into(),
        }
    }
}

impl Piece {
    pub(crate) fn first(&self) -> i64 {
        self.first
    }

    pub(crate) fn last(&self) -> i64 {
        self.last
    }

    /// Times and orders of the rows.
    pub(crate) fn stamps(&self) -> Result<Vec<(i64, u64)>, Short> {
        let mut reader = Reader::new(&self.stamps);
        let (mut time, mut delta, mut order) = (0i64, 0i64, 0i64);
        let mut stamps = Vec::with_capacity(usize::from(self.rows));
        for _ in 0..self.rows {
            delta = delta.wrapping_add(reader.signed()?);
            time = time.wrapping_add(delta);
            order = order.wrapping_add(reader.signed()?);
            stamps.push((time, order as u64));
        }
        Ok(stamps)
    }

    /// Whether a row has exactly this time.
    pub(crate) fn holds(&self, time: i64) -> bool {
        (self.first..=self.last).contains(&time)
            && self
                .stamps()
                .is_ok_and(|stamps| stamps.iter().any(|(t, _)| *t == time))
    }

    /// Decodes a series: `see` gets (row, value) of each present value. An unreadable chunk, which only a fault of
    /// memory can make, gives nothing.
    pub(crate) fn values(&self, position: usize, out: &mut Vec<f64>, mut see: impl FnMut(usize, f64)) {
        let mask = match self.masks.binary_search_by_key(&(position as u32), |(at, _)| *at) {
            Ok(at) => self.masks[at].1,
            Err(_) => u32::MAX,
        };
        let rows = (0..usize::from(self.rows)).filter(|row| mask >> row & 1 == 1);
        out.clear();
        if chunk::decode(self.chunk(position), rows.clone().count(), out).is_ok() {
            for (row, value) in rows.zip(out.iter()) {
                see(row, *value);
            }
        }
    }

    fn chunk(&self, position: usize) -> &[u8] {
        let block = position / STEP * STEP;
        let (Some(start), Some(lens)) = (self.starts.get(position / STEP), self.lens.get(block..=position))
        else {
            return &[];
        };
        let (len, before) = lens
            .split_last()
            .map_or((0, &[][..]), |(len, before)| (*len, before));
        let start = *start as usize + before.iter().map(|len| usize::from(*len)).sum::<usize>();
        self.chunks.get(start..start + usize::from(len)).unwrap_or(&[])
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Piece>()
            + self.stamps.len()
            + self.chunks.len()
            + 2 * self.lens.len()
            + 4 * self.starts.len()
            + 8 * self.masks.len()
    }
}
