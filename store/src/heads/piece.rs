//! A frozen piece of a group: up to 32 rows, or 128 if nothing is absent, each series a chunk.
//!
//! All of it is one text of bytes, so that what is read together lies together:
//!
//! - times: varints of differences of differences
//! - the index, per 16 series: the offset of the first one's chunk (u32), and the length of each chunk (u16)
//! - masks: of each series that has not all rows its position and the rows that it has, as bits (u32 each)
//! - chunks, of a series' present values only
//! - orders (places in the journal): varints of differences
//!
//! Numbers that are no varints are little-endian.

use std::ops::Range;

use wire::varint::{Reader, Short, put_signed};

use crate::chunk;

/// Rows of an open buffer, and of a piece in which values may be absent.
pub(crate) const ROWS: usize = 32;

/// The most rows of a piece in which none is.
pub(crate) const MAX_ROWS: usize = 128;

/// Series of a part of the index, and the bytes of such a part.
const STEP: usize = 16;
const STEP_BYTES: usize = 4 + 2 * STEP;

/// Frozen rows.
#[derive(Debug)]
pub(crate) struct Piece {
    first: i64,
    last: i64,
    rows: u8,
    /// Where the index, the masks, the chunks and the orders begin.
    index: u32,
    masks: u32,
    chunks: u32,
    orders: u32,
    bytes: Box<[u8]>,
}

/// Writes pieces; keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct Freezer {
    encoder: chunk::Encoder,
    column: Vec<f64>,
    times: Vec<u8>,
    index: Vec<u8>,
    masks: Vec<u8>,
    chunks: Vec<u8>,
    orders: Vec<u8>,
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
        self.chunks.clear();
        self.index.clear();
        self.masks.clear();
        for (position, mode) in modes.iter_mut().enumerate() {
            self.column.clear();
            if let Some(mask) = column(position, &mut self.column) {
                self.masks.extend_from_slice(&(position as u32).to_le_bytes());
                self.masks.extend_from_slice(&mask.to_le_bytes());
            }
            let start = self.chunks.len();
            if position.is_multiple_of(STEP) {
                self.index.extend_from_slice(&(start as u32).to_le_bytes());
            }
            self.encoder.encode(&self.column, mode, &mut self.chunks);
            // 128 values take at most 9 bytes each and some of head.
            let len = (self.chunks.len() - start) as u16;
            self.index.extend_from_slice(&len.to_le_bytes());
        }
        self.stamp(stamps);
        self.finish(stamps)
    }

    fn stamp(&mut self, stamps: &[(i64, u64)]) {
        self.times.clear();
        self.orders.clear();
        let (mut last, mut delta, mut before) = (0i64, 0i64, 0i64);
        for (time, order) in stamps {
            let step = time.wrapping_sub(last);
            put_signed(&mut self.times, step.wrapping_sub(delta));
            (last, delta) = (*time, step);
            put_signed(&mut self.orders, (*order as i64).wrapping_sub(before));
            before = *order as i64;
        }
    }

    fn finish(&self, stamps: &[(i64, u64)]) -> Piece {
        let parts = [&self.times, &self.index, &self.masks, &self.chunks, &self.orders];
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        let mut begins = [0; 5];
        for (begin, part) in begins.iter_mut().zip(parts) {
            *begin = bytes.len() as u32;
            bytes.extend_from_slice(part);
        }
        let [_, index, masks, chunks, orders] = begins;
        let time = |stamp: Option<&(i64, u64)>| stamp.map_or(0, |(time, _)| *time);
        Piece {
            first: time(stamps.first()),
            last: time(stamps.last()),
            rows: stamps.len() as u8,
            index,
            masks,
            chunks,
            orders,
            bytes: bytes.into(),
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

    fn part(&self, Range { start, end }: Range<u32>) -> &[u8] {
        self.bytes.get(start as usize..end as usize).unwrap_or_default()
    }

    /// Whether every value is there.
    pub(crate) fn is_whole(&self) -> bool {
        self.masks == self.chunks
    }

    /// Times and orders of the rows.
    pub(crate) fn stamps(&self) -> Result<Vec<(i64, u64)>, Short> {
        let mut times = Vec::new();
        self.times(&mut times)?;
        let mut reader = Reader::new(self.bytes.get(self.orders as usize..).unwrap_or_default());
        let mut order = 0i64;
        let mut next = |time| {
            order = order.wrapping_add(reader.signed()?);
            Ok((time, order as u64))
        };
        times.into_iter().map(&mut next).collect()
    }

    /// Appends the times of the rows.
    pub(crate) fn times(&self, out: &mut Vec<i64>) -> Result<(), Short> {
        out.reserve(usize::from(self.rows));
        let mut reader = Reader::new(self.part(0..self.index));
        let (mut time, mut delta) = (0i64, 0i64);
        for _ in 0..self.rows {
            delta = delta.wrapping_add(reader.signed()?);
            time = time.wrapping_add(delta);
            out.push(time);
        }
        Ok(())
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
        let (masks, _) = self.part(self.masks..self.chunks).as_chunks::<8>();
        // Position, then mask.
        let number =
            |[a, b, c, d, m @ ..]: [u8; 8]| (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes(m));
        let at = masks.binary_search_by_key(&(position as u32), |of_series| number(*of_series).0);
        at.ok().map(|at| number(masks[at]).1)
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

    /// Whether a series has a value in every row.
    pub(crate) fn has_all(&self, position: usize) -> bool {
        self.mask(position).is_none()
    }

    /// Looks at what is read first.
    pub(crate) fn touch(&self) -> u8 {
        self.bytes.first().copied().unwrap_or(0)
    }

    /// The chunk of a series.
    pub(crate) fn chunk(&self, position: usize) -> &[u8] {
        let index = self.part(self.index..self.masks);
        let step = index.get(position / STEP * STEP_BYTES..);
        let Some((start, lens)) = step.and_then(|step| step.split_first_chunk::<4>()) else {
            return &[];
        };
        let (lens, _) = lens.as_chunks::<2>();
        let Some((before, [len, ..])) = lens.split_at_checked(position % STEP) else {
            return &[];
        };
        let len_of = |len: &[u8; 2]| usize::from(u16::from_le_bytes(*len));
        let start = u32::from_le_bytes(*start) as usize + before.iter().map(len_of).sum::<usize>();
        let chunks = self.part(self.chunks..self.orders);
        chunks.get(start..start + len_of(len)).unwrap_or_default()
    }

    /// Bytes of memory, those of the allocator left out.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Piece>() + self.bytes.len()
    }
}
