//! Several blocks become one, series by series: a page of each source and one series are in memory at a time.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use redb::ReadableTable;

use super::columns::Columns;
use super::page::Page;
use super::reader::{check_key, out_of_order};
use super::{Block, BlockMeta, CHUNKS, HISTOGRAMS, TimesId, Writer, damaged, owner_of_histogram};
use crate::chunk;
use crate::journal::{FileError, guard};
use crate::ledger::DeviceRef;

/// Values of a chunk at most: a day by minutes, and even raw they fit a page.
pub(crate) const MAX_VALUES: usize = 1440;

/// Places of samples that plans keep at most; beyond it they are made again.
const KEPT_PLACES: usize = 1 << 22;

/// Writes all samples of blocks, given by rising gen: of one series and time that of the highest gen.
pub(crate) fn merge(sources: &[Arc<Block>], mut writer: Writer) -> Result<BlockMeta, FileError> {
    guard(|| {
        let cursors = sources.iter().map(|block| Cursor::open(block));
        let mut cursors: Vec<Cursor> = cursors.collect::<Result<_, _>>()?;
        let mut series = Series::default();
        let mut plans = Plans::default();
        while let Some(id) = cursors.iter().filter_map(Cursor::id).min() {
            series.gather(id, &mut cursors)?;
            let plan = plans.get(&series.parts, &mut cursors, &mut writer)?;
            series.write(id, plan, &mut writer)?;
        }
        for block in sources {
            histograms(block, &mut writer)?;
        }
        Ok(())
    })?;
    writer.finish()
}

fn histograms(block: &Block, writer: &mut Writer) -> Result<(), FileError> {
    let read = block.begin()?;
    let table = read.open_table(HISTOGRAMS).map_err(FileError::of)?;
    for row in table.iter().map_err(FileError::of)? {
        let (key, row) = row.map_err(FileError::of)?;
        let (owner, bytes) = owner_of_histogram(row.value())?;
        writer.histogram(key.value().0, owner, key.value().1, bytes)?;
    }
    Ok(())
}

/// Where a source stands.
struct Cursor {
    pages: redb::Range<'static, u64, &'static [u8]>,
    columns: Columns<'static>,
    page: Vec<u8>,
    /// Id, column, and place in the page of each chunk; the next one is at `at`.
    entries: Vec<(u32, u32, Range<usize>)>,
    at: usize,
}

impl Cursor {
    fn open(block: &Block) -> Result<Self, FileError> {
        let read = block.begin()?;
        let table = read.open_table(CHUNKS).map_err(FileError::of)?;
        let mut cursor = Cursor {
            pages: table.range::<u64>(..).map_err(FileError::of)?,
            columns: Columns::open(&read, None)?,
            page: Vec::new(),
            entries: Vec::new(),
            at: 0,
        };
        cursor.turn()?;
        Ok(cursor)
    }

    /// The id of the next chunk.
    fn id(&self) -> Option<u32> {
        self.entries.get(self.at).map(|(id, _, _)| *id)
    }

    fn turn(&mut self) -> Result<(), FileError> {
        let last = self.entries.last().map(|(id, _, _)| *id);
        self.entries.clear();
        self.at = 0;
        let Some(row) = self.pages.next() else {
            return Ok(());
        };
        let (key, bytes) = row.map_err(FileError::of)?;
        self.page.clear();
        self.page.extend_from_slice(bytes.value());
        let mut page = Page::open(&self.page)?;
        check_key(key.value(), &page)?;
        let mut id = page.first();
        if last > Some(id) {
            return Err(out_of_order());
        }
        let mut from = self.page.len() - page.bodies_len();
        while let Some((step, column, chunk)) = page.next()? {
            id = id.checked_add(step).ok_or_else(out_of_order)?;
            self.entries.push((id, column, from..from + chunk.len()));
            from += chunk.len();
        }
        Ok(())
    }
}

/// All values of a series, source by source.
#[derive(Default)]
struct Series {
    /// Source and column of each chunk.
    parts: Vec<(usize, u32)>,
    values: Vec<f64>,
    sorted: Vec<f64>,
    mode: u8,
    encoder: chunk::Encoder,
    bytes: Vec<u8>,
}

impl Series {
    fn gather(&mut self, id: u32, cursors: &mut [Cursor]) -> Result<(), FileError> {
        self.parts.clear();
        self.values.clear();
        self.mode = 0;
        for (source, cursor) in cursors.iter_mut().enumerate() {
            while let Some((_, column, at)) = cursor.entries.get(cursor.at).filter(|(next, _, _)| *next == id)
            {
                let chunk = cursor.page.get(at.clone()).unwrap_or(&[]);
                let count = cursor.columns.get(*column)?.times.len();
                chunk::decode(chunk, count, &mut self.values)
                    .map_err(|error| damaged(format!("series {id}: {error}")))?;
                if self.parts.is_empty() {
                    self.mode = chunk::mode_of(chunk);
                }
                self.parts.push((source, *column));
                cursor.at += 1;
                if cursor.at == cursor.entries.len() {
                    cursor.turn()?;
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, id: u32, plan: &Plan, writer: &mut Writer) -> Result<(), FileError> {
        let mut values = &self.values;
        if let Some(places) = &plan.places {
            self.sorted.clear();
            self.sorted
                .extend(places.iter().map(|at| self.values[*at as usize]));
            values = &self.sorted;
        }
        let mut rest = values.as_slice();
        for (times, count) in &plan.pieces {
            let (piece, after) = rest.split_at(*count);
            rest = after;
            self.bytes.clear();
            self.encoder.encode(piece, &mut self.mode, &mut self.bytes);
            writer.series(id, *times, &self.bytes, *count)?;
        }
        Ok(())
    }
}

/// How the values of some columns, one after the other, become those of new columns.
struct Plan {
    /// Places of the values that stay, in their new order; `None` if all do, in the order they have.
    places: Option<Vec<u32>>,
    /// The new columns and how many values each takes.
    pieces: Vec<(TimesId, usize)>,
}

/// Most series share their columns with others.
#[derive(Default)]
struct Plans {
    known: HashMap<Vec<(usize, u32)>, Plan>,
    kept: usize,
}

impl Plans {
    fn get(
        &mut self,
        parts: &[(usize, u32)],
        cursors: &mut [Cursor],
        writer: &mut Writer,
    ) -> Result<&Plan, FileError> {
        if !self.known.contains_key(parts) {
            let plan = Plan::make(parts, cursors, writer)?;
            let size = parts.len() + plan.pieces.len() + plan.places.as_ref().map_or(0, Vec::len);
            self.kept += size;
            if self.kept > KEPT_PLACES {
                self.known.clear();
                self.kept = size;
            }
            self.known.insert(parts.to_vec(), plan);
        }
        self.known.get(parts).ok_or_else(|| damaged("no plan"))
    }
}

impl Plan {
    fn make(parts: &[(usize, u32)], cursors: &mut [Cursor], writer: &mut Writer) -> Result<Self, FileError> {
        let mut samples: Vec<(i64, DeviceRef, u32)> = Vec::new();
        for (source, column) in parts {
            let column = cursors[*source].columns.get(*column)?;
            let from = samples.len() as u32;
            samples.extend(
                (from..)
                    .zip(column.times.iter(0..column.times.len()))
                    .map(|(at, time)| (time, column.owner, at)),
            );
        }
        let count = samples.len();
        // Of one time the last stays; then each device has its own columns.
        samples.sort_by_key(|(time, _, at)| (*time, std::cmp::Reverse(*at)));
        samples.dedup_by_key(|(time, _, _)| *time);
        samples.sort_by_key(|(_, owner, _)| *owner);
        let in_order = samples.len() == count && samples.is_sorted_by_key(|(_, _, at)| *at);
        let mut pieces = Vec::new();
        for run in samples.chunk_by(|a, b| a.1 == b.1) {
            let even = run.len().div_ceil(run.len().div_ceil(MAX_VALUES));
            for piece in run.chunks(even) {
                let times: Vec<i64> = piece.iter().map(|(time, _, _)| *time).collect();
                pieces.push((writer.times(piece[0].1, &times)?, piece.len()));
            }
        }
        Ok(Plan {
            places: (!in_order).then(|| samples.iter().map(|(_, _, at)| *at).collect()),
            pieces,
        })
    }
}
