//! Bracket classes by Go's rules: `&&`, `--`, `~~` and inner brackets are plain members.

use super::escape::{Escape, INVALID_ESCAPE, read_escape};
use super::{Translated, before, fault};

/// ASCII classes that Go and the regex crate have under the same names.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

const MISSING: &str = "missing closing ]";
const RANGE: &str = "invalid character class range";

/// Translates the class that begins with its opening bracket; returns what follows its closing bracket.
pub(super) fn translate_class<'p>(class: &'p str, out: &mut String) -> Translated<&'p str> {
    let text = &class[1..];
    let (mut rest, negated) = text.strip_prefix('^').map_or((text, false), |rest| (rest, true));
    out.push_str(if negated { "[^" } else { "[" });
    let mut first = true;
    while first || !rest.starts_with(']') {
        if rest.is_empty() {
            return fault(MISSING, class);
        }
        first = false;
        if let Some(next) = posix(rest, out)? {
            rest = next;
            continue;
        }
        let (low, next) = member(rest)?;
        rest = match low {
            Escape::Class(members) => {
                out.push_str(&members);
                next
            }
            Escape::Char(low) => range(class, low, rest, next, out)?,
        };
    }
    out.push(']');
    Ok(&rest[1..])
}

/// `[:alpha:]` or `[:^alpha:]` at the start of `text`.
fn posix<'p>(text: &'p str, out: &mut String) -> Translated<Option<&'p str>> {
    let Some((inner, after)) = text.strip_prefix("[:").and_then(|t| t.split_once(":]")) else {
        return Ok(None);
    };
    if !POSIX.contains(&inner.strip_prefix('^').unwrap_or(inner)) {
        return fault(RANGE, before(text, after));
    }
    out.push_str(&format!("[:{inner}:]"));
    Ok(Some(after))
}

/// One member of a text that is not empty: a character or an escape.
fn member(text: &str) -> Translated<(Escape, &str)> {
    match text.chars().next() {
        Some('\\') => read_escape(text),
        Some(c) => Ok((Escape::Char(c), &text[c.len_utf8()..])),
        None => fault(MISSING, text),
    }
}

/// A character, or a range if a dash and another character follow. `whole` is where the member began.
fn range<'p>(class: &str, low: char, whole: &'p str, next: &'p str, out: &mut String) -> Translated<&'p str> {
    let upper = next.strip_prefix('-').filter(|after| !after.starts_with(']'));
    let Some(upper) = upper else {
        push_member(low, out);
        return Ok(next);
    };
    if upper.is_empty() {
        return fault(MISSING, class);
    }
    let (high, next) = member(upper)?;
    let Escape::Char(high) = high else {
        // Behind a dash, only a character can stand.
        return fault(INVALID_ESCAPE, upper.chars().take(2).collect::<String>());
    };
    if high < low {
        return fault(RANGE, before(whole, next));
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
