//! Which series satisfy matchers.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use roaring::RoaringBitmap;

use super::Registry;
use crate::matcher::{Matcher, Test};

/// Names or values of labels, each once.
pub(crate) type Texts = HashSet<String, RandomState>;

/// From so many series on, ranking their pairs is worth it.
const RANKED: usize = 64;

impl Registry {
    /// The series that satisfy every matcher.
    pub(crate) fn find(&self, matchers: &[Matcher]) -> RoaringBitmap {
        let (absent_fails, absent_passes): (Vec<&Matcher>, Vec<&Matcher>) =
            matchers.iter().partition(|matcher| !matcher.matches(""));
        let mut sets: Vec<RoaringBitmap> = absent_fails.into_iter().map(|m| self.with(m, true)).collect();
        sets.sort_by_key(RoaringBitmap::len);
        let mut sets = sets.into_iter();
        let mut found = sets.next().unwrap_or_else(|| self.all.clone());
        for set in sets {
            found &= set;
        }
        for matcher in absent_passes {
            if found.is_empty() {
                break;
            }
            found -= self.with(matcher, false);
        }
        found
    }

    /// Places of series in order of their labels. Pairs are ranked once, so that no text is compared twice.
    pub(crate) fn order(&self, series: &[u32]) -> Vec<u32> {
        let mut order: Vec<u32> = (0..series.len() as u32).collect();
        if series.len() < RANKED {
            order.sort_by(|a, b| {
                let texts = |at: &u32| self.texts(series[*at as usize]);
                texts(a).cmp(texts(b))
            });
            return order;
        }
        let mut ranks = vec![u32::MAX; self.pairs.len()];
        let (mut keys, mut ends, mut pairs) = (Vec::new(), vec![0], Vec::new());
        for series in series {
            for pair in self.pairs_of(*series) {
                if std::mem::replace(&mut ranks[*pair as usize], 0) == u32::MAX {
                    pairs.push(*pair);
                }
                keys.push(*pair);
            }
            ends.push(keys.len());
        }
        pairs.sort_unstable_by(|a, b| self.pairs.texts(*a).cmp(&self.pairs.texts(*b)));
        for (pair, rank) in pairs.into_iter().zip(0..) {
            ranks[pair as usize] = rank;
        }
        keys.iter_mut().for_each(|key| *key = ranks[*key as usize]);
        let key = |at: u32| &keys[ends[at as usize]..ends[at as usize + 1]];
        order.sort_by(|a, b| key(*a).cmp(key(*b)));
        order
    }

    /// Adds the names of labels that some series has of which `wanted` is true.
    pub(crate) fn add_names(&self, names: &mut Texts, mut wanted: impl FnMut(u32) -> bool) {
        for name in self.pairs.names() {
            let mut pairs = self.pairs.values(name);
            if !names.contains(name) && pairs.any(|(_, pair)| self.pairs.ids(pair).any(&mut wanted)) {
                names.insert(name.to_owned());
            }
        }
    }

    /// Adds the values of a label that some series has of which `wanted` is true.
    pub(crate) fn add_values(&self, name: &str, values: &mut Texts, mut wanted: impl FnMut(u32) -> bool) {
        for (value, pair) in self.pairs.values(name) {
            if !values.contains(value) && self.pairs.ids(pair).any(&mut wanted) {
                values.insert(value.to_owned());
            }
        }
    }

    /// The values of a label, each with its series.
    pub(crate) fn series_by_value(&self, name: &str) -> impl Iterator<Item = (&str, RoaringBitmap)> {
        let values = self.pairs.values(name);
        values.map(|(value, pair)| (value, self.pairs.ids(pair).to_set()))
    }

    /// The series that have the matcher's label and whose value passes, or does not.
    fn with(&self, matcher: &Matcher, passes: bool) -> RoaringBitmap {
        if let (Test::Equal(text), true) = (&matcher.test, passes) {
            let pair = self.pairs.find(&matcher.name, text);
            return pair.map_or_else(RoaringBitmap::new, |pair| self.pairs.ids(pair).to_set());
        }
        let mut found = RoaringBitmap::new();
        if let (Test::OneOf(texts), true) = (&matcher.test, passes) {
            let pairs = texts
                .iter()
                .filter_map(|text| self.pairs.find(&matcher.name, text));
            pairs.for_each(|pair| self.pairs.ids(pair).add_to(&mut found));
            return found;
        }
        for (value, pair) in self.pairs.values(&matcher.name) {
            if matcher.matches(value) == passes {
                self.pairs.ids(pair).add_to(&mut found);
            }
        }
        found
    }
}
