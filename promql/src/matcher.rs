//! Label matchers. A regex matches the whole value, `.` matches a newline, and its syntax is Go's RE2.

use std::fmt;

use regex::Regex;
use thiserror::Error;

use crate::labels::Labels;
use crate::number::go_quote;

pub(crate) mod re2;

pub use re2::{compile_anchored, compile_search};

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl fmt::Display for MatchOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        })
    }
}

/// Why a matcher was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MatcherError {
    /// The regex is not valid in Go's RE2 syntax, or has no exact equivalent here.
    #[error("error parsing regexp: {reason}: `{fragment}`")]
    Regex {
        /// What is wrong with it, in Go's words where Go refuses it too.
        reason: String,
        /// The part of the pattern that is wrong.
        fragment: String,
    },
}

/// A compiled pattern.
#[derive(Debug, Clone)]
enum Pattern {
    /// Plain texts, sorted: `a|b|c`. Needs no engine, however many there are.
    OneOf(Vec<String>),
    Regex(Regex),
}

impl Pattern {
    fn compile(pattern: &str) -> Result<Self, MatcherError> {
        if let Some(mut texts) = re2::plain_alternatives(pattern) {
            texts.sort();
            return Ok(Self::OneOf(texts));
        }
        re2::compile_anchored(pattern).map(Self::Regex)
    }

    fn is_match(&self, value: &str) -> bool {
        match self {
            Self::OneOf(texts) => texts.binary_search_by(|text| text.as_str().cmp(value)).is_ok(),
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

/// A condition on one label; a missing label has the empty value.
#[derive(Debug, Clone)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    pattern: Option<Pattern>,
}

impl Matcher {
    /// Compiles a matcher; `value` is a pattern for [`MatchOp::Regex`] and [`MatchOp::NotRegex`].
    ///
    /// # Errors
    /// A pattern that is not valid.
    pub fn new(name: impl Into<String>, op: MatchOp, value: impl Into<String>) -> Result<Self, MatcherError> {
        let value = value.into();
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(Pattern::compile(&value)?),
        };
        Ok(Self {
            name: name.into(),
            op,
            value,
            pattern,
        })
    }

    /// The label's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it compares.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// The value or pattern as given.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The only values that satisfy an equality or a regex of plain alternatives (`a|b|c`), so that storage can look
    /// them up; `None` for other conditions.
    pub fn alternatives(&self) -> Option<&[String]> {
        match (self.op, &self.pattern) {
            (MatchOp::Equal, _) => Some(std::slice::from_ref(&self.value)),
            (MatchOp::Regex, Some(Pattern::OneOf(texts))) => Some(texts),
            _ => None,
        }
    }

    /// Whether a label value satisfies the condition; a missing label is the empty string.
    pub fn matches(&self, value: &str) -> bool {
        let pattern_matches = || {
            self.pattern
                .as_ref()
                .is_some_and(|pattern| pattern.is_match(value))
        };
        match self.op {
            MatchOp::Equal => self.value == value,
            MatchOp::NotEqual => self.value != value,
            MatchOp::Regex => pattern_matches(),
            MatchOp::NotRegex => !pattern_matches(),
        }
    }

    /// Whether a series satisfies the condition.
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name))
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (self.op, &self.name, &self.value) == (other.op, &other.name, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_plain_name(&self.name) {
            f.write_str(&self.name)?;
        } else {
            f.write_str(&go_quote(self.name.as_bytes()))?;
        }
        write!(f, "{}{}", self.op, go_quote(self.value.as_bytes()))
    }
}

/// Whether a label's name needs no quotes.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(word)
}
