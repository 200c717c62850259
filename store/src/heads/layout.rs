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

    pub(crate) fn group(&self) -> u32 {
        self.group
    }

    pub(crate) fn positions(&self) -> &[u32] {
        &self.positions
    }
}

/// A list of series as runs: the first and how many follow one another.
#[derive(Debug, PartialEq, Eq)]
struct Runs(Box<[(u32, u32)]>);

impl Runs {
    fn of(series: &[SeriesId]) -> Self {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for id in series {
            match runs.last_mut() {
                Some((first, count)) if first.checked_add(*count) == Some(id.get()) => *count += 1,
                _ => runs.push((id.get(), 1)),
            }
        }
        Runs(runs.into())
    }

    fn are(&self, series: &[SeriesId]) -> bool {
        let mut rest = series;
        for (first, count) in &self.0 {
            let Some((run, after)) = rest.split_at_checked(*count as usize) else {
                return false;
            };
            if !run.iter().zip(*first..).all(|(id, n)| id.get() == n) {
                return false;
            }
            rest = after;
        }
        rest.is_empty()
    }
}

/// All parts of a batch's group.
#[derive(Debug)]
pub(crate) struct GroupLayout {
    dict: DictHash,
    /// The ring that placed them.
    ring: u32,
    series: Runs,
    parts: Vec<Part>,
}

impl GroupLayout {
    pub(crate) fn new(dict: DictHash, ring: u32, series: &[SeriesId], parts: Vec<Part>) -> Self {
        GroupLayout {
            dict,
            ring,
            series: Runs::of(series),
            parts,
        }
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn is_of(&self, dict: DictHash, ring: u32, series: &[SeriesId]) -> bool {
        self.dict == dict && self.ring == ring && self.series.are(series)
    }
}

/// A device's layouts, the last used first, each with the time of its last use (ms).
#[derive(Debug, Default)]
pub(crate) struct Layouts(VecDeque<(Arc<GroupLayout>, i64)>);

impl Layouts {
    pub(crate) fn has(&self, dict: DictHash, ring: u32, series: &[SeriesId]) -> bool {
        self.0.iter().any(|(layout, _)| layout.is_of(dict, ring, series))
    }

    /// Finds a layout and marks it as used.
    pub(crate) fn touch(
        &mut self,
        dict: DictHash,
        ring: u32,
        series: &[SeriesId],
        now_ms: i64,
    ) -> Option<Arc<GroupLayout>> {
        let at = self
            .0
            .iter()
            .position(|(layout, _)| layout.is_of(dict, ring, series))?;
        if at > 0 {
            let layout = self.0.remove(at)?;
            self.0.push_front(layout);
        }
        let (layout, used) = self.0.front_mut()?;
        *used = now_ms.max(*used);
        Some(layout.clone())
    }

    pub(crate) fn insert(&mut self, layout: GroupLayout, now_ms: i64) -> Arc<GroupLayout> {
        let layout = Arc::new(layout);
        self.0.push_front((layout.clone(), now_ms));
        layout
    }

    /// Lets the longest unused beyond the most that are kept go.
    pub(crate) fn bound(&mut self) {
        self.0.truncate(MAX_LAYOUTS);
    }

    /// Lets those go that were not used since a time; true if none is left.
    pub(crate) fn sweep(&mut self, since_ms: i64) -> bool {
        self.0.retain(|(_, used)| *used >= since_ms);
        self.0.shrink_to_fit();
        self.0.is_empty()
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.0.iter().flat_map(|(layout, _)| layout.parts())
    }
}
