//! Series with their labels, each pair of name and value once.

use std::hash::{BuildHasher, RandomState};

/// Two keyed hashes of a pair: nobody can make two pairs that have the same.
pub(super) type PairHash = (u64, u64);

/// Keys of pairs' hashes.
#[derive(Debug, Default, Clone)]
pub(super) struct PairKeys(RandomState, RandomState);

impl PairKeys {
    pub(super) fn hash(&self, name: &str, value: &str) -> PairHash {
        (self.0.hash_one((name, value)), self.1.hash_one((name, value)))
    }
}

/// Series of a tenant, in memory without a text twice.
#[derive(Debug, Default)]
pub(crate) struct SeriesList {
    texts: String,
    /// Where each pair's name and value end in the texts; a pair begins where the one before ends.
    ends: Vec<(u32, u32)>,
    ids: Vec<u32>,
    /// Where the pairs of each series end in `pairs`.
    series_ends: Vec<u32>,
    pairs: Vec<u32>,
    /// Places in order of ids, where the ids do not rise.
    order: Option<Vec<u32>>,
}

impl SeriesList {
    /// Adds a series with pairs of its own.
    #[cfg(test)]
    pub(crate) fn push<'a>(&mut self, id: u32, labels: impl Iterator<Item = (&'a str, &'a str)>) {
        let pairs: Vec<u32> = labels.map(|(name, value)| self.push_pair(name, value)).collect();
        self.push_numbers(id, &pairs);
    }

    /// Adds a pair that series may have, and numbers it.
    pub(crate) fn push_pair(&mut self, name: &str, value: &str) -> u32 {
        self.texts.push_str(name);
        let middle = self.texts.len() as u32;
        self.texts.push_str(value);
        self.ends.push((middle, self.texts.len() as u32));
        (self.ends.len() - 1) as u32
    }

    /// Adds a series whose pairs are numbered; false if one is not there.
    pub(crate) fn push_numbers(&mut self, id: u32, pairs: &[u32]) -> bool {
        let there = pairs.iter().all(|pair| (*pair as usize) < self.ends.len());
        if there {
            self.pairs.extend_from_slice(pairs);
            self.close(id);
        }
        there
    }

    fn close(&mut self, id: u32) {
        self.ids.push(id);
        self.series_ends.push(self.pairs.len() as u32);
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// How many pairs there are.
    pub(crate) fn pair_count(&self) -> usize {
        self.ends.len()
    }

    /// Name and value of a pair.
    pub(crate) fn pair(&self, number: u32) -> (&str, &str) {
        let at = number as usize;
        let (middle, end) = self.ends[at];
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before].1);
        (
            &self.texts[start as usize..middle as usize],
            &self.texts[middle as usize..end as usize],
        )
    }

    /// Puts the series in order of ids.
    pub(super) fn sort(&mut self) {
        if !self.ids.is_sorted_by(|a, b| a < b) {
            let mut order: Vec<u32> = (0..self.ids.len() as u32).collect();
            order.sort_by_key(|at| self.ids[*at as usize]);
            self.order = Some(order);
        }
    }

    /// Ids with the numbers of their pairs, in order of ids if the list is sorted.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (u32, &[u32])> {
        (0..self.ids.len()).map(|at| {
            let at = self.order.as_ref().map_or(at, |order| order[at] as usize);
            let start = at.checked_sub(1).map_or(0, |before| self.series_ends[before]);
            (
                self.ids[at],
                &self.pairs[start as usize..self.series_ends[at] as usize],
            )
        })
    }

    /// The series with names and values.
    #[cfg(test)]
    pub(crate) fn iter(
        &self,
    ) -> impl Iterator<Item = (u32, impl ExactSizeIterator<Item = (&str, &str)> + Clone)> {
        self.numbered()
            .map(|(id, pairs)| (id, pairs.iter().map(|pair| self.pair(*pair))))
    }
}
