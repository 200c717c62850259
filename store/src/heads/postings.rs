//! Series of one tenant in one partition by their labels.
//!
//! Names and values are symbols, numbered as they come. A series is a run of symbol pairs in one list. Postings are
//! sorted lists of series, as numbers only rise; with a few series per value they are smaller than bitmaps.

use std::collections::HashMap;
use std::sync::Arc;

use wire::Labels;

use crate::matcher::{Matcher, Test};

/// All series of a head.
#[derive(Debug, Default)]
pub(crate) struct Postings {
    symbols: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
    /// Symbol pairs of all series, in order; `ends` has where each series' end.
    pairs: Vec<(u32, u32)>,
    ends: Vec<u32>,
    /// Series by the hash of their labels; one whose place is taken by another is at the next free number.
    by_hash: HashMap<u64, u32>,
    postings: HashMap<u32, HashMap<u32, Vec<u32>>>,
}

impl Postings {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    fn symbol(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let text: Arc<str> = text.into();
        let number = self.symbols.len() as u32;
        self.symbols.push(text.clone());
        self.numbers.insert(text, number);
        number
    }

    /// The number of a series, a new one if its labels are. Says whether it is new.
    pub(crate) fn register(&mut self, labels: &Labels, hash: u64) -> (u32, bool) {
        let mut slot = hash;
        while let Some(number) = self.by_hash.get(&slot) {
            if self.is(*number, labels) {
                return (*number, false);
            }
            slot = slot.wrapping_add(1);
        }
        let number = self.ends.len() as u32;
        self.by_hash.insert(slot, number);
        for (name, value) in labels.iter() {
            let pair = (self.symbol(name), self.symbol(value));
            self.pairs.push(pair);
            let values = self.postings.entry(pair.0).or_default();
            values.entry(pair.1).or_default().push(number);
        }
        self.ends.push(self.pairs.len() as u32);
        (number, true)
    }

    fn pairs_of(&self, series: u32) -> &[(u32, u32)] {
        let start = match series {
            0 => 0,
            _ => self.ends[series as usize - 1] as usize,
        };
        &self.pairs[start..self.ends[series as usize] as usize]
    }

    fn texts(&self, series: u32) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.pairs_of(series)
            .iter()
            .map(|(name, value)| (&*self.symbols[*name as usize], &*self.symbols[*value as usize]))
    }

    fn is(&self, series: u32, labels: &Labels) -> bool {
        self.texts(series).eq(labels.iter())
    }

    /// The labels of a series.
    pub(crate) fn labels(&self, series: u32) -> Labels {
        // They came out of a label set, so they are one.
        Labels::new(self.texts(series)).unwrap_or_default()
    }

    /// The series that satisfy every matcher, in order of their numbers.
    pub(crate) fn find(&self, matchers: &[Matcher]) -> Vec<u32> {
        let (absent_fails, absent_passes): (Vec<&Matcher>, Vec<&Matcher>) =
            matchers.iter().partition(|matcher| !matcher.matches(""));
        let mut lists: Vec<Vec<u32>> = absent_fails.into_iter().map(|m| self.with(m, true)).collect();
        lists.sort_by_key(Vec::len);
        let mut found = match lists.is_empty() {
            true => (0..self.len() as u32).collect(),
            false => lists.remove(0),
        };
        for list in lists {
            found.retain(|series| list.binary_search(series).is_ok());
        }
        for matcher in absent_passes {
            if found.is_empty() {
                break;
            }
            let failing = self.with(matcher, false);
            found.retain(|series| failing.binary_search(series).is_err());
        }
        found
    }

    /// The series that have the matcher's label and whose value passes, or does not.
    fn with(&self, matcher: &Matcher, passes: bool) -> Vec<u32> {
        let values = self
            .numbers
            .get(&*matcher.name)
            .and_then(|name| self.postings.get(name));
        let Some(values) = values else {
            return Vec::new();
        };
        if let (Test::Equal(text), true) = (&matcher.test, passes) {
            let list = self.numbers.get(&**text).and_then(|value| values.get(value));
            return list.cloned().unwrap_or_default();
        }
        let mut all: Vec<u32> = values
            .iter()
            .filter(|(value, _)| matcher.matches(&self.symbols[**value as usize]) == passes)
            .flat_map(|(_, list)| list.iter().copied())
            .collect();
        all.sort_unstable();
        all
    }

    /// Every label name.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.postings.keys().map(|name| &*self.symbols[*name as usize])
    }

    /// Every value of a label.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = self.numbers.get(name).and_then(|name| self.postings.get(name));
        values
            .into_iter()
            .flat_map(|values| values.keys())
            .map(|value| &*self.symbols[*value as usize])
    }
}
