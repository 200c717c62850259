//! Patterns of Go's filepath.Match, as Thanos matches tenants with them.
//!
//! `*` stands for any run of characters but `/`, `?` for one of them, `[a-z]` and `[^a-z]` for one of a class (there is
//! no other negation), `\` takes the next character as it is. A class has at least one member; `-` and `]` in it need
//! a `\`. A pattern is for the whole name.

/// A checked pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Run,
    One,
    Is(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// Not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no pattern: a class or an escape in it has no end")]
pub(crate) struct BadPattern(String);

impl Glob {
    pub(crate) fn parse(pattern: &str) -> Result<Self, BadPattern> {
        let bad = || BadPattern(pattern.to_owned());
        let mut tokens = Vec::new();
        let mut rest = pattern.chars();
        while let Some(c) = rest.next() {
            tokens.push(match c {
                '*' => Token::Run,
                '?' => Token::One,
                '\\' => Token::Is(rest.next().ok_or_else(bad)?),
                '[' => class(&mut rest).ok_or_else(bad)?,
                c => Token::Is(c),
            });
        }
        Ok(Glob(tokens))
    }

    /// Whether it is for the whole name.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut token, mut at) = (0, 0);
        // Where the last run began, and how far it reaches: only that one needs to grow.
        let mut run: Option<(usize, usize)> = None;
        loop {
            match self.0.get(token) {
                Some(Token::Run) => {
                    run = Some((token + 1, at));
                    token += 1;
                    continue;
                }
                Some(one) if name.get(at).is_some_and(|c| one.is(*c)) => {
                    (token, at) = (token + 1, at + 1);
                    continue;
                }
                None if at == name.len() => return true,
                _ => {}
            }
            match run {
                Some((after, reach)) if name.get(reach).is_some_and(|c| *c != '/') => {
                    run = Some((after, reach + 1));
                    (token, at) = (after, reach + 1);
                }
                _ => return false,
            }
        }
    }
}

impl Token {
    fn is(&self, c: char) -> bool {
        match self {
            Token::Run => false,
            Token::One => c != '/',
            Token::Is(own) => *own == c,
            Token::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

/// The rest of a class after its `[`.
fn class(rest: &mut std::str::Chars<'_>) -> Option<Token> {
    let negated = rest.as_str().starts_with('^');
    if negated {
        rest.next();
    }
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && rest.as_str().starts_with(']') {
            rest.next();
            return Some(Token::Class { negated, ranges });
        }
        let low = member(rest)?;
        let high = match rest.as_str().starts_with('-') {
            true => {
                rest.next();
                member(rest)?
            }
            false => low,
        };
        ranges.push((low, high));
    }
}

fn member(rest: &mut std::str::Chars<'_>) -> Option<char> {
    match rest.next()? {
        '-' | ']' => None,
        '\\' => rest.next(),
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is(pattern: &str, name: &str) -> Option<bool> {
        Glob::parse(pattern).ok().map(|glob| glob.matches(name))
    }

    /// What Go's documentation of filepath.Match says, case by case; `None`: ErrBadPattern.
    #[test]
    fn patterns_mean_what_go_says() {
        for (pattern, name, expected) in [
            ("abc", "abc", Some(true)),
            ("*", "abc", Some(true)),
            ("*c", "abc", Some(true)),
            ("a*", "a", Some(true)),
            ("a*", "ab/c", Some(false)),
            ("a*/b", "abc/b", Some(true)),
            ("a*/b", "a/c/b", Some(false)),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", Some(true)),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", Some(false)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Some(false)),
            ("ab[c]", "abc", Some(true)),
            ("ab[b-d]", "abc", Some(true)),
            ("ab[e-g]", "abc", Some(false)),
            ("ab[^c]", "abc", Some(false)),
            ("ab[^e-g]", "abc", Some(true)),
            (r"a\*b", "a*b", Some(true)),
            (r"a\*b", "ab", Some(false)),
            ("a?b", "a\u{263a}b", Some(true)),
            ("a[^a]b", "a\u{263a}b", Some(true)),
            ("a???b", "a\u{263a}b", Some(false)),
            ("[a-\u{3b6}]*", "\u{3b1}", Some(true)),
            ("a?b", "a/b", Some(false)),
            ("a*b", "a/b", Some(false)),
            (r"[\]a]", "]", Some(true)),
            (r"[\-x]", "-", Some(true)),
            (r"[x\-]", "z", Some(false)),
            ("[]a]", "]", None),
            ("[-]", "-", None),
            ("[x-]", "x", None),
            ("[-x]", "x", None),
            (r"\", "a", None),
            ("[a-b-c]", "a", None),
            ("[", "a", None),
            ("[^", "a", None),
            ("[^bc", "a", None),
            ("a[", "ab", None),
            ("*x", "xxx", Some(true)),
            ("[!a]", "!", Some(true)),
            ("", "", Some(true)),
            ("", "a", Some(false)),
        ] {
            assert_eq!(is(pattern, name), expected, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn any_pattern_is_matched_or_refused(pattern in "[-a-c*?\\[\\]^\\\\/]{0,12}", name in "[-a-c/]{0,12}") {
            let _ = is(&pattern, &name);
        }

        #[test]
        fn an_escaped_name_matches_itself_alone(name in "[ -~]{0,12}", other in "[ -~]{0,12}") {
            let pattern: String = name.chars().flat_map(|c| ['\\', c]).collect();
            prop_assert_eq!(is(&pattern, &name), Some(true));
            prop_assert_eq!(is(&pattern, &other), Some(name == other));
        }
    }
}
