//! Durations and byte sizes as Prometheus spells them in flags and config files.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Why a text is no duration or size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not of the form `1h30m`.
    #[error("{0:?} is no duration; write it as Prometheus does, e.g. 15s, 5m or 1h30m")]
    Duration(String),
    /// Not of the form `256MB`.
    #[error("{0:?} is no size; write it as Prometheus does, e.g. 512KB, 256MB or 2GB")]
    Size(String),
}

/// A duration in Prometheus's form: `1h30m`, units y w d h m s ms in falling order; `0` alone needs none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PromDuration(Duration);

const DURATION_UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

impl PromDuration {
    /// From a std duration; shorter parts than a millisecond are cut off in text.
    pub const fn new(duration: Duration) -> Self {
        PromDuration(duration)
    }

    /// As a std duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn parse_duration_ms(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut units = DURATION_UNITS.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = digits(rest);
        let (unit, tail) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

impl FromStr for PromDuration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let ms =
            parse_duration_ms(text).ok_or_else(|| UnitError::Duration(text.chars().take(64).collect()))?;
        Ok(PromDuration(Duration::from_millis(ms)))
    }
}

impl fmt::Display for PromDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if ms == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in DURATION_UNITS {
            // Prometheus prints years and weeks only when nothing smaller is left.
            if matches!(unit, "y" | "w") && !ms.is_multiple_of(factor) {
                continue;
            }
            if ms / factor > 0 {
                write!(f, "{}{unit}", ms / factor)?;
                ms %= factor;
            }
        }
        Ok(())
    }
}

/// A size in bytes: `256MB`, units B KB MB GB TB PB EB, each 1024 of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

const SIZE_UNITS: [&str; 7] = ["B", "KB", "MB", "GB", "TB", "PB", "EB"];

impl ByteSize {
    /// From bytes.
    pub const fn new(bytes: u64) -> Self {
        ByteSize(bytes)
    }

    /// In bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let parse = || {
            let (number, unit) = digits(text);
            // The binary spelling (MiB) means the same.
            let unit = unit.replace("iB", "B");
            let power = if unit.is_empty() {
                0
            } else {
                SIZE_UNITS.iter().position(|u| *u == unit)?
            };
            number
                .parse::<u64>()
                .ok()?
                .checked_mul(1u64.checked_shl(10 * power as u32)?)
        };
        parse()
            .map(ByteSize)
            .ok_or_else(|| UnitError::Size(text.chars().take(64).collect()))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let power = (0..SIZE_UNITS.len())
            .rev()
            .find(|p| self.0 >> (10 * p) > 0 && self.0.is_multiple_of(1 << (10 * p)));
        let power = power.unwrap_or(0);
        write!(f, "{}{}", self.0 >> (10 * power), SIZE_UNITS[power])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_as_prometheus_does() {
        for (text, ms) in [
            ("15s", 15_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("1d12h", 129_600_000),
            ("5ms", 5),
            ("0", 0),
        ] {
            assert_eq!(
                text.parse::<PromDuration>().unwrap().get(),
                Duration::from_millis(ms),
                "{text}"
            );
        }
        assert_eq!("7d".parse::<PromDuration>().unwrap().to_string(), "1w");
        assert_eq!("90m".parse::<PromDuration>().unwrap().to_string(), "1h30m");
        for bad in [
            "",
            "s",
            "15",
            "1m1h",
            "1s1s",
            "-1s",
            "1.5s",
            "99999999999999y",
            "1 s",
        ] {
            assert!(bad.parse::<PromDuration>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_read_and_print_as_prometheus_does() {
        for (text, bytes) in [
            ("256MB", 256 << 20),
            ("2GB", 2 << 30),
            ("2GiB", 2 << 30),
            ("100", 100),
            ("1KB", 1024),
            ("0", 0),
        ] {
            assert_eq!(text.parse::<ByteSize>().unwrap().get(), bytes, "{text}");
        }
        assert_eq!(ByteSize::new(256 << 20).to_string(), "256MB");
        for bad in ["", "MB", "1.5GB", "-1", "99999999EB", "1 MB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }
}
