//! Prometheus's XOR chunks (tsdb/docs/format/chunks.md, tsdb/chunkenc/xor.go).
//!
//! Two bytes count the samples. The first time is a zigzag varint and the first value 64 bits; the second time is the
//! varint of its distance. From then on a time is the change of that distance in 1, 14, 17, 20 or 64 bits behind a prefix,
//! and a value is the XOR with the one before it: nothing, or its significant bits, which lie within those of the last one
//! that said where they lie, or say it again (5 bits of leading zeros, 6 bits of length).

use prost::encoding::encode_varint;

use super::bits::Bits;

/// Samples of a chunk, as in Prometheus.
pub(super) const SAMPLES: usize = 120;

/// Where the significant bits of an XOR lie.
#[derive(Debug, Clone, Copy)]
struct Place {
    leading: u32,
    trailing: u32,
}

/// A chunk of at most 65,535 samples: times in ms, ascending, and as many values.
pub(super) fn encode(times_ms: &[i64], values: &[f64]) -> Vec<u8> {
    let count = u16::try_from(times_ms.len()).unwrap_or(u16::MAX);
    let mut bits = Bits::after(count.to_be_bytes().to_vec());
    let mut samples = times_ms
        .iter()
        .copied()
        .zip(values.iter().map(|value| value.to_bits()));
    let Some((mut last_ms, mut last)) = samples.next() else {
        return bits.into_bytes();
    };
    put_varint(&mut bits, zigzag(last_ms));
    bits.put(last, 64);
    let mut distance = None;
    let mut place = None;
    for (time_ms, value) in samples.take(usize::from(count) - 1) {
        let now = time_ms.wrapping_sub(last_ms);
        match distance {
            None => put_varint(&mut bits, now as u64),
            Some(before) => put_change(&mut bits, now.wrapping_sub(before)),
        }
        put_xor(&mut bits, last ^ value, &mut place);
        (distance, last_ms, last) = (Some(now), time_ms, value);
    }
    bits.into_bytes()
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn put_varint(bits: &mut Bits, number: u64) {
    let mut bytes = Vec::with_capacity(10);
    encode_varint(number, &mut bytes);
    bits.put_bytes(&bytes);
}

/// The change of the distance between two times.
fn put_change(bits: &mut Bits, change: i64) {
    let fits = |width: u32| (-((1 << (width - 1)) - 1)..=1 << (width - 1)).contains(&change);
    let (prefix, prefix_width, width) = match change {
        0 => (0, 1, 0),
        _ if fits(14) => (0b10, 2, 14),
        _ if fits(17) => (0b110, 3, 17),
        _ if fits(20) => (0b1110, 4, 20),
        _ => (0b1111, 4, 64),
    };
    bits.put(prefix, prefix_width);
    bits.put(change as u64, width);
}

fn put_xor(bits: &mut Bits, xor: u64, place: &mut Option<Place>) {
    if xor == 0 {
        return bits.put(0, 1);
    }
    bits.put(1, 1);
    let new = Place {
        leading: xor.leading_zeros().min(31),
        trailing: xor.trailing_zeros(),
    };
    if let Some(old) = place.filter(|old| new.leading >= old.leading && new.trailing >= old.trailing) {
        bits.put(0, 1);
        return bits.put(xor >> old.trailing, 64 - old.leading - old.trailing);
    }
    *place = Some(new);
    let width = 64 - new.leading - new.trailing;
    bits.put(1, 1);
    bits.put(u64::from(new.leading), 5);
    // 64 is written as 0: a width of 0 does not happen.
    bits.put(u64::from(width), 6);
    bits.put(xor >> new.trailing, width);
}

#[cfg(test)]
mod tests;
