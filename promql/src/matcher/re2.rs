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
///
/// # Errors
/// A pattern that Go refuses, that has no equal here, or that is too large compiled.
pub fn compile_anchored(pattern: &str) -> Result<Regex, MatcherError> {
    compile(pattern, |body| format!("^(?s:{body})$"))
}

/// Compiles a pattern as Go's `regexp.Compile` does: it may match anywhere, `.` matches no newline.
///
/// # Errors
/// As [`compile_anchored`].
pub fn compile_search(pattern: &str) -> Result<Regex, MatcherError> {
    compile(pattern, |body| body)
}

fn compile(pattern: &str, around: impl Fn(String) -> String) -> Result<Regex, MatcherError> {
    let body = translate(pattern).map_err(|fault| MatcherError::Regex {
        reason: fault.reason.to_owned(),
        fragment: fault.fragment,
    })?;
    RegexBuilder::new(&around(body))
        .size_limit(MAX_COMPILED_BYTES)
        .build()
        .map_err(|error| MatcherError::Regex {
            reason: last_line(&error.to_string()),
            fragment: pattern.to_owned(),
        })
}

/// All texts that a pattern matches, in order, if they are few.
pub(super) fn finite(pattern: &str) -> Option<Vec<String>> {
    let body = translate(pattern).ok()?;
    super::finite::texts(&regex_syntax::parse(&format!("(?s:{body})")).ok()?)
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

/// What is wrong with a pattern, and the part of it that Go shows.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    reason: &'static str,
    fragment: String,
}

type Translated<T> = Result<T, Fault>;

fn fault<T>(reason: &'static str, fragment: impl Into<String>) -> Translated<T> {
    Err(Fault {
        reason,
        fragment: fragment.into(),
    })
}

/// What stands in front of `rest` in `text`, of which it is the end.
fn before<'p>(text: &'p str, rest: &str) -> &'p str {
    &text[..text.len() - rest.len()]
}

const PERL_SYNTAX: &str = "invalid or unsupported Perl syntax";
const NAMED_CAPTURE: &str = "invalid named capture";
const REPEAT_COUNT: &str = "invalid repeat count";

/// What the previous token was, for repetition operators; each atom with the largest product of the counts in it.
#[derive(Clone, Copy)]
enum Previous<'p> {
    Nothing,
    Atom(u32),
    /// The text from the operator on.
    Repeat(&'p str, u32),
}

/// A pattern on its way.
struct Translator<'p> {
    pattern: &'p str,
    rest: &'p str,
    out: String,
    previous: Previous<'p>,
    /// Per open group, the largest product of counts in it so far; the whole pattern is the outermost one.
    groups: Vec<u32>,
}

/// Rewrites a whole pattern.
fn translate(pattern: &str) -> Translated<String> {
    let mut translator = Translator {
        pattern,
        rest: pattern,
        out: String::with_capacity(pattern.len() + 16),
        previous: Previous::Nothing,
        groups: vec![1],
    };
    while let Some(c) = translator.rest.chars().next() {
        translator.token(c)?;
    }
    if translator.groups.len() > 1 {
        return fault("missing closing )", pattern);
    }
    Ok(translator.out)
}

/// Writes a character that stands for itself.
fn push_literal(c: char, out: &mut String) {
    out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
}

impl<'p> Translator<'p> {
    fn token(&mut self, c: char) -> Translated<()> {
        let after = &self.rest[c.len_utf8()..];
        match c {
            '*' | '+' | '?' => self.repeat(after, None),
            '{' => match read_counts(self.rest)? {
                Some((counts, after)) => self.repeat(after, Some(counts)),
                None => self.literal(c),
            },
            '(' => self.group(),
            ')' => self.close(after),
            '|' => {
                self.out.push(c);
                self.rest = after;
                self.previous = Previous::Nothing;
                Ok(())
            }
            '^' | '$' | '.' => {
                self.out.push(c);
                self.atom(after)
            }
            '[' => {
                let after = translate_class(self.rest, &mut self.out)?;
                self.atom(after)
            }
            '\\' => self.escaped(after),
            _ => self.literal(c),
        }
    }

    /// An atom was written; what follows is next.
    fn atom(&mut self, after: &'p str) -> Translated<()> {
        self.rest = after;
        self.previous = Previous::Atom(1);
        Ok(())
    }

    fn literal(&mut self, c: char) -> Translated<()> {
        push_literal(c, &mut self.out);
        self.atom(&self.rest[c.len_utf8()..])
    }

    /// A repetition operator with an optional `?`. Go refuses one after another, and counts whose product is too large.
    fn repeat(&mut self, after: &'p str, counts: Option<Counts>) -> Translated<()> {
        let operator = self.rest;
        let after = after.strip_prefix('?').unwrap_or(after);
        let shown = before(operator, after);
        let weight = match self.previous {
            Previous::Nothing => return fault("missing argument to repetition operator", shown),
            Previous::Repeat(earlier, _) => {
                return fault("invalid nested repetition operator", before(earlier, after));
            }
            Previous::Atom(weight) => weight,
        };
        let weight = match counts {
            None => weight,
            Some(counts) => {
                let times = counts.high.unwrap_or(counts.low);
                let product = weight.saturating_mul(times.max(1));
                if (counts.low >= 2 || times >= 2) && product > MAX_REPEAT {
                    return fault(REPEAT_COUNT, shown);
                }
                if times == 0 { 1 } else { product }
            }
        };
        self.out.push_str(shown);
        self.rest = after;
        self.previous = Previous::Repeat(operator, weight);
        self.note_weight(weight);
        Ok(())
    }

    fn note_weight(&mut self, weight: u32) {
        if let Some(group) = self.groups.last_mut() {
            *group = weight.max(*group);
        }
    }

    fn open(&mut self, text: &str, after: &'p str) -> Translated<()> {
        self.out.push_str(text);
        self.rest = after;
        self.groups.push(1);
        self.previous = Previous::Nothing;
        Ok(())
    }

    fn close(&mut self, after: &'p str) -> Translated<()> {
        // The outermost group is the pattern itself.
        if self.groups.len() == 1 {
            return fault("unexpected )", self.pattern);
        }
        let weight = self.groups.pop().unwrap_or(1);
        self.note_weight(weight);
        self.out.push(')');
        self.rest = after;
        self.previous = Previous::Atom(weight);
        Ok(())
    }

    /// A plain group, a name, or flags of Go's set `imsU`.
    fn group(&mut self) -> Translated<()> {
        let text = self.rest;
        let Some(special) = text.strip_prefix("(?") else {
            return self.open("(", &text[1..]);
        };
        let named = special
            .strip_prefix("P<")
            .or_else(|| special.strip_prefix('<'))
            .filter(|named| !named.is_empty());
        if let Some(named) = named {
            return self.named(named);
        }
        let mut flags = special.char_indices();
        let mut signs = 0;
        let mut dangling = false;
        while let Some((at, c)) = flags.next() {
            match c {
                'i' | 'm' | 's' | 'U' => dangling = false,
                '-' if signs == 0 => {
                    signs += 1;
                    dangling = true;
                }
                ':' | ')' if !dangling => return self.flags(special, at, c),
                _ => return fault(PERL_SYNTAX, before(text, flags.as_str())),
            }
        }
        fault(PERL_SYNTAX, text)
    }

    /// Flags that end at `at`, and perhaps open a group.
    fn flags(&mut self, special: &'p str, at: usize, end: char) -> Translated<()> {
        let after = &special[at + 1..];
        if end == ':' {
            return self.open(&format!("(?{}", &special[..=at]), after);
        }
        if at > 0 {
            self.out.push_str(&format!("(?{}", &special[..=at]));
        }
        self.rest = after;
        // What Go repeats if an operator follows stands before the flags, where it cannot be reached here.
        self.previous = Previous::Nothing;
        Ok(())
    }

    fn named(&mut self, named: &'p str) -> Translated<()> {
        let text = self.rest;
        let Some(end) = named.find('>') else {
            return fault(NAMED_CAPTURE, text);
        };
        let (name, after) = (&named[..end], &named[end + 1..]);
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let numeric = name.bytes().all(|b| b.is_ascii_digit());
        // A name that is a number means the group of that number, as without one; other names that begin with a digit
        // the regex crate does not know.
        let starts_with_digit = name.starts_with(|c: char| c.is_ascii_digit());
        if name.is_empty() || !name.bytes().all(word) || (starts_with_digit && !numeric) {
            return fault(NAMED_CAPTURE, before(text, after));
        }
        if numeric {
            self.open("(", after)
        } else {
            self.open(&format!("(?P<{name}>"), after)
        }
    }

    /// What follows a backslash outside of a class.
    fn escaped(&mut self, after: &'p str) -> Translated<()> {
        if let Some(quoted) = after.strip_prefix('Q') {
            let (text, next) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            for c in text.chars() {
                push_literal(c, &mut self.out);
            }
            self.rest = next;
            self.previous = match self.previous {
                previous if text.is_empty() => match previous {
                    Previous::Repeat(_, weight) => Previous::Atom(weight),
                    other => other,
                },
                _ => Previous::Atom(1),
            };
            return Ok(());
        }
        let assertion = match after.chars().next() {
            Some('A') => Some("\\A"),
            Some('z') => Some("\\z"),
            Some('b') => Some("(?-u:\\b)"),
            Some('B') => Some("(?-u:\\B)"),
            _ => None,
        };
        if let Some(assertion) = assertion {
            self.out.push_str(assertion);
            return self.atom(&after[1..]);
        }
        let (escape, next) = read_escape(self.rest)?;
        match escape {
            Escape::Char(c) => push_literal(c, &mut self.out),
            Escape::Class(class) => self.out.push_str(&format!("[{class}]")),
        }
        self.atom(next)
    }
}

/// How often something repeats; `high` is missing where there is no limit.
#[derive(Clone, Copy)]
struct Counts {
    low: u32,
    high: Option<u32>,
}

/// `{n}`, `{n,}` or `{n,m}` at the start of `text`; anything else is a literal brace, as in Go.
fn read_counts(text: &str) -> Translated<Option<(Counts, &str)>> {
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
    let bounded = |s: &str| s.parse::<u32>().ok().filter(|n| *n <= MAX_REPEAT);
    let counts = match (bounded(low), high) {
        (Some(low), None) => Some(Counts { low, high: Some(low) }),
        (Some(low), Some("")) => Some(Counts { low, high: None }),
        (Some(low), Some(high)) => bounded(high).filter(|high| low <= *high).map(|high| Counts {
            low,
            high: Some(high),
        }),
        (None, _) => None,
    };
    match counts {
        Some(counts) => Ok(Some((counts, &text[end + 1..]))),
        None => fault(REPEAT_COUNT, &text[..=end]),
    }
}

#[cfg(test)]
mod tests;
