//! String literals: where they end, and the bytes that they stand for, by Go's rules.

use crate::number::unicode_name;

/// Bytes of a literal behind its opening quote, the closing one included.
///
/// # Errors
/// In Prometheus's words: not closed, or an escape that Go does not know.
pub(super) fn literal_len(text: &str, quote: char) -> Result<usize, String> {
    let raw = quote == '`';
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\\' if !raw => rest = escape(rest, quote)?.1,
            char::REPLACEMENT_CHARACTER => return Err("invalid UTF-8 rune".to_owned()),
            '\n' if !raw => break,
            c if c == quote => return Ok(text.len() - rest.len()),
            _ => {}
        }
    }
    Err(if raw {
        "unterminated raw string"
    } else {
        "unterminated quoted string"
    }
    .to_owned())
}

/// What an escape stands for.
enum Escaped {
    Char(char),
    Byte(u8),
}

/// Reads an escape whose backslash was taken; returns it and what follows.
fn escape(text: &str, quote: char) -> Result<(Escaped, &str), String> {
    let Some(c) = text.chars().next() else {
        return Err("escape sequence not terminated".to_owned());
    };
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
        'x' => return byte(after, 2, 16),
        '0'..='7' => return byte(text, 3, 8),
        'u' => return code_point(after, 4),
        'U' => return code_point(after, 8),
        c => return Err(format!("unknown escape sequence {}", unicode_name(c))),
    };
    Ok((Escaped::Char(plain), after))
}

/// The value of so many digits, and what follows them.
fn digits(text: &str, count: usize, radix: u32) -> Result<(u32, &str), String> {
    let mut value = 0_u32;
    let mut rest = text;
    for _ in 0..count {
        let Some(c) = rest.chars().next() else {
            return Err("escape sequence not terminated".to_owned());
        };
        let Some(digit) = c.to_digit(radix) else {
            return Err(format!(
                "illegal character {} in escape sequence",
                unicode_name(c)
            ));
        };
        value = value.wrapping_mul(radix).wrapping_add(digit);
        rest = &rest[c.len_utf8()..];
    }
    Ok((value, rest))
}

const NO_CODE_POINT: &str = "escape sequence is an invalid Unicode code point";

fn byte(text: &str, count: usize, radix: u32) -> Result<(Escaped, &str), String> {
    let (value, rest) = digits(text, count, radix)?;
    let byte = u8::try_from(value).map_err(|_| NO_CODE_POINT.to_owned())?;
    Ok((Escaped::Byte(byte), rest))
}

fn code_point(text: &str, count: usize) -> Result<(Escaped, &str), String> {
    let (value, rest) = digits(text, count, 16)?;
    let c = char::from_u32(value).ok_or_else(|| NO_CODE_POINT.to_owned())?;
    Ok((Escaped::Char(c), rest))
}

/// The bytes of a literal with its quotes, which [`literal_len`] found well-formed.
///
/// # Errors
/// As [`literal_len`].
pub(super) fn unquote(literal: &str) -> Result<Vec<u8>, String> {
    let mut chars = literal.chars();
    let quote = chars.next().unwrap_or('"');
    chars.next_back();
    let mut rest = chars.as_str();
    if quote == '`' {
        return Ok(rest.as_bytes().to_vec());
    }
    let mut bytes = Vec::with_capacity(rest.len());
    let push = |c: char, bytes: &mut Vec<u8>| {
        bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    };
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            push(c, &mut bytes);
            continue;
        }
        let (escaped, next) = escape(rest, quote)?;
        match escaped {
            Escaped::Char(c) => push(c, &mut bytes),
            Escaped::Byte(byte) => bytes.push(byte),
        }
        rest = next;
    }
    Ok(bytes)
}
