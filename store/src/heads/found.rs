//! Series of a partition that may have samples in a range of time, and how those are read: heads group by group, so that
//! times are decoded once for all series that share them, and blocks page by page.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use roaring::RoaringBitmap;
use wire::Labels;

use super::column::Column;
use super::group::Group;
use super::merge::{Merged, Stretch};
use super::meter::Meter;
use super::segment::Rows;
use super::shared::SharedRows;
use super::tenant::{Source, TenantHead};
use crate::block::BlockFile;
use crate::error::SelectError;
use crate::journal::FileError;
use crate::ledger::DeviceRef;

/// Samples that a series gets room for at its first block, as the other blocks mostly have as many.
const MAX_AHEAD: usize = 2048;

/// What is wanted of series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// The first and the last time, both included.
    pub(super) start: i64,
    pub(super) end: i64,
    /// Whose samples: all, or those of one device.
    pub(super) only: Option<DeviceRef>,
    /// Of the floats of a series only the newest is needed.
    pub(super) newest: bool,
}

impl Wanted {
    /// All samples of a range.
    pub(super) fn all((start, end): (i64, i64)) -> Self {
        Wanted {
            start,
            end,
            only: None,
            newest: false,
        }
    }

    pub(super) fn range(self) -> (i64, i64) {
        (self.start, self.end)
    }
}

/// Series that may have samples, and where those are.
#[derive(Default)]
pub(super) struct Found {
    /// Sorted.
    pub(super) ids: Vec<u32>,
    pub(super) labels: Vec<Labels>,
    /// Places in `ids` in order of labels; empty if nobody needs it.
    pub(super) order: Vec<u32>,
    groups: Vec<FoundGroup>,
    /// Series that are in more than one group.
    scattered: Vec<(usize, Vec<Source>)>,
    /// Native histograms in heads as (time, protobuf), by place in `ids`; of one time the later wins.
    histograms: Vec<(usize, i64, Arc<[u8]>)>,
    /// By rising generation.
    blocks: Vec<Arc<BlockFile>>,
}

/// A group with rows in the range, and which of its series are wanted.
struct FoundGroup {
    rows: Vec<Rows>,
    members: Vec<Member>,
    /// Copies of open samples, one series after the other.
    open: Vec<(i64, u64, f64)>,
}

/// A series of a group.
struct Member {
    /// Its place in `ids`.
    at: usize,
    position: usize,
    /// Where its open samples end.
    open: usize,
}

/// Which groups have anything in a range, as they are come upon.
#[derive(Default)]
struct Slots {
    known: HashMap<u32, Option<usize>, RandomState>,
    numbers: Vec<u32>,
    groups: Vec<FoundGroup>,
}

impl Slots {
    /// The place of a group in `groups`; `None` if it has nothing.
    fn of(&mut self, head: &TenantHead, number: u32, wanted: Wanted) -> Option<usize> {
        if let Some(slot) = self.known.get(&number) {
            return *slot;
        }
        let group = head.group(number);
        let group = group.filter(|group| wanted.only.is_none() || group.owner() == wanted.only);
        let slot = group
            .filter(|group| group.meets(wanted.start, wanted.end))
            .map(|group| {
                // Looked at before they are shared, so that the waits for them go together.
                let closed: Vec<&Rows> = group.closed(wanted.start, wanted.end).collect();
                self.groups.push(FoundGroup {
                    rows: closed.into_iter().cloned().collect(),
                    members: Vec::new(),
                    open: Vec::new(),
                });
                self.numbers.push(number);
                self.groups.len() - 1
            });
        self.known.insert(number, slot);
        slot
    }
}

impl TenantHead {
    /// Where samples of some series may be. The lock is needed for nothing else.
    pub(super) fn found(&self, ids: RoaringBitmap, wanted: Wanted) -> Found {
        let (start, end) = wanted.range();
        let mut found = Found {
            blocks: self.blocks_in(start, end).cloned().collect(),
            ..Found::default()
        };
        let mut slots = Slots::default();
        let any_histogram = self.has_histograms((start, end));
        for series in ids {
            let has_rows = self.find_rows(series, wanted, &mut slots, &mut found);
            let has_histograms = any_histogram && self.find_histograms(series, wanted, &mut found);
            if has_rows || has_histograms || !found.blocks.is_empty() {
                found.ids.push(series);
            }
        }
        for (group, number) in slots.groups.iter_mut().zip(&slots.numbers) {
            if let Some(head) = self.group(*number) {
                group.copy_open(head, wanted);
            }
        }
        found.groups = slots.groups;
        found.labels = found.ids.iter().map(|id| self.registry().labels(*id)).collect();
        found
    }

    /// Notes where the next series has floats; whether there may be any.
    fn find_rows(&self, series: u32, wanted: Wanted, slots: &mut Slots, found: &mut Found) -> bool {
        let at = found.ids.len();
        let mut places = self.places_of(series);
        let Some(place) = places.next() else { return false };
        if places.next().is_some() {
            let sources = self.sources(series, wanted.range(), wanted.only);
            let any = !sources.is_empty();
            found.scattered.extend(any.then_some((at, sources)));
            return any;
        }
        let Some(slot) = slots.of(self, place.group, wanted) else {
            return false;
        };
        slots.groups[slot].members.push(Member {
            at,
            position: place.position as usize,
            open: 0,
        });
        true
    }

    /// Notes the histograms of the next series; whether there are any.
    fn find_histograms(&self, series: u32, wanted: Wanted, found: &mut Found) -> bool {
        let (at, before) = (found.ids.len(), found.histograms.len());
        let cells = self
            .histograms(series, wanted.range())
            .filter(|(_, histogram)| wanted.only.is_none_or(|owner| owner == histogram.owner))
            .map(|(time, histogram)| (at, time, histogram.bytes.clone()));
        found.histograms.extend(cells);
        found.histograms.len() > before
    }
}

impl FoundGroup {
    /// Copies what is open, while the lock is held.
    fn copy_open(&mut self, group: &Group, wanted: Wanted) {
        for member in &mut self.members {
            match wanted.newest {
                true => {
                    let newest = group.newest_open(member.position, wanted.start, wanted.end);
                    self.open.extend(newest);
                }
                false => group.copy_open(member.position, (wanted.start, wanted.end), &mut self.open),
            }
            member.open = self.open.len();
        }
    }

    /// Samples that each of its series has at most, the open ones apart.
    fn most_rows(&self, wanted: Wanted) -> usize {
        match wanted.newest {
            true => 1,
            false => self.rows.iter().map(Rows::len).sum(),
        }
    }

    /// Reads its series into their columns, as far as the meter goes.
    fn read(&self, wanted: Wanted, meter: &mut Meter<'_>, columns: &mut [Column]) {
        if !meter.reserve(0, self.members.len() * self.most_rows(wanted) + self.open.len()) {
            return;
        }
        let closed_until = self
            .rows
            .iter()
            .filter_map(Rows::span)
            .map(|(_, last)| last)
            .max();
        let mut shared = None;
        let mut from = 0;
        for member in &self.members {
            let open = &self.open[from..member.open];
            from = member.open;
            let floats = &mut columns[member.at].floats;
            let before = floats.len();
            match open {
                // What is closed is not decoded for what is open.
                [(time, _, value)] if wanted.newest && Some(*time) > closed_until => {
                    floats.push(*time, *value);
                }
                _ => {
                    let new = || SharedRows::new(&self.rows, wanted.start, wanted.end);
                    self.read_member(
                        member.position,
                        open,
                        wanted,
                        shared.get_or_insert_with(new),
                        floats,
                    );
                }
            }
            meter.count(floats.len() - before);
        }
    }

    fn read_member(
        &self,
        position: usize,
        open: &[(i64, u64, f64)],
        wanted: Wanted,
        shared: &mut Option<SharedRows<'_>>,
        floats: &mut Merged,
    ) {
        let is_read = shared.as_mut().is_some_and(|rows| match wanted.newest {
            true => rows.read_newest(position, open, floats),
            false => rows.read(position, open, floats),
        });
        if !is_read {
            let closed = self.rows.iter().cloned();
            let mut sources: Vec<Source> = closed.map(|rows| Source::Rows(rows, position)).collect();
            sources.push(Source::Open(open.to_vec()));
            floats.add_heads(&sources, wanted.start, wanted.end);
        }
    }
}

/// Blocks in order of time, so that a series need not be sorted, if no two of them overlap: then their order decides
/// nothing else.
fn in_order(blocks: &[Arc<BlockFile>]) -> Vec<&BlockFile> {
    let by_generation = || blocks.iter().map(Arc::as_ref);
    let mut by_time: Vec<&BlockFile> = by_generation().collect();
    by_time.sort_by_key(|file| file.meta().min_time);
    let apart = |pair: &[&BlockFile]| pair[0].meta().max_time < pair[1].meta().min_time;
    match by_time.windows(2).all(apart) {
        true => by_time,
        false => by_generation().collect(),
    }
}

impl Found {
    /// Reads every series; fails where the limits end the read. `fails` is told of a block that cannot be read.
    pub(super) fn read(
        &self,
        wanted: Wanted,
        mut meter: Meter<'_>,
        fails: impl Fn(&BlockFile, FileError) -> Result<(), SelectError>,
    ) -> Result<Vec<Column>, SelectError> {
        meter.reserve(self.ids.len(), 0);
        let mut columns: Vec<Column> = self.ids.iter().map(|_| Column::default()).collect();
        if wanted.newest && !self.blocks.is_empty() {
            self.read_newest(wanted, &mut meter, &mut columns, fails)?;
        } else {
            for file in in_order(&self.blocks) {
                if let Err(error) = self.read_block(file, &self.ids, wanted, &mut meter, &mut columns) {
                    fails(file, error)?;
                }
            }
            self.read_heads(wanted, &mut meter, &mut columns);
        }
        meter.outcome()?;
        columns.iter_mut().for_each(Column::finish);
        Ok(columns)
    }

    fn read_heads(&self, wanted: Wanted, meter: &mut Meter<'_>, columns: &mut [Column]) {
        for group in &self.groups {
            group.read(wanted, meter, columns);
        }
        for (at, sources) in &self.scattered {
            if !meter.reserve(0, sources.iter().map(Source::len).sum()) {
                return;
            }
            let floats = &mut columns[*at].floats;
            let before = floats.len();
            floats.add_heads(sources, wanted.start, wanted.end);
            meter.count(floats.len() - before);
        }
        for (at, time, bytes) in &self.histograms {
            columns[*at].histograms.push((*time, bytes.to_vec()));
        }
        meter.count(self.histograms.len());
    }

    /// The newest float of each series: blocks are read only for those that may have a newer one than the heads.
    fn read_newest(
        &self,
        wanted: Wanted,
        meter: &mut Meter<'_>,
        columns: &mut [Column],
        fails: impl Fn(&BlockFile, FileError) -> Result<(), SelectError>,
    ) -> Result<(), SelectError> {
        let mut of_heads: Vec<Column> = self.ids.iter().map(|_| Column::default()).collect();
        self.read_heads(wanted, meter, &mut of_heads);
        for file in &self.blocks {
            let may_be_newer = |column: &Column| {
                let newest = column.floats.times_ms().max();
                newest.is_none_or(|newest| newest < file.meta().max_time)
            };
            let ids = self.ids.iter().zip(&of_heads);
            let ids: Vec<u32> = ids
                .filter(|(_, column)| may_be_newer(column))
                .map(|(id, _)| *id)
                .collect();
            if let Err(error) = self.read_block(file, &ids, wanted, meter, columns) {
                fails(file, error)?;
            }
        }
        for (column, mut of_heads) in columns.iter_mut().zip(of_heads) {
            of_heads.finish();
            column.append(of_heads);
        }
        Ok(())
    }

    fn read_block(
        &self,
        file: &BlockFile,
        ids: &[u32],
        wanted: Wanted,
        meter: &mut Meter<'_>,
        columns: &mut [Column],
    ) -> Result<(), FileError> {
        if ids.is_empty() {
            return Ok(());
        }
        let block = file.open()?;
        let range = wanted.range();
        let place = |id: u32, owner: DeviceRef| {
            let is_wanted = wanted.only.is_none_or(|only| only == owner);
            self.ids.binary_search(&id).ok().filter(|_| is_wanted)
        };
        block.read_while(ids, range, |chunk| {
            let times = &chunk.column.times;
            let mut rows = Stretch {
                of_chunk: 0..times.len(),
                wanted: chunk.wanted.clone(),
            };
            if wanted.newest {
                // Of a chunk the last is the newest.
                rows.wanted.start = rows.wanted.end - 1;
            }
            if !meter.reserve(0, rows.wanted.len()) {
                return Ok(false);
            }
            if let Some(at) = place(chunk.id, chunk.column.owner) {
                meter.count(rows.wanted.len());
                let floats = &mut columns[at].floats;
                if floats.len() == 0 {
                    floats.reserve((rows.wanted.len() * self.blocks.len()).min(MAX_AHEAD));
                }
                floats.decode(times, rows, |values| chunk.decode(values))?;
            }
            Ok(true)
        })?;
        block.histograms(&self.ids, range, |id, owner, time, bytes| {
            // A histogram's bytes count as so many samples.
            if meter.reserve(0, 1 + bytes.len() / 16)
                && let Some(at) = place(id, owner)
            {
                meter.count(1);
                columns[at].histograms.push((time, bytes.to_vec()));
            }
        })
    }
}
