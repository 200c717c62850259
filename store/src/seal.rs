//! Writes what a seal took of a window into a block: series in order of their numbers, each as one chunk of its values.
//!
//! Rows of a group share their times, so a series costs decoding its frozen chunks and encoding the whole. Series with
//! absent values, or in more than one group, are put together sample by sample.

use std::collections::BTreeMap;

use crate::block::{BlockMeta, MAX_VALUES, TimesId, Writer};
use crate::chunk::{self, Encoder};
use crate::heads::{SealGroup, SealInput};
use crate::journal::FileError;
use crate::ledger::DeviceRef;

/// Chunks of a series that are looked up at once.
const AHEAD: usize = 16;

/// Writes a block. In the catalog's entry that comes back, the samples of a device are those that no block of the window
/// had before, so that sums over blocks count none twice.
pub(crate) fn write(input: &SealInput, mut writer: Writer) -> Result<BlockMeta, FileError> {
    let mut seal = Seal {
        groups: &input.groups,
        plans: input.groups.iter().map(|_| None).collect(),
        encoder: Encoder::default(),
        values: Vec::new(),
        ordered: Vec::new(),
        bytes: Vec::new(),
    };
    let cells = cells(&input.groups);
    let mut rest = cells.as_slice();
    while let Some(first) = rest.first() {
        let same = rest.iter().take_while(|cell| cell.series == first.series).count();
        let (places, after) = rest.split_at(same);
        rest = after;
        match places {
            [place] if seal.is_whole(place)? => seal.whole(place, &mut writer)?,
            places => seal.by_sample(places, &mut writer)?,
        }
    }
    for ((series, time), histogram) in &*input.histograms {
        writer.histogram(*series, histogram.owner, *time, &histogram.bytes)?;
    }
    let mut meta = writer.finish()?;
    for (device, taken) in &input.in_blocks {
        if let Ok(at) = meta.owners.binary_search_by_key(device, |(owner, _)| *owner) {
            meta.owners[at].1 = meta.owners[at].1.saturating_sub(*taken);
        }
    }
    Ok(meta)
}

/// A series in a group.
#[derive(Debug, Clone, Copy)]
struct Cell {
    series: u32,
    group: u32,
    position: u32,
}

fn cells(groups: &[SealGroup]) -> Vec<Cell> {
    let count = groups.iter().map(|group| group.series.len()).sum();
    let mut cells = Vec::with_capacity(count);
    for (at, group) in groups.iter().enumerate() {
        cells.extend(group.series.iter().zip(0..).map(|(series, position)| Cell {
            series: *series,
            group: at as u32,
            position,
        }));
    }
    cells.sort_unstable_by_key(|cell| (cell.series, cell.group));
    cells
}

/// How the rows of a group become columns.
struct Plan {
    /// Nothing is absent.
    whole: bool,
    /// Where the rows of the result are among all rows; `None`: they are in order, and none is left out.
    order: Option<Vec<u32>>,
    /// Rows of each part but the last, and the column of each.
    columns: Vec<(usize, TimesId)>,
}

struct Seal<'a> {
    groups: &'a [SealGroup],
    plans: Vec<Option<Plan>>,
    encoder: Encoder,
    values: Vec<f64>,
    ordered: Vec<f64>,
    bytes: Vec<u8>,
}

impl Seal<'_> {
    fn is_whole(&self, cell: &Cell) -> Result<bool, FileError> {
        match &self.plans[cell.group as usize] {
            Some(plan) => Ok(plan.whole),
            None => Ok(self.groups[cell.group as usize]
                .pieces
                .iter()
                .all(|piece| piece.is_whole())),
        }
    }

    /// Writes a series that is in one group and lacks no value.
    fn whole(&mut self, cell: &Cell, writer: &mut Writer) -> Result<(), FileError> {
        let group = &self.groups[cell.group as usize];
        let plan = match &mut self.plans[cell.group as usize] {
            Some(plan) => plan,
            empty => empty.insert(plan(group, writer)?),
        };
        self.values.clear();
        let position = cell.position as usize;
        // Neighbours by number are in different groups: where chunks are is found out for all pieces before the first is
        // decoded, so that the memory is waited for once and not for each.
        let mut chunks: [&[u8]; AHEAD] = [&[]; AHEAD];
        let mut mode = 0;
        for some in group.pieces.chunks(AHEAD) {
            for (chunk, piece) in chunks.iter_mut().zip(some) {
                *chunk = piece.chunk(position);
            }
            let modes = chunks[..some.len()].iter().filter_map(|chunk| chunk.first());
            mode = modes.fold(mode, |_, mode| *mode);
            for (chunk, piece) in chunks.iter().zip(some) {
                piece.decode(chunk, &mut self.values).map_err(unreadable)?;
            }
        }
        let mut values = self.values.as_slice();
        if let Some(order) = &plan.order {
            self.ordered.clear();
            self.ordered
                .extend(order.iter().map(|at| self.values[*at as usize]));
            values = self.ordered.as_slice();
        }
        for (rows, times) in &plan.columns {
            let (part, rest) = values.split_at((*rows).min(values.len()));
            values = rest;
            self.bytes.clear();
            self.encoder.encode(part, &mut mode, &mut self.bytes);
            writer.series(cell.series, *times, &self.bytes, part.len())?;
        }
        Ok(())
    }

    /// Writes a series from its samples.
    fn by_sample(&mut self, places: &[Cell], writer: &mut Writer) -> Result<(), FileError> {
        let mut samples: Vec<(i64, u64, DeviceRef, f64)> = Vec::new();
        for cell in places {
            let group = &self.groups[cell.group as usize];
            for piece in &group.pieces {
                piece.samples(cell.position as usize, &mut self.values, |time, order, value| {
                    samples.push((time, order, group.owner, value));
                });
            }
        }
        samples.sort_unstable_by_key(|(time, order, ..)| (*time, *order));
        let mut by_owner: BTreeMap<DeviceRef, (Vec<i64>, Vec<f64>)> = BTreeMap::new();
        for (at, (time, _, owner, value)) in samples.iter().enumerate() {
            // Of one time the last one wins.
            if samples.get(at + 1).is_none_or(|next| next.0 != *time) {
                let (times, values) = by_owner.entry(*owner).or_default();
                times.push(*time);
                values.push(*value);
            }
        }
        let mut mode = 0;
        for (owner, (times, values)) in by_owner {
            for (times, values) in times.chunks(MAX_VALUES).zip(values.chunks(MAX_VALUES)) {
                let column = writer.times(owner, times)?;
                self.bytes.clear();
                self.encoder.encode(values, &mut mode, &mut self.bytes);
                writer.series(places[0].series, column, &self.bytes, values.len())?;
            }
        }
        Ok(())
    }
}

fn plan(group: &SealGroup, writer: &mut Writer) -> Result<Plan, FileError> {
    let mut stamps: Vec<(i64, u64)> = Vec::new();
    for piece in &group.pieces {
        stamps.extend(piece.stamps().map_err(|_| unreadable(chunk::ChunkError))?);
    }
    let order = match stamps.is_sorted_by(|a, b| a.0 < b.0) {
        true => None,
        false => {
            let mut order: Vec<u32> = (0..stamps.len() as u32).collect();
            order.sort_unstable_by_key(|at| stamps[*at as usize]);
            // Of one time the last one wins.
            let time = |at: &u32| stamps[*at as usize].0;
            let mut last: Vec<u32> = Vec::with_capacity(order.len());
            for at in order {
                match last.last_mut() {
                    Some(before) if time(before) == time(&at) => *before = at,
                    _ => last.push(at),
                }
            }
            Some(last)
        }
    };
    let times: Vec<i64> = match &order {
        None => stamps.iter().map(|(time, _)| *time).collect(),
        Some(order) => order.iter().map(|at| stamps[*at as usize].0).collect(),
    };
    let columns = times
        .chunks(MAX_VALUES)
        .map(|times| Ok((times.len(), writer.times(group.owner, times)?)))
        .collect::<Result<_, FileError>>()?;
    Ok(Plan {
        whole: true,
        order,
        columns,
    })
}

fn unreadable(error: chunk::ChunkError) -> FileError {
    FileError::Damaged(format!("rows in memory: {error}"))
}
