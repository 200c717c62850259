//! A chunk: some values of one series, in few bytes, bit for bit.
//!
//! A mode byte (how floats are integers, as on the wire: `wire::batch::decimal`), a kind byte, then by kind:
//!
//! - 0: all are one number: zigzag varint (mode 31: the 8 bytes of the float, little-endian)
//! - 1: first, step: zigzag varints
//! - 2: first, count, and per change the varint of values left out before it and the zigzag of the step
//! - 3: first, then the steps, packed; 4: the numbers, packed; 5: first, first step, then the steps of steps, packed
//! - 6: mode 31: each float's bits XORed with those before, as on the wire
//!
//! Kind bit 3: the numbers are (number - r) / g, and varints g and r precede the rest. Packed numbers: `pack`. The number
//! of values is not in the chunk. Arithmetic wraps; decoding takes any bytes and allocates for the values asked for.

mod pack;
#[cfg(test)]
mod tests;

use wire::batch::decimal::{self, RAW};
use wire::batch::xor;
use wire::varint::{Reader, Short, put, put_signed};

const CONSTANT: u8 = 0;
const LINEAR: u8 = 1;
const SPARSE: u8 = 2;
const STEPS: u8 = 3;
const NUMBERS: u8 = 4;
const STEPS_OF_STEPS: u8 = 5;
const BITS: u8 = 6;
const DIVIDED: u8 = 8;

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
    steps: Vec<i64>,
    steps_of_steps: Vec<i64>,
}

impl Encoder {
    /// Appends a chunk. `mode` is tried first and becomes what was used; no values take no bytes.
    pub(crate) fn encode(&mut self, values: &[f64], mode: &mut u8, out: &mut Vec<u8>) {
        let Some(first) = values.first() else { return };
        let bits = first.to_bits();
        if values[1..].iter().all(|value| value.to_bits() == bits) {
            return self.constant(*first, mode, out);
        }
        *mode = decimal::fit(values, [*mode, 0], &mut self.numbers);
        out.push(*mode);
        if *mode == RAW {
            out.push(BITS);
            let mut before = 0;
            for value in values {
                xor::put(out, before, value.to_bits());
                before = value.to_bits();
            }
            return;
        }
        self.integers(out);
    }

    fn constant(&mut self, value: f64, mode: &mut u8, out: &mut Vec<u8>) {
        let found = decimal::fit(&[value], [*mode, 0], &mut self.numbers);
        out.push(found);
        out.push(CONSTANT);
        match self.numbers.first() {
            Some(n) => {
                *mode = found;
                put_signed(out, *n);
            }
            None => out.extend_from_slice(&value.to_bits().to_le_bytes()),
        }
    }

    fn integers(&mut self, out: &mut Vec<u8>) {
        self.steps.clear();
        self.steps
            .extend(self.numbers.windows(2).map(|w| w[1].wrapping_sub(w[0])));
        let first = self.numbers[0];
        let step = self.steps[0];
        if self.steps.iter().all(|s| *s == step) {
            out.push(LINEAR);
            put_signed(out, first);
            put_signed(out, step);
            return;
        }
        let changes = self.steps.iter().filter(|s| **s != 0).count();
        if changes * 6 <= self.steps.len() {
            return self.sparse(first, changes, out);
        }
        self.packed(out);
    }

    fn sparse(&self, first: i64, changes: usize, out: &mut Vec<u8>) {
        out.push(SPARSE);
        put_signed(out, first);
        put(out, changes as u64);
        let mut gap = 0;
        for step in &self.steps {
            if *step == 0 {
                gap += 1;
            } else {
                put(out, gap);
                put_signed(out, *step);
                gap = 0;
            }
        }
    }

    fn packed(&mut self, out: &mut Vec<u8>) {
        let divisor = self.steps.iter().fold(0, |g, step| gcd(g, step.unsigned_abs()));
        let mut divided = 0;
        let mut rest = 0;
        // Mantissas are below 2^53, so are their steps.
        if divisor > 1 {
            divided = DIVIDED;
            let divisor = divisor as i64;
            rest = self.numbers[0].rem_euclid(divisor);
            self.numbers.iter_mut().for_each(|n| *n = (*n - rest) / divisor);
            self.steps.iter_mut().for_each(|n| *n /= divisor);
        }
        let (numbers, steps) = (&self.numbers, &self.steps);
        self.steps_of_steps.clear();
        self.steps_of_steps.extend(steps.windows(2).map(|w| w[1] - w[0]));
        // Bits; the first number and step stand apart.
        let costs = [
            (pack::cost(steps) + 16, STEPS),
            (pack::cost(numbers), NUMBERS),
            (pack::cost(&self.steps_of_steps) + 32, STEPS_OF_STEPS),
        ];
        let kind = costs.into_iter().min().map_or(STEPS, |(_, kind)| kind);
        out.push(kind | divided);
        if divided != 0 {
            put(out, divisor);
            put(out, rest as u64);
        }
        match kind {
            NUMBERS => pack::put_all(out, numbers),
            STEPS => {
                put_signed(out, numbers[0]);
                pack::put_all(out, steps);
            }
            _ => {
                put_signed(out, numbers[0]);
                put_signed(out, steps[0]);
                pack::put_all(out, &self.steps_of_steps);
            }
        }
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 && a != 1 {
        (a, b) = (b, a % b);
    }
    a
}

/// The mode of a chunk, as a hint for the next one of its series.
pub(crate) fn mode_of(chunk: &[u8]) -> u8 {
    chunk.first().map_or(0, |mode| mode & 31)
}

/// Appends the `count` values of a chunk to `out`.
pub(crate) fn decode(bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<(), ChunkError> {
    if count == 0 {
        return if bytes.is_empty() { Ok(()) } else { Err(ChunkError) };
    }
    let mut reader = Reader::new(bytes);
    let (mode, kind) = (reader.byte()?, reader.byte()?);
    if !decimal::is_mode(mode) {
        return Err(ChunkError);
    }
    match (mode, kind) {
        (RAW, CONSTANT) => {
            let bits = reader.take(8)?.try_into().map_err(|_| ChunkError)?;
            out.resize(out.len() + count, f64::from_le_bytes(bits));
        }
        (RAW, BITS) => {
            let mut bits = 0;
            for _ in 0..count {
                bits = xor::next(&mut reader, bits).map_err(|_| ChunkError)?;
                out.push(f64::from_bits(bits));
            }
        }
        (RAW, _) => return Err(ChunkError),
        _ => {
            let (g, r) = match kind & DIVIDED {
                0 => (1, 0),
                _ => (reader.varint()? as i64, reader.varint()? as i64),
            };
            each_number(&mut reader, kind & !DIVIDED, count, |n| {
                out.push(decimal::float(n.wrapping_mul(g).wrapping_add(r), mode));
            })?;
        }
    }
    if reader.is_empty() {
        Ok(())
    } else {
        Err(ChunkError)
    }
}

fn each_number(
    reader: &mut Reader<'_>,
    kind: u8,
    count: usize,
    mut see: impl FnMut(i64),
) -> Result<(), ChunkError> {
    if kind == NUMBERS {
        return pack::each(reader, count, see);
    }
    let mut number = reader.signed()?;
    match kind {
        CONSTANT => (0..count).for_each(|_| see(number)),
        LINEAR => {
            let step = reader.signed()?;
            for _ in 0..count {
                see(number);
                number = number.wrapping_add(step);
            }
        }
        SPARSE => {
            let mut left = count - 1;
            see(number);
            for _ in 0..reader.varint()? {
                let gap = usize::try_from(reader.varint()?).map_err(|_| ChunkError)?;
                left = left
                    .checked_sub(gap)
                    .and_then(|l| l.checked_sub(1))
                    .ok_or(ChunkError)?;
                (0..gap).for_each(|_| see(number));
                number = number.wrapping_add(reader.signed()?);
                see(number);
            }
            (0..left).for_each(|_| see(number));
        }
        STEPS => {
            see(number);
            pack::each(reader, count - 1, |step| {
                number = number.wrapping_add(step);
                see(number);
            })?;
        }
        STEPS_OF_STEPS => {
            see(number);
            let mut step = reader.signed()?;
            if count > 1 {
                number = number.wrapping_add(step);
                see(number);
            }
            pack::each(reader, count.saturating_sub(2), |change| {
                step = step.wrapping_add(change);
                number = number.wrapping_add(step);
                see(number);
            })?;
        }
        _ => return Err(ChunkError),
    }
    Ok(())
}
