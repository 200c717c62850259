//! A chunk: some values of one series, in few bytes, bit for bit.
//!
//! A mode byte (how floats are integers, as on the wire: `wire::batch::decimal`), then by mode:
//!
//! - a mode with mantissas: the column of them (`column`)
//! - the same plus 64: that column, then the column of the rests: the bits of a value are those of its mantissa's float plus
//!   its rest (exporters that divide twice are a few units in the last place off)
//! - 31, then 0: all are one float: its 8 bytes, little-endian
//! - 31, then 6: each float's bits XORed with those before, as on the wire
//!
//! The number of values is not in the chunk. Decoding takes any bytes and allocates for the values asked for.

mod column;
mod pack;
#[cfg(test)]
mod tests;

use wire::batch::decimal::{self, RAW};
use wire::batch::xor;
use wire::varint::{Reader, Short};

/// What follows mode 31.
const CONSTANT: u8 = 0;
const BITS: u8 = 6;

/// A column of rests follows.
const WITH_RESTS: u8 = 64;

/// Larger rests are no noise of a division.
const MAX_REST: u64 = 8;

/// Why bytes are no chunk of the values asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed chunk")]
pub(crate) struct ChunkError;

impl From<Short> for ChunkError {
    fn from(_: Short) -> Self {
        ChunkError
    }
}

/// Writes chunks; keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    numbers: Vec<i64>,
    rests: Vec<i64>,
    columns: column::Encoder,
}

impl Encoder {
    /// Appends a chunk. `mode` is tried first and becomes what was used; no values take no bytes.
    pub(crate) fn encode(&mut self, values: &[f64], mode: &mut u8, out: &mut Vec<u8>) {
        let Some(first) = values.first() else { return };
        if are_all(values, first.to_bits()) {
            return self.constant(*first, mode, out);
        }
        if *mode & WITH_RESTS != 0 && self.with_rests(values, *mode & !WITH_RESTS, out) {
            return;
        }
        let found = decimal::fit(values, [*mode & !WITH_RESTS, 0], &mut self.numbers);
        if found != RAW {
            *mode = found;
            out.push(found);
            return self.columns.put(&mut self.numbers, out);
        }
        let with_rests = decimal::MODES_OF_DIVISION
            .into_iter()
            .find(|mode| self.with_rests(values, *mode, out));
        *mode = with_rests.map_or(RAW, |mode| mode | WITH_RESTS);
        if with_rests.is_none() {
            out.push(RAW);
            out.push(BITS);
            let mut before = 0;
            for value in values {
                xor::put(out, before, value.to_bits());
                before = value.to_bits();
            }
        }
    }

    fn constant(&mut self, value: f64, mode: &mut u8, out: &mut Vec<u8>) {
        let found = decimal::fit(&[value], [*mode & !WITH_RESTS, 0], &mut self.numbers);
        out.push(found);
        if found == RAW {
            out.push(CONSTANT);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
            return;
        }
        *mode = found;
        self.columns.put(&mut self.numbers, out);
    }

    /// Appends a chunk with rests if they are small and it is worth it.
    fn with_rests(&mut self, values: &[f64], mode: u8, out: &mut Vec<u8>) -> bool {
        self.numbers.clear();
        self.rests.clear();
        for value in values {
            let Some(number) = decimal::nearest(*value, mode) else {
                return false;
            };
            let near = decimal::float(number, mode).to_bits();
            let rest = value.to_bits().wrapping_sub(near) as i64;
            if rest.unsigned_abs() > MAX_REST {
                return false;
            }
            self.numbers.push(number);
            self.rests.push(rest);
        }
        out.push(mode | WITH_RESTS);
        self.columns.put(&mut self.numbers, out);
        self.columns.put(&mut self.rests, out);
        true
    }
}

/// Whether the bits of all values are these.
fn are_all(values: &[f64], bits: u64) -> bool {
    values.chunks(16).all(|some| {
        some.iter()
            .fold(0, |other, value| other | (value.to_bits() ^ bits))
            == 0
    })
}

/// The mode of a chunk, as a hint for the next one of its series.
pub(crate) fn mode_of(chunk: &[u8]) -> u8 {
    chunk.first().copied().unwrap_or(0)
}

/// Appends the `count` values of a chunk to `out`; some of them also if it is malformed.
pub(crate) fn decode(bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<(), ChunkError> {
    decode_row(bytes, count, count, out)
}

/// The same of chunks in a row, each of `of_each` values but the last, which may have fewer.
pub(crate) fn decode_row(
    bytes: &[u8],
    count: usize,
    of_each: usize,
    out: &mut Vec<f64>,
) -> Result<(), ChunkError> {
    let mut reader = Reader::new(bytes);
    let mut left = count;
    while left > 0 {
        let some = left.min(of_each.max(1));
        next(&mut reader, some, out)?;
        left -= some;
    }
    if reader.is_empty() {
        Ok(())
    } else {
        Err(ChunkError)
    }
}

/// Appends the values, one at least, of the chunk that comes next.
fn next(reader: &mut Reader<'_>, count: usize, out: &mut Vec<f64>) -> Result<(), ChunkError> {
    let byte = reader.byte()?;
    let mode = byte & !WITH_RESTS;
    if byte == RAW {
        return raw(reader, count, out);
    }
    if !decimal::is_mode(mode) || mode == RAW {
        return Err(ChunkError);
    }
    let from = out.len();
    out.reserve(count);
    match column::constant(reader)? {
        Some(number) => out.resize(from + count, decimal::float(number, mode)),
        None => column::each(reader, count, |numbers| decimal::floats(numbers, mode, out))?,
    }
    if byte != mode {
        let mut rest = out.get_mut(from..).unwrap_or_default();
        column::each(reader, count, |rests| {
            let (some, after) = std::mem::take(&mut rest).split_at_mut(rests.len());
            for (value, rest) in some.iter_mut().zip(rests) {
                *value = f64::from_bits(value.to_bits().wrapping_add(*rest as u64));
            }
            rest = after;
        })?;
    }
    Ok(())
}

fn raw(reader: &mut Reader<'_>, count: usize, out: &mut Vec<f64>) -> Result<(), ChunkError> {
    match reader.byte()? {
        CONSTANT => {
            let bits = reader.take(8)?.try_into().map_err(|_| ChunkError)?;
            out.resize(out.len() + count, f64::from_le_bytes(bits));
        }
        BITS => {
            let mut bits = 0;
            for _ in 0..count {
                bits = xor::next(reader, bits).map_err(|_| ChunkError)?;
                out.push(f64::from_bits(bits));
            }
        }
        _ => return Err(ChunkError),
    }
    Ok(())
}
