//! Modes: how a float becomes an integer, its mantissa, and back to the same bits.
//!
//! Mode 0 is the integer itself. 1..=11: mantissa / 10^mode. 17..=27: mantissa * 10^-(mode - 16), one multiplication,
//! which is not the same: exporters write 479 ms as 479 * 0.001 = 0.47900000000000004. 28: mantissa * 1024,
//! 29: mantissa * 4096. 31: no mantissa, the bits stand as they are. A mode is used only if every value comes back bit
//! for bit, so -0.0, infinities and every NaN end in mode 31.

/// The mode of values without a mantissa.
pub const RAW: u8 = 31;

/// Larger mantissas are not exact where they are rounded.
const MAX_MANTISSA: f64 = 2e15;

/// Adding it to a number below 2^51 rounds that to an integer: it leaves no bits for a fraction.
const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52

/// What a mode does to a value (`scale`) and to a mantissa (`times`, then `by`); factors of 1 change no bit, so that
/// every mode is the same arithmetic, without branches.
struct Mode {
    scale: f64,
    times: f64,
    by: f64,
}

/// No mode: no value has a mantissa.
const NONE: Mode = Mode {
    scale: f64::NAN,
    times: 0.0,
    by: 1.0,
};

const fn divided(power: f64) -> Mode {
    Mode {
        scale: power,
        times: 1.0,
        by: power,
    }
}

const fn multiplied(power: f64, inverse: f64) -> Mode {
    Mode {
        scale: power,
        times: inverse,
        by: 1.0,
    }
}

const MODES: [Mode; 32] = [
    divided(1.0),
    divided(1e1),
    divided(1e2),
    divided(1e3),
    divided(1e4),
    divided(1e5),
    divided(1e6),
    divided(1e7),
    divided(1e8),
    divided(1e9),
    divided(1e10),
    divided(1e11),
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
    multiplied(1e1, 1e-1),
    multiplied(1e2, 1e-2),
    multiplied(1e3, 1e-3),
    multiplied(1e4, 1e-4),
    multiplied(1e5, 1e-5),
    multiplied(1e6, 1e-6),
    multiplied(1e7, 1e-7),
    multiplied(1e8, 1e-8),
    multiplied(1e9, 1e-9),
    multiplied(1e10, 1e-10),
    multiplied(1e11, 1e-11),
    multiplied(1.0 / 1024.0, 1024.0),
    multiplied(1.0 / 4096.0, 4096.0),
    NONE,
    NONE,
];

/// Modes in the order of trial.
const CANDIDATES: [u8; 16] = [0, 2, 3, 19, 9, 25, 1, 4, 6, 5, 7, 8, 22, 18, 10, 11];

/// Modes to try with a rest: exporters divide what they read by powers of ten, often twice.
pub const MODES_OF_DIVISION: [u8; 5] = [6, 9, 3, 8, 7];

/// Multiples of memory pages are worth a mode from here on.
const LARGE: f64 = 1_048_576.0; // 2^20

/// Whether a number is a mode.
pub const fn is_mode(mode: u8) -> bool {
    matches!(mode, 0..=11 | 17..=29 | RAW)
}

/// The integer that stands for a value in a mode; `None` if the value would not come back.
#[inline]
pub(crate) fn mantissa(value: f64, mode: u8) -> Option<i64> {
    let scaled = value * MODES[mode as usize & 31].scale;
    // A NaN fails here too.
    if scaled.abs() < MAX_MANTISSA {
        let n = (scaled + ROUND - ROUND) as i64;
        (float(n, mode).to_bits() == value.to_bits()).then_some(n)
    } else {
        None
    }
}

/// The integer whose float is nearest to a value; `None` if there is none.
#[inline]
pub fn nearest(value: f64, mode: u8) -> Option<i64> {
    let scaled = value * MODES[mode as usize & 31].scale;
    (scaled.abs() < MAX_MANTISSA).then_some((scaled + ROUND - ROUND) as i64)
}

/// The value that an integer stands for in a mode.
#[inline]
pub fn float(n: i64, mode: u8) -> f64 {
    let mode = &MODES[mode as usize & 31];
    n as f64 * mode.times / mode.by
}

/// Appends the values that integers stand for in a mode.
#[inline]
pub fn floats(list: &[i64], mode: u8, out: &mut Vec<f64>) {
    let mode = &MODES[mode as usize & 31];
    // A factor of 1 changes no bit.
    if mode.by != 1.0 {
        out.extend(list.iter().map(|n| *n as f64 * mode.times / mode.by));
    } else {
        out.extend(list.iter().map(|n| *n as f64 * mode.times));
    }
}

/// The mantissas of all values; false if one has none.
fn fits(values: &[f64], mode: u8, out: &mut Vec<i64>) -> bool {
    let mode = &MODES[mode as usize & 31];
    if mode.by != 1.0 {
        fits_with(values, mode.scale, |n| n / mode.by, out)
    } else {
        fits_with(values, mode.scale, |n| n * mode.times, out)
    }
}

#[inline]
fn fits_with(values: &[f64], scale: f64, back: impl Fn(f64) -> f64, out: &mut Vec<i64>) -> bool {
    out.clear();
    out.resize(values.len(), 0);
    for (values, out) in values.chunks(8).zip(out.chunks_mut(8)) {
        let mut wrong = 0;
        for (value, out) in values.iter().zip(out) {
            let scaled = value * scale;
            let rounded = scaled + ROUND;
            let again = back(rounded - ROUND);
            // A NaN is not below it either.
            let fits = scaled.abs() < MAX_MANTISSA;
            wrong |= u64::from(!fits) | (again.to_bits() ^ value.to_bits());
            // Between 2^52 and 2^53 the bits of neighbours differ by 1.
            *out = rounded.to_bits().wrapping_sub(ROUND.to_bits()) as i64;
        }
        if wrong != 0 {
            return false;
        }
    }
    true
}

/// Finds the mode for all values, trying `hints` first, and leaves their mantissas in `out` (none in mode `RAW`).
pub fn fit(values: &[f64], hints: [u8; 2], out: &mut Vec<i64>) -> u8 {
    if let Some(mode) = hints.into_iter().find(|mode| fits(values, *mode, out)) {
        return mode;
    }
    let large = values.iter().any(|value| value.abs() >= LARGE);
    let pages: &[u8] = if large { &[29, 28] } else { &[] };
    let found = pages
        .iter()
        .chain(&CANDIDATES)
        .find(|mode| fits(values, **mode, out));
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
