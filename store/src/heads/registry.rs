//! Series of one tenant in one partition by their labels.
//!
//! A series is a list of pairs of name and value, each of which is kept once. Numbers of series are given out in slabs,
//! each for one metric name, so that series of a metric are near one another; a number is never used again. Series are
//! found by a keyed hash of their pairs, as devices choose labels.

mod find;
mod ids;
mod slab;
mod symbols;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use foldhash::quality::RandomState;
use roaring::RoaringBitmap;
use wire::Labels;
use wire::labels::METRIC_NAME;

use crate::index::SeriesList;

pub(crate) use slab::Place;
use slab::{LARGEST, SMALLEST, Slab};
use symbols::Pairs;

/// All series of a tenant in a partition.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    pairs: Pairs,
    /// In order of their numbers.
    slabs: Vec<Slab>,
    /// The first number that was never in a slab.
    next: u32,
    /// The slab to go on with, of each metric (the number of its pair; `u32::MAX`: no name).
    open: HashMap<u32, u32>,
    /// Series by a hash of their pairs; those that share it with another are in `twins`.
    by_hash: HashMap<u32, u32, BuildHasherDefault<Spread>>,
    twins: HashMap<u32, Vec<u32>>,
    keyed: RandomState,
    all: RoaringBitmap,
    /// Those that the index on disk has.
    indexed: RoaringBitmap,
    /// Pairs of the series that was registered last.
    last: Vec<u32>,
    scratch: Vec<u32>,
}

/// Numbers of series are used up: four billion since the partition was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exhausted;

impl Registry {
    pub(crate) fn len(&self) -> usize {
        self.all.len() as usize
    }

    /// Every series.
    pub(crate) fn all(&self) -> &RoaringBitmap {
        &self.all
    }

    /// The number of a series, a new one if its labels are. Pairs are in order of names.
    pub(crate) fn register<'a>(
        &mut self,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<u32, Exhausted> {
        let (pairs, metric) = self.intern(labels);
        let hash = self.hash(&pairs);
        let found = self.find_pairs(hash, &pairs);
        let series = match found {
            Some(series) => Ok(series),
            None => self.slab_for(metric).map(|at| {
                let series = self.slabs[at].next();
                self.insert(at, hash, &pairs);
                series
            }),
        };
        self.scratch = std::mem::replace(&mut self.last, pairs);
        series
    }

    /// Takes in all series that an index has, by rising numbers.
    pub(crate) fn load(&mut self, list: &SeriesList) {
        // A pair without a series is not taken in.
        let mut known: Vec<Option<(u32, bool)>> = vec![None; list.pair_count()];
        let mut pairs = Vec::new();
        for (series, numbers) in list.numbered() {
            pairs.clear();
            let mut metric = u32::MAX;
            for number in numbers {
                let (pair, is_metric) = *known[*number as usize].get_or_insert_with(|| {
                    let (name, value) = list.pair(*number);
                    (self.pairs.intern(name, value), name == METRIC_NAME)
                });
                metric = if is_metric { pair } else { metric };
                pairs.push(pair);
            }
            self.load_one(series, &pairs, metric);
        }
    }

    /// No new series gets a number below this one.
    pub(crate) fn reserve(&mut self, below: u32) {
        self.next = self.next.max(below);
    }

    fn load_one(&mut self, series: u32, pairs: &[u32], metric: u32) {
        if series < self.next {
            return;
        }
        let hash = self.hash(pairs);
        let goes_on = self.open.get(&metric).is_some_and(|first| {
            self.slabs
                .last()
                .is_some_and(|slab| slab.first == *first && slab.next() == series && slab.size() < LARGEST)
        });
        match (goes_on, self.slabs.last_mut()) {
            (true, Some(slab)) => slab.widen(),
            (_, last) => {
                if let Some(slab) = last {
                    slab.shrink();
                }
                self.slabs.push(Slab::new(series, 1));
                self.open.insert(metric, series);
            }
        }
        self.next = series.saturating_add(1);
        self.insert(self.slabs.len() - 1, hash, pairs);
        self.indexed.insert(series);
    }

    /// The number of a series that is there.
    pub(crate) fn find_labels<'a>(&self, labels: impl Iterator<Item = (&'a str, &'a str)>) -> Option<u32> {
        let pairs = labels
            .map(|(name, value)| self.pairs.find(name, value))
            .collect::<Option<Vec<u32>>>()?;
        self.find_pairs(self.hash(&pairs), &pairs)
    }

    fn intern<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>) -> (Vec<u32>, u32) {
        let mut pairs = std::mem::take(&mut self.scratch);
        pairs.clear();
        let mut metric = u32::MAX;
        let mut like = self.last.as_slice();
        for (name, value) in labels {
            let pair = self.pairs.intern_like(&mut like, name, value);
            if name == METRIC_NAME {
                metric = pair;
            }
            pairs.push(pair);
        }
        (pairs, metric)
    }

    fn hash(&self, pairs: &[u32]) -> u32 {
        self.keyed.hash_one(pairs) as u32
    }

    fn find_pairs(&self, hash: u32, pairs: &[u32]) -> Option<u32> {
        let first = self.by_hash.get(&hash)?;
        std::iter::once(first)
            .chain(self.twins.get(&hash).into_iter().flatten())
            .copied()
            .find(|series| self.pairs_of(*series) == pairs)
    }

    fn insert(&mut self, slab: usize, hash: u32, pairs: &[u32]) {
        let series = self.slabs[slab].next();
        self.slabs[slab].push(pairs);
        for pair in pairs {
            self.pairs.add(*pair, series);
        }
        if let Some(first) = self.by_hash.insert(hash, series) {
            self.twins.entry(hash).or_default().push(first);
        }
        self.all.insert(series);
    }

    /// The place of a slab with room for a series of a metric.
    fn slab_for(&mut self, metric: u32) -> Result<usize, Exhausted> {
        let open = self.open.get(&metric).and_then(|first| self.slab_at(*first));
        let size = match open {
            Some(at) if !self.slabs[at].is_full() => return Ok(at),
            Some(at) => (self.slabs[at].size() * 2).clamp(SMALLEST, LARGEST),
            None => SMALLEST,
        };
        let first = self.next;
        self.next = first.checked_add(size).ok_or(Exhausted)?;
        self.slabs.push(Slab::new(first, size));
        self.open.insert(metric, first);
        Ok(self.slabs.len() - 1)
    }

    fn slab_at(&self, first: u32) -> Option<usize> {
        self.slabs.binary_search_by_key(&first, |slab| slab.first).ok()
    }

    /// The place of the slab that holds a series; the series is there.
    fn slab_of(&self, series: u32) -> usize {
        self.slabs.partition_point(|slab| slab.first <= series) - 1
    }

    fn pairs_of(&self, series: u32) -> &[u32] {
        self.slabs[self.slab_of(series)].pairs(series)
    }

    /// Where a series' rows are first, if it is in a group.
    pub(crate) fn place(&self, series: u32) -> Option<Place> {
        let place = self.slabs[self.slab_of(series)].place(series);
        (place != Place::NONE).then_some(place)
    }

    pub(crate) fn set_place(&mut self, series: u32, place: Option<Place>) {
        let slab = self.slab_of(series);
        self.slabs[slab].set_place(series, place.unwrap_or(Place::NONE));
    }

    /// Names and values of a series, in order of names.
    pub(crate) fn texts(&self, series: u32) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.pairs_of(series).iter().map(|pair| self.pairs.texts(*pair))
    }

    /// Series, by rising numbers, as an index takes them.
    pub(crate) fn list(&self, series: &[u32]) -> SeriesList {
        let mut list = SeriesList::default();
        let mut known: HashMap<u32, u32> = HashMap::new();
        let mut numbers = Vec::new();
        for series in series {
            numbers.clear();
            for pair in self.pairs_of(*series) {
                let number = known.entry(*pair).or_insert_with(|| {
                    let (name, value) = self.pairs.texts(*pair);
                    list.push_pair(name, value)
                });
                numbers.push(*number);
            }
            list.push_numbers(*series, &numbers);
        }
        list
    }

    /// The labels of a series.
    pub(crate) fn labels(&self, series: u32) -> Labels {
        Labels::of_sorted(self.texts(series))
    }

    /// Whether the index has a series.
    pub(crate) fn is_indexed(&self, series: u32) -> bool {
        self.indexed.contains(series)
    }

    /// Notes that the index has series.
    pub(crate) fn set_indexed(&mut self, series: impl IntoIterator<Item = u32>) {
        self.indexed.extend(series);
    }

    /// Lets a series go.
    pub(crate) fn remove(&mut self, series: u32) {
        if !self.all.remove(series) {
            return;
        }
        self.indexed.remove(series);
        self.last.clear();
        let pairs = self.pairs_of(series).to_vec();
        let hash = self.hash(&pairs);
        match self.twins.get_mut(&hash) {
            Some(twins) => {
                match twins.iter().position(|twin| *twin == series) {
                    Some(at) => {
                        twins.remove(at);
                    }
                    None => {
                        if let Some(twin) = twins.pop() {
                            self.by_hash.insert(hash, twin);
                        }
                    }
                }
                if twins.is_empty() {
                    self.twins.remove(&hash);
                }
            }
            None => {
                self.by_hash.remove(&hash);
            }
        }
        for pair in pairs {
            self.pairs.remove(pair, series);
        }
        let slab = self.slab_of(series);
        if self.slabs[slab].drop_one() {
            self.slabs.remove(slab);
        }
    }

    /// Every label name.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.names()
    }

    /// Bytes of memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let slabs: usize = self.slabs.iter().map(Slab::bytes).sum();
        slabs + self.pairs.bytes() + 10 * self.by_hash.capacity()
    }
}

/// Spreads the 32 bits of a hash over 64.
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, n: u32) {
        self.0 = (self.0 ^ u64::from(n)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}
