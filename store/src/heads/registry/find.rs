//! Which series satisfy matchers.

use std::borrow::Cow;
use std::cmp::Ordering;

use roaring::RoaringBitmap;

use super::Registry;
use super::ids::union;
use crate::matcher::{Matcher, Test};

/// From so many series on, ranking their pairs is worth it: fewer are most often nearly in order as they come.
const RANKED: usize = 4096;

impl Registry {
    /// The series that satisfy every matcher.
    pub(crate) fn find(&self, matchers: &[Matcher]) -> RoaringBitmap {
        let (absent_fails, absent_passes): (Vec<&Matcher>, Vec<&Matcher>) =
            matchers.iter().partition(|matcher| !matcher.matches(""));
        let mut sets: Vec<Cow<'_, RoaringBitmap>> =
            absent_fails.into_iter().map(|m| self.with(m, true)).collect();
        sets.sort_by_key(|set| set.len());
        let mut sets = sets.into_iter();
        let first = sets.next().unwrap_or(Cow::Borrowed(&self.all));
        // None is copied that another one cuts down.
        let mut found = match sets.next() {
            Some(second) => &*first & &*second,
            None => first.into_owned(),
        };
        for set in sets {
            found &= &*set;
        }
        for matcher in absent_passes {
            if found.is_empty() {
                break;
            }
            found -= &*self.with(matcher, false);
        }
        found
    }

    /// Places of series in order of their labels. Pairs are ranked once, so that no text is compared twice.
    pub(crate) fn order(&self, series: &[u32]) -> Vec<u32> {
        let mut order: Vec<u32> = (0..series.len() as u32).collect();
        if series.len() < RANKED {
            let mut near = self.slabs.near();
            let pairs: Vec<&[u32]> = series
                .iter()
                .map(|series| near.slab(*series).pairs(*series))
                .collect();
            let compare = |a: u32, b: u32| self.compare(pairs[a as usize], pairs[b as usize]);
            // Most often the first pair is the metric's name, and that decides.
            match self.pairs.ranks(pairs.iter().map(|pairs| pairs.first().copied())) {
                Some(ranks) => order.sort_by(|a, b| {
                    let firsts = ranks[*a as usize].cmp(&ranks[*b as usize]);
                    firsts.then_with(|| compare(*a, *b))
                }),
                None => order.sort_by(|a, b| compare(*a, *b)),
            }
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

    /// The order of two series, of whose pairs only the first that differ are read.
    fn compare(&self, a: &[u32], b: &[u32]) -> Ordering {
        let mut both = a.iter().zip(b);
        match both.find(|(a, b)| a != b) {
            Some((a, b)) => self.pairs.texts(*a).cmp(&self.pairs.texts(*b)),
            None => a.len().cmp(&b.len()),
        }
    }

    /// The values of a label, each with its series.
    pub(crate) fn series_by_value(&self, name: &str) -> impl Iterator<Item = (&str, RoaringBitmap)> {
        let values = self.pairs.values(name);
        values.map(|(value, pair)| (value, self.pairs.ids(pair).set().into_owned()))
    }

    /// The series that have the matcher's label and whose value passes, or does not.
    fn with(&self, matcher: &Matcher, passes: bool) -> Cow<'_, RoaringBitmap> {
        let pair = |text: &String| self.pairs.find(&matcher.name, text);
        let ids = |pair: u32| self.pairs.ids(pair);
        match (&matcher.test, passes) {
            (Test::Equal(text), true) => pair(text).map_or_else(Cow::default, |pair| ids(pair).set()),
            (Test::OneOf(texts), true) => Cow::Owned(union(texts.iter().filter_map(pair).map(ids))),
            _ => {
                let values = self.pairs.values(&matcher.name);
                let pairs = values.filter(|(value, _)| matcher.matches(value) == passes);
                Cow::Owned(union(pairs.map(|(_, pair)| ids(pair))))
            }
        }
    }
}
