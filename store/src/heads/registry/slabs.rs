//! All slabs of a registry, and how a series is found in them.

use std::ops::{Deref, DerefMut};

use super::slab::Slab;

/// Slabs in order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Slabs {
    slabs: Vec<Slab>,
    /// The first series of each: a search in these alone stays in the cache.
    firsts: Vec<u32>,
}

impl Deref for Slabs {
    type Target = [Slab];

    fn deref(&self) -> &[Slab] {
        &self.slabs
    }
}

impl DerefMut for Slabs {
    fn deref_mut(&mut self) -> &mut [Slab] {
        &mut self.slabs
    }
}

impl Slabs {
    /// Adds one behind the others.
    pub(super) fn push(&mut self, slab: Slab) {
        self.firsts.push(slab.first);
        self.slabs.push(slab);
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.firsts.remove(at);
        self.slabs.remove(at);
    }

    /// The place of the slab that holds a series; the series is there.
    pub(super) fn place_of(&self, series: u32) -> usize {
        self.firsts.partition_point(|first| *first <= series) - 1
    }

    /// The place of the slab of a first series.
    pub(super) fn place_at(&self, first: u32) -> Option<usize> {
        self.firsts.binary_search(&first).ok()
    }

    /// The slab that holds a series; the series is there.
    pub(super) fn of(&self, series: u32) -> &Slab {
        &self.slabs[self.place_of(series)]
    }

    /// The same, to be changed.
    pub(super) fn of_mut(&mut self, series: u32) -> &mut Slab {
        let at = self.place_of(series);
        &mut self.slabs[at]
    }

    /// Looks at series one after the other.
    pub(super) fn near(&self) -> Near<'_> {
        Near {
            slabs: self,
            last: None,
        }
    }
}

/// Keeps the slab that was looked at last: most often it has the next series too.
pub(super) struct Near<'s> {
    slabs: &'s Slabs,
    last: Option<&'s Slab>,
}

impl<'s> Near<'s> {
    /// The slab of a series that is there.
    #[inline]
    pub(super) fn slab(&mut self, series: u32) -> &'s Slab {
        let last = self.last.filter(|slab| slab.has(series));
        let slab = last.unwrap_or_else(|| self.slabs.of(series));
        self.last = Some(slab);
        slab
    }
}
