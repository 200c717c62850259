//! Integers packed in blocks of up to 128: zigzag varint of a base, a width (0 to 57), a count of exceptions, then the low
//! `width` bits of each difference from the base, lowest bit first, then the exceptions, each as its position and the zigzag
//! varint of the rest of its difference. The width is the one that takes the fewest bytes.

use wire::varint::{Reader, put_signed, zigzag};

use super::ChunkError;

const BLOCK: usize = 128;
/// Integers for which a small buffer does, as clearing a large one takes longer than to read them.
pub(super) const FEW: usize = 32;

const MAX_WIDTH: u32 = 57;

/// How a block is written.
#[derive(Debug, Clone, Copy)]
struct Plan {
    base: i64,
    width: u32,
    bytes: usize,
}

/// How a list is written.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    blocks: Vec<Plan>,
    bytes: usize,
}

impl Plans {
    /// Finds the shortest way for each block of a list; without one they are longer than any.
    pub(crate) fn make(&mut self, list: Option<&[i64]>) {
        self.blocks.clear();
        self.blocks
            .extend(list.unwrap_or_default().chunks(BLOCK).map(plan));
        self.bytes = match list {
            Some(_) => self.blocks.iter().map(|plan| plan.bytes).sum(),
            None => usize::MAX / 2,
        };
    }

    /// Bytes that the list takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the list that the plans were made for.
    pub(crate) fn put(&self, list: &[i64], out: &mut Vec<u8>) {
        for (block, plan) in list.chunks(BLOCK).zip(&self.blocks) {
            put_block(out, block, *plan);
        }
    }
}

/// The sum of the differences from the lowest: a rough measure of a list.
pub(crate) fn spread(list: &[i64]) -> u64 {
    let lowest = list.iter().copied().min().unwrap_or(0);
    list.iter()
        .fold(0u64, |sum, n| sum.wrapping_add(n.wrapping_sub(lowest) as u64))
}

fn bits(n: u64) -> u32 {
    64 - n.leading_zeros()
}

fn plan(block: &[i64]) -> Plan {
    let (lowest, second) = two_lowest(block);
    let with_lowest = plan_from(block, lowest);
    // One outlier below must not widen all others.
    if second.wrapping_sub(lowest) > 1024 {
        let with_second = plan_from(block, second);
        if with_second.bytes < with_lowest.bytes {
            return with_second;
        }
    }
    with_lowest
}

fn two_lowest(block: &[i64]) -> (i64, i64) {
    block.iter().fold((i64::MAX, i64::MAX), |(lowest, second), n| {
        (lowest.min(*n), second.min(lowest.max(*n)))
    })
}

fn plan_from(block: &[i64], base: i64) -> Plan {
    let lengths = Lengths::of(block, base);
    let mut there = lengths.there;
    let head = varint_len(zigzag(base)) + 2;
    let mut best = Plan {
        base,
        width: 0,
        bytes: usize::MAX,
    };
    // Lengths that are exceptions, and how many have each.
    let mut longer = [(0u8, 0u8); 64];
    let (mut kinds, mut exceptions) = (0, 0);
    // The best width is a length that is there, or the greatest.
    there |= u64::from(there >> MAX_WIDTH > 1) << MAX_WIDTH;
    while there != 0 {
        let width = there.ilog2();
        there ^= 1 << width;
        if width <= MAX_WIDTH {
            // A zigzag has one bit more.
            let rest = longer[..kinds].iter();
            let rest = rest.map(|(length, count)| {
                usize::from(*count) * (1 + (u32::from(*length) - width + 1).div_ceil(7) as usize)
            });
            let bytes = head + (block.len() * width as usize).div_ceil(8) + rest.sum::<usize>();
            if bytes <= best.bytes {
                (best.width, best.bytes) = (width, bytes);
            }
            if exceptions * 4 > block.len() + 4 {
                break;
            }
        }
        let count = lengths.count(width);
        longer[kinds] = (if width == LONG { 64 } else { width as u8 }, count);
        kinds += 1;
        exceptions += usize::from(count);
    }
    best
}

/// Stands for 63 and 64 bits.
const LONG: u32 = 63;

/// How many differences have each length, as unsigned numbers; a negative one has 64 bits.
struct Lengths {
    /// In parts, as most have the same length and would wait for one another.
    counts: [[u8; 64]; 4],
    /// Bit n: there are some of n bits.
    there: u64,
}

impl Lengths {
    fn of(block: &[i64], base: i64) -> Self {
        let mut lengths = Lengths {
            counts: [[0; 64]; 4],
            there: 0,
        };
        let (fours, rest) = block.as_chunks::<4>();
        for four in fours {
            for (n, counts) in four.iter().zip(&mut lengths.counts) {
                let length = bits(n.wrapping_sub(base) as u64).min(LONG);
                lengths.there |= 1 << length;
                counts[length as usize] += 1;
            }
        }
        for n in rest {
            let length = bits(n.wrapping_sub(base) as u64).min(LONG);
            lengths.there |= 1 << length;
            lengths.counts[0][length as usize] += 1;
        }
        lengths
    }

    /// At most a block.
    fn count(&self, length: u32) -> u8 {
        let at = (length & 63) as usize;
        self.counts.iter().map(|counts| counts[at]).sum()
    }
}

fn varint_len(n: u64) -> usize {
    (bits(n | 1) as usize).div_ceil(7)
}

fn put_block(out: &mut Vec<u8>, block: &[i64], Plan { base, width, .. }: Plan) {
    put_signed(out, base);
    out.push(width as u8);
    let counted = out.len();
    out.push(0);
    let mask = (1u64 << width) - 1;
    let (mut word, mut filled, mut beyond) = (0u64, 0u32, 0u64);
    for n in block {
        let difference = n.wrapping_sub(base) as u64;
        beyond |= difference & !mask;
        let low = difference & mask;
        word |= low << filled;
        filled += width;
        if filled >= 64 {
            out.extend_from_slice(&word.to_le_bytes());
            filled -= 64;
            // What did not fit; nothing if all did.
            word = low >> (width - filled);
        }
    }
    out.extend_from_slice(&word.to_le_bytes()[..filled.div_ceil(8) as usize]);
    if beyond != 0 {
        out[counted] = put_exceptions(out, block, base, width);
    }
}

fn put_exceptions(out: &mut Vec<u8>, block: &[i64], base: i64, width: u32) -> u8 {
    let mut count = 0;
    for (position, n) in block.iter().enumerate() {
        let rest = n.wrapping_sub(base) >> width;
        if rest != 0 {
            out.push(position as u8);
            put_signed(out, rest);
            count += 1;
        }
    }
    count
}

/// Reads `count` integers, a block at a time.
#[inline]
pub(crate) fn each(
    reader: &mut Reader<'_>,
    count: usize,
    see: impl FnMut(&mut [i64]),
) -> Result<(), ChunkError> {
    match count {
        0..=FEW => each_of::<FEW>(reader, count, see),
        _ => each_of::<BLOCK>(reader, count, see),
    }
}

#[inline]
fn each_of<const SPACE: usize>(
    reader: &mut Reader<'_>,
    count: usize,
    mut see: impl FnMut(&mut [i64]),
) -> Result<(), ChunkError> {
    let mut left = count;
    let mut block = [0i64; SPACE];
    while left > 0 {
        let block = &mut block[..left.min(SPACE)];
        read_block(reader, block)?;
        left -= block.len();
        see(block);
    }
    Ok(())
}

fn read_block(reader: &mut Reader<'_>, block: &mut [i64]) -> Result<(), ChunkError> {
    let base = reader.signed()?;
    let width = u32::from(reader.byte()?);
    let exceptions = reader.byte()?;
    if width > MAX_WIDTH {
        return Err(ChunkError);
    }
    let ahead = reader.rest();
    let packed = reader.take((block.len() * width as usize).div_ceil(8))?;
    unpack(packed, ahead, width, base, block);
    for _ in 0..exceptions {
        let position = usize::from(reader.byte()?);
        let rest = reader.signed()? << width;
        let n = block.get_mut(position).ok_or(ChunkError)?;
        *n = n.wrapping_add(rest);
    }
    Ok(())
}

/// Bytes that eight integers are read from, whatever their width.
const WINDOW: usize = 64;

/// Unpacks; `ahead` has the packed bytes and what follows them.
fn unpack(packed: &[u8], ahead: &[u8], width: u32, base: i64, block: &mut [i64]) {
    if width == 0 {
        return block.fill(base);
    }
    // The last window begins within the packed bytes.
    if ahead.len() >= packed.len() + WINDOW {
        unpack_padded(ahead, width, base, block);
    } else if packed.len() <= 64 {
        let mut padded = [0; 64 + WINDOW];
        padded[..packed.len()].copy_from_slice(packed);
        unpack_padded(&padded, width, base, block);
    } else if packed.len() <= 192 {
        let mut padded = [0; 192 + WINDOW];
        padded[..packed.len()].copy_from_slice(packed);
        unpack_padded(&padded, width, base, block);
    } else {
        let mut padded = [0; BLOCK * MAX_WIDTH as usize / 8 + WINDOW];
        padded[..packed.len()].copy_from_slice(packed);
        unpack_padded(&padded, width, base, block);
    }
}

fn unpack_padded(padded: &[u8], width: u32, base: i64, block: &mut [i64]) {
    let mask = (1u64 << width) - 1;
    let width = width as usize;
    let (eights, rest) = block.as_chunks_mut::<8>();
    let mut from = 0;
    for eight in eights {
        let Some(window) = padded.get(from..).and_then(|bytes| bytes.first_chunk::<WINDOW>()) else {
            return;
        };
        for (i, n) in eight.iter_mut().enumerate() {
            *n = base.wrapping_add((bits_at(window, i * width) & mask) as i64);
        }
        // Eight integers of `width` bits.
        from += width;
    }
    if let Some(window) = padded.get(from..).and_then(|bytes| bytes.first_chunk::<WINDOW>()) {
        for (i, n) in rest.iter_mut().enumerate() {
            *n = base.wrapping_add((bits_at(window, i * width) & mask) as i64);
        }
    }
}

/// At least 57 bits from a bit on.
#[inline]
fn bits_at(window: &[u8; WINDOW], bit: usize) -> u64 {
    let at = (bit / 8).min(WINDOW - 8);
    let word = window[at..at + 8].first_chunk().copied().unwrap_or_default();
    u64::from_le_bytes(word) >> (bit % 8)
}
