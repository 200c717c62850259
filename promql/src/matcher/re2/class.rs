//! Bracket classes by Go's rules: `&&`, `--`, `~~` and inner brackets are plain members.

use super::escape::{Escape, read_escape};

/// ASCII classes that Go and the regex crate have under the same names.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// Translates the class whose opening bracket was already taken; returns what follows its closing bracket.
pub(super) fn translate_class<'p>(text: &'p str, out: &mut String) -> Result<&'p str, String> {
    let missing = || "missing closing ]".to_owned();
    let (mut rest, negated) = text.strip_prefix('^').map_or((text, false), |rest| (rest, true));
    out.push_str(if negated { "[^" } else { "[" });
    let mut first = true;
    while first || !rest.starts_with(']') {
        if rest.is_empty() {
            return Err(missing());
        }
        first = false;
        if let Some(next) = posix(rest, out)? {
            rest = next;
            continue;
        }
        let (low, next) = member(rest)?;
        rest = match low {
            Escape::Class(class) => {
                out.push_str(&class);
                next
            }
            Escape::Char(low) => range(low, rest, next, out)?,
        };
    }
    out.push(']');
    rest.strip_prefix(']').ok_or_else(missing)
}

/// `[:alpha:]` or `[:^alpha:]` at the start of `text`.
fn posix<'p>(text: &'p str, out: &mut String) -> Result<Option<&'p str>, String> {
    let Some((inner, after)) = text.strip_prefix("[:").and_then(|t| t.split_once(":]")) else {
        return Ok(None);
    };
    if !POSIX.contains(&inner.strip_prefix('^').unwrap_or(inner)) {
        return Err(format!("invalid character class range: [:{inner}:]"));
    }
    out.push_str(&format!("[:{inner}:]"));
    Ok(Some(after))
}

/// One member: a character or an escape.
fn member(text: &str) -> Result<(Escape, &str), String> {
    match text.strip_prefix('\\') {
        Some(after) => read_escape(after),
        None => {
            let c = text.chars().next().ok_or("missing closing ]")?;
            Ok((Escape::Char(c), &text[c.len_utf8()..]))
        }
    }
}

/// A character, or a range if a dash and another character follow. `whole` is where the member began.
fn range<'p>(low: char, whole: &'p str, next: &'p str, out: &mut String) -> Result<&'p str, String> {
    let upper = next
        .strip_prefix('-')
        .filter(|after| !after.is_empty() && !after.starts_with(']'));
    let Some(upper) = upper else {
        push_member(low, out);
        return Ok(next);
    };
    let (high, next) = member(upper)?;
    let bad = || {
        format!(
            "invalid character class range: {}",
            &whole[..whole.len() - next.len()]
        )
    };
    let Escape::Char(high) = high else {
        return Err(bad());
    };
    if high < low {
        return Err(bad());
    }
    push_member(low, out);
    out.push('-');
    push_member(high, out);
    Ok(next)
}

/// Writes a member by its code point, which has no other meaning between brackets.
fn push_member(c: char, out: &mut String) {
    out.push_str(&format!("\\x{{{:x}}}", u32::from(c)));
}
