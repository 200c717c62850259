//! Go's RE2 syntax, translated token by token into the `regex` crate's, or refused.
//!
//! Both are linear-time engines of the same family, but texts that both accept can mean different things: `[a&&b]`
//! and `[[a]b]` are set operations in one and plain members in the other, `\d`, `\s` and `\w` are ASCII in Go and
//! Unicode here, `a{,2}` is literal in Go. So nothing is passed through: every token is read by Go's rules and
//! written in a form that has one meaning here. What Go refuses is refused.

use regex::{Regex, RegexBuilder};

use super::MatcherError;

mod class;
mod escape;

use class::translate_class;
use escape::{Escape, read_escape};

/// Go refuses larger counts in `x{n,m}`.
const MAX_REPEAT: u32 = 1000;
/// Bytes that a compiled pattern may take.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// Compiles a pattern that must match a whole value, with `.` matching a newline too.
pub fn compile_anchored(pattern: &str) -> Result<Regex, MatcherError> {
    let refuse = |reason: String| MatcherError::Regex {
        pattern: pattern.to_owned(),
        reason,
    };
    let body = translate(pattern).map_err(refuse)?;
    RegexBuilder::new(&format!("^(?s:{body})$"))
        .size_limit(MAX_COMPILED_BYTES)
        .build()
        .map_err(|error| refuse(last_line(&error.to_string())))
}

/// The texts of a pattern that is nothing but plain texts with bars between them.
pub(crate) fn plain_alternatives(pattern: &str) -> Option<Vec<String>> {
    let mut texts = vec![String::new()];
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let literal = match c {
            '|' => {
                texts.push(String::new());
                continue;
            }
            '\\' => {
                let escaped = rest.chars().next().filter(char::is_ascii_punctuation)?;
                rest = &rest[1..];
                escaped
            }
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | '{' | '^' | '$' => return None,
            c => c,
        };
        texts.last_mut()?.push(literal);
    }
    Some(texts)
}

/// The regex crate reports over several lines; the last one says what is wrong.
fn last_line(report: &str) -> String {
    report
        .lines()
        .last()
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .to_owned()
}

/// What the previous token was, for repetition operators.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Previous {
    Nothing,
    Atom,
    Repeat,
}

/// Rewrites a whole pattern.
fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut previous = Previous::Nothing;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let (next, now) = match c {
            '*' | '+' | '?' => repeat(&c.to_string(), after, previous, &mut out)?,
            '{' => match read_counts(rest)? {
                Some((counts, after)) => repeat(counts, after, previous, &mut out)?,
                None => literal('{', after, &mut out),
            },
            '(' => group(after, &mut out)?,
            '|' => verbatim(c, after, Previous::Nothing, &mut out),
            ')' | '^' | '$' | '.' => verbatim(c, after, Previous::Atom, &mut out),
            '[' => (translate_class(after, &mut out)?, Previous::Atom),
            '\\' => escaped(after, &mut out)?,
            _ => literal(c, after, &mut out),
        };
        rest = next;
        previous = now;
    }
    Ok(out)
}

fn verbatim<'p>(c: char, after: &'p str, now: Previous, out: &mut String) -> (&'p str, Previous) {
    out.push(c);
    (after, now)
}

fn literal<'p>(c: char, after: &'p str, out: &mut String) -> (&'p str, Previous) {
    push_literal(c, out);
    (after, Previous::Atom)
}

/// Writes a character that stands for itself.
fn push_literal(c: char, out: &mut String) {
    out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
}

/// A repetition operator with an optional `?`. Go refuses one after another.
fn repeat<'p>(
    operator: &str,
    after: &'p str,
    previous: Previous,
    out: &mut String,
) -> Result<(&'p str, Previous), String> {
    match previous {
        Previous::Nothing => return Err(format!("missing argument to repetition operator: {operator}")),
        Previous::Repeat => return Err(format!("invalid nested repetition operator: {operator}")),
        Previous::Atom => {}
    }
    out.push_str(operator);
    let lazy = after.strip_prefix('?');
    if lazy.is_some() {
        out.push('?');
    }
    Ok((lazy.unwrap_or(after), Previous::Repeat))
}

/// `{n}`, `{n,}` or `{n,m}` at the start of `text`; anything else is a literal brace, as in Go.
fn read_counts(text: &str) -> Result<Option<(&str, &str)>, String> {
    let Some(end) = text.find('}') else {
        return Ok(None);
    };
    let inner = &text[1..end];
    let (low, high) = inner
        .split_once(',')
        .map_or((inner, None), |(low, high)| (low, Some(high)));
    let is_count = |s: &str| {
        !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()) && (s.len() == 1 || !s.starts_with('0'))
    };
    if !is_count(low) || high.is_some_and(|h| !h.is_empty() && !is_count(h)) {
        return Ok(None);
    }
    let counts = &text[..=end];
    let bounded = |s: &str| s.parse::<u32>().ok().filter(|n| *n <= MAX_REPEAT);
    let low = bounded(low);
    let fits = match high {
        None | Some("") => low.is_some(),
        Some(high) => matches!((low, bounded(high)), (Some(l), Some(h)) if l <= h),
    };
    if fits {
        Ok(Some((counts, &text[end + 1..])))
    } else {
        Err(format!("invalid repeat count: {counts}"))
    }
}

/// What follows an opening parenthesis: a plain group, a name, or flags of Go's set `imsU`.
fn group<'p>(after: &'p str, out: &mut String) -> Result<(&'p str, Previous), String> {
    let Some(special) = after.strip_prefix('?') else {
        out.push('(');
        return Ok((after, Previous::Nothing));
    };
    if let Some(named) = special.strip_prefix("P<").or_else(|| special.strip_prefix('<')) {
        let end = named.find('>').ok_or("invalid named capture")?;
        let name = &named[..end];
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.is_empty() || !name.bytes().all(word) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("invalid named capture: {name}"));
        }
        out.push_str(&format!("(?P<{name}>"));
        return Ok((&named[end + 1..], Previous::Nothing));
    }
    let end = special.find([':', ')']).ok_or("missing closing )")?;
    let flags = &special[..end];
    let (set, unset) = flags.split_once('-').unwrap_or((flags, ""));
    let known = |s: &str| s.chars().all(|c| "imsU".contains(c));
    let dangling = flags.contains('-') && unset.is_empty();
    let is_flag_only = special[end..].starts_with(')');
    if !known(set) || !known(unset) || dangling || (flags.is_empty() && is_flag_only) {
        return Err(format!("invalid or unsupported Perl syntax: (?{flags}"));
    }
    out.push_str(&format!("(?{}", &special[..=end]));
    Ok((&special[end + 1..], Previous::Nothing))
}

/// What follows a backslash outside of a class.
fn escaped<'p>(after: &'p str, out: &mut String) -> Result<(&'p str, Previous), String> {
    if let Some(quoted) = after.strip_prefix('Q') {
        let (text, next) = quoted.split_once("\\E").unwrap_or((quoted, ""));
        for c in text.chars() {
            push_literal(c, out);
        }
        let now = if text.is_empty() {
            Previous::Nothing
        } else {
            Previous::Atom
        };
        return Ok((next, now));
    }
    let assertion = match after.chars().next() {
        Some('A') => Some("\\A"),
        Some('z') => Some("\\z"),
        Some('b') => Some("(?-u:\\b)"),
        Some('B') => Some("(?-u:\\B)"),
        _ => None,
    };
    if let Some(assertion) = assertion {
        out.push_str(assertion);
        return Ok((&after[1..], Previous::Atom));
    }
    let (escape, next) = read_escape(after)?;
    match escape {
        Escape::Char(c) => push_literal(c, out),
        Escape::Class(class) => out.push_str(&format!("[{class}]")),
    }
    Ok((next, Previous::Atom))
}

#[cfg(test)]
mod tests;
