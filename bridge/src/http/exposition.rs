//! Names, texts and numbers of the Prometheus text format, as `/federate` writes them.

use std::borrow::Cow;
use std::fmt::Write;

use axum::http::HeaderMap;

/// How names that the old format cannot spell are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// Every other character becomes an underscore.
    Underscores,
    /// In quotes, a metric's inside the braces.
    Utf8,
}

impl Names {
    /// What a scraper's `Accept` asks for.
    pub(super) fn asked_for(headers: &HeaderMap) -> Self {
        let mut accepted = headers
            .get_all("accept")
            .iter()
            .filter_map(|value| value.to_str().ok());
        match accepted.any(|text| text.contains("escaping=allow-utf-8")) {
            true => Names::Utf8,
            false => Names::Underscores,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Names::Underscores => "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
            Names::Utf8 => "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8",
        }
    }

    /// A metric's name where it stands by itself.
    pub(super) fn metric(self, name: &str) -> Cow<'_, str> {
        self.name(name, true)
    }

    /// A label's name.
    pub(super) fn label(self, name: &str) -> Cow<'_, str> {
        self.name(name, false)
    }

    /// A metric's name before its labels, and the brace that opens them.
    pub(super) fn begin(self, out: &mut String, name: &str) {
        // A String takes everything that is written.
        let _ = match self.is_inside(name) {
            true => write!(out, "{{{}", self.metric(name)),
            false => write!(out, "{}{{", self.metric(name)),
        };
    }

    /// Whether a metric's name stands among the labels, so that the first of them needs a comma.
    pub(super) fn is_inside(self, name: &str) -> bool {
        self == Names::Utf8 && !is_plain(name, true)
    }

    fn name(self, name: &str, colons: bool) -> Cow<'_, str> {
        match self {
            _ if is_plain(name, colons) => Cow::Borrowed(name),
            Names::Utf8 => Cow::Owned(format!("\"{}\"", label_value(name))),
            Names::Underscores => {
                let plain = |(i, c): (usize, char)| if is_plain_char(c, i == 0, colons) { c } else { '_' };
                Cow::Owned(name.chars().enumerate().map(plain).collect())
            }
        }
    }
}

fn is_plain(name: &str, colons: bool) -> bool {
    let mut chars = name.chars().enumerate();
    chars.all(|(i, c)| is_plain_char(c, i == 0, colons))
}

fn is_plain_char(c: char, first: bool, colons: bool) -> bool {
    c.is_ascii_alphabetic() || c == '_' || (colons && c == ':') || (!first && c.is_ascii_digit())
}

/// A label's value between its quotes.
pub(super) fn label_value(text: &str) -> Cow<'_, str> {
    match text.contains(['\\', '"', '\n']) {
        true => Cow::Owned(
            text.replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n"),
        ),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_old_format_lacks_are_escaped_or_quoted() {
        let mut out = String::new();
        Names::Utf8.begin(&mut out, "a.b");
        Names::Underscores.begin(&mut out, "a.b");
        Names::Utf8.begin(&mut out, "a:b");
        assert_eq!(out, "{\"a.b\"a_b{a:b{");
        assert_eq!(Names::Underscores.label("1é:x"), "___x");
        assert_eq!(Names::Utf8.label("a:b"), "\"a:b\"");
        assert_eq!(label_value("a\"\\\n"), "a\\\"\\\\\\n");
    }
}
