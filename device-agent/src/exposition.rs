//! Prometheus's text exposition format, version 0.0.4.
//!
//! [`Entries`] walks a page line by line without allocating and is as strict as Prometheus's own parser: the first bad
//! line ends the page, by number. A sample comes with the raw text of its series (all bytes before the value), so that
//! a cache keyed by that text spares an unchanged series the parsing of its labels; [`SeriesText`] parses it when the
//! cache has not seen it. Two things differ from Prometheus: a line break inside a quoted label value (it must be written
//! `\n`) and a NUL byte are refused. Sizes and counts are checked before anything is allocated.

mod number;
mod series;
mod writer;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use series::{ParsedSeries, SeriesText};
pub use writer::PageWriter;

/// The type that `# TYPE` gives to a metric.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum MetricType {
    /// Only rises, but for resets.
    Counter,
    /// Goes up and down.
    Gauge,
    /// `_bucket`, `_sum` and `_count` series.
    Histogram,
    /// Quantiles, `_sum` and `_count`.
    Summary,
    /// Not said, or `untyped` on the page.
    #[default]
    Unknown,
}

impl MetricType {
    /// Prometheus's word; pages write `untyped` for `unknown`.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::Summary => "summary",
            MetricType::Unknown => "unknown",
        }
    }
}

/// What a page may hold, so that a target cannot exhaust the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpositionLimits {
    /// Longest line, bytes.
    pub line_bytes: usize,
    /// Most labels of a series, its name included.
    pub labels: usize,
    /// Longest label name, bytes.
    pub name_bytes: usize,
    /// Longest label value or metric name, bytes.
    pub value_bytes: usize,
}

impl Default for ExpositionLimits {
    fn default() -> Self {
        ExpositionLimits {
            line_bytes: 64 << 10,
            labels: 48,
            name_bytes: 256,
            value_bytes: 4096,
        }
    }
}

/// A bad line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ExpositionError {
    /// Counted from 1.
    pub line: u32,
    /// What is wrong with it.
    pub reason: LineError,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// A byte where the format allows none such.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A value that Go's ParseFloat (before 1.13's forms) does not read, or that exceeds an f64.
    #[error("{0:?} is no sample value")]
    Value(String),
    /// A timestamp that is no signed 64-bit number of milliseconds.
    #[error("{0:?} is no timestamp in milliseconds")]
    Timestamp(String),
    /// `# TYPE` with a word of another format.
    #[error("invalid metric type {0:?}")]
    Type(String),
    /// Label value or help text that is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotUtf8(&'static str),
    /// The same label twice in one series.
    #[error("label name {0:?} is not unique")]
    RepeatedLabel(String),
    /// Over a limit.
    #[error("{what} exceeds the limit of {limit}")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
}

/// One meaningful line.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry<'a> {
    /// `# HELP name text`, unescaped.
    Help {
        /// Family.
        name: &'a str,
        /// Text.
        text: Cow<'a, str>,
    },
    /// `# TYPE name type`.
    Type {
        /// Family.
        name: &'a str,
        /// Type.
        kind: MetricType,
    },
    /// `# UNIT name unit` of OpenMetrics; a plain comment elsewhere, harmless to read.
    Unit {
        /// Family.
        name: &'a str,
        /// Unit.
        unit: &'a str,
    },
    /// A sample.
    Sample(RawSample<'a>),
}

/// A sample whose series is not parsed yet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RawSample<'a> {
    /// The series as written.
    pub series: SeriesText<'a>,
    /// NaN is always 0x7ff8000000000001, as in Prometheus.
    pub value: f64,
    /// Milliseconds, if the page gives a time.
    pub timestamp: Option<i64>,
}

/// The lines of a page.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    rest: &'a [u8],
    line: u32,
    limits: ExpositionLimits,
}

impl<'a> Entries<'a> {
    /// From the page's first line on.
    pub fn new(page: &'a [u8], limits: ExpositionLimits) -> Self {
        Entries {
            rest: page,
            line: 0,
            limits,
        }
    }

    /// The error for the line last returned.
    pub fn error(&self, reason: LineError) -> ExpositionError {
        ExpositionError {
            line: self.line,
            reason,
        }
    }

    /// The next entry; None at the end of the page. After an error the page is void. `expected` is the text of the
    /// series that followed the last one on the page before: when it is right, its end need not be searched.
    pub fn next(&mut self, expected: &[u8]) -> Result<Option<Entry<'a>>, ExpositionError> {
        while !self.rest.is_empty() {
            let line = self.take_line();
            if line.len() > self.limits.line_bytes {
                return Err(self.error(LineError::Limit {
                    what: "line length",
                    limit: self.limits.line_bytes,
                }));
            }
            match parse_line(line, expected, &self.limits) {
                Ok(Line::Blank) => {}
                Ok(Line::Entry(entry)) => return Ok(Some(entry)),
                Err(reason) => return Err(self.error(reason)),
            }
        }
        Ok(None)
    }

    fn take_line(&mut self) -> &'a [u8] {
        self.line = self.line.saturating_add(1);
        let end = self.rest.iter().position(|b| *b == b'\n');
        let (line, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        line
    }
}

enum Line<'a> {
    Blank,
    Entry(Entry<'a>),
}

fn parse_line<'a>(line: &'a [u8], expected: &[u8], limits: &ExpositionLimits) -> Result<Line<'a>, LineError> {
    if let Some(series) = SeriesText::expected(line, expected) {
        return parse_sample(series, &line[series.len()..]);
    }
    let unindented = skip_blanks(line);
    match unindented.first() {
        None => Ok(Line::Blank),
        Some(b'#') => parse_comment(&unindented[1..], limits),
        Some(_) => {
            let series = SeriesText::find(line)?;
            parse_sample(series, &line[series.len()..])
        }
    }
}

fn parse_sample<'a>(series: SeriesText<'a>, rest: &'a [u8]) -> Result<Line<'a>, LineError> {
    let (value, rest) = split_word(skip_blanks(rest));
    if value.is_empty() {
        return Err(LineError::Expected("a value after the series"));
    }
    let value = number::parse_value(value)?;
    let (time, rest) = split_word(skip_blanks(rest));
    let timestamp = if time.is_empty() {
        None
    } else {
        Some(number::parse_timestamp(time)?)
    };
    if !skip_blanks(rest).is_empty() {
        return Err(LineError::Expected("the end of the line after the timestamp"));
    }
    Ok(Line::Entry(Entry::Sample(RawSample {
        series,
        value,
        timestamp,
    })))
}

/// `rest` is what follows the `#`. What is no HELP, TYPE or UNIT is a comment, `# EOF` of OpenMetrics too.
fn parse_comment<'a>(rest: &'a [u8], limits: &ExpositionLimits) -> Result<Line<'a>, LineError> {
    let body = skip_blanks(rest);
    let (keyword, after) = split_word(body);
    if body.len() == rest.len() || after.is_empty() || !matches!(keyword, b"HELP" | b"TYPE" | b"UNIT") {
        return Ok(Line::Blank);
    }
    let (name, text) = series::metadata_name(skip_blanks(after))?;
    if name.len() > limits.value_bytes {
        return Err(LineError::Limit {
            what: "metric name length",
            limit: limits.value_bytes,
        });
    }
    // One blank ends the name, further ones belong to the text.
    let text = text.get(1..).unwrap_or(&[]);
    let text = std::str::from_utf8(text).map_err(|_| LineError::NotUtf8("text of a comment"))?;
    Ok(Line::Entry(match keyword {
        b"HELP" => Entry::Help {
            name,
            text: unescape_help(text),
        },
        b"UNIT" => Entry::Unit { name, unit: text },
        _ => Entry::Type {
            name,
            kind: parse_type(text)?,
        },
    }))
}

fn parse_type(word: &str) -> Result<MetricType, LineError> {
    Ok(match word {
        "counter" => MetricType::Counter,
        "gauge" => MetricType::Gauge,
        "histogram" => MetricType::Histogram,
        "summary" => MetricType::Summary,
        "untyped" => MetricType::Unknown,
        other => return Err(LineError::Type(excerpt(other.as_bytes()))),
    })
}

fn unescape_help(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    Cow::Owned(series::unescape(text, false))
}

fn skip_blanks(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|b| !is_blank(*b)).unwrap_or(line.len());
    &line[start..]
}

fn split_word(line: &[u8]) -> (&[u8], &[u8]) {
    line.split_at(line.iter().position(|b| is_blank(*b)).unwrap_or(line.len()))
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// What an error shows of outside bytes.
fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).into_owned()
}
