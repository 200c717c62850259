//! Label matchers. A regex matches the whole value, `.` matches a newline, and its syntax is Go's RE2.

use std::fmt;
use std::sync::Arc;

use regex::Regex;
use thiserror::Error;

use crate::labels::Labels;
use crate::number::go_quote;

mod cache;
mod finite;
pub(crate) mod re2;

pub use cache::PatternCache;
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
    /// Texts, sorted: `a|b|c`, `a[0-9]`. Needs no engine.
    OneOf(Arc<[String]>),
    /// Shared, as the memory that it matches in is.
    Regex(Arc<Regex>),
}

impl Pattern {
    fn compile(pattern: &str) -> Result<Self, MatcherError> {
        if let Some(mut texts) = re2::plain_alternatives(pattern) {
            texts.sort();
            return Ok(Self::OneOf(texts.into()));
        }
        let regex = re2::compile_anchored(pattern)?;
        Ok(match re2::finite(pattern) {
            Some(texts) => Self::OneOf(texts.into()),
            None => Self::Regex(Arc::new(regex)),
        })
    }

    /// Whether both are one.
    #[cfg(test)]
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::OneOf(a), Self::OneOf(b)) => Arc::ptr_eq(a, b),
            (Self::Regex(a), Self::Regex(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
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
        Self::compiled(name.into(), op, value.into(), Pattern::compile)
    }

    /// The same, with a pattern that is compiled already if it was asked for lately.
    ///
    /// # Errors
    /// A pattern that is not valid.
    pub fn cached(
        name: impl Into<String>,
        op: MatchOp,
        value: impl Into<String>,
        cache: &PatternCache,
    ) -> Result<Self, MatcherError> {
        Self::compiled(name.into(), op, value.into(), |pattern| cache.compile(pattern))
    }

    fn compiled(
        name: String,
        op: MatchOp,
        value: String,
        compile: impl FnOnce(&str) -> Result<Pattern, MatcherError>,
    ) -> Result<Self, MatcherError> {
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(compile(&value)?),
        };
        Ok(Self {
            name,
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

    /// The only values that satisfy an equality or a regex of few texts (`a|b|c`, `a[0-9]`), so that storage can look
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
