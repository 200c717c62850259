//! A column of integers: a kind byte, then by kind:
//!
//! - 0: all are one: it
//! - 1: first, step
//! - 2: first, number of changes, and per change the varint of integers left out before it and the step
//! - 3: first, then the steps, packed; 4: the integers, packed; 5: first, first step, then the steps of steps, packed
//!
//! Integers that stand alone are zigzag varints. Kind bit 3: the integers are (integer - r) / g, and varints g and r precede
//! the rest. Packed integers: `pack`. Arithmetic wraps.

use wire::varint::{Reader, put, put_signed};

use super::ChunkError;
use super::pack::{self, FEW, Plans};

const CONSTANT: u8 = 0;
const LINEAR: u8 = 1;
const SPARSE: u8 = 2;
const STEPS: u8 = 3;
const INTEGERS: u8 = 4;
const STEPS_OF_STEPS: u8 = 5;
const DIVIDED: u8 = 8;

/// A list that spreads so many times more than another is not tried.
const HOPELESS: u64 = 4;

/// Integers that are handed over at a time.
const BLOCK: usize = 128;

/// Writes columns; keeps its buffers.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    steps: Vec<i64>,
    steps_of_steps: Vec<i64>,
    /// Of the integers, the steps, and their steps.
    plans: [Plans; 3],
}

impl Encoder {
    /// Appends a column of one integer or more, below 2^53; they are what they were or divided then.
    pub(super) fn put(&mut self, integers: &mut [i64], out: &mut Vec<u8>) {
        let Some(first) = integers.first().copied() else {
            return;
        };
        self.steps.clear();
        self.steps
            .extend(integers.windows(2).map(|pair| pair[1] - pair[0]));
        let step = self.steps.first().copied().unwrap_or(0);
        if self.steps.iter().all(|other| *other == step) {
            out.push(if step == 0 { CONSTANT } else { LINEAR });
            put_signed(out, first);
            if step != 0 {
                put_signed(out, step);
            }
            return;
        }
        let changes = self.steps.iter().filter(|step| **step != 0).count();
        if changes * 6 <= self.steps.len() {
            return self.sparse(first, changes, out);
        }
        self.packed(integers, out);
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

    fn packed(&mut self, integers: &mut [i64], out: &mut Vec<u8>) {
        let divisor = divisor(&self.steps);
        let mut divided = None;
        if divisor > 1 {
            let rest = integers[0].rem_euclid(divisor);
            divided = Some((divisor, rest));
            integers.iter_mut().for_each(|n| *n = (*n - rest) / divisor);
            self.steps.clear();
            self.steps
                .extend(integers.windows(2).map(|pair| pair[1] - pair[0]));
        }
        self.steps_of_steps.clear();
        self.steps_of_steps
            .extend(self.steps.windows(2).map(|pair| pair[1] - pair[0]));
        let lists = [&*integers, &self.steps, &self.steps_of_steps];
        let spreads = lists.map(pack::spread);
        let least = spreads.into_iter().min().unwrap_or(0);
        for ((plans, list), spread) in self.plans.iter_mut().zip(lists).zip(spreads) {
            plans.make(if spread / HOPELESS > least {
                None
            } else {
                Some(list)
            });
        }
        let [of_integers, of_steps, of_changes] = &self.plans;
        let (first, step) = (integers[0], self.steps[0]);
        let costs = [
            (of_integers.bytes(), INTEGERS),
            (of_steps.bytes() + 3, STEPS),
            (of_changes.bytes() + 5, STEPS_OF_STEPS),
        ];
        let kind = costs.into_iter().min().map_or(INTEGERS, |(_, kind)| kind);
        out.push(kind | if divided.is_some() { DIVIDED } else { 0 });
        if let Some((divisor, rest)) = divided {
            put(out, divisor as u64);
            put(out, rest as u64);
        }
        match kind {
            INTEGERS => of_integers.put(integers, out),
            STEPS => {
                put_signed(out, first);
                of_steps.put(&self.steps, out);
            }
            _ => {
                put_signed(out, first);
                put_signed(out, step);
                of_changes.put(&self.steps_of_steps, out);
            }
        }
    }
}

/// The greatest divisor of all steps, of which one is not 0.
fn divisor(steps: &[i64]) -> i64 {
    let mut divisor = 0;
    for step in steps {
        let step = step.unsigned_abs();
        // Most are multiples of what was found.
        if divisor == 0 || step % divisor != 0 {
            divisor = gcd(step, divisor);
            if divisor == 1 {
                break;
            }
        }
    }
    // Steps are below 2^54.
    divisor as i64
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The integer that a column has throughout, if it is written so; the reader is after it then.
#[inline]
pub(super) fn constant(reader: &mut Reader<'_>) -> Result<Option<i64>, ChunkError> {
    match reader.rest().first() {
        Some(&CONSTANT) => {
            reader.byte()?;
            Ok(Some(reader.signed()?))
        }
        _ => Ok(None),
    }
}

/// Reads a column of `count` integers, some at a time.
#[inline]
pub(super) fn each(
    reader: &mut Reader<'_>,
    count: usize,
    mut see: impl FnMut(&[i64]),
) -> Result<(), ChunkError> {
    let kind = reader.byte()?;
    if kind & DIVIDED == 0 {
        return read(reader, kind, count, |integers| see(integers));
    }
    let (g, r) = (reader.varint()? as i64, reader.varint()? as i64);
    read(reader, kind & !DIVIDED, count, |integers| {
        integers
            .iter_mut()
            .for_each(|n| *n = n.wrapping_mul(g).wrapping_add(r));
        see(integers);
    })
}

#[inline]
fn read(
    reader: &mut Reader<'_>,
    kind: u8,
    count: usize,
    mut see: impl FnMut(&mut [i64]),
) -> Result<(), ChunkError> {
    if kind == INTEGERS {
        return pack::each(reader, count, see);
    }
    if count == 0 {
        return Err(ChunkError);
    }
    let mut number = reader.signed()?;
    match kind {
        CONSTANT => fill(number, 0, count, &mut see),
        LINEAR => {
            let step = reader.signed()?;
            fill(number, step, count, &mut see);
        }
        SPARSE => {
            let mut left = count - 1;
            // Those that are one number, and not handed over yet.
            let mut same = 1;
            for _ in 0..reader.varint()? {
                let gap = usize::try_from(reader.varint()?).map_err(|_| ChunkError)?;
                left = left
                    .checked_sub(gap)
                    .and_then(|left| left.checked_sub(1))
                    .ok_or(ChunkError)?;
                fill(number, 0, same + gap, &mut see);
                number = number.wrapping_add(reader.signed()?);
                same = 1;
            }
            fill(number, 0, same + left, &mut see);
        }
        STEPS => {
            see(&mut [number]);
            pack::each(reader, count - 1, |steps| {
                number = sum(number, steps);
                see(steps);
            })?;
        }
        STEPS_OF_STEPS => {
            see(&mut [number]);
            let mut step = reader.signed()?;
            if count > 1 {
                number = number.wrapping_add(step);
                see(&mut [number]);
            }
            pack::each(reader, count.saturating_sub(2), |changes| {
                step = sum(step, changes);
                number = sum(number, changes);
                see(changes);
            })?;
        }
        _ => return Err(ChunkError),
    }
    Ok(())
}

/// Hands over `count` integers that rise by `step`.
fn fill(first: i64, step: i64, count: usize, see: &mut impl FnMut(&mut [i64])) {
    match count {
        0..=FEW => fill_in::<FEW>(first, step, count, see),
        _ => fill_in::<BLOCK>(first, step, count, see),
    }
}

fn fill_in<const SPACE: usize>(first: i64, step: i64, count: usize, see: &mut impl FnMut(&mut [i64])) {
    let mut block = [0; SPACE];
    let (mut next, mut left) = (first, count);
    while left > 0 {
        let block = &mut block[..left.min(SPACE)];
        for n in block.iter_mut() {
            *n = next;
            next = next.wrapping_add(step);
        }
        left -= block.len();
        see(block);
    }
}

/// Makes steps the integers that follow `first`; returns the last one.
fn sum(first: i64, steps: &mut [i64]) -> i64 {
    steps.iter_mut().fold(first, |before, n| {
        *n = n.wrapping_add(before);
        *n
    })
}
