//! Modes: how a float becomes an integer, its mantissa, and back to the same bits.
//!
//! Mode 0 is the integer itself. 1..=11: mantissa / 10^mode. 17..=27: mantissa * 10^-(mode - 16), one multiplication,
//! which is not the same: exporters write 479 ms as 479 * 0.001 = 0.47900000000000004. 28: mantissa * 1024,
//! 29: mantissa * 4096. 31: no mantissa, the bits stand as they are. A mode is used only if every value comes back bit
//! for bit, so -0.0, infinities and every NaN end in mode 31.

/// The mode of values without a mantissa.
pub(crate) const RAW: u8 = 31;

/// Larger mantissas are not exact where they are rounded.
const MAX_MANTISSA: f64 = 2e15;

/// Adding it to a number below 2^51 rounds that to an integer: it leaves no bits for a fraction.
const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52

const POWERS: [f64; 12] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11];
const INVERSES: [f64; 12] = [
    1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11,
];

/// Modes in the order of trial.
const CANDIDATES: [u8; 16] = [0, 2, 3, 19, 9, 25, 1, 4, 6, 5, 7, 8, 22, 18, 10, 11];

/// Multiples of memory pages are worth a mode from here on.
const LARGE: f64 = 1_048_576.0; // 2^20

pub(crate) const fn is_mode(mode: u8) -> bool {
    matches!(mode, 0..=11 | 17..=29 | RAW)
}

/// The integer that stands for a value in a mode; `None` if the value would not come back.
#[inline]
pub(crate) fn mantissa(value: f64, mode: u8) -> Option<i64> {
    let scaled = match mode {
        0 => value,
        1..=11 => value * POWERS[mode as usize],
        17..=27 => value * POWERS[mode as usize - 16],
        28 => value * (1.0 / 1024.0),
        29 => value * (1.0 / 4096.0),
        _ => return None,
    };
    // A NaN fails here too.
    if scaled.abs() < MAX_MANTISSA {
        let n = (scaled + ROUND - ROUND) as i64;
        (float(n, mode).to_bits() == value.to_bits()).then_some(n)
    } else {
        None
    }
}

/// The value that an integer stands for in a mode; 0 in mode `RAW`.
#[inline]
pub(crate) fn float(n: i64, mode: u8) -> f64 {
    let n = n as f64;
    match mode {
        0 => n,
        1..=11 => n / POWERS[mode as usize],
        17..=27 => n * INVERSES[mode as usize - 16],
        28 => n * 1024.0,
        29 => n * 4096.0,
        _ => 0.0,
    }
}

/// Finds the mode for all values, trying `hints` first, and leaves their mantissas in `out` (none in mode `RAW`).
pub(crate) fn fit(values: &[f64], hints: [u8; 2], out: &mut Vec<i64>) -> u8 {
    let fits = |mode: u8, out: &mut Vec<i64>| {
        out.clear();
        for value in values {
            match mantissa(*value, mode) {
                Some(n) => out.push(n),
                None => return false,
            }
        }
        true
    };
    if let Some(mode) = hints.into_iter().find(|mode| fits(*mode, out)) {
        return mode;
    }
    let large = values.iter().any(|value| value.abs() >= LARGE);
    let pages: &[u8] = if large { &[29, 28] } else { &[] };
    let found = pages.iter().chain(&CANDIDATES).find(|mode| fits(**mode, out));
    found.copied().unwrap_or_else(|| {
        out.clear();
        RAW
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_comes_back_bit_for_bit_or_has_no_mantissa(bits in any::<u64>(), n in -4_000_000i64..4_000_000) {
            for mode in (0..=RAW).filter(|mode| is_mode(*mode)) {
                for value in [f64::from_bits(bits), float(n, mode)] {
                    if let Some(found) = mantissa(value, mode) {
                        prop_assert_eq!(float(found, mode).to_bits(), value.to_bits());
                    }
                }
            }
        }
    }

    #[test]
    fn values_of_exporters_find_their_mode() {
        let mut out = Vec::new();
        for (values, mode) in [
            (&[1.0, 7.0][..], 0),
            (&[0.25, 1.5], 2),
            (&[479.0 * 0.001], 19),
            (&[0.000_123_456], 9),
            (&[8_589_934_592.0, 4_294_967_296.0], 29),
            (&[-0.0], RAW),
            (&[f64::NAN], RAW),
            (&[f64::INFINITY, 1.0], RAW),
            (&[std::f64::consts::PI], RAW),
        ] {
            assert_eq!(fit(values, [RAW, RAW], &mut out), mode, "{values:?}");
        }
    }
}
