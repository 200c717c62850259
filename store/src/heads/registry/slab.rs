//! A run of series numbers for one metric name, and what is kept of each.

/// The first slab of a metric.
pub(super) const SMALLEST: u32 = 32;

/// The largest slab.
pub(super) const LARGEST: u32 = 1024;

/// Where a series' rows are: a group, and the position in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) group: u32,
    pub(crate) position: u32,
}

impl Place {
    /// In no group.
    pub(super) const NONE: Place = Place {
        group: u32::MAX,
        position: 0,
    };
}

/// Up to 1024 series that follow one another.
#[derive(Debug)]
pub(super) struct Slab {
    pub(super) first: u32,
    size: u32,
    live: u32,
    /// Pair numbers of all series, in order; `ends` has where each series' end.
    pairs: Vec<u32>,
    ends: Vec<u32>,
    places: Vec<Place>,
}

impl Slab {
    pub(super) fn new(first: u32, size: u32) -> Self {
        Slab {
            first,
            size,
            live: 0,
            pairs: Vec::new(),
            ends: Vec::new(),
            places: Vec::new(),
        }
    }

    /// The number of the next series.
    pub(super) fn next(&self) -> u32 {
        self.first + self.ends.len() as u32
    }

    pub(super) fn size(&self) -> u32 {
        self.size
    }

    pub(super) fn is_full(&self) -> bool {
        self.ends.len() as u32 >= self.size
    }

    /// Takes one more series into a slab that was read from disk, of which no room was set aside.
    pub(super) fn widen(&mut self) {
        self.size += 1;
    }

    pub(super) fn push(&mut self, pairs: &[u32]) {
        self.pairs.extend_from_slice(pairs);
        self.ends.push(self.pairs.len() as u32);
        self.places.push(Place::NONE);
        self.live += 1;
        if self.is_full() {
            self.shrink();
        }
    }

    pub(super) fn shrink(&mut self) {
        self.pairs.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.places.shrink_to_fit();
    }

    /// Counts a series as gone; true if the slab is of no more use.
    pub(super) fn drop_one(&mut self) -> bool {
        self.live -= 1;
        self.live == 0 && self.is_full()
    }

    /// Whether a number is one of its series'.
    pub(super) fn has(&self, series: u32) -> bool {
        series.wrapping_sub(self.first) < self.ends.len() as u32
    }

    pub(super) fn pairs(&self, series: u32) -> &[u32] {
        let at = (series - self.first) as usize;
        let start = match at {
            0 => 0,
            _ => self.ends[at - 1] as usize,
        };
        &self.pairs[start..self.ends[at] as usize]
    }

    pub(super) fn place(&self, series: u32) -> Place {
        self.places[(series - self.first) as usize]
    }

    /// Where a series' rows are first, if it is in a group.
    pub(super) fn first_place(&self, series: u32) -> Option<Place> {
        let place = self.place(series);
        (place != Place::NONE).then_some(place)
    }

    pub(super) fn set_place(&mut self, series: u32, place: Place) {
        self.places[(series - self.first) as usize] = place;
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Slab>() + 4 * (self.pairs.capacity() + self.ends.capacity()) + 8 * self.places.capacity()
    }
}
