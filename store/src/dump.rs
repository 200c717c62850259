//! Everything of a tenant as OpenMetrics text.
//!
//! As `promtool tsdb dump-openmetrics` writes it, so that `promtool tsdb create-blocks-from openmetrics` reads it: a line
//! per sample, those of a series together and in order of time, series of a metric together, `# EOF` at the end. The
//! text has no place for stale markers and native histograms; those are left out and counted.

use std::io::{self, Write};
use std::path::Path;

use wire::labels::METRIC_NAME;
use wire::{Labels, Tenant};

use crate::check::open_to_read;
use crate::error::OpenError;
use crate::matcher::Matcher;
use crate::query::SeriesSlice;
use crate::store::{Progress, Store};

/// Series that are read at once.
const AT_ONCE: usize = 64;

/// Prometheus's stale marker.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// What is dumped.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Whose.
    pub tenant: Tenant,
    /// Matchers that a series has to satisfy.
    pub matchers: Vec<Matcher>,
    /// The first time, ms since the epoch.
    pub start_ms: i64,
    /// The last time, ms since the epoch.
    pub end_ms: i64,
}

/// What a dump wrote and left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dumped {
    /// Series written.
    pub series: u64,
    /// Samples written.
    pub samples: u64,
    /// Stale markers left out.
    pub stale: u64,
    /// Native histograms left out.
    pub histograms: u64,
    /// Series left out as they have no metric name.
    pub nameless: u64,
}

/// Why a dump is not whole.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The folder does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A block cannot be read.
    #[error(transparent)]
    Read(#[from] crate::error::SelectError),
    /// The text cannot be written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// Writes a tenant's samples; `opening` is told while the folder is opened, and `see` of metrics written, and all.
///
/// # Errors
/// The folder is no store's or cannot be read, or the text cannot be written.
pub fn dump(
    dir: &Path,
    wanted: &Wanted,
    out: &mut dyn Write,
    opening: &mut dyn FnMut(Progress),
    see: &mut dyn FnMut(usize, usize),
) -> Result<Dumped, DumpError> {
    let store = open_to_read(dir, opening)?;
    store.dump(wanted, out, see)
}

impl Store {
    fn dump(
        &self,
        wanted: &Wanted,
        out: &mut dyn Write,
        see: &mut dyn FnMut(usize, usize),
    ) -> Result<Dumped, DumpError> {
        let metrics = self.label_values(&wanted.tenant, METRIC_NAME, &wanted.matchers);
        let mut dumped = Dumped {
            nameless: self.of_metric(wanted, "").len() as u64,
            ..Dumped::default()
        };
        // A metric at a time, as its series stand together and not all names need be in memory.
        for (done, metric) in metrics.iter().enumerate() {
            for names in self.of_metric(wanted, metric).chunks(AT_ONCE) {
                let range = (wanted.start_ms, wanted.end_ms);
                for slice in self.select_series(&wanted.tenant, names, range)? {
                    write_series(&slice, out, &mut dumped)?;
                }
            }
            see(done + 1, metrics.len());
        }
        out.write_all(b"# EOF\n")?;
        out.flush()?;
        Ok(dumped)
    }

    /// The wanted series of a metric, sorted.
    fn of_metric(&self, wanted: &Wanted, metric: &str) -> Vec<Labels> {
        let mut matchers = wanted.matchers.clone();
        matchers.push(Matcher::equal(METRIC_NAME, metric));
        self.series(&wanted.tenant, &matchers, wanted.start_ms, wanted.end_ms)
    }
}

fn write_series(slice: &SeriesSlice, out: &mut dyn Write, dumped: &mut Dumped) -> io::Result<()> {
    dumped.histograms += slice.histograms.len() as u64;
    if slice.values.is_empty() {
        return Ok(());
    }
    let mut line = String::new();
    put_labels(&mut line, &slice.labels);
    dumped.series += 1;
    for (time, value) in slice.times_ms.iter().zip(&slice.values) {
        if value.to_bits() == STALE {
            dumped.stale += 1;
            continue;
        }
        dumped.samples += 1;
        out.write_all(line.as_bytes())?;
        match *value {
            value if value.is_nan() => out.write_all(b" NaN")?,
            f64::INFINITY => out.write_all(b" +Inf")?,
            f64::NEG_INFINITY => out.write_all(b" -Inf")?,
            value => write!(out, " {value:?}")?,
        }
        let (sign, ms) = (if *time < 0 { "-" } else { "" }, time.unsigned_abs());
        writeln!(out, " {sign}{}.{:03}", ms / 1000, ms % 1000)?;
    }
    Ok(())
}

/// `name{label="value",…}`; a name that the classic format does not know stands in the braces, quoted.
fn put_labels(line: &mut String, labels: &Labels) {
    let name = labels.metric_name();
    let mut others = labels
        .iter()
        .filter(|(label, _)| *label != METRIC_NAME)
        .peekable();
    let plain = is_plain(name, true);
    if plain {
        line.push_str(name);
    }
    if plain && others.peek().is_none() {
        return;
    }
    line.push('{');
    if !plain {
        put_quoted(line, name);
    }
    for (at, (label, value)) in others.enumerate() {
        if at > 0 || !plain {
            line.push(',');
        }
        match is_plain(label, false) {
            true => line.push_str(label),
            false => put_quoted(line, label),
        }
        line.push('=');
        put_quoted(line, value);
    }
    line.push('}');
}

fn is_plain(name: &str, colon: bool) -> bool {
    let is_start = |c: u8| c.is_ascii_alphabetic() || c == b'_' || (colon && c == b':');
    name.bytes()
        .enumerate()
        .all(|(at, c)| is_start(c) || (at > 0 && c.is_ascii_digit()))
}

fn put_quoted(line: &mut String, text: &str) {
    line.push('"');
    for c in text.chars() {
        match c {
            '\\' => line.push_str("\\\\"),
            '"' => line.push_str("\\\""),
            '\n' => line.push_str("\\n"),
            c => line.push(c),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn text(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> (String, Dumped) {
        let slice = SeriesSlice {
            labels: Labels::new(labels.iter().copied()).unwrap(),
            times_ms: Arc::new(samples.iter().map(|(time, _)| *time).collect()),
            values: samples.iter().map(|(_, value)| *value).collect(),
            histograms: Vec::new(),
        };
        let (mut out, mut dumped) = (Vec::new(), Dumped::default());
        write_series(&slice, &mut out, &mut dumped).unwrap();
        (String::from_utf8(out).unwrap(), dumped)
    }

    #[test]
    fn samples_are_lines_as_open_metrics_has_them() {
        let samples = [(1500, 0.1), (2000, f64::NAN), (3000, f64::INFINITY), (-1, 1e300)];
        let (found, _) = text(&[("__name__", "up"), ("job", "a\"\\\n")], &samples);
        assert_eq!(
            found,
            concat!(
                "up{job=\"a\\\"\\\\\\n\"} 0.1 1.500\n",
                "up{job=\"a\\\"\\\\\\n\"} NaN 2.000\n",
                "up{job=\"a\\\"\\\\\\n\"} +Inf 3.000\n",
                "up{job=\"a\\\"\\\\\\n\"} 1e300 -0.001\n"
            )
        );
        assert_eq!(text(&[("__name__", "up")], &[(1000, 1.0)]).0, "up 1.0 1.000\n");
    }

    #[test]
    fn other_names_are_quoted_and_what_has_no_text_is_counted() {
        let (found, _) = text(&[("__name__", "a.b"), ("x.y", "z")], &[(0, -2.0)]);
        assert_eq!(found, "{\"a.b\",\"x.y\"=\"z\"} -2.0 0.000\n");
        let (found, dumped) = text(&[("__name__", "m")], &[(0, f64::from_bits(STALE)), (1, 5.0)]);
        assert_eq!(
            (found.as_str(), dumped.samples, dumped.stale),
            ("m 5.0 0.001\n", 1, 1)
        );
    }
}
