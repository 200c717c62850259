//! Integers packed in blocks of up to 128: zigzag varint of a base, a width (0 to 57), a count of exceptions, then the
//! differences from the base in `width` bits each, lowest bit first, then the exceptions, each as its position and the
//! zigzag varint of its difference. The width is the one that takes the fewest bytes.

use wire::varint::{Reader, put_signed, zigzag};

use super::ChunkError;

const BLOCK: usize = 128;
const MAX_WIDTH: u32 = 57;

/// Appends integers.
pub(crate) fn put_all(out: &mut Vec<u8>, list: &[i64]) {
    for block in list.chunks(BLOCK) {
        put_block(out, block);
    }
}

/// A measure of what `put_all` takes, to choose between lists by: bits of the differences from the lowest.
pub(crate) fn cost(list: &[i64]) -> u32 {
    let lowest = list.iter().copied().min().unwrap_or(0);
    let differences = list.iter().map(|n| bits(n.wrapping_sub(lowest) as u64));
    bits(zigzag(lowest)) + differences.sum::<u32>()
}

struct Plan {
    base: i64,
    width: u32,
    bytes: usize,
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
    let (mut lowest, mut second) = (i64::MAX, i64::MAX);
    for n in block {
        if *n < lowest {
            (lowest, second) = (*n, lowest);
        } else if *n < second {
            second = *n;
        }
    }
    (lowest, second)
}

fn plan_from(block: &[i64], base: i64) -> Plan {
    // How many differences have each length; those below the base have all 64 bits.
    let mut lengths = [0u8; 65];
    let mut longest = 0;
    for n in block {
        let len = bits(n.wrapping_sub(base) as u64);
        lengths[len as usize] += 1;
        longest = longest.max(len);
    }
    let head = varint_len(zigzag(base)) + 2;
    let mut best = Plan {
        base,
        width: MAX_WIDTH,
        bytes: usize::MAX,
    };
    let mut exceptions = 0;
    let mut exception_bytes = 0;
    for width in (0..=longest).rev() {
        if width <= MAX_WIDTH {
            let bytes = head + (block.len() * width as usize).div_ceil(8) + exception_bytes;
            if bytes <= best.bytes {
                best.width = width;
                best.bytes = bytes;
            }
        }
        let count = usize::from(lengths[width as usize]);
        exceptions += count;
        // A zigzag has one bit more.
        exception_bytes += count * (1 + (width as usize + 7) / 7);
        if width <= MAX_WIDTH && exceptions * 4 > block.len() + 4 {
            break;
        }
    }
    best
}

fn varint_len(n: u64) -> usize {
    (bits(n | 1) as usize).div_ceil(7)
}

fn put_block(out: &mut Vec<u8>, block: &[i64]) {
    let Plan { base, width, .. } = plan(block);
    put_signed(out, base);
    out.push(width as u8);
    let counted = out.len();
    out.push(0);
    let (mut word, mut filled) = (0u64, 0);
    let mut exceptions = 0u8;
    for n in block {
        let difference = n.wrapping_sub(base) as u64;
        let fits = bits(difference) <= width;
        exceptions += u8::from(!fits);
        word |= if fits { difference << filled } else { 0 };
        filled += width;
        while filled >= 8 {
            out.push(word as u8);
            word >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(word as u8);
    }
    out[counted] = exceptions;
    for (position, n) in block.iter().enumerate() {
        let difference = n.wrapping_sub(base);
        if bits(difference as u64) > width {
            out.push(position as u8);
            put_signed(out, difference);
        }
    }
}

/// Reads `count` integers.
pub(crate) fn each(
    reader: &mut Reader<'_>,
    count: usize,
    mut see: impl FnMut(i64),
) -> Result<(), ChunkError> {
    let mut left = count;
    let mut block = [0i64; BLOCK];
    while left > 0 {
        let len = left.min(BLOCK);
        read_block(reader, &mut block[..len])?;
        block[..len].iter().for_each(|n| see(*n));
        left -= len;
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
    let packed = reader.take((block.len() * width as usize).div_ceil(8))?;
    unpack(packed, width, base, block);
    for _ in 0..exceptions {
        let position = usize::from(reader.byte()?);
        let difference = reader.signed()?;
        *block.get_mut(position).ok_or(ChunkError)? = base.wrapping_add(difference);
    }
    Ok(())
}

fn unpack(packed: &[u8], width: u32, base: i64, block: &mut [i64]) {
    let mask = (1u64 << width) - 1;
    let (mut word, mut filled, mut at) = (0u64, 0u32, 0usize);
    for n in block {
        while filled < width {
            word |= u64::from(packed.get(at).copied().unwrap_or(0)) << filled;
            filled += 8;
            at += 1;
        }
        *n = base.wrapping_add((word & mask) as i64);
        word >>= width;
        filled -= width;
    }
}
