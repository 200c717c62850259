//! A frozen piece of a group: up to 32 rows, or 128 if nothing is absent, each series a chunk.
//!
//! Times are differences of differences, orders (places in the journal) differences, as varints. A series' chunk holds
//! its present values only; which rows those are is a mask, kept for series with absent ones.

use wire::varint::{Reader, Short, put_signed};

use crate::chunk;

/// Rows of an open buffer, and of a piece in which values may be absent.
pub(crate) const ROWS: usize = 32;

/// The most rows of a piece in which none is.
pub(crate) const MAX_ROWS: usize = 128;

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

/// Writes pieces; keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct Freezer {
    encoder: chunk::Encoder,
    column: Vec<f64>,
    bytes: Vec<u8>,
    lens: Vec<u16>,
    starts: Vec<u32>,
    masks: Vec<(u32, u32)>,
    stamps: Vec<u8>,
}

impl Freezer {
    /// Freezes rows in order of time. `column` appends the values of a series and gives the mask of rows that they are
    /// of, `None` for all; with masks there are at most [`ROWS`] rows. `modes` has the mode of each series, as a hint.
    pub(crate) fn freeze(
        &mut self,
        stamps: &[(i64, u64)],
        modes: &mut [u8],
        mut column: impl FnMut(usize, &mut Vec<f64>) -> Option<u32>,
    ) -> Piece {
        self.bytes.clear();
        self.lens.clear();
        self.starts.clear();
        self.masks.clear();
        for (position, mode) in modes.iter_mut().enumerate() {
            self.column.clear();
            if let Some(mask) = column(position, &mut self.column) {
                self.masks.push((position as u32, mask));
            }
            let start = self.bytes.len();
            if position.is_multiple_of(STEP) {
                self.starts.push(start as u32);
            }
            self.encoder.encode(&self.column, mode, &mut self.bytes);
            // 128 values take at most 9 bytes each and some of head.
            self.lens.push((self.bytes.len() - start) as u16);
        }
        self.finish(stamps)
    }

    fn finish(&mut self, stamps: &[(i64, u64)]) -> Piece {
        self.stamps.clear();
        let (mut last, mut delta, mut before) = (0i64, 0i64, 0i64);
        for (time, order) in stamps {
            let step = time.wrapping_sub(last);
            put_signed(&mut self.stamps, step.wrapping_sub(delta));
            (last, delta) = (*time, step);
            put_signed(&mut self.stamps, (*order as i64).wrapping_sub(before));
            before = *order as i64;
        }
        Piece {
            first: stamps.first().map_or(0, |(time, _)| *time),
            last,
            rows: stamps.len() as u8,
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

    pub(crate) fn rows(&self) -> usize {
        usize::from(self.rows)
    }

    /// Whether every value is there.
    pub(crate) fn is_whole(&self) -> bool {
        self.masks.is_empty()
    }

    fn each_stamp(&self, mut see: impl FnMut(i64, u64)) -> Result<(), Short> {
        let mut reader = Reader::new(&self.stamps);
        let (mut time, mut delta, mut order) = (0i64, 0i64, 0i64);
        for _ in 0..self.rows {
            delta = delta.wrapping_add(reader.signed()?);
            time = time.wrapping_add(delta);
            order = order.wrapping_add(reader.signed()?);
            see(time, order as u64);
        }
        Ok(())
    }

    /// Times and orders of the rows.
    pub(crate) fn stamps(&self) -> Result<Vec<(i64, u64)>, Short> {
        let mut stamps = Vec::with_capacity(usize::from(self.rows));
        self.each_stamp(|time, order| stamps.push((time, order)))?;
        Ok(stamps)
    }

    /// Appends the times of the rows.
    pub(crate) fn times(&self, out: &mut Vec<i64>) -> Result<(), Short> {
        out.reserve(usize::from(self.rows));
        self.each_stamp(|time, _| out.push(time))
    }

    /// Whether a row has exactly this time.
    pub(crate) fn holds(&self, time: i64) -> bool {
        (self.first..=self.last).contains(&time)
            && self
                .stamps()
                .is_ok_and(|stamps| stamps.iter().any(|(t, _)| *t == time))
    }

    /// The rows that a series has, if not all.
    fn mask(&self, position: usize) -> Option<u32> {
        let at = self.masks.binary_search_by_key(&(position as u32), |(at, _)| *at);
        at.ok().map(|at| self.masks[at].1)
    }

    /// Decodes a series: `see` gets (row, value) of each present value. An unreadable chunk, which only a fault of
    /// memory can make, gives nothing.
    pub(crate) fn values(&self, position: usize, out: &mut Vec<f64>, mut see: impl FnMut(usize, f64)) {
        let mask = self.mask(position);
        let rows = (0..self.rows()).filter(|row| mask.is_none_or(|mask| mask >> row & 1 == 1));
        let count = mask.map_or(self.rows(), |mask| mask.count_ones() as usize);
        out.clear();
        if chunk::decode(self.chunk(position), count, out).is_ok() {
            for (row, value) in rows.zip(out.iter()) {
                see(row, *value);
            }
        }
    }

    /// The samples of a series, as (time, order, value); an unreadable piece gives nothing.
    pub(crate) fn samples(
        &self,
        position: usize,
        scratch: &mut Vec<f64>,
        mut see: impl FnMut(i64, u64, f64),
    ) {
        if let Ok(stamps) = self.stamps() {
            self.values(position, scratch, |row, value| {
                see(stamps[row].0, stamps[row].1, value);
            });
        }
    }

    /// Decodes a series that has a value in every row; `None` if it has not. Of an unreadable chunk there may be fewer.
    pub(crate) fn whole_values(&self, position: usize, out: &mut Vec<f64>) -> Option<()> {
        if self.mask(position).is_some() {
            return None;
        }
        out.clear();
        if chunk::decode(self.chunk(position), self.rows(), out).is_err() {
            out.clear();
        }
        Some(())
    }

    /// The chunk of a series.
    pub(crate) fn chunk(&self, position: usize) -> &[u8] {
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

    /// Bytes of memory, those of the allocator left out.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Piece>()
            + self.stamps.len()
            + self.chunks.len()
            + 2 * self.lens.len()
            + 4 * self.starts.len()
            + 8 * self.masks.len()
    }
}
