//! Native histograms in the notation.

use crate::float::format_general;
use crate::histogram::{Buckets, CounterReset, Histogram};

use super::{NotationError, histogram_error, parse_number};

/// Reads a histogram without its double braces: `schema:0 count:3 sum:4 buckets:[1 2]`.
///
/// # Errors
/// An unknown key, or a value that is no number.
pub fn parse_histogram(body: &str) -> Result<Histogram, NotationError> {
    read(body).map_err(|reason| histogram_error(body, reason))
}

fn read(body: &str) -> Result<Histogram, String> {
    let mut histogram = Histogram::default();
    let (mut offset, mut n_offset) = (0, 0);
    let (mut buckets, mut n_buckets) = (Vec::new(), Vec::new());
    let mut rest = body.trim();
    while !rest.is_empty() {
        let (key, value) = rest
            .split_once(':')
            .ok_or_else(|| format!("not a histogram: {body}"))?;
        let end = if value.starts_with('[') {
            value.find(']').map(|end| end + 1)
        } else {
            value.find(char::is_whitespace)
        };
        let (value, next) = value.split_at(end.unwrap_or(value.len()));
        rest = next.trim();
        let one = || parse_number(value).ok_or_else(|| format!("not a number: {value}"));
        let many = || -> Result<Vec<f64>, String> {
            let values = value.trim_matches(['[', ']']).split_whitespace();
            values
                .map(|v| parse_number(v).ok_or_else(|| format!("not a number: {v}")))
                .collect()
        };
        match key {
            "schema" => histogram.schema = one()? as i32,
            "sum" => histogram.sum = one()?,
            "count" => histogram.count = one()?,
            "z_bucket" => histogram.zero_count = one()?,
            "z_bucket_w" => histogram.zero_threshold = one()?,
            "offset" => offset = one()? as i32,
            "n_offset" => n_offset = one()? as i32,
            "buckets" => buckets = many()?,
            "n_buckets" => n_buckets = many()?,
            "custom_values" => histogram.custom_bounds = many()?.into(),
            "counter_reset_hint" => histogram.counter_reset = reset_hint(value)?,
            other => return Err(format!("unknown key {other}")),
        }
    }
    histogram.positive = numbered(offset, buckets)?;
    histogram.negative = numbered(n_offset, n_buckets)?;
    Ok(histogram)
}

/// Counts of buckets that follow each other.
fn numbered(offset: i32, counts: Vec<f64>) -> Result<Buckets, String> {
    let fits = i32::try_from(counts.len()).is_ok_and(|len| offset.checked_add(len).is_some());
    match fits {
        true => Ok(Buckets::new((offset..).zip(counts).collect())),
        false => Err(format!("bucket numbers from {offset} are too large")),
    }
}

fn reset_hint(value: &str) -> Result<CounterReset, String> {
    match value {
        "unknown" => Ok(CounterReset::Unknown),
        "reset" => Ok(CounterReset::Reset),
        "not_reset" => Ok(CounterReset::NotReset),
        "gauge" => Ok(CounterReset::Gauge),
        other => Err(format!("unknown counter_reset_hint {other}")),
    }
}

/// Writes a histogram as Prometheus's tests do; what is empty or zero is left out.
pub fn format_histogram(histogram: &Histogram) -> String {
    let mut parts = Vec::new();
    if histogram.schema != 0 {
        parts.push(format!("schema:{}", histogram.schema));
    }
    let numbers = [
        ("count", histogram.count),
        ("sum", histogram.sum),
        ("z_bucket", histogram.zero_count),
        ("z_bucket_w", histogram.zero_threshold),
    ];
    for (key, value) in numbers.into_iter().filter(|(_, value)| *value != 0.0) {
        parts.push(format!("{key}:{}", format_general(value)));
    }
    let list = |values: &mut dyn Iterator<Item = f64>| {
        let texts: Vec<String> = values.map(format_general).collect();
        format!("[{}]", texts.join(" "))
    };
    if histogram.has_custom_bounds() {
        let bounds = list(&mut histogram.custom_bounds.iter().copied());
        parts.push(format!("custom_values:{bounds}"));
    }
    let hint = match histogram.counter_reset {
        CounterReset::Unknown => None,
        CounterReset::Reset => Some("reset"),
        CounterReset::NotReset => Some("not_reset"),
        CounterReset::Gauge => Some("gauge"),
    };
    parts.extend(hint.map(|hint| format!("counter_reset_hint:{hint}")));
    for (buckets, key, offset_key) in [
        (&histogram.positive, "buckets", "offset"),
        (&histogram.negative, "n_buckets", "n_offset"),
    ] {
        let (Some((first, _)), Some((last, _))) = (buckets.iter().next(), buckets.iter().next_back()) else {
            continue;
        };
        if first != 0 {
            parts.push(format!("{offset_key}:{first}"));
        }
        // Empty buckets between populated ones are written out.
        let mut populated = buckets.iter().peekable();
        let mut counts = (first..=last).map(|index| match populated.next_if(|(at, _)| *at == index) {
            Some((_, count)) => count,
            None => 0.0,
        });
        parts.push(format!("{key}:{}", list(&mut counts)));
    }
    format!("{{{{{}}}}}", parts.join(" "))
}
