//! Names and values of the labels of series, each once.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use roaring::RoaringBitmap;

use super::Registry;
use super::slab::Place;
use super::symbols::Valued;

/// Whether a series counts; it comes with its first place.
pub(crate) type Counts<'a> = dyn Fn(u32, Option<Place>) -> bool + 'a;

/// Texts in order, each once.
#[derive(Debug, Default)]
pub(crate) struct Values(Vec<Arc<str>>);

impl Values {
    /// Adds the values of pairs, which are in order, but for those that are there or of which `is_wanted` is not true.
    fn add(&mut self, sorted: &[Valued], mut is_wanted: impl FnMut(u32) -> bool) {
        let mut known = std::mem::take(&mut self.0).into_iter().peekable();
        self.0.reserve(known.len().max(sorted.len()));
        for (value, pair) in sorted {
            let mut is_new = true;
            while is_new && let Some(text) = known.peek() {
                match text.cmp(value) {
                    Ordering::Greater => break,
                    order => is_new = order == Ordering::Less,
                }
                self.0.extend(known.next());
            }
            if is_new && is_wanted(*pair) {
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
    /// Whether a series of a pair counts.
    fn any(&self, pair: u32, counts: &Counts<'_>) -> bool {
        let mut near = self.slabs.near();
        let ids = self.pairs.ids(pair);
        ids.any(|series| counts(series, near.slab(series).first_place(series)))
    }

    /// Those of some series that count.
    pub(crate) fn counted(&self, found: &RoaringBitmap, counts: &Counts<'_>) -> Vec<u32> {
        let mut near = self.slabs.near();
        let counted = |series: &u32| counts(*series, near.slab(*series).first_place(*series));
        found.iter().filter(counted).collect()
    }

    /// Adds the names of labels of the series that count.
    pub(crate) fn add_names(&self, names: &mut BTreeSet<String>, counts: &Counts<'_>) {
        for name in self.pairs.names() {
            let any = || self.pairs.values(name).any(|(_, pair)| self.any(pair, counts));
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
        counts: &Counts<'_>,
    ) {
        let mut near = self.slabs.near();
        let mut known: HashSet<u32, RandomState> = HashSet::default();
        for series in found {
            let slab = near.slab(series);
            let is_known = |pair: &u32| known.contains(&self.pairs.name_of(*pair));
            let pairs = slab.pairs(series);
            if !pairs.iter().all(is_known) && counts(series, slab.first_place(series)) {
                known.extend(pairs.iter().map(|pair| self.pairs.name_of(*pair)));
                names.extend(pairs.iter().map(|pair| self.pairs.texts(*pair).0.to_owned()));
            }
        }
    }

    /// Adds the values of a label of the series that count.
    pub(crate) fn add_values(&self, name: &str, values: &mut Values, counts: &Counts<'_>) {
        let sorted = self.pairs.sorted(name);
        values.add(sorted, |pair| self.any(pair, counts));
    }

    /// The same of some series.
    pub(crate) fn add_values_of(
        &self,
        found: &RoaringBitmap,
        name: &str,
        values: &mut Values,
        counts: &Counts<'_>,
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
                && counts(series, slab.first_place(series))
            {
                known.insert(*pair);
            }
        }
        values.add(&self.pairs.in_order(known.into_iter()), |_| true);
    }
}
