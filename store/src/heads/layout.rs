//! Where the series of a batch's group are: parts of partitions' groups, worked out once and kept per device.

use std::collections::VecDeque;
use std::sync::Arc;

use wire::dict::{DictHash, SeriesId};

/// Layouts kept for each device; beyond them the longest unused goes and is worked out again when needed.
const MAX_LAYOUTS: usize = 64;

/// Series of a batch's group that lie in one group of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    partition: u32,
    group: u32,
    /// Positions in the batch's group, in the order of the partition's group.
    positions: Arc<[u32]>,
}

impl Part {
    pub(crate) fn new(partition: usize, group: u32, positions: Vec<u32>) -> Self {
        Part {
            partition: partition as u32,
            group,
            positions: positions.into(),
        }
    }

    pub(crate) fn partition(&self) -> usize {
        self.partition as usize
    }

    pub(crate) fn group(&self) -> u32 {
        self.group
    }

    pub(crate) fn positions(&self) -> &Arc<[u32]> {
        &self.positions
    }
}

/// All parts of a batch's group.
#[derive(Debug)]
pub(crate) struct GroupLayout {
    dict: DictHash,
    /// The ring that placed them.
    ring: u32,
    parts: Vec<Part>,
}

impl GroupLayout {
    pub(crate) fn new(dict: DictHash, ring: u32, parts: Vec<Part>) -> Self {
        GroupLayout { dict, ring, parts }
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }
}

/// A layout in use.
#[derive(Debug)]
struct Known {
    layout: Arc<GroupLayout>,
    /// As the last batch had it: most often that of the device's key, which the next one has too.
    series: Arc<[SeriesId]>,
    /// Time of its last use, ms.
    used: i64,
}

impl Known {
    fn is_of(&self, dict: DictHash, ring: u32, series: &Arc<[SeriesId]>) -> bool {
        let same = || Arc::ptr_eq(&self.series, series) || self.series == *series;
        self.layout.dict == dict && self.layout.ring == ring && same()
    }
}

/// A device's layouts, the last used first.
#[derive(Debug, Default)]
pub(crate) struct Layouts(VecDeque<Known>);

impl Layouts {
    pub(crate) fn has(&self, dict: DictHash, ring: u32, series: &Arc<[SeriesId]>) -> bool {
        self.0.iter().any(|known| known.is_of(dict, ring, series))
    }

    /// Finds a layout and marks it as used.
    pub(crate) fn touch(
        &mut self,
        dict: DictHash,
        ring: u32,
        series: &Arc<[SeriesId]>,
        now_ms: i64,
    ) -> Option<Arc<GroupLayout>> {
        let at = self.0.iter().position(|known| known.is_of(dict, ring, series))?;
        if at > 0 {
            let known = self.0.remove(at)?;
            self.0.push_front(known);
        }
        let known = self.0.front_mut()?;
        known.used = now_ms.max(known.used);
        if !Arc::ptr_eq(&known.series, series) {
            known.series = series.clone();
        }
        Some(known.layout.clone())
    }

    pub(crate) fn insert(
        &mut self,
        layout: GroupLayout,
        series: Arc<[SeriesId]>,
        now_ms: i64,
    ) -> Arc<GroupLayout> {
        let layout = Arc::new(layout);
        self.0.push_front(Known {
            layout: layout.clone(),
            series,
            used: now_ms,
        });
        layout
    }

    /// Lets the longest unused beyond the most that are kept go.
    pub(crate) fn bound(&mut self) {
        self.0.truncate(MAX_LAYOUTS);
    }

    /// Lets those go that were not used since a time; true if none is left.
    pub(crate) fn sweep(&mut self, since_ms: i64) -> bool {
        self.0.retain(|known| known.used >= since_ms);
        self.0.shrink_to_fit();
        self.0.is_empty()
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.0.iter().flat_map(|known| known.layout.parts())
    }
}
