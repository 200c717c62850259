//! Names and values of the labels of series, each once.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use foldhash::fast::RandomState;
use roaring::RoaringBitmap;

use super::Registry;
use super::slab::Place;
use super::symbols::{NO_GROUP, Valued};

/// Which series count.
pub(crate) trait Counts {
    /// Whether one does; it comes with its first place.
    fn series(&self, series: u32, first: Option<Place>) -> bool;

    /// What is known at once of series that are in a group first.
    fn first_in(&self, group: u32) -> Known;
}

/// What is known of series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// All of them count.
    All,
    /// None does.
    None,
    /// Each has to be asked for.
    Unknown,
}

/// Texts in order, each once.
#[derive(Debug, Default)]
pub(crate) struct Values(Vec<Arc<str>>);

impl Values {
    /// Adds the values of pairs, which are in order, but for those that are there or of which `is_wanted` is not true.
    fn add(&mut self, sorted: &[Valued], mut is_wanted: impl FnMut(&Valued) -> bool) {
        let mut known = std::mem::take(&mut self.0).into_iter().peekable();
        self.0.reserve(known.len().max(sorted.len()));
        for valued in sorted {
            let value = &valued.value;
            let mut is_new = true;
            while is_new && let Some(text) = known.peek() {
                match text.cmp(value) {
                    Ordering::Greater => break,
                    order => is_new = order == Ordering::Less,
                }
                self.0.extend(known.next());
            }
            if is_new && is_wanted(valued) {
                self.0.push(value.clone());
            }
        }
        self.0.extend(known);
    }

    /// The texts.
    pub(crate) fn into_texts(self) -> Vec<Arc<str>> {
        self.0
    }
}

impl Registry {
    /// A group in which series of a pair are first and count, if any does; `None` in it: in no such group.
    fn any(&self, pair: u32, counts: &impl Counts) -> Option<Option<u32>> {
        let (mut near, mut all_in) = (self.slabs.near(), None);
        let counts = |series: u32| {
            let first = near.slab(series).first_place(series);
            match first.map_or(Known::Unknown, |place| counts.first_in(place.group)) {
                Known::All => {
                    all_in = first.map(|place| place.group);
                    true
                }
                Known::None => false,
                Known::Unknown => counts.series(series, first),
            }
        };
        self.pairs.ids(pair).any(counts).then_some(all_in)
    }

    /// The same, with a look at the group first in which series counted the last time.
    fn any_of(&self, valued: &Valued, counts: &impl Counts) -> bool {
        let before = valued.group.load(Relaxed);
        if before != NO_GROUP && counts.first_in(before) == Known::All {
            return true;
        }
        let found = self.any(valued.pair, counts);
        if let Some(Some(group)) = found {
            valued.group.store(group, Relaxed);
        }
        found.is_some()
    }

    /// Those of some series that count.
    pub(crate) fn counted(&self, found: &RoaringBitmap, counts: &impl Counts) -> Vec<u32> {
        let mut near = self.slabs.near();
        let counted = |series: &u32| counts.series(*series, near.slab(*series).first_place(*series));
        found.iter().filter(counted).collect()
    }

    /// Adds the names of labels of the series that count.
    pub(crate) fn add_names(&self, names: &mut BTreeSet<String>, counts: &impl Counts) {
        for name in self.pairs.names() {
            let any = || {
                self.pairs
                    .values(name)
                    .any(|(_, pair)| self.any(pair, counts).is_some())
            };
            if !names.contains(name) && any() {
                names.insert(name.to_owned());
            }
        }
    }

    /// The same of some series.
    pub(crate) fn add_names_of(
        &self,
        found: &RoaringBitmap,
        names: &mut BTreeSet<String>,
        counts: &impl Counts,
    ) {
        let mut near = self.slabs.near();
        let mut known: HashSet<u32, RandomState> = HashSet::default();
        for series in found {
            let slab = near.slab(series);
            let is_known = |pair: &u32| known.contains(&self.pairs.name_of(*pair));
            let pairs = slab.pairs(series);
            if !pairs.iter().all(is_known) && counts.series(series, slab.first_place(series)) {
                known.extend(pairs.iter().map(|pair| self.pairs.name_of(*pair)));
                names.extend(pairs.iter().map(|pair| self.pairs.texts(*pair).0.to_owned()));
            }
        }
    }

    /// Adds the values of a label of the series that count.
    pub(crate) fn add_values(&self, name: &str, values: &mut Values, counts: &impl Counts) {
        let sorted = self.pairs.sorted(name);
        values.add(sorted, |valued| self.any_of(valued, counts));
    }

    /// The same of some series.
    pub(crate) fn add_values_of(
        &self,
        found: &RoaringBitmap,
        name: &str,
        values: &mut Values,
        counts: &impl Counts,
    ) {
        let Some(name) = self.pairs.name(name) else { return };
        let mut near = self.slabs.near();
        let mut known: HashSet<u32, RandomState> = HashSet::default();
        for series in found {
            let slab = near.slab(series);
            let mut pairs = slab.pairs(series).iter();
            let pair = pairs.find(|pair| self.pairs.name_of(**pair) == name);
            if let Some(pair) = pair
                && !known.contains(pair)
                && counts.series(series, slab.first_place(series))
            {
                known.insert(*pair);
            }
        }
        values.add(&self.pairs.in_order(known.into_iter()), |_| true);
    }
}
