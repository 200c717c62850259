//! A frozen piece of a group: up to 32 rows, or 128 if nothing is absent, each series a chunk.
//!
//! All of it is one text of bytes, so that what is read together lies together:
//!
//! - times: varints of differences of differences
//! - the index, per 16 series: the offset of the first one's chunk (u32), and the length of each chunk (u16)
//! - masks: of each series that has not all rows its position and the rows that it has, as bits (u32 each)
//! - chunks, of a series' present values only; of a series that has all rows there may be several, each of 32 rows but the
//!   last, as the piece was made of small ones
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
    /// Rows of each chunk but the last of a series.
    of_chunk: u8,
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
            let start = self.begin(position);
            self.encoder.encode(&self.column, mode, &mut self.chunks);
            self.end(start);
        }
        self.finish(stamps, stamps.len())
    }

    /// One piece of those that follow one another, of [`ROWS`] rows each but the last, so that what they have of a series
    /// lies together. `None` if they are no such pieces.
    pub(crate) fn join(&mut self, pieces: &[&Piece], series: usize) -> Option<Piece> {
        let (last, before) = pieces.split_last()?;
        let fit = before.iter().all(|piece| piece.rows() == ROWS) && last.rows() <= ROWS;
        let follow = pieces.windows(2).all(|pair| pair[0].last < pair[1].first);
        let whole = pieces.iter().all(|piece| piece.is_whole());
        if !(fit && follow && whole && pieces.len() * ROWS <= MAX_ROWS) {
            return None;
        }
        let mut stamps = Vec::with_capacity(pieces.len() * ROWS);
        for piece in pieces {
            stamps.extend(piece.stamps().ok()?);
        }
        self.chunks.clear();
        self.index.clear();
        self.masks.clear();
        for position in 0..series {
            let start = self.begin(position);
            let chunks = pieces.iter().map(|piece| piece.chunk(position));
            chunks.for_each(|chunk| self.chunks.extend_from_slice(chunk));
            self.end(start);
        }
        Some(self.finish(&stamps, ROWS))
    }

    /// Where the next series' chunk begins.
    fn begin(&mut self, position: usize) -> usize {
        let start = self.chunks.len();
        if position.is_multiple_of(STEP) {
            self.index.extend_from_slice(&(start as u32).to_le_bytes());
        }
        start
    }

    fn end(&mut self, start: usize) {
        // 128 values take at most 9 bytes each and some of head.
        let len = (self.chunks.len() - start) as u16;
        self.index.extend_from_slice(&len.to_le_bytes());
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

    fn finish(&mut self, stamps: &[(i64, u64)], of_chunk: usize) -> Piece {
        self.stamp(stamps);
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
            of_chunk: of_chunk as u8,
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
        let before = out.len();
        out.resize(before + self.rows(), 0);
        let mut left = &mut out[before..];
        let mut reader = Reader::new(self.part(0..self.index));
        let (mut last, mut delta) = (0i64, 0i64);
        while !left.is_empty() {
            let zeros = reader.zeros(left.len());
            let (steady, later) = std::mem::take(&mut left).split_at_mut(zeros);
            for time in steady {
                last = last.wrapping_add(delta);
                *time = last;
            }
            if let Some((time, later)) = later.split_first_mut() {
                delta = delta.wrapping_add(reader.signed()?);
                last = last.wrapping_add(delta);
                *time = last;
                left = later;
            }
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
        let of_chunk = usize::from(self.of_chunk);
        if chunk::decode_row(self.chunk(position), count, of_chunk, out).is_ok() {
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

    /// Appends the values of a series that has one in every row, of its chunk.
    pub(crate) fn decode(&self, chunk: &[u8], out: &mut Vec<f64>) -> Result<(), chunk::ChunkError> {
        chunk::decode_row(chunk, self.rows(), usize::from(self.of_chunk), out)
    }

    /// Whether it is as it was frozen, and small.
    pub(crate) fn is_small(&self) -> bool {
        self.rows() <= ROWS
    }

    /// Looks at what is read first.
    pub(crate) fn touch(&self) -> u8 {
        self.bytes.first().copied().unwrap_or(0)
    }

    /// The chunk of a series, or those in a row.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SERIES: usize = 40;

    /// A piece of rows from a time on; a series has some kind of values, one may lack some.
    fn piece(first: i64, rows: usize, lacks: bool, freezer: &mut Freezer) -> Piece {
        let stamps: Vec<(i64, u64)> = (0..rows)
            .map(|row| (first + 3 * row as i64, 7 + row as u64))
            .collect();
        freezer.freeze(&stamps, &mut [0; SERIES], |position, column| {
            let value = |row| match position % 4 {
                0 => 5.0,
                1 => (first + row) as f64,
                2 => (row * row % 17) as f64 / 4.0,
                _ => f64::from(row as u32 ^ 0x5bd1).sqrt() * first as f64,
            };
            column.extend((0..rows as i64).map(value));
            (lacks && position == 3).then(|| {
                column.truncate(rows / 2);
                u32::MAX >> (32 - rows / 2)
            })
        })
    }

    fn samples(pieces: &[&Piece], position: usize) -> Vec<(i64, u64, u64)> {
        let (mut samples, mut scratch) = (Vec::new(), Vec::new());
        for piece in pieces {
            piece.samples(position, &mut scratch, |time, order, value| {
                samples.push((time, order, value.to_bits()));
            });
        }
        samples
    }

    proptest! {
        #[test]
        fn joined_pieces_have_the_samples_of_each(whole in 1usize..4, last in 1usize..=ROWS) {
            let mut freezer = Freezer::default();
            let rows = (0..whole).map(|_| ROWS).chain([last]).enumerate();
            let pieces: Vec<Piece> = rows.map(|(at, rows)| piece(100 * at as i64, rows, false, &mut freezer)).collect();
            let pieces: Vec<&Piece> = pieces.iter().collect();
            let joined = freezer.join(&pieces, SERIES).unwrap();
            prop_assert_eq!(joined.rows(), whole * ROWS + last);
            for position in 0..SERIES {
                prop_assert_eq!(samples(&[&joined], position), samples(&pieces, position));
                let mut values = Vec::new();
                joined.decode(joined.chunk(position), &mut values).unwrap();
                prop_assert_eq!(values.len(), joined.rows());
            }
        }
    }

    #[test]
    fn pieces_that_are_mixed_lack_values_or_are_short_are_not_joined() {
        let mut freezer = Freezer::default();
        let good = piece(0, ROWS, false, &mut freezer);
        let overlaps = piece(90, ROWS, false, &mut freezer);
        let lacks = piece(100, ROWS, true, &mut freezer);
        let short = piece(100, 5, false, &mut freezer);
        let later = piece(200, ROWS, false, &mut freezer);
        assert!(freezer.join(&[&good, &overlaps], SERIES).is_none());
        assert!(freezer.join(&[&good, &lacks], SERIES).is_none());
        assert!(freezer.join(&[&good, &short, &later], SERIES).is_none());
        assert!(freezer.join(&[&good, &later], SERIES).is_some());
    }
}
