//! Series of one tenant in one partition by their labels.
//!
//! A series is a list of pairs of name and value, each of which is kept once. Numbers of series are given out in slabs,
//! each for one metric name, so that series of a metric are near one another; a number is never used again. Series are
//! found by a keyed hash of their pairs, as devices choose labels.

mod find;
mod ids;
mod recent;
mod slab;
mod slabs;
mod symbols;
#[cfg(test)]
mod tests;
mod texts;

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use foldhash::{fast, quality};
use roaring::RoaringBitmap;
use wire::Labels;
use wire::labels::METRIC_NAME;

use crate::index::SeriesList;

use recent::Recent;
pub(crate) use slab::Place;
use slab::{LARGEST, SMALLEST, Slab};
use slabs::Slabs;
use symbols::Pairs;
pub(crate) use texts::{Counts, Known, Values};

/// Pairs of new series that wait at most to be noted.
const UNNOTED: usize = 1 << 16;

/// All series of a tenant in a partition.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    pairs: Pairs,
    slabs: Slabs,
    /// The first number that was never in a slab.
    next: u32,
    /// The slab to go on with, of each metric (the number of its pair; `u32::MAX`: no name).
    open: HashMap<u32, Open, fast::RandomState>,
    /// Series by a hash of their pairs; those that share it with another are in `twins`.
    by_hash: HashMap<u32, u32, BuildHasherDefault<Spread>>,
    twins: HashMap<u32, Vec<u32>>,
    keyed: quality::RandomState,
    all: RoaringBitmap,
    /// Those that the index on disk has.
    indexed: RoaringBitmap,
    recent: Recent,
    /// New series that `all` does not have, and each of their pairs, above the series; empty between two calls.
    new: Vec<u32>,
    unnoted: Vec<u64>,
}

/// The slab that takes a metric's next series.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// Its first series.
    first: u32,
    /// Its place when it was made; slabs before it may have gone since.
    at: usize,
}

/// A series as registering found it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registered {
    pub(crate) series: u32,
    pub(crate) is_new: bool,
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

    /// Series by their labels, those that are not there made; each comes with its position in a list, and what cannot be
    /// made is left out. Pairs are in order of names.
    pub(crate) fn register<'a, L>(&mut self, sets: impl Iterator<Item = (u32, L)>) -> Vec<(u32, Registered)>
    where
        L: Iterator<Item = (&'a str, &'a str)>,
    {
        let mut pairs = Vec::new();
        let register = |(position, labels)| {
            self.recent
                .intern(&mut self.pairs, position as usize, labels, &mut pairs);
            Some((position, self.register_one(&pairs).ok()?))
        };
        let found = sets.filter_map(register).collect();
        self.note();
        found
    }

    fn register_one(&mut self, pairs: &[u32]) -> Result<Registered, Exhausted> {
        let hash = self.hash(pairs);
        if let Some(series) = self.find_pairs(hash, pairs) {
            return Ok(Registered {
                series,
                is_new: false,
            });
        }
        let slab = self.slab_for(self.metric_of(pairs))?;
        Ok(Registered {
            series: self.insert(slab, hash, pairs),
            is_new: true,
        })
    }

    /// The pair of the metric's name; `u32::MAX`: there is none.
    fn metric_of(&self, pairs: &[u32]) -> u32 {
        let mut pairs = pairs.iter().copied();
        pairs
            .find(|pair| self.pairs.texts(*pair).0 == METRIC_NAME)
            .unwrap_or(u32::MAX)
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
        self.note();
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
        let goes_on = self.open.get(&metric).is_some_and(|open| {
            self.slabs.last().is_some_and(|slab| {
                slab.first == open.first && slab.next() == series && slab.size() < LARGEST
            })
        });
        match (goes_on, self.slabs.last_mut()) {
            (true, Some(slab)) => slab.widen(),
            (_, last) => {
                if let Some(slab) = last {
                    slab.shrink();
                }
                let open = Open {
                    first: series,
                    at: self.slabs.len(),
                };
                self.slabs.push(Slab::new(series, 1));
                self.open.insert(metric, open);
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

    fn insert(&mut self, slab: usize, hash: u32, pairs: &[u32]) -> u32 {
        let series = self.slabs[slab].next();
        self.slabs[slab].push(pairs);
        let unnoted = pairs
            .iter()
            .map(|pair| u64::from(*pair) << 32 | u64::from(series));
        self.unnoted.extend(unnoted);
        self.new.push(series);
        if let Some(first) = self.by_hash.insert(hash, series) {
            self.twins.entry(hash).or_default().push(first);
        }
        if self.unnoted.len() >= UNNOTED {
            self.note();
        }
        series
    }

    /// Notes with each pair which new series have it, in one go, as that is a jump in memory for each pair.
    fn note(&mut self) {
        self.unnoted.sort_unstable();
        let series = |unnoted: &u64| *unnoted as u32;
        for of_pair in self.unnoted.chunk_by(|a, b| a >> 32 == b >> 32) {
            let pair = (of_pair[0] >> 32) as u32;
            self.pairs.add(pair, of_pair.iter().map(series));
        }
        self.unnoted.clear();
        self.new.sort_unstable();
        self.all.extend(self.new.drain(..));
    }

    /// The place of a slab with room for a series of a metric.
    fn slab_for(&mut self, metric: u32) -> Result<usize, Exhausted> {
        let open = self.open.get(&metric).and_then(|open| {
            let is_there = self
                .slabs
                .get(open.at)
                .is_some_and(|slab| slab.first == open.first);
            if is_there {
                Some(open.at)
            } else {
                self.slabs.place_at(open.first)
            }
        });
        let size = match open {
            Some(at) if !self.slabs[at].is_full() => return Ok(at),
            Some(at) => (self.slabs[at].size() * 2).clamp(SMALLEST, LARGEST),
            None => SMALLEST,
        };
        let first = self.next;
        self.next = first.checked_add(size).ok_or(Exhausted)?;
        let at = self.slabs.len();
        self.slabs.push(Slab::new(first, size));
        self.open.insert(metric, Open { first, at });
        Ok(at)
    }

    fn pairs_of(&self, series: u32) -> &[u32] {
        self.slabs.of(series).pairs(series)
    }

    /// Where a series' rows are first, if it is in a group.
    pub(crate) fn place(&self, series: u32) -> Option<Place> {
        self.slabs.of(series).first_place(series)
    }

    /// Notes where a series' rows are; if they are somewhere already, says where instead.
    pub(crate) fn place_first(&mut self, series: u32, place: Place) -> Option<Place> {
        let slab = self.slabs.of_mut(series);
        let known = slab.place(series);
        if known == Place::NONE {
            slab.set_place(series, place);
            return None;
        }
        Some(known)
    }

    /// Changes where a series' rows are first. Once that is done with all series of a group, [`Registry::forget_groups`].
    pub(crate) fn set_place(&mut self, series: u32, place: Option<Place>) {
        let slab = self.slabs.of_mut(series);
        slab.set_place(series, place.unwrap_or(Place::NONE));
    }

    /// Forgets where series were found: the numbers of groups that went are given to others.
    pub(crate) fn forget_groups(&self) {
        self.pairs.forget_groups();
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
        self.recent.clear();
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
        let slab = self.slabs.place_of(series);
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
        let slabs: usize = self
            .slabs
            .iter()
            .map(|slab| slab.bytes() + size_of::<u32>())
            .sum();
        slabs + self.pairs.bytes() + self.recent.bytes() + 10 * self.by_hash.capacity()
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
