//! JSON of query answers, written straight into the body: one pass, no tree.
//!
//! Times are seconds with up to three decimals, values are strings as Go prints them (an exponent below 1e-6 and from
//! 1e21 on), as Prometheus's own encoder does.

use std::io::Write;

use promql::{Bucket, Histogram, InstantSample, Labels, QueryValue, RangeSeries};

mod times;

use times::Times;
pub(crate) use times::time;

/// Bytes that most pairs of time and value take no more than.
const PAIR: usize = 40;

/// Room that is made for an answer before it is written, bytes; longer ones make more as they grow.
const MAX_RESERVED: usize = 8 << 20;

/// A JSON string.
pub(crate) fn text(out: &mut Vec<u8>, text: &str) {
    if is_plain(text.as_bytes()) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Writing to a Vec cannot fail, and a str is always a valid JSON string.
        let _ = serde_json::to_writer(out, text);
    }
}

/// Whether no byte needs an escape; eight are looked at together.
fn is_plain(bytes: &[u8]) -> bool {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    // The high bit of each byte that is below `n`, which is at most 128; one too many only beside another.
    let below = |word: u64, n: u8| word.wrapping_sub(EACH * u64::from(n)) & !word & (EACH << 7);
    let is = |word: u64, byte: u8| below(word ^ (EACH * u64::from(byte)), 1);
    let escaped = |word: u64| below(word, b' ') | is(word, b'"') | is(word, b'\\');
    let (words, rest) = bytes.as_chunks();
    let mut last = [b'x'; 8];
    last[..rest.len()].copy_from_slice(rest);
    words
        .iter()
        .chain([&last])
        .all(|word| escaped(u64::from_ne_bytes(*word)) == 0)
}

/// A JSON array.
pub(crate) fn list<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// A JSON object; `write` writes a whole member.
pub(crate) fn object<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'{');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b'}');
}

/// A label set as an object.
pub(crate) fn labels<'a>(out: &mut Vec<u8>, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    object(out, pairs, |out, (name, value)| {
        text(out, name);
        out.push(b':');
        text(out, value);
    });
}

/// A value as a JSON string.
pub(crate) fn value(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    unquoted(out, value);
    out.push(b'"');
}

fn unquoted(out: &mut Vec<u8>, value: f64) {
    match Digits::new().of(value) {
        Some(text) => short(out, text),
        None => rare(out, value),
    }
}

/// From here on not every integer is a float.
const MAX_INTEGER: f64 = 9_007_199_254_740_992.0;

/// From here on zmij writes no exponent.
const MIN_PLAIN: f64 = 1e-4;

/// Room for the text of a number.
struct Digits {
    integer: itoa::Buffer,
    float: zmij::Buffer,
}

impl Digits {
    fn new() -> Self {
        Digits {
            integer: itoa::Buffer::new(),
            float: zmij::Buffer::new(),
        }
    }

    /// A number in as few digits as tell it from others, if that is how most are written.
    fn of(&mut self, value: f64) -> Option<&[u8]> {
        let size = value.abs();
        let is_negative_zero = value == 0.0 && value.is_sign_negative();
        if size.is_nan() || size >= MAX_INTEGER || is_negative_zero {
            return None;
        }
        if (value as i64) as f64 == value {
            return Some(self.integer.format(value as i64).as_bytes());
        }
        let text = self.float.format_finite(value).as_bytes();
        (size >= MIN_PLAIN || !text.contains(&b'e')).then_some(text)
    }
}

/// The other numbers.
#[cold]
fn rare(out: &mut Vec<u8>, value: f64) {
    let text = match value == 0.0 || (1e-6..1e21).contains(&value.abs()) {
        true => promql::format_value(value),
        false => promql::format_exponent(value),
    };
    out.extend_from_slice(text.as_bytes());
}

/// Appends the text of a number: moves of a fixed size are faster than one of any.
fn short(out: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        8..16 => ends::<8>(out, text),
        16..32 => ends::<16>(out, text),
        _ => out.extend_from_slice(text),
    }
}

/// Appends a text of `N` to `2 * N` bytes by its first and its last `N`.
fn ends<const N: usize>(out: &mut Vec<u8>, text: &[u8]) {
    if let (Some(first), Some(last)) = (text.first_chunk::<N>(), text.last_chunk::<N>()) {
        let at = out.len();
        out.extend_from_slice(first);
        out.extend_from_slice(&[0; N]);
        out[at + text.len() - N..][..N].copy_from_slice(last);
        out.truncate(at + text.len());
    }
}

/// Values of which the digits are found before any of them is written.
const AT_ONCE: usize = 4;

/// All floats of a series. A text is copied when the processor is long done with it, as it would wait for the last digits.
fn pairs(out: &mut Vec<u8>, times_ms: &[i64], values: &[f64], times: &mut Times) {
    let mut next = 0;
    let mut room: [Digits; AT_ONCE] = std::array::from_fn(|_| Digits::new());
    out.push(b'[');
    for (times_ms, values) in times_ms.chunks(AT_ONCE).zip(values.chunks(AT_ONCE)) {
        let mut texts = [None; AT_ONCE];
        for ((text, digits), value) in texts.iter_mut().zip(&mut room).zip(values) {
            *text = digits.of(*value);
        }
        for ((ms, value), text) in times_ms.iter().zip(values).zip(texts) {
            times.begin_pair(out, &mut next, *ms);
            match text {
                Some(text) => short(out, text),
                None => rare(out, *value),
            }
            out.extend_from_slice(b"\"],");
        }
    }
    out.pop();
    out.push(b']');
}

fn pair(out: &mut Vec<u8>, ms: i64, number: f64) {
    out.push(b'[');
    time(out, ms);
    out.push(b',');
    value(out, number);
    out.push(b']');
}

fn metric(out: &mut Vec<u8>, set: &Labels) {
    out.extend_from_slice(b"{\"metric\":");
    labels(out, set.iter());
}

fn instant(out: &mut Vec<u8>, sample: &InstantSample) {
    metric(out, &sample.labels);
    match &sample.histogram {
        Some(histogram) => {
            out.extend_from_slice(b",\"histogram\":");
            histogram_pair(out, sample.time_ms, histogram);
        }
        None => {
            out.extend_from_slice(b",\"value\":");
            pair(out, sample.time_ms, sample.value);
        }
    }
    out.push(b'}');
}

fn range(out: &mut Vec<u8>, series: &RangeSeries, times: &mut Times) {
    metric(out, &series.labels);
    let samples = &series.samples;
    if !samples.times_ms().is_empty() {
        out.extend_from_slice(b",\"values\":");
        pairs(out, samples.times_ms(), samples.values(), times);
    }
    if !samples.histograms().is_empty() {
        out.extend_from_slice(b",\"histograms\":");
        let histograms = samples.histogram_times_ms().iter().zip(samples.histograms());
        list(out, histograms, |out, (&ms, histogram)| {
            histogram_pair(out, ms, histogram)
        });
    }
    out.push(b'}');
}

/// `[time,{"count":…,"sum":…,"buckets":[[rule,"left","right","count"],…]}]`.
fn histogram_pair(out: &mut Vec<u8>, ms: i64, histogram: &Histogram) {
    out.push(b'[');
    time(out, ms);
    out.extend_from_slice(b",{\"count\":");
    value(out, histogram.count);
    out.extend_from_slice(b",\"sum\":");
    value(out, histogram.sum);
    let buckets: Vec<Bucket> = histogram
        .buckets()
        .into_iter()
        .filter(|b| b.count != 0.0)
        .collect();
    if !buckets.is_empty() {
        out.extend_from_slice(b",\"buckets\":");
        list(out, &buckets, bucket);
    }
    out.extend_from_slice(b"}]");
}

fn bucket(out: &mut Vec<u8>, bucket: &Bucket) {
    let rule = match (bucket.lower_inclusive, bucket.upper_inclusive) {
        (false, true) => b"[0,",
        (true, false) => b"[1,",
        (false, false) => b"[2,",
        (true, true) => b"[3,",
    };
    out.extend_from_slice(rule);
    value(out, bucket.lower);
    out.push(b',');
    value(out, bucket.upper);
    out.push(b',');
    value(out, bucket.count);
    out.push(b']');
}

/// A scalar or a text: Prometheus writes the times of these as it writes any float, without zeros at the end.
fn alone(out: &mut Vec<u8>, ms: i64, value: impl FnOnce(&mut Vec<u8>)) {
    let _ = write!(out, "[{},", ms as f64 / 1000.0);
    value(out);
    out.push(b']');
}

/// `{"resultType":…,"result":…}`.
pub(crate) fn result(out: &mut Vec<u8>, answer: &QueryValue) {
    let kind = match answer {
        QueryValue::Scalar { .. } => "scalar",
        QueryValue::Text { .. } => "string",
        QueryValue::Vector(_) => "vector",
        QueryValue::Matrix(_) => "matrix",
    };
    out.extend_from_slice(b"{\"resultType\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"result\":");
    match answer {
        QueryValue::Scalar { time_ms, value } => alone(out, *time_ms, |out| self::value(out, *value)),
        QueryValue::Text { time_ms, value } => alone(out, *time_ms, |out| text(out, value)),
        QueryValue::Vector(vector) => list(out, vector, instant),
        QueryValue::Matrix(matrix) => {
            let pairs: usize = matrix.iter().map(|series| series.samples.values().len()).sum();
            out.reserve(pairs.saturating_mul(PAIR).min(MAX_RESERVED));
            let mut times = Times::default();
            list(out, matrix, |out, series| range(out, series, &mut times));
        }
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_written_as_go_writes_them_in_json() {
        for (number, expected) in [
            (0.0, "\"0\""),
            (-0.0, "\"-0\""),
            (1.5, "\"1.5\""),
            (1e-7, "\"1e-07\""),
            (-2.5e-10, "\"-2.5e-10\""),
            (0.000_001, "\"0.000001\""),
            (1e21, "\"1e+21\""),
            (999e18, "\"999000000000000000000\""),
            (f64::NAN, "\"NaN\""),
            (f64::INFINITY, "\"+Inf\""),
            (f64::NEG_INFINITY, "\"-Inf\""),
        ] {
            assert_eq!(written(|out| value(out, number)), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn numbers_are_written_as_rare_ones_are(bits in proptest::num::u64::ANY, thousandths in -9_999_999i64..9_999_999) {
            let near = (-13..13).map(|power| format!("{thousandths}e{power}").parse().unwrap());
            for number in near.chain([f64::from_bits(bits), thousandths as f64 / 1000.0, thousandths as f64 * 1e9]) {
                proptest::prop_assert_eq!(written(|out| unquoted(out, number)), written(|out| rare(out, number)));
            }
        }
    }

    #[test]
    fn histograms_are_written_with_their_populated_buckets() {
        let histogram = Histogram {
            count: 5.0,
            sum: 18.4,
            zero_threshold: 0.001,
            zero_count: 2.0,
            positive: promql::Buckets::new(vec![(0, 1.0), (1, 2.0)]),
            ..Histogram::default()
        };
        assert_eq!(
            written(|out| histogram_pair(out, 1_500, &histogram)),
            r#"[1.500,{"count":"5","sum":"18.4","buckets":[[3,"-0.001","0.001","2"],[0,"0.5","1","1"],[0,"1","2","2"]]}]"#
        );
    }

    proptest::proptest! {
        #[test]
        fn texts_are_written_as_serde_writes_them(texts in proptest::collection::vec("[ -~]{0,20}|\\PC{0,20}|[\0-\x7f]{0,20}", 1..20)) {
            for string in texts {
                proptest::prop_assert_eq!(written(|out| text(out, &string)), serde_json::to_string(&string).unwrap());
            }
        }
    }

    #[test]
    fn label_values_are_escaped() {
        let set = [("a", "\"\\\n"), ("é", "x")];
        assert_eq!(
            written(|out| labels(out, set.into_iter())),
            r#"{"a":"\"\\\n","é":"x"}"#
        );
    }
}
