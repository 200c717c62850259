//! Numbers read, and texts quoted, as Go does it.

/// Reads a number as Go's `strconv.ParseFloat` does for bucket bounds: decimal, `Inf`, `NaN`, signs, hex integers.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let unsigned = text.trim_start_matches(['+', '-']);
    if text.len() - unsigned.len() > 1 {
        return None;
    }
    let negative = text.starts_with('-');
    let value = match unsigned.to_ascii_lowercase().as_str() {
        "inf" | "infinity" => f64::INFINITY,
        "nan" => f64::NAN,
        lower => match lower.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok()? as f64,
            None => lower.parse().ok()?,
        },
    };
    Some(if negative { -value } else { value })
}

/// Quotes bytes as Go's `strconv.Quote`: what is not printable or not UTF-8 becomes an escape.
pub fn go_quote(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_escaped(c, '"', &mut out);
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

/// Quotes the first so many characters.
pub(crate) fn go_quote_prefix(text: &str, chars: usize) -> String {
    let end = text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at);
    go_quote(&text.as_bytes()[..end])
}

/// Quotes a character as Go's `%q`.
pub(crate) fn go_quote_char(c: char) -> String {
    let mut out = "'".to_owned();
    push_escaped(c, '\'', &mut out);
    out.push('\'');
    out
}

/// A character as Go's `%#U`: `U+0071 'q'`.
pub(crate) fn unicode_name(c: char) -> String {
    let number = format!("U+{:04X}", u32::from(c));
    if is_print(c) {
        format!("{number} '{c}'")
    } else {
        number
    }
}

fn push_escaped(c: char, quote: char, out: &mut String) {
    match c {
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        c if c == quote || c == '\\' => out.extend(['\\', c]),
        c if is_print(c) => out.push(c),
        c if c < ' ' || c == '\x7f' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        c if u32::from(c) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
    }
}

/// Whether Go would print a character as it is.
fn is_print(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_graphic() || c == ' ';
    }
    // Behind another character, Rust does not escape combining marks either.
    let mut pair = "a".to_owned();
    pair.push(c);
    pair.escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_as_in_go() {
        assert_eq!(go_quote(b"a\"\n\xc5z\xc3\xa4\x00"), r#""a\"\n\xc5zä\x00""#);
        assert_eq!(
            go_quote("e\u{301}\u{a0}\u{e0001}".as_bytes()),
            "\"e\u{301}\\u00a0\\U000e0001\""
        );
        assert_eq!(go_quote_prefix("äbcd", 2), "\"äb\"");
        assert_eq!(go_quote_char('\''), r"'\''");
        assert_eq!(unicode_name('q'), "U+0071 'q'");
    }

    #[test]
    fn bucket_bounds_read_as_in_go() {
        assert_eq!(parse_float("+Inf"), Some(f64::INFINITY));
        assert_eq!(parse_float("-0.5"), Some(-0.5));
        assert_eq!(parse_float("0x10"), Some(16.0));
        assert_eq!(parse_float("+-1"), None);
        assert_eq!(parse_float("Hello World"), None);
    }
}
