//! Series of one partition whose rows arrive together: shared times, open rows, frozen pieces.
//!
//! Rows later than all before are open in `fresh`; any other row, however old, in `late`, so that a draining backlog
//! does not break up the fresh rows' pieces. Both freeze at 32 rows. Pieces may overlap in time; readers merge.

use std::sync::Arc;

use super::piece::{Freezer, OpenRows, Piece};
use crate::ledger::DeviceRef;

/// A group of series.
#[derive(Debug)]
pub(crate) struct Group {
    owner: Option<DeviceRef>,
    series: Box<[u32]>,
    modes: Box<[u8]>,
    fresh: OpenRows,
    late: OpenRows,
    pieces: Vec<Arc<Piece>>,
    newest: i64,
    /// Groups that share a series with this one.
    siblings: Vec<u32>,
}

impl Group {
    pub(crate) fn new(owner: Option<DeviceRef>, series: Vec<u32>) -> Self {
        Group {
            owner,
            modes: vec![0; series.len()].into(),
            series: series.into(),
            fresh: OpenRows::default(),
            late: OpenRows::default(),
            pieces: Vec::new(),
            newest: i64::MIN,
            siblings: Vec::new(),
        }
    }

    pub(crate) fn owner(&self) -> Option<DeviceRef> {
        self.owner
    }

    pub(crate) fn series(&self) -> &[u32] {
        &self.series
    }

    pub(crate) fn siblings(&self) -> &[u32] {
        &self.siblings
    }

    pub(crate) fn add_sibling(&mut self, group: u32) {
        if let Err(at) = self.siblings.binary_search(&group) {
            self.siblings.insert(at, group);
        }
    }

    /// Whether a row has exactly this time.
    pub(crate) fn holds(&self, time: i64) -> bool {
        time <= self.newest
            && (self.fresh.times().contains(&time)
                || self.late.times().contains(&time)
                || self.pieces.iter().any(|piece| piece.holds(time)))
    }

    /// The winning sample of a series at a time, as (order, value).
    pub(crate) fn at(&self, position: usize, time: i64) -> Option<(u64, f64)> {
        let mut best: Option<(u64, f64)> = None;
        let mut see = |t: i64, order: u64, value: f64| {
            if t == time && best.is_none_or(|(o, _)| o < order) {
                best = Some((order, value));
            }
        };
        for open in [&self.fresh, &self.late] {
            open.samples(position).for_each(|(t, o, v)| see(t, o, v));
        }
        let mut scratch = Vec::new();
        for piece in self.pieces.iter().filter(|piece| piece.holds(time)) {
            if let Ok(stamps) = piece.stamps() {
                piece.values(position, &mut scratch, |row, value| {
                    see(stamps[row].0, stamps[row].1, value);
                });
            }
        }
        best
    }

    /// Adds a row of as many values as there are series.
    pub(crate) fn push(
        &mut self,
        time: i64,
        order: u64,
        row: impl Iterator<Item = Option<f64>>,
        freezer: &mut Freezer,
    ) {
        let late = time <= self.newest;
        let open = if late { &mut self.late } else { &mut self.fresh };
        self.newest = self.newest.max(time);
        open.push(time, order, row);
        if open.is_full() {
            let piece = open.freeze(&mut self.modes, freezer);
            self.pieces.push(Arc::new(piece));
            if late {
                // The fresh buffer fills again at once, this one perhaps never.
                self.late = OpenRows::default();
            }
        }
    }

    /// Lets the oldest pieces go while more rows than `rows` are left without them.
    pub(crate) fn keep(&mut self, rows: usize) {
        while self.pieces.len() > rows.div_ceil(super::piece::ROWS) {
            self.pieces.remove(0);
        }
    }

    /// Pieces that reach into a range of time.
    pub(crate) fn pieces(&self, start: i64, end: i64) -> impl Iterator<Item = &Arc<Piece>> {
        self.pieces
            .iter()
            .filter(move |piece| piece.first() <= end && piece.last() >= start)
    }

    /// Open samples of a series in a range of time, as (time, order, value).
    pub(crate) fn open(
        &self,
        position: usize,
        start: i64,
        end: i64,
    ) -> impl Iterator<Item = (i64, u64, f64)> + '_ {
        [&self.fresh, &self.late]
            .into_iter()
            .flat_map(move |open| open.samples(position))
            .filter(move |(time, _, _)| (start..=end).contains(time))
    }

    /// Bytes of memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let open = (self.fresh.len() + self.late.len()) * (16 + 8 * self.series.len());
        let frozen: usize = self.pieces.iter().map(|piece| piece.bytes() + 24).sum();
        size_of::<Group>() + 5 * self.series.len() + open + frozen
    }
}
