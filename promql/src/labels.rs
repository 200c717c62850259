//! Label sets: name/value pairs sorted by name, without empty values, shared by reference.
//!
//! Invariant: names are unique and strictly ascending; a label with an empty value is the same as no label and is
//! never stored. Ordering is Prometheus's: pair by pair, name before value.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh64::xxh64;

use crate::number::go_quote;

mod packed;

use packed::{Pairs, pack};

/// The label that holds a series' metric name.
pub const METRIC_NAME: &str = "__name__";

/// Labels that describe the metric itself, and go when an operation makes another quantity of it.
pub(crate) const METADATA: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// A set of labels, cheap to clone: all of it is one shared text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<str>);

impl Default for Labels {
    fn default() -> Self {
        Self("".into())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl Labels {
    /// Takes pairs in any order. Empty values are dropped; of a name given twice the last value stays.
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()
    }

    /// Takes pairs whose names ascend and whose values are not empty, as those of a series in storage.
    pub fn of_sorted<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let labels = Self(pack(pairs).into());
        debug_assert!(
            labels.iter().is_sorted_by(|a, b| a.0 < b.0),
            "{labels} is not in order"
        );
        labels
    }

    /// The value of a label, or the empty string where there is none.
    pub fn get(&self, name: &str) -> &str {
        // Sets are small, and names differ early.
        self.iter()
            .find(|(n, _)| *n == name)
            .map_or("", |(_, value)| value)
    }

    /// The value of `__name__`, or the empty string.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME)
    }

    /// Name/value pairs in order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        Pairs(&self.0)
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A copy with one label set, or removed when `value` is empty.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let before = self.iter().filter(|(n, _)| *n < name);
        let after = self.iter().filter(|(n, _)| *n > name);
        let set = Some((name, value)).filter(|_| !value.is_empty());
        Self::of_sorted(before.chain(set).chain(after))
    }

    /// A copy with only the labels that `keep` accepts by name.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self::of_sorted(self.iter().filter(|(n, _)| keep(n)))
    }

    /// Prometheus's own hash of the labels, as its builds with string labels compute it.
    pub fn hash(&self) -> u64 {
        let mut bytes = Vec::new();
        for (name, value) in self.iter() {
            for part in [name, value] {
                push_length(part.len(), &mut bytes);
                bytes.extend_from_slice(part.as_bytes());
            }
        }
        xxh64(&bytes, 0)
    }

    /// A number in [0, 1] made of the hash, for `limit_ratio`.
    pub(crate) fn hash_position(&self) -> f64 {
        self.hash() as f64 / u64::MAX as f64
    }

    /// A copy without the metric's name, type and unit; the same set when it has none of them.
    #[must_use]
    pub(crate) fn without_metadata(&self) -> Self {
        if !self.iter().any(|(name, _)| METADATA.contains(&name)) {
            return self.clone();
        }
        self.filtered(|name| !METADATA.contains(&name))
    }
}

/// Whether a name needs no quotes.
fn is_plain(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Prometheus's length prefix: one byte, or 255 and three bytes, little endian.
fn push_length(len: usize, bytes: &mut Vec<u8>) {
    match u8::try_from(len) {
        Ok(short) if short < 255 => bytes.push(short),
        _ => {
            bytes.push(255);
            bytes.extend_from_slice(&(len as u64).to_le_bytes()[..3]);
        }
    }
}

impl From<Vec<(String, String)>> for Labels {
    fn from(pairs: Vec<(String, String)>) -> Self {
        Self::new(pairs)
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Labels {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let mut pairs: Vec<(&str, &str)> = pairs.into_iter().collect();
        let ordered = pairs.windows(2).all(|w| w[0].0 < w[1].0);
        if !ordered {
            pairs.sort_by(|a, b| a.0.cmp(b.0));
            pairs.reverse();
            pairs.dedup_by(|a, b| a.0 == b.0);
            pairs.reverse();
        }
        Self::of_sorted(pairs.into_iter().filter(|(_, value)| !value.is_empty()))
    }
}

/// Names and values as Prometheus prints them in messages: `{a="b", "c.d"="e"}`.
pub fn format_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = "{".to_owned();
    for (name, value) in pairs {
        if out.len() > 1 {
            out.push_str(", ");
        }
        match is_plain(name) {
            true => out.push_str(name),
            false => out.push_str(&go_quote(name.as_bytes())),
        }
        out.push('=');
        out.push_str(&go_quote(value.as_bytes()));
    }
    out.push('}');
    out
}

impl fmt::Display for Labels {
    /// As [`format_pairs`], the metric name among the others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_pairs(self.iter()))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_sorted_and_the_last_of_a_name_stays() {
        let labels: Labels = [("b", "1"), ("a", "x"), ("b", "2"), ("c", "")]
            .into_iter()
            .collect();
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "x"), ("b", "2")]);
    }

    #[test]
    fn labels_print_as_in_go() {
        let labels: Labels = [("a.b", "é\"\n"), ("c", "\u{1}")].into_iter().collect();
        assert_eq!(labels.to_string(), r#"{"a.b"="é\"\n", c="\x01"}"#);
    }

    #[test]
    fn setting_an_empty_value_removes_the_label() {
        let labels: Labels = [("a", "x")].into_iter().collect();
        assert!(labels.with("a", "").is_empty());
        assert_eq!(labels.with("0", "y").iter().next(), Some(("0", "y")));
    }
}
