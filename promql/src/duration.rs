//! PromQL durations: `1h30m`, units `y w d h m s ms` in that order, each at most once; years have 365 days.

use thiserror::Error;

/// Units from the largest, in ms. `ms` comes before `m` and `s` when matching text.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Why a duration was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DurationError {
    /// Not of the form `1h30m`.
    #[error("not a valid duration string: {0:?}")]
    Malformed(String),
    /// A unit that there is not, and the whole text.
    #[error("unknown unit {0:?} in duration {1:?}")]
    UnknownUnit(String, String),
    /// No text at all.
    #[error("empty duration string")]
    Empty,
    /// More than about 292 years.
    #[error("duration out of range")]
    OutOfRange,
}

/// Reads a duration such as `5m`, `1h30m` or `0`, in ms.
///
/// # Errors
/// Another form, units out of order or repeated, or more than about 292 years.
pub fn parse_duration(text: &str) -> Result<i64, DurationError> {
    let malformed = || DurationError::Malformed(text.to_owned());
    if text == "0" {
        return Ok(0);
    }
    let (mut rest, mut next_unit, mut total) = (text, 0, 0_i64);
    if rest.is_empty() {
        return Err(DurationError::Empty);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(malformed)?;
        if digits == 0 {
            return Err(malformed());
        }
        let unit_len = rest[digits..]
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len() - digits);
        let unit = &rest[digits..digits + unit_len];
        let at = UNITS
            .iter()
            .position(|(name, _)| *name == unit)
            .ok_or_else(|| DurationError::UnknownUnit(unit.to_owned(), text.to_owned()))?;
        if at < next_unit {
            return Err(malformed());
        }
        let count: u64 = rest[..digits].parse().map_err(|_| malformed())?;
        let count = i64::try_from(count).map_err(|_| DurationError::OutOfRange)?;
        let ms = count.checked_mul(UNITS[at].1).ok_or(DurationError::OutOfRange)?;
        total = total.checked_add(ms).ok_or(DurationError::OutOfRange)?;
        next_unit = at + 1;
        rest = &rest[digits + unit_len..];
    }
    // Go's time.Duration counts ns in an i64; Prometheus refuses what does not fit.
    if total > i64::MAX / 1_000_000 {
        return Err(DurationError::OutOfRange);
    }
    Ok(total)
}

/// Prints ms as Prometheus does: `1h30m`; years and weeks only where nothing else remains of them.
pub fn format_duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut text = if ms < 0 { "-".to_owned() } else { String::new() };
    let mut rest = ms.unsigned_abs();
    for (name, unit) in UNITS {
        let unit = unit.unsigned_abs();
        let only_exact = name == "y" || name == "w";
        if rest >= unit && (!only_exact || rest.is_multiple_of(unit)) {
            text.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print() {
        for (text, ms) in [
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1y", 31_536_000_000),
            ("15ms", 15),
        ] {
            assert_eq!(parse_duration(text), Ok(ms));
            assert_eq!(format_duration(ms), text);
        }
        assert_eq!(
            parse_duration("1m1h"),
            Err(DurationError::Malformed("1m1h".to_owned()))
        );
        for bad in ["", "5", "m", "1m1m", "1.5h", "-5m", "5 m", "1x"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_duration("300y"), Err(DurationError::OutOfRange));
        assert_eq!(format_duration(90 * 86_400_000), "90d");
    }
}
