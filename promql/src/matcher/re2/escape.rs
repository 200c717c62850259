//! Escapes that stand for one character or for a class, in and outside of brackets.

use super::{Translated, before, fault};

/// What an escape stands for.
pub(super) enum Escape {
    /// One character.
    Char(char),
    /// Members to put between brackets of the `regex` crate.
    Class(String),
}

pub(super) const INVALID_ESCAPE: &str = "invalid escape sequence";

/// Reads the escape that begins with its backslash; returns it and what follows.
pub(super) fn read_escape(escape: &str) -> Translated<(Escape, &str)> {
    let text = &escape[1..];
    let Some(c) = text.chars().next() else {
        return fault("trailing backslash at end of expression", "");
    };
    let after = &text[c.len_utf8()..];
    let one = |c: char| Ok((Escape::Char(c), after));
    match c {
        'd' | 'D' | 's' | 'S' | 'w' | 'W' => Ok((Escape::Class(perl_class(c)), after)),
        'p' | 'P' => unicode_class(escape),
        'a' => one('\x07'),
        'f' => one('\x0c'),
        'n' => one('\n'),
        'r' => one('\r'),
        't' => one('\t'),
        'v' => one('\x0b'),
        'x' => hex(escape),
        '0' => octal(escape),
        // A single digit would be a back reference; two octal digits are a character.
        '1'..='7' if after.starts_with(|d: char| d.is_digit(8)) => octal(escape),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => one(c),
        _ => fault(INVALID_ESCAPE, before(escape, after)),
    }
}

/// Go's Perl classes are ASCII; `\s` has no vertical tab.
fn perl_class(c: char) -> String {
    let members = match c.to_ascii_lowercase() {
        'd' => "0-9",
        's' => "\\t\\n\\x0c\\r ",
        _ => "0-9A-Za-z_",
    };
    if c.is_ascii_uppercase() {
        format!("[^{members}]")
    } else {
        members.to_owned()
    }
}

/// `\x7F` or `\x{10FFFF}`.
fn hex(escape: &str) -> Translated<(Escape, &str)> {
    let text = &escape[2..];
    let Some(braced) = text.strip_prefix('{') else {
        return hex_byte(escape);
    };
    let mut rest = braced;
    let mut value = 0_u32;
    let mut digits = 0;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        if c == '}' && digits > 0 {
            return match char::from_u32(value) {
                Some(c) => Ok((Escape::Char(c), after)),
                None => fault(INVALID_ESCAPE, before(escape, after)),
            };
        }
        let Some(digit) = c.to_digit(16) else {
            return fault(INVALID_ESCAPE, before(escape, after));
        };
        value = value * 16 + digit;
        digits += 1;
        if value > u32::from(char::MAX) {
            return fault(INVALID_ESCAPE, before(escape, after));
        }
        rest = after;
    }
    fault(INVALID_ESCAPE, escape)
}

/// `\x7F`
fn hex_byte(escape: &str) -> Translated<(Escape, &str)> {
    let mut chars = escape[2..].chars();
    let (high, low) = (chars.next(), chars.next());
    let digit = |c: Option<char>| c.and_then(|c| c.to_digit(16));
    match (digit(high), digit(low)) {
        (Some(high), Some(low)) => {
            let c = char::from_u32(high * 16 + low).unwrap_or_default();
            Ok((Escape::Char(c), chars.as_str()))
        }
        _ => fault(INVALID_ESCAPE, before(escape, chars.as_str())),
    }
}

/// Up to three octal digits.
fn octal(escape: &str) -> Translated<(Escape, &str)> {
    let text = &escape[1..];
    let len = text
        .bytes()
        .take(3)
        .take_while(|b| (b'0'..=b'7').contains(b))
        .count();
    let c = u32::from_str_radix(&text[..len], 8).ok().and_then(char::from_u32);
    match c {
        Some(c) => Ok((Escape::Char(c), &text[len..])),
        None => fault(INVALID_ESCAPE, escape),
    }
}

/// `\pL`, `\p{Greek}`, `\p{^Greek}`: general categories and scripts under Go's names.
fn unicode_class(escape: &str) -> Translated<(Escape, &str)> {
    let bad = |shown: &str| fault("invalid character class range", shown);
    let negated = escape.starts_with("\\P");
    let text = &escape[2..];
    let (name, after) = match text.strip_prefix('{') {
        Some(braced) => match braced.split_once('}') {
            Some(parts) => parts,
            None => return bad(escape),
        },
        None => match text.chars().next() {
            Some(c) => text.split_at(c.len_utf8()),
            None => return bad(escape),
        },
    };
    let (negated, name) = match name.strip_prefix('^') {
        Some(name) => (!negated, name),
        None => (negated, name),
    };
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    // Surrogates are no characters here, and looser spellings are an invention of the regex crate.
    if !plain || !name.starts_with(|c: char| c.is_ascii_uppercase()) || name == "Cs" {
        return bad(before(escape, after));
    }
    let property = match name.len() {
        1 | 2 => format!("gc={name}"),
        _ if name == "Any" => "Any".to_owned(),
        _ => format!("sc={name}"),
    };
    let letter = if negated { 'P' } else { 'p' };
    let class = format!("\\{letter}{{{property}}}");
    // Whether there is such a class, the regex crate knows.
    if regex::Regex::new(&class).is_err() {
        return bad(before(escape, after));
    }
    Ok((Escape::Class(class), after))
}
