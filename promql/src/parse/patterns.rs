//! Regexes are ours to read. The grammar crate compiles every pattern by its own rules, without a limit on the sum of
//! their sizes; so before it sees a query, each pattern behind `=~` and `!~` is put into hex, which any engine compiles
//! to next to nothing, and `lower` puts it back.

use super::guard::string_len;
use crate::error::ParseError;

/// Patterns that one query may have; alternatives of plain texts are not counted when compiled, but are here.
const MAX_PATTERNS: usize = 256;

/// In front of a pattern in hex: no pattern in hex is empty or matches the empty value.
const MARK: char = 'p';

/// The query with its patterns in hex.
pub(super) fn hide(query: &str) -> Result<String, ParseError> {
    let mut hidden = String::with_capacity(query.len() * 2);
    let mut patterns = 0;
    let mut after_operator = false;
    let mut rest = query;
    while let Some(c) = rest.chars().next() {
        let mut len = c.len_utf8();
        match c {
            '"' | '\'' | '`' => {
                len = string_len(rest, c)?;
                if std::mem::take(&mut after_operator) {
                    patterns += 1;
                    push_hex(&unquote(&rest[..len])?, &mut hidden);
                    rest = &rest[len..];
                    continue;
                }
            }
            '#' => len = rest.find('\n').unwrap_or(rest.len()),
            '~' if hidden.ends_with(['=', '!']) => after_operator = true,
            c if c.is_whitespace() => {}
            _ => after_operator = false,
        }
        hidden.push_str(&rest[..len]);
        rest = &rest[len..];
    }
    if patterns > MAX_PATTERNS {
        return Err(ParseError::Syntax(format!(
            "more than {MAX_PATTERNS} regular expressions"
        )));
    }
    Ok(hidden)
}

fn push_hex(pattern: &str, out: &mut String) {
    out.push('"');
    out.push(MARK);
    for byte in pattern.bytes() {
        out.push_str(&format!("{byte:02x}"));
    }
    out.push('"');
}

/// The pattern that was hidden in a value.
pub(super) fn reveal(value: &str) -> Result<String, ParseError> {
    let broken = || ParseError::Syntax("unreadable regular expression".to_owned());
    let hex = value.strip_prefix(MARK).ok_or_else(broken)?.as_bytes();
    let byte = |pair: &[u8]| {
        let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
        Some(digit(*pair.first()?)? * 16 + digit(*pair.get(1)?)?)
    };
    let bytes: Option<Vec<u8>> = hex.chunks(2).map(byte).collect();
    String::from_utf8(bytes.ok_or_else(broken)?).map_err(|_| broken())
}

/// The text of a string literal, quotes included, by Go's rules.
fn unquote(literal: &str) -> Result<String, ParseError> {
    let invalid = || ParseError::Syntax(format!("invalid string literal {literal}"));
    let quote = literal.chars().next().ok_or_else(invalid)?;
    let body = literal[1..].strip_suffix(quote).ok_or_else(invalid)?;
    if quote == '`' {
        return Ok(body.to_owned());
    }
    if body.contains('\n') {
        return Err(invalid());
    }
    let mut text = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            text.push(c);
            continue;
        }
        let (c, next) = escape(rest, quote).ok_or_else(invalid)?;
        text.push(c);
        rest = next;
    }
    Ok(text)
}

/// The character of an escape whose backslash was taken away, and what follows.
fn escape(text: &str, quote: char) -> Option<(char, &str)> {
    let c = text.chars().next()?;
    let after = &text[c.len_utf8()..];
    let plain = match c {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '\\' => '\\',
        c if c == quote => c,
        'x' => return number(after, 2, 16),
        'u' => return number(after, 4, 16),
        'U' => return number(after, 8, 16),
        '0'..='7' => return number(text, 3, 8),
        _ => return None,
    };
    Some((plain, after))
}

/// A character by the number of its code point, of so many digits.
fn number(text: &str, digits: usize, radix: u32) -> Option<(char, &str)> {
    let (digits, after) = text.split_at_checked(digits)?;
    let good = digits.chars().all(|c| c.is_digit(radix));
    let c = u32::from_str_radix(digits, radix)
        .ok()
        .filter(|_| good)
        .and_then(char::from_u32)?;
    Some((c, after))
}
