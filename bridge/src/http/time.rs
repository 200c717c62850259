//! Times and durations of parameters, as Prometheus reads them.

use std::time::Duration;

use wire::Timestamp;
pub(crate) use wire::time::rfc3339_of;
use wire::time::{civil, parse_rfc3339};

/// The texts that stand for the least and the greatest time Prometheus can hold.
const LEAST: &str = "-292273086-05-16T16:47:06Z";
const GREATEST: &str = "292277025-08-18T07:12:54.999999999Z";

/// Times that mean "all": half of what an i64 holds, so that sums with offsets and lookback cannot overflow.
pub(crate) const MIN_MS: i64 = i64::MIN / 2;
/// The other end of [`MIN_MS`].
pub(crate) const MAX_MS: i64 = i64::MAX / 2;

/// Unix ms of float seconds or an RFC 3339 text.
///
/// # Errors
/// It is neither; why, in Prometheus's words.
pub fn parse_time(text: &str) -> Result<i64, String> {
    let unreadable = || format!("cannot parse {text:?} to a valid timestamp");
    if let Ok(seconds) = text.parse::<f64>() {
        if !seconds.is_finite() {
            return Err(unreadable());
        }
        // A cast of floats saturates.
        return Ok(((seconds * 1000.0).round() as i64).clamp(MIN_MS, MAX_MS));
    }
    match text {
        LEAST => Ok(MIN_MS),
        GREATEST => Ok(MAX_MS),
        _ => parse_rfc3339(text).ok_or_else(unreadable),
    }
}

/// A duration of float seconds or of Prometheus's form, in ms; it may be negative.
pub(crate) fn parse_duration_ms(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        let nanos = seconds * 1e9;
        if !(i64::MIN as f64..=i64::MAX as f64).contains(&nanos) {
            return Err(format!(
                "cannot parse {text:?} to a valid duration. It overflows int64"
            ));
        }
        return Ok((seconds * 1000.0) as i64);
    }
    promql::parse_duration(text).map_err(|_| format!("cannot parse {text:?} to a valid duration"))
}

/// As [`parse_duration_ms`], for what cannot be negative.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    parse_duration_ms(text).map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

/// A time as Prometheus names snapshots, `20171210T211224Z`: UTC, whole seconds.
pub(crate) fn compact(time: Timestamp) -> String {
    let [year, month, day, hour, minute, second] = civil(time.ms());
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_named_by_the_time_in_utc() {
        for (text, name) in [
            ("2017-12-10T21:12:24Z", "20171210T211224Z"),
            ("2000-02-29T00:00:00Z", "20000229T000000Z"),
            ("2100-03-01T23:59:59Z", "21000301T235959Z"),
            ("1970-01-01T00:00:00Z", "19700101T000000Z"),
            ("2026-12-31T12:00:01Z", "20261231T120001Z"),
        ] {
            let ms = parse_time(text).unwrap();
            assert_eq!(compact(Timestamp::from_ms(ms)), name);
            assert_eq!(rfc3339_of(ms), text);
            assert_eq!(rfc3339_of(ms + 50), text.replace('Z', ".05Z"));
        }
    }

    #[test]
    fn times_read_as_prometheus_reads_them() {
        for (text, ms) in [
            ("0", 0),
            ("1435781451.781", 1_435_781_451_781),
            ("-1.5", -1_500),
            ("1e9", 1_000_000_000_000),
            ("2015-07-01T20:10:51.781Z", 1_435_781_451_781),
            ("2015-07-01T20:10:51.7819Z", 1_435_781_451_781),
            ("2015-07-01T22:10:51+02:00", 1_435_781_451_000),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000),
            ("1969-12-31T23:59:59Z", -1_000),
            (LEAST, MIN_MS),
            (GREATEST, MAX_MS),
        ] {
            assert_eq!(parse_time(text), Ok(ms), "{text}");
        }
        for bad in [
            "",
            "abc",
            "NaN",
            "inf",
            "2015-07-01",
            "2023-02-29T00:00:00Z",
            "2015-07-01T20:10:51",
            "é",
        ] {
            assert_eq!(
                parse_time(bad),
                Err(format!("cannot parse {bad:?} to a valid timestamp"))
            );
        }
    }

    #[test]
    fn durations_read_as_seconds_or_units() {
        for (text, ms) in [
            ("15", 15_000),
            ("0.5", 500),
            ("1m30s", 90_000),
            ("-2", -2_000),
            ("5ms", 5),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
        }
        assert_eq!(
            parse_duration_ms("x"),
            Err("cannot parse \"x\" to a valid duration".to_owned())
        );
        assert!(parse_duration_ms("1e300").is_err());
        assert!(parse_duration_ms("NaN").is_err());
    }
}
