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
    positions: Box<[u32]>,
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

    pub(crate) fn group(&self) -> usize {
        self.group as usize
    }

    pub(crate) fn positions(&self) -> &[u32] {
        &self.positions
    }
}

/// All parts of a batch's group.
#[derive(Debug)]
pub(crate) struct GroupLayout {
    dict: DictHash,
    series: Vec<SeriesId>,
    parts: Vec<Part>,
}

impl GroupLayout {
    pub(crate) fn new(dict: DictHash, series: Vec<SeriesId>, parts: Vec<Part>) -> Self {
        GroupLayout { dict, series, parts }
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn is_of(&self, dict: DictHash, series: &[SeriesId]) -> bool {
        self.dict == dict && self.series == series
    }
}

/// A device's layouts, the last used first.
#[derive(Debug, Default)]
pub(crate) struct Layouts(VecDeque<Arc<GroupLayout>>);

impl Layouts {
    pub(crate) fn find(&self, dict: DictHash, series: &[SeriesId]) -> Option<&Arc<GroupLayout>> {
        self.0.iter().find(|layout| layout.is_of(dict, series))
    }

    /// Finds a layout and marks it as used.
    pub(crate) fn touch(&mut self, dict: DictHash, series: &[SeriesId]) -> Option<Arc<GroupLayout>> {
        let at = self.0.iter().position(|layout| layout.is_of(dict, series))?;
        if at > 0 {
            let layout = self.0.remove(at)?;
            self.0.push_front(layout);
        }
        self.0.front().cloned()
    }

    pub(crate) fn insert(&mut self, layout: GroupLayout) -> Arc<GroupLayout> {
        let layout = Arc::new(layout);
        self.0.push_front(layout.clone());
        self.0.truncate(MAX_LAYOUTS);
        layout
    }
}
