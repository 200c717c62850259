//! The text of a series: finding its end on a line, and parsing it into name and labels.
//!
//! Grammar: `name`, `name{label="value",...}` or, with quoted UTF-8 names, `{"name","label"="value",...}`. Blanks may
//! stand between any two tokens and a comma may end the list. In values `\\`, `\"` and `\n` are escapes; any other
//! backslash stands for itself.

use super::{ExpositionLimits, LineError, excerpt, is_blank, skip_blanks};

/// All of a sample line before its value, blanks around it cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesText<'a>(&'a [u8]);

/// Name and labels as written: in the page's order, empty values kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedSeries {
    /// Name of the metric.
    pub name: String,
    /// Other labels.
    pub labels: Vec<(String, String)>,
}

impl<'a> SeriesText<'a> {
    /// The series at the start of a line that does not start with a blank. Its inside is not checked.
    pub(super) fn find(line: &'a [u8]) -> Result<Self, LineError> {
        let name = line.iter().position(|b| !is_name_byte(*b)).unwrap_or(line.len());
        let starts_well = line
            .first()
            .is_some_and(|b| *b == b'{' || (is_name_byte(*b) && !b.is_ascii_digit()));
        if !starts_well {
            return Err(LineError::Expected("a metric name"));
        }
        let after = skip_blanks(&line[name..]);
        if after.first() != Some(&b'{') {
            return Ok(SeriesText(&line[..name]));
        }
        let open = line.len() - after.len();
        let close = closing_brace(&line[open..]).ok_or(LineError::Expected("a closing brace"))?;
        Ok(SeriesText(&line[..open + close + 1]))
    }

    /// The series at the start of a line if it is `expected`.
    pub(super) fn expected(line: &'a [u8], expected: &[u8]) -> Option<Self> {
        let rest = line.strip_prefix(expected)?;
        let after = skip_blanks(rest);
        // Without a blank the name may go on, and after one its labels may follow.
        let ends_here = !expected.is_empty() && after.len() < rest.len() && after.first() != Some(&b'{');
        ends_here.then(|| SeriesText(&line[..expected.len()]))
    }

    pub(super) fn len(self) -> usize {
        self.0.len()
    }

    /// The key of a cache.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Parses name and labels, strictly and within the limits.
    pub fn parse(self, limits: &ExpositionLimits) -> Result<ParsedSeries, LineError> {
        let text = std::str::from_utf8(self.0).map_err(|_| LineError::NotUtf8("series"))?;
        let (name, list) = match text.find('{') {
            Some(open) => (
                text[..open].trim_end_matches(is_blank_char),
                Some(&text[open + 1..]),
            ),
            None => (text, None),
        };
        let mut parsed = ParsedSeries {
            name: name.to_owned(),
            labels: Vec::new(),
        };
        if let Some(list) = list {
            parse_labels(list, &mut parsed, limits)?;
        }
        if parsed.name.is_empty() {
            return Err(LineError::Expected("a metric name"));
        }
        check_len("metric name length", &parsed.name, limits.value_bytes)?;
        check_unique(&parsed)?;
        Ok(parsed)
    }
}

/// The offset of the `}` that ends the list which starts at `text[0]`; quotes hide braces.
fn closing_brace(text: &[u8]) -> Option<usize> {
    let mut quoted = false;
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' if quoted => {
                bytes.next();
            }
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// `list` is what follows the opening brace, its closing one included.
fn parse_labels(list: &str, parsed: &mut ParsedSeries, limits: &ExpositionLimits) -> Result<(), LineError> {
    let mut rest = trim(list);
    while rest != "}" {
        let (token, quoted, after) = label_name(rest)?;
        rest = trim(after);
        if quoted && rest.starts_with([',', '}']) {
            if !parsed.name.is_empty() {
                return Err(LineError::Expected("one metric name, not two"));
            }
            parsed.name = token;
            rest = trim(rest.strip_prefix(',').unwrap_or(rest));
            continue;
        }
        rest = trim(
            rest.strip_prefix('=')
                .ok_or(LineError::Expected("'=' after a label name"))?,
        );
        let (value, after) = quoted_string(rest).ok_or(LineError::Expected("a quoted label value"))?;
        check_len("label name length", &token, limits.name_bytes)?;
        // Escapes only shrink a value, so the raw length bounds it.
        check_len("label value length", value, limits.value_bytes)?;
        if parsed.labels.len() + 1 >= limits.labels {
            return Err(LineError::Limit {
                what: "number of labels",
                limit: limits.labels,
            });
        }
        parsed.labels.push((token, unescape(value, true)));
        rest = trim(after);
        rest = trim(rest.strip_prefix(',').unwrap_or(rest));
    }
    Ok(())
}

/// A label name, quoted or plain: (name, whether quoted, what follows).
fn label_name(text: &str) -> Result<(String, bool, &str), LineError> {
    if text.starts_with('"') {
        let (name, rest) = quoted_string(text).ok_or(LineError::Expected("a closing quote"))?;
        if name.is_empty() {
            return Err(LineError::Expected("a name between the quotes"));
        }
        return Ok((unescape(name, true), true, rest));
    }
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    if end == 0 || text.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(LineError::Expected("a label name"));
    }
    Ok((text[..end].to_owned(), false, &text[end..]))
}

/// The inside of the quoted string at the start of `text`, and what follows it.
fn quoted_string(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('"')?;
    let mut bytes = inside.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'"' => return Some((&inside[..at], &inside[at + 1..])),
            _ => {}
        }
    }
    None
}

/// Resolves `\\` and `\n`, and `\"` where `quotes` says so.
pub(super) fn unescape(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('\\') => out.push('\\'),
            Some('"') if quotes => out.push('"'),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

/// The metric name at the start of the rest of a HELP, TYPE or UNIT line, and what follows it.
pub(super) fn metadata_name(text: &[u8]) -> Result<(&str, &[u8]), LineError> {
    let end = text.iter().position(|b| is_blank(*b)).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    // Quoted names hold no blanks here: a family that has them in its name goes without metadata.
    let name = word
        .strip_prefix(b"\"")
        .and_then(|w| w.strip_suffix(b"\""))
        .unwrap_or(word);
    let plain = name.len() < word.len()
        || (name.iter().all(|b| is_name_byte(*b)) && !name.first().is_some_and(u8::is_ascii_digit));
    match std::str::from_utf8(name) {
        Ok(name) if plain && !name.is_empty() => Ok((name, rest)),
        _ => Err(LineError::Expected("a metric name after HELP, TYPE or UNIT")),
    }
}

fn check_unique(parsed: &ParsedSeries) -> Result<(), LineError> {
    let mut names: Vec<&str> = parsed.labels.iter().map(|(name, _)| name.as_str()).collect();
    names.push("__name__");
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(LineError::RepeatedLabel(excerpt(pair[0].as_bytes()))),
        None => Ok(()),
    }
}

fn check_len(what: &'static str, text: &str, limit: usize) -> Result<(), LineError> {
    if text.len() > limit {
        Err(LineError::Limit { what, limit })
    } else {
        Ok(())
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':'
}

fn is_blank_char(c: char) -> bool {
    c == ' ' || c == '\t'
}

fn trim(text: &str) -> &str {
    text.trim_start_matches(is_blank_char)
}
