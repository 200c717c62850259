//! Label matchers, as a selector of PromQL holds them.
//!
//! A label that a series lacks has the value "", as in Prometheus: `{x=""}` matches series without `x`.

use std::fmt;
use std::sync::Arc;

use regex::Regex;

/// A condition on one label.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The label's name.
    pub name: String,
    /// What its value must pass.
    pub test: Test,
}

/// What a value must pass.
#[derive(Debug, Clone)]
pub enum Test {
    /// `=`
    Equal(String),
    /// `!=`
    NotEqual(String),
    /// `=~`; the caller anchors the expression at both ends.
    Regex(Regex),
    /// `!~`; the caller anchors the expression at both ends.
    NotRegex(Regex),
    /// It is one of these.
    OneOf(Vec<String>),
    /// What the caller says.
    Passes(Predicate),
}

/// A condition on a value; asked once per value that the label has, not per series.
#[derive(Clone)]
pub struct Predicate(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl Predicate {
    /// What passes where `test` does.
    pub fn new(test: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Predicate(Arc::new(test))
    }
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Predicate")
    }
}

impl Matcher {
    /// `name="value"`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Matcher {
            name: name.into(),
            test: Test::Equal(value.into()),
        }
    }

    /// Whether a value passes; "" stands for an absent label.
    pub fn matches(&self, value: &str) -> bool {
        match &self.test {
            Test::Equal(text) => text == value,
            Test::NotEqual(text) => text != value,
            Test::Regex(regex) => regex.is_match(value),
            Test::NotRegex(regex) => !regex.is_match(value),
            Test::OneOf(texts) => texts.iter().any(|text| text == value),
            Test::Passes(Predicate(test)) => test(value),
        }
    }
}
