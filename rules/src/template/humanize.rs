//! Numbers for people, as Prometheus's template functions write them.

use gtmpl_ng::{FloatFormat, Value, format_float};
use wire::time::civil;

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const BINARY: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// A number, or a text that is one.
pub(super) fn number_of(value: &Value) -> Result<f64, String> {
    match value {
        Value::Number(number) => number
            .as_f64()
            .or_else(|| number.as_i64().map(|n| n as f64))
            .or_else(|| number.as_u64().map(|n| n as f64))
            .ok_or_else(|| format!("can't convert {value} to float")),
        Value::String(text) => {
            parse(text).ok_or_else(|| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax"))
        }
        other => Err(format!("can't convert {other} to float")),
    }
}

/// Decimal numbers, infinities and NaN.
fn parse(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.starts_with(['+', '-']) {
        return None;
    }
    text.parse().ok()
}

/// `%.4g`.
fn short(value: f64) -> String {
    format_float(value, FloatFormat::General, Some(4))
}

/// Divides by `base` as often as the value allows.
fn divided(mut value: f64, base: f64, prefixes: &[&str]) -> String {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < base {
            break;
        }
        prefix = next;
        value /= base;
    }
    format!("{}{prefix}", short(value))
}

/// Multiplies by 1000 until there is something before the point.
fn multiplied(mut value: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in SMALL {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = next;
        value *= 1000.0;
    }
    (value, prefix)
}

pub(super) fn decimal(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return short(value);
    }
    if value.abs() >= 1.0 {
        return divided(value, 1000.0, &LARGE);
    }
    let (value, prefix) = multiplied(value);
    format!("{}{prefix}", short(value))
}

pub(super) fn binary(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return short(value);
    }
    divided(value, 1024.0, &BINARY)
}

pub(super) fn percentage(value: f64) -> String {
    format!("{}%", short(value * 100.0))
}

/// Of a number of seconds.
pub(super) fn duration(value: f64) -> String {
    if !value.is_finite() {
        return short(value);
    }
    if value == 0.0 {
        return format!("{}s", short(value));
    }
    if value.abs() < 1.0 {
        let (value, prefix) = multiplied(value);
        return format!("{}{prefix}s", short(value));
    }
    let sign = if value < 0.0 { "-" } else { "" };
    // Go's conversion of what an integer cannot hold gives the least one.
    let whole = match value.abs() as i64 {
        i64::MAX => i64::MIN,
        whole => whole,
    };
    let (seconds, minutes, hours, days) = (whole % 60, whole / 60 % 60, whole / 3600 % 24, whole / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", short(value.abs())),
        (0, 0, _) => format!("{sign}{minutes}m {seconds}s"),
        (0, _, _) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    }
}

/// Of Unix seconds; what is no time stays a number.
pub(super) fn timestamp(value: f64) -> Result<String, String> {
    match value.is_finite() {
        true => time(value),
        false => Ok(short(value)),
    }
}

/// Unix seconds as Go prints a time in UTC, to the millisecond.
pub(super) fn time(value: f64) -> Result<String, String> {
    if !value.is_finite() {
        return Err("value is NaN or Inf".to_owned());
    }
    let nanos = value * 1e9;
    if nanos.abs() > i64::MAX as f64 {
        let shown = format_float(value, FloatFormat::General, None);
        return Err(format!(
            "{shown} cannot be represented as a nanoseconds timestamp since it overflows int64"
        ));
    }
    // Prometheus cuts off what is below a millisecond, towards zero.
    let ms = nanos as i64 / 1_000_000;
    let [year, month, day, hour, minute, second] = civil(ms);
    let fraction = match ms.rem_euclid(1000) {
        0 => String::new(),
        millis => format!(".{millis:03}").trim_end_matches('0').to_owned(),
    };
    Ok(format!(
        "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{fraction} +0000 UTC"
    ))
}
