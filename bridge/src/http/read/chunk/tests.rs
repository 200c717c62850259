use proptest::prelude::*;

use super::*;

/// Reads what [`encode`] wrote, by the format's description.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn bits(&mut self, count: u32) -> u64 {
        (0..count).fold(0, |read, _| {
            let bit = self.bytes[self.at / 8] >> (7 - self.at % 8) & 1;
            self.at += 1;
            read << 1 | u64::from(bit)
        })
    }

    fn varint(&mut self) -> u64 {
        let mut read = 0;
        for shift in (0..).step_by(7) {
            let byte = self.bits(8);
            read |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return read;
            }
        }
        read
    }

    /// A change of distance: two's complement of its width, but for the highest positive number.
    fn change(&mut self) -> i64 {
        let width = match (0..4).take_while(|_| self.bits(1) == 1).count() {
            0 => return 0,
            1 => 14,
            2 => 17,
            3 => 20,
            _ => return self.bits(64) as i64,
        };
        let read = self.bits(width) as i64;
        if read > 1 << (width - 1) {
            read - (1 << width)
        } else {
            read
        }
    }
}

fn decode(bytes: &[u8]) -> Vec<(i64, u64)> {
    let mut reader = Reader { bytes, at: 0 };
    let count = reader.bits(16);
    let mut samples: Vec<(i64, u64)> = Vec::new();
    let (mut distance, mut leading, mut trailing) = (0_i64, 0, 0);
    for n in 0..count {
        let Some(&(last_ms, last)) = samples.last() else {
            let first = reader.varint();
            samples.push(((first >> 1) as i64 ^ -((first & 1) as i64), reader.bits(64)));
            continue;
        };
        distance = match n {
            1 => reader.varint() as i64,
            _ => distance.wrapping_add(reader.change()),
        };
        let mut xor = 0;
        if reader.bits(1) == 1 {
            if reader.bits(1) == 1 {
                leading = reader.bits(5) as u32;
                let width = match reader.bits(6) as u32 {
                    0 => 64,
                    width => width,
                };
                trailing = 64 - leading - width;
            }
            xor = reader.bits(64 - leading - trailing) << trailing;
        }
        samples.push((last_ms.wrapping_add(distance), last ^ xor));
    }
    samples
}

fn times() -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![
        4 => Just(15_000_i64),
        2 => 14_990..15_010_i64,
        2 => 1..2_000_000_i64,
        1 => 1..1_i64 << 40,
    ];
    (-1_i64 << 50..1_i64 << 50, prop::collection::vec(step, 0..300)).prop_map(|(first, steps)| {
        let later = steps.iter().scan(first, |time, step| {
            *time += step;
            Some(*time)
        });
        std::iter::once(first).chain(later).collect()
    })
}

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0..100_u32).prop_map(|n| f64::from(n).to_bits()),
        Just(f64::NAN.to_bits()),
        Just(0x7ff0_0000_0000_0002),
        Just((-0.0_f64).to_bits()),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_bit_for_bit(
        (times, bits) in times().prop_flat_map(|times| {
            let values = prop::collection::vec(value(), times.len());
            (Just(times), values)
        })
    ) {
        let values: Vec<f64> = bits.iter().map(|bits| f64::from_bits(*bits)).collect();
        let expected: Vec<(i64, u64)> = times.iter().copied().zip(bits).collect();
        prop_assert_eq!(decode(&encode(&times, &values)), expected);
    }
}

#[test]
fn distances_at_the_bounds_of_a_width_are_read_back() {
    let mut times = vec![0, 1];
    let mut distance = 1_i64;
    for change in [
        8192, -8191, 8193, -8192, 65_536, -65_535, 65_537, 524_288, -524_287, 524_289, -524_288,
    ] {
        distance += change;
        times.push(times[times.len() - 1] + distance);
    }
    let values = vec![1.0; times.len()];
    let read: Vec<i64> = decode(&encode(&times, &values))
        .into_iter()
        .map(|(time, _)| time)
        .collect();
    assert_eq!(read, times);
}

#[test]
fn no_samples_are_a_count_of_zero() {
    assert_eq!(encode(&[], &[]), [0, 0]);
}
