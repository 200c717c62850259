//! Values and timestamps as Go's strconv reads them for Prometheus.
//!
//! Prometheus keeps to Go's forms before 1.13: decimal digits with optional point and exponent, `Inf`, `Infinity` and
//! `NaN` in any case; hexadecimal floats and `_` are refused, a signed NaN too, and so is what exceeds the largest f64.

use super::{LineError, excerpt};

/// The one NaN that a page can yield, so that no page can forge a stale marker.
pub(super) const NORMAL_NAN: u64 = 0x7ff8_0000_0000_0001;

/// Longer than any useful number; bounds the work on one value.
const MAX_NUMBER_LEN: usize = 512;

pub(super) fn parse_value(text: &[u8]) -> Result<f64, LineError> {
    read_value(text).ok_or_else(|| LineError::Value(excerpt(text)))
}

fn read_value(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text)
        .ok()
        .filter(|t| t.len() <= MAX_NUMBER_LEN)?;
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let value: f64 = text.parse().ok()?;
    if value.is_nan() {
        return (unsigned.len() == text.len()).then_some(f64::from_bits(NORMAL_NAN));
    }
    let spelt_infinite = unsigned.starts_with(['i', 'I']);
    (value.is_finite() || spelt_infinite).then_some(value)
}

/// Digits alone, milliseconds: the format allows a sign, Prometheus's lexer does not.
pub(super) fn parse_timestamp(text: &[u8]) -> Result<i64, LineError> {
    let digits = || {
        text.iter()
            .all(u8::is_ascii_digit)
            .then(|| std::str::from_utf8(text).ok()?.parse().ok())
    };
    digits()
        .flatten()
        .ok_or_else(|| LineError::Timestamp(excerpt(text)))
}
