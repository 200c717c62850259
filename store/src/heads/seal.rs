//! Windows on their way out of the heads: which are due, what a seal gets, and what follows it.
//!
//! A seal takes all rows of a window at one moment between two commits, when the heads hold all rows up to a number and
//! none above it: S. The rows stay where readers find them until the block is in the catalog; then the block takes their
//! place in one step.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::{PoisonError, RwLockReadGuard, RwLockWriteGuard};

use wire::Tenant;

use super::Heads;
use super::piece::{Freezer, Piece};
use super::segment::Rows;
use super::tenant::TenantHead;
use super::window_head::{Histograms, WindowHead};
use crate::chunk::mode_of;
use crate::index::SeriesList;
use crate::ledger::DeviceRef;
use crate::sealed::{RecordId, Sealed};
use crate::tally::Tally;
use crate::window::Window;

/// Below this share of a budget, in quarters, pressure ends.
const RELIEF: usize = 3;

/// A window of a tenant in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SealTarget {
    pub(crate) partition: usize,
    pub(crate) tenant: Tenant,
    pub(crate) window: Window,
}

/// What a seal took of a window.
#[derive(Debug)]
pub(crate) struct SealInput {
    pub(crate) target: SealTarget,
    /// What blocks have of the window with these rows.
    pub(crate) sealed: Sealed,
    pub(crate) groups: Vec<SealGroup>,
    pub(crate) histograms: Arc<Histograms>,
    /// Series of the rows that the index does not have, and their numbers.
    pub(crate) new_series: SeriesList,
    pub(crate) new_ids: Vec<u32>,
    /// What was counted of each device; goes to the totals.
    pub(crate) tallies: Vec<(DeviceRef, Tally)>,
    /// Samples of each device that stand in a block of the window already.
    pub(crate) in_blocks: Vec<(DeviceRef, u64)>,
}

/// Rows of a group, frozen.
#[derive(Debug)]
pub(crate) struct SealGroup {
    pub(crate) owner: DeviceRef,
    pub(crate) series: Arc<[u32]>,
    pub(crate) pieces: Vec<Arc<Piece>>,
}

/// The same as they were taken.
struct Taken {
    owner: DeviceRef,
    series: Arc<[u32]>,
    rows: Vec<Rows>,
}

impl Taken {
    /// Freezes rows that are not frozen yet: a block has them series by series, and those of a piece lie together.
    fn freeze(self, freezer: &mut Freezer) -> SealGroup {
        let frozen = self.rows.iter().rev().find_map(Rows::piece);
        let mut modes: Vec<u8> = match frozen {
            Some(piece) => (0..self.series.len())
                .map(|at| mode_of(piece.chunk(at)))
                .collect(),
            None => vec![0; self.series.len()],
        };
        let freeze = |rows| match rows {
            Rows::Frozen(piece) => piece,
            Rows::Closed(rows) => Arc::new(rows.freeze(&mut modes, freezer)),
        };
        SealGroup {
            owner: self.owner,
            series: self.series,
            pieces: self.rows.into_iter().map(freeze).collect(),
        }
    }
}

/// What is in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Bytes of rows, late ones included.
    pub(crate) head_bytes: usize,
    /// Bytes of rows that came when their window was long over.
    pub(crate) late_bytes: usize,
    /// Bytes of labels and what finds them.
    pub(crate) registry_bytes: usize,
    pub(crate) series: usize,
}

/// Held while a commit takes effect, so that no seal comes between its parts.
#[derive(Debug)]
pub(crate) struct Gate<'a> {
    heads: &'a Heads,
    _held: RwLockReadGuard<'a, ()>,
}

impl Gate<'_> {
    /// Says that everything journaled up to a number is in the heads.
    pub(crate) fn applied(self, number: u64) {
        self.heads.applied.fetch_max(number, Ordering::AcqRel);
    }
}

impl Heads {
    /// Begins a commit: taken before [`Heads::knows`] is asked and held until all of it is applied. Seals wait for it.
    pub(crate) fn gate(&self) -> Gate<'_> {
        Gate {
            heads: self,
            _held: self.gate.read().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// A moment between two commits.
    pub(super) fn between(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Windows to be sealed now, the most urgent first: over and quiet, waiting for long, held by the journal below the
    /// number `wanted` (0: none), and the largest, if budgets are exceeded.
    pub(crate) fn due(&self, now_ms: i64, wanted: u64) -> Vec<SealTarget> {
        let mut all: Vec<(SealTarget, usize, bool, bool)> = Vec::new();
        for partition in 0..self.rings.count() {
            for (tenant, head) in &self.read(partition).tenants {
                for (window, rows) in head.windows() {
                    let due = rows.is_due(*window, now_ms) || rows.first_number < wanted;
                    let target = SealTarget {
                        partition,
                        tenant: tenant.clone(),
                        window: *window,
                    };
                    all.push((target, rows.bytes, rows.is_late(*window), due));
                }
            }
        }
        let (mut due, mut rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(.., due)| *due);
        due.sort_by_key(|(target, ..)| target.window);
        rest.sort_by_key(|(_, bytes, ..)| *bytes);
        let sum = |list: &[(SealTarget, usize, bool, bool)], late: bool| -> usize {
            let counted = list.iter().filter(|(_, _, is_late, _)| !late || *is_late);
            counted.map(|(_, bytes, ..)| *bytes).sum()
        };
        for (late, budget) in [(true, self.limits.late_bytes), (false, self.limits.head_bytes)] {
            let mut held = sum(&rest, late);
            if held + sum(&due, late) <= budget {
                continue;
            }
            while held > budget / 4 * RELIEF {
                let Some(at) = rest.iter().rposition(|(_, _, is_late, _)| !late || *is_late) else {
                    break;
                };
                held -= rest[at].1;
                due.push(rest.remove(at));
            }
        }
        due.into_iter().map(|(target, ..)| target).collect()
    }

    /// Takes a window for a seal; `None` if it has no rows, or a seal of it is under way. Must be followed by
    /// [`Heads::sealed`] or [`Heads::unsealed`]. Waits for the commit that is under way.
    pub(crate) fn freeze(&self, target: &SealTarget) -> Option<SealInput> {
        let (mut input, taken) = {
            let _between = self.between();
            let s = self.applied.load(Ordering::Acquire);
            let mut partition = self.write(target.partition);
            let head = partition.tenants.get_mut(&target.tenant)?;
            head.freeze(target, (s, self.left_out()))?
        };
        // Labels are many; series that have rows stay.
        let partition = self.read(target.partition);
        if let Some(head) = partition.tenants.get(&target.tenant) {
            input.new_series = head.registry().list(&input.new_ids);
        }
        drop(partition);
        let mut freezer = Freezer::default();
        let groups = taken.into_iter().map(|taken| taken.freeze(&mut freezer));
        input.groups = groups.collect();
        Some(input)
    }

    /// Takes back what could not be sealed.
    pub(crate) fn unsealed(&self, input: SealInput) {
        let mut partition = self.write(input.target.partition);
        if let Some(head) = partition.tenants.get_mut(&input.target.tenant) {
            head.unsealed(input.target.window);
        }
    }

    /// The lowest number of a record whose rows are in memory only; waits for the commit that is under way.
    pub(crate) fn oldest_number(&self) -> Option<u64> {
        let _between = self.between();
        let oldest = |partition| {
            let partition = self.read(partition);
            partition
                .tenants
                .values()
                .filter_map(TenantHead::oldest_number)
                .min()
        };
        (0..self.rings.count()).filter_map(oldest).min()
    }

    /// Bytes of rows, and those of them that came late.
    pub(crate) fn row_bytes(&self) -> (usize, usize) {
        let (mut all, mut late) = (0, 0);
        for partition in 0..self.rings.count() {
            for head in self.read(partition).tenants.values() {
                all += head.sealing_bytes();
                for (window, rows) in head.windows() {
                    all += rows.bytes;
                    late += if rows.is_late(*window) { rows.bytes } else { 0 };
                }
            }
        }
        (all, late)
    }

    pub(crate) fn usage(&self) -> Usage {
        let (head_bytes, late_bytes) = self.row_bytes();
        let mut usage = Usage {
            head_bytes,
            late_bytes,
            ..Usage::default()
        };
        for partition in 0..self.rings.count() {
            for head in self.read(partition).tenants.values() {
                usage.series += head.registry().len();
                usage.registry_bytes += head.registry().bytes();
            }
        }
        usage
    }
}

impl TenantHead {
    /// What a seal takes, and the groups of it.
    fn freeze(
        &mut self,
        target: &SealTarget,
        (s, left_out): (u64, &[RecordId]),
    ) -> Option<(SealInput, Vec<Taken>)> {
        if self.sealing.contains_key(&target.window) {
            return None;
        }
        let head = self.windows.remove(&target.window)?;
        let mut groups = Vec::with_capacity(head.groups.len());
        for number in &head.groups {
            let Some(Some(group)) = self.groups.get_mut(*number as usize) else {
                continue;
            };
            let rows = group.take(target.window);
            if let (Some(owner), false) = (group.owner(), rows.is_empty()) {
                groups.push(Taken {
                    owner,
                    series: group.series().clone(),
                    rows,
                });
            }
        }
        let before = self.sealed.get(&target.window).cloned().unwrap_or_default();
        let input = SealInput {
            target: target.clone(),
            sealed: before.then(s, left_out),
            new_ids: self.new_ids(&groups, &head.histograms),
            new_series: SeriesList::default(),
            groups: Vec::new(),
            histograms: head.histograms.clone(),
            tallies: head
                .tallies
                .iter()
                .map(|(device, t)| (*device, t.tally.clone()))
                .collect(),
            in_blocks: head
                .tallies
                .iter()
                .map(|(device, t)| (*device, t.in_blocks()))
                .collect(),
        };
        self.sealing.insert(target.window, head);
        Some((input, groups))
    }

    fn new_ids(&self, groups: &[Taken], histograms: &Histograms) -> Vec<u32> {
        let of_groups = groups.iter().flat_map(|group| group.series.iter().copied());
        let of_histograms = histograms.keys().map(|(series, _)| *series);
        let mut new: Vec<u32> = of_groups
            .chain(of_histograms)
            .filter(|series| !self.registry.is_indexed(*series))
            .collect();
        new.sort_unstable();
        new.dedup();
        new
    }

    fn unsealed(&mut self, window: Window) {
        let Some(before) = self.sealing.remove(&window) else {
            return;
        };
        let (number, now_ms) = (before.first_number, before.last_ms);
        let groups = before.groups.clone();
        let head = self
            .windows
            .entry(window)
            .or_insert_with(|| WindowHead::new(number, now_ms));
        head.take_back(before);
        for number in groups {
            if let Some(Some(group)) = self.groups.get_mut(number as usize)
                && group.unsealed(window)
            {
                head.groups.push(number);
            }
        }
    }

    fn oldest_number(&self) -> Option<u64> {
        let heads = self.windows.values().chain(self.sealing.values());
        heads.map(|head| head.first_number).min()
    }

    fn sealing_bytes(&self) -> usize {
        self.sealing.values().map(|head| head.bytes).sum()
    }
}
