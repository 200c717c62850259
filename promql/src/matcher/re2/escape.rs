//! Escapes that stand for one character or for a class, in and outside of brackets.

/// What an escape stands for.
pub(super) enum Escape {
    /// One character.
    Char(char),
    /// Members to put between brackets of the `regex` crate.
    Class(String),
}

/// Reads the escape whose backslash was already taken; returns it and what follows.
pub(super) fn read_escape(text: &str) -> Result<(Escape, &str), String> {
    let mut chars = text.chars();
    let c = chars.next().ok_or("trailing backslash at end of expression")?;
    let after = chars.as_str();
    let one = |c: char| Ok((Escape::Char(c), after));
    match c {
        'd' | 'D' | 's' | 'S' | 'w' | 'W' => Ok((Escape::Class(perl_class(c)), after)),
        'p' | 'P' => unicode_class(c == 'P', after),
        'a' => one('\x07'),
        'f' => one('\x0c'),
        'n' => one('\n'),
        'r' => one('\r'),
        't' => one('\t'),
        'v' => one('\x0b'),
        'x' => hex(after),
        '0' => octal(text),
        // A single digit would be a back reference; two octal digits are a character.
        '1'..='7' if after.starts_with(|d: char| d.is_digit(8)) => octal(text),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => one(c),
        c => Err(format!("invalid escape sequence: \\{c}")),
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
fn hex(text: &str) -> Result<(Escape, &str), String> {
    let (digits, after) = match text.strip_prefix('{') {
        Some(braced) => braced.split_once('}').ok_or("invalid escape sequence: \\x{")?,
        None => text.split_at_checked(2).ok_or("invalid escape sequence: \\x")?,
    };
    let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let c = u32::from_str_radix(digits, 16)
        .ok()
        .filter(|_| valid)
        .and_then(char::from_u32);
    c.map(|c| (Escape::Char(c), after))
        .ok_or_else(|| format!("invalid escape sequence: \\x{digits}"))
}

/// Up to three octal digits.
fn octal(text: &str) -> Result<(Escape, &str), String> {
    let len = text
        .bytes()
        .take(3)
        .take_while(|b| (b'0'..=b'7').contains(b))
        .count();
    let c = u32::from_str_radix(&text[..len], 8).ok().and_then(char::from_u32);
    c.map(|c| (Escape::Char(c), &text[len..]))
        .ok_or_else(|| "invalid escape sequence".to_owned())
}

/// `\pL`, `\p{Greek}`, `\p{^Greek}`: general categories and scripts under Go's names.
fn unicode_class(negated: bool, text: &str) -> Result<(Escape, &str), String> {
    let (name, after) = match text.strip_prefix('{') {
        Some(braced) => braced
            .split_once('}')
            .ok_or("invalid character class range: \\p{")?,
        None => {
            let len = text
                .chars()
                .next()
                .ok_or("invalid character class range: \\p")?
                .len_utf8();
            text.split_at(len)
        }
    };
    let (negated, name) = match name.strip_prefix('^') {
        Some(name) => (!negated, name),
        None => (negated, name),
    };
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    // Surrogates are no characters here, and looser spellings are an invention of the regex crate.
    if !plain || !name.starts_with(|c: char| c.is_ascii_uppercase()) || name == "Cs" {
        return Err(format!("invalid character class range: \\p{{{name}}}"));
    }
    let property = match name.len() {
        1 | 2 => format!("gc={name}"),
        _ if name == "Any" => "Any".to_owned(),
        _ => format!("sc={name}"),
    };
    let letter = if negated { 'P' } else { 'p' };
    Ok((Escape::Class(format!("\\{letter}{{{property}}}")), after))
}
