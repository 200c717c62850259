//! Where numbers and durations end, and what they are worth.

use crate::duration::{DurationError, parse_duration};
use crate::number::go_quote;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scanned {
    Number,
    Duration,
}

/// Takes characters from the front of a text.
struct Scanner<'t> {
    bytes: &'t [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn accept(&mut self, valid: &[u8]) -> bool {
        let found = self.peek().is_some_and(|byte| valid.contains(&byte));
        self.at += usize::from(found);
        found
    }

    fn accept_run(&mut self, valid: &[u8]) {
        while self.accept(valid) {}
    }

    fn at_word_end(&self) -> bool {
        !self
            .peek()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    }

    /// A number; whether it ends well.
    fn number(&mut self) -> bool {
        let hex = self.accept(b"0") && self.accept(b"xX");
        let digits: &[u8] = if hex {
            self.accept(b"_");
            b"0123456789abcdefABCDEF"
        } else {
            b"0123456789"
        };
        self.accept(b".");
        self.accept(digits);
        let (mut had_dot, mut had_exponent) = (false, false);
        loop {
            match self.peek() {
                Some(byte) if digits.contains(&byte) && !(hex && b"eE".contains(&byte)) => {
                    self.accept_run(digits);
                }
                Some(b'.') => {
                    self.at += 1;
                    if had_dot || self.accept(b"_.") || hex {
                        return false;
                    }
                    had_dot = true;
                }
                Some(b'e' | b'E') => {
                    self.at += 1;
                    if had_exponent {
                        return false;
                    }
                    had_exponent = true;
                    self.accept(b"+-");
                    if self.accept(b"._eE") || self.peek().is_none() {
                        return false;
                    }
                }
                Some(b'_') => {
                    self.at += 1;
                    if self.accept(b"._eE") || self.peek().is_none() {
                        return false;
                    }
                }
                _ => return self.at_word_end(),
            }
        }
    }

    /// The units of a duration, and more of them, behind a number that did not end well.
    fn duration(&mut self) -> bool {
        if !self.accept(b"smhdwy") {
            return false;
        }
        self.accept(b"s");
        while self.accept(b"0123456789") {
            self.accept_run(b"0123456789");
            // Years only come first.
            if !self.accept(b"smhdw") {
                return false;
            }
            self.accept(b"s");
        }
        // The character that does not belong there is shown in the message.
        let ends = self.at_word_end();
        self.at += usize::from(!ends);
        ends
    }
}

/// Bytes of the number or duration at the start of a text, or of what is wrong there.
pub(super) fn scan(text: &str) -> (usize, Option<Scanned>) {
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        at: 0,
    };
    if scanner.number() {
        return (scanner.at, Some(Scanned::Number));
    }
    let well = scanner.duration();
    (scanner.at, well.then_some(Scanned::Duration))
}

/// The value of a number's text.
///
/// # Errors
/// In Go's words.
pub(super) fn value(text: &str) -> Result<f64, String> {
    let fail = |reason: &str| {
        format!(
            "error parsing number: strconv.ParseFloat: parsing {}: {reason}",
            go_quote(text.as_bytes())
        )
    };
    let lower = text.to_ascii_lowercase();
    if !underscores_separate_digits(&lower) {
        return Err(fail("invalid syntax"));
    }
    let plain = lower.replace('_', "");
    if let Some(hex) = plain.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16)
            .map(|value| value as f64)
            .map_err(|_| fail("invalid syntax"));
    }
    let octal = plain.strip_prefix('0').filter(|digits| !digits.is_empty());
    if let Some(value) = octal.and_then(|digits| i64::from_str_radix(digits, 8).ok()) {
        return Ok(value as f64);
    }
    let value: f64 = plain.parse().map_err(|_| fail("invalid syntax"))?;
    if value.is_infinite() && plain != "inf" {
        return Err(fail("value out of range"));
    }
    Ok(value)
}

/// Whether each underscore stands between digits, or behind `0x`.
fn underscores_separate_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    let hex = text.starts_with("0x");
    let digit = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_digit() || (hex && byte.is_ascii_hexdigit()))
    };
    let good = |at: usize| {
        let behind_digit = at > 0 && digit(bytes.get(at - 1));
        digit(bytes.get(at + 1)) && (behind_digit || (hex && at == 2))
    };
    bytes
        .iter()
        .enumerate()
        .all(|(at, byte)| *byte != b'_' || good(at))
}

/// The ms of a duration's text.
///
/// # Errors
/// In Prometheus's words.
pub(super) fn duration_ms(text: &str) -> Result<i64, String> {
    parse_duration(text).map_err(|error: DurationError| error.to_string())
}
