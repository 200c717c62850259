//! Alerts, samples and times as promtool prints them.

use promql::format_pairs;

use super::outcome::ResultSample;
use crate::group::Pairs;

fn pairs(pairs: &Pairs) -> String {
    format_pairs(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// All lines but the first one further to the right.
pub(super) fn indented(text: &str, indent: &str) -> String {
    text.replace('\n', &format!("\n{indent}"))
}

/// Labels and annotations of alerts.
pub(super) fn alerts(alerts: &[(Pairs, Pairs)]) -> String {
    if alerts.is_empty() {
        return "[]".to_owned();
    }
    let alert = |(index, (labels, annotations)): (usize, &(Pairs, Pairs))| {
        let both = format!("\nLabels:{}\nAnnotations:{}", pairs(labels), pairs(annotations));
        format!("\n{index}:{}", indented(&both, "  "))
    };
    let all: Vec<String> = alerts.iter().enumerate().map(alert).collect();
    format!("[{}\n]", all.join(","))
}

pub(super) fn samples(samples: &[ResultSample]) -> String {
    if samples.is_empty() {
        return "nil".to_owned();
    }
    let sample = |sample: &ResultSample| match &sample.histogram {
        Some(histogram) => format!("{} {histogram}", sample.labels),
        None => format!("{} {}", sample.labels, exponential(sample.value)),
    };
    samples.iter().map(sample).collect::<Vec<_>>().join(", ")
}

/// Go's `%E` with the shortest mantissa: `1E+00`.
fn exponential(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = format!("{value:E}");
    let (mantissa, exponent) = text.split_once('E').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}E{sign}{digits:0>2}")
}

/// A duration as Go prints it: `1h0m5s`.
pub(super) fn go_duration(ms: i64) -> String {
    match ms {
        0 => return "0s".to_owned(),
        1..1000 => return format!("{ms}ms"),
        _ => {}
    }
    let (hours, minutes, rest) = (ms / 3_600_000, ms / 60_000 % 60, ms % 60_000);
    let seconds = format!("{}s", rest as f64 / 1000.0);
    match (hours, minutes) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}
