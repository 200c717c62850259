//! Reads a block file, only the pages that are asked for, out of redb's cache.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::path::Path;

use prost::Message;
use redb::{
    AccessGuard, Builder, ReadOnlyDatabase, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
};
use roaring::RoaringBitmap;
use wire::varint::Reader;

use super::checked::Checked;
use super::columns::{Column, Columns};
use super::page::Page;
use super::{
    BLOCK, BlockMeta, CHUNKS, HISTOGRAMS, Head, META, OWNERS, SERIES, VERSION, WITH_CHUNKS, WITH_HISTOGRAMS,
    damaged, owner_of_histogram, unsummed,
};
use crate::chunk;
use crate::disk::{Access, Boxed, Disk};
use crate::journal::{FileError, guard};
use crate::ledger::DeviceRef;

/// redb's cache of an open block, bytes: the pages of a metric of some 40 devices, and those of their times.
const CACHE: usize = 3 << 19;

/// An open block file.
pub(crate) struct Block {
    db: ReadOnlyDatabase,
    head: Head,
    with_chunks: RoaringBitmap,
    with_histograms: RoaringBitmap,
    checked_chunks: Checked,
    checked_times: Checked,
}

/// Values of a series in a block.
pub(crate) struct Stored<'b> {
    pub(crate) id: u32,
    /// Whose they are, and their times.
    pub(crate) column: &'b Column,
    /// Which of them are in the range that is read: one at least.
    pub(crate) wanted: Range<usize>,
    chunk: &'b [u8],
}

impl Stored<'_> {
    /// Appends all of the values.
    pub(crate) fn decode(&self, values: &mut Vec<f64>) -> Result<(), FileError> {
        chunk::decode(self.chunk, self.column.times.len(), values).map_err(|error| damaged(error.to_string()))
    }
}

type ChunkTable = ReadOnlyTable<u64, &'static [u8]>;
type ChunkRow = (AccessGuard<'static, u64>, AccessGuard<'static, &'static [u8]>);

/// A device's row: samples of it, and its columns in order.
pub(super) struct Held {
    pub(super) samples: u64,
    pub(super) columns: Vec<u32>,
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

impl Block {
    /// Opens a finished block.
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> Result<Self, FileError> {
        let backend = Boxed(disk.backend(path, Access::Read)?);
        guard(|| {
            let db = Builder::new()
                .set_cache_size(CACHE)
                .open_read_only_with_backend(backend)
                .map_err(FileError::of)?;
            let read = db.begin_read().map_err(FileError::of)?;
            let head = read_head(&read)?;
            let with_chunks = read_ids(&read, WITH_CHUNKS)?;
            let with_histograms = read_ids(&read, WITH_HISTOGRAMS)?;
            Ok(Block {
                db,
                head,
                with_chunks,
                with_histograms,
                checked_chunks: Checked::default(),
                checked_times: Checked::default(),
            })
        })
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// Whether it is the block that the catalog means.
    pub(super) fn is(&self, meta: &BlockMeta) -> bool {
        let head = &self.head;
        head.tenant == meta.tenant.as_str()
            && (head.start_ms, head.end_ms, head.generation) == (meta.start_ms, meta.end_ms, meta.generation)
            && (head.series, head.samples) == (meta.series, meta.samples)
    }

    /// The series in it, those that have histograms only too.
    pub(crate) fn ids(&self) -> RoaringBitmap {
        &self.with_chunks | &self.with_histograms
    }

    /// Whether it has anything of a series.
    pub(crate) fn has(&self, series: u32) -> bool {
        self.with_chunks.contains(series) || self.with_histograms.contains(series)
    }

    pub(super) fn has_ids(&self, with_chunks: &RoaringBitmap, with_histograms: &RoaringBitmap) -> bool {
        self.with_chunks == *with_chunks && self.with_histograms == *with_histograms
    }

    pub(super) fn begin(&self) -> Result<ReadTransaction, FileError> {
        self.db.begin_read().map_err(FileError::of)
    }

    /// Hands over the samples of series (in order of ids) from the first to the last time of a range: `see` gets id,
    /// owner, times and values, for an id once or more; of one time the later call's value holds.
    pub(crate) fn read(
        &self,
        ids: &[u32],
        range: (i64, i64),
        mut see: impl FnMut(u32, DeviceRef, &[i64], &[f64]),
    ) -> Result<(), FileError> {
        let (mut times, mut values) = (Vec::new(), Vec::new());
        self.read_while(ids, range, |chunk| {
            times.clear();
            values.clear();
            chunk.decode(&mut values)?;
            let Stored {
                id, column, wanted, ..
            } = chunk;
            column.times.append_to(wanted.clone(), &mut times);
            see(id, column.owner, &times, &values[wanted]);
            Ok(true)
        })
    }

    /// The same, not decoded yet, as long as `see` says to go on.
    pub(crate) fn read_while(
        &self,
        ids: &[u32],
        range: (i64, i64),
        mut see: impl FnMut(Stored<'_>) -> Result<bool, FileError>,
    ) -> Result<(), FileError> {
        guard(|| {
            let read = self.begin()?;
            self.checked_chunks.begin();
            let chunks = read.open_table(CHUNKS).map_err(FileError::of)?;
            let mut columns = Columns::open(&read, Some(&self.checked_times))?;
            self.each_chunk(&chunks, ids, |id, column, chunk| {
                let column = columns.get(column)?;
                let wanted = column.within(range);
                if wanted.is_empty() {
                    return Ok(true);
                }
                see(Stored {
                    id,
                    column,
                    wanted,
                    chunk,
                })
            })
        })
    }

    /// Hands over id, column and chunk of each of the series, as long as it is to go on.
    fn each_chunk(
        &self,
        table: &ChunkTable,
        ids: &[u32],
        mut see: impl FnMut(u32, u32, &[u8]) -> Result<bool, FileError>,
    ) -> Result<(), FileError> {
        let mut wanted = ids
            .iter()
            .copied()
            .filter(|id| self.with_chunks.contains(*id))
            .peekable();
        while let Some(id) = wanted.peek().copied() {
            let begins_in = table
                .range(..=u64::from(id) << 32)
                .map_err(FileError::of)?
                .next_back();
            let mut row = begins_in.transpose().map_err(FileError::of)?;
            // The last one of those that were found.
            let mut found = None;
            while let Some((key, bytes)) = row {
                let mut page = self.checked_chunks.open(key.value(), bytes.value())?;
                check_key(key.value(), &page)?;
                let mut at = page.first();
                while let Some((step, column, chunk)) = page.next()? {
                    at = at.checked_add(step).ok_or_else(out_of_order)?;
                    while let Some(before) = wanted.next_if(|next| *next < at) {
                        expect_found(found, before)?;
                    }
                    if wanted.peek() == Some(&at) {
                        if !see(at, column, chunk)? {
                            return Ok(());
                        }
                        found = Some(at);
                    }
                }
                row = match page.goes_on() && wanted.peek() == Some(&at) {
                    true => Some(next_page(table, key.value(), at)?),
                    false => None,
                };
            }
            expect_found(found, found.unwrap_or(id))?;
            wanted.next_if(|next| Some(*next) == found);
        }
        Ok(())
    }

    /// Hands over the native histograms of series (in order of ids) from the first to the last time of a range: `see`
    /// gets id, owner, time, protobuf.
    pub(crate) fn histograms(
        &self,
        ids: &[u32],
        range: (i64, i64),
        mut see: impl FnMut(u32, DeviceRef, i64, &[u8]),
    ) -> Result<(), FileError> {
        let mut wanted = ids
            .iter()
            .filter(|id| self.with_histograms.contains(**id))
            .peekable();
        if wanted.peek().is_none() {
            return Ok(());
        }
        guard(|| {
            let read = self.begin()?;
            let table = read.open_table(HISTOGRAMS).map_err(FileError::of)?;
            for id in wanted {
                let rows = table
                    .range((*id, range.0)..=(*id, range.1))
                    .map_err(FileError::of)?;
                for row in rows {
                    let (key, row) = row.map_err(FileError::of)?;
                    let (owner, bytes) = owner_of_histogram(row.value())?;
                    see(*id, owner, key.value().1, bytes);
                }
            }
            Ok(())
        })
    }

    /// Every time that a device's series have a sample at, in order; histograms apart.
    pub(crate) fn times_of(&self, owner: DeviceRef) -> Result<Vec<i64>, FileError> {
        guard(|| {
            let read = self.begin()?;
            let owners = read.open_table(OWNERS).map_err(FileError::of)?;
            let Some(row) = owners.get(owner).map_err(FileError::of)? else {
                return Ok(Vec::new());
            };
            let held = held(row.value())?;
            let mut columns = Columns::open(&read, Some(&self.checked_times))?;
            let mut times = Vec::new();
            for column in held.columns {
                let column = &columns.get(column)?.times;
                column.append_to(0..column.len(), &mut times);
            }
            times.sort_unstable();
            times.dedup();
            Ok(times)
        })
    }
}

/// A series of each device.
struct SeriesOfOwners {
    of_column: HashMap<u32, DeviceRef>,
    found: BTreeMap<DeviceRef, u32>,
}

impl Block {
    /// A series of each device that has any here.
    pub(crate) fn series_of_owners(&self) -> Result<BTreeMap<DeviceRef, u32>, FileError> {
        guard(|| {
            let read = self.begin()?;
            let owners = read.open_table(OWNERS).map_err(FileError::of)?;
            let mut series = SeriesOfOwners {
                of_column: HashMap::new(),
                found: BTreeMap::new(),
            };
            let mut count = 0;
            for row in owners.iter().map_err(FileError::of)? {
                let (owner, row) = row.map_err(FileError::of)?;
                let columns = held(row.value())?.columns.into_iter();
                series
                    .of_column
                    .extend(columns.map(|column| (column, owner.value())));
                count += 1;
            }
            series.in_chunks(&read, count)?;
            if series.found.len() < count {
                series.in_histograms(&read)?;
            }
            Ok(series.found)
        })
    }
}

impl SeriesOfOwners {
    /// Looks through pages until all of the devices are found.
    fn in_chunks(&mut self, read: &ReadTransaction, count: usize) -> Result<(), FileError> {
        let table = read.open_table(CHUNKS).map_err(FileError::of)?;
        for row in table.iter().map_err(FileError::of)? {
            let (key, bytes) = row.map_err(FileError::of)?;
            let mut page = Page::open(bytes.value())?;
            check_key(key.value(), &page)?;
            let mut at = page.first();
            while let Some((step, column, _)) = page.next()? {
                at = at.checked_add(step).ok_or_else(out_of_order)?;
                let owner = self.of_column.get(&column);
                let owner = *owner.ok_or_else(|| damaged("a times column is nobody's"))?;
                self.found.entry(owner).or_insert(at);
            }
            if self.found.len() == count {
                break;
            }
        }
        Ok(())
    }

    fn in_histograms(&mut self, read: &ReadTransaction) -> Result<(), FileError> {
        let table = read.open_table(HISTOGRAMS).map_err(FileError::of)?;
        for row in table.iter().map_err(FileError::of)? {
            let (key, row) = row.map_err(FileError::of)?;
            let (owner, _) = owner_of_histogram(row.value())?;
            self.found.entry(owner).or_insert(key.value().0);
        }
        Ok(())
    }
}

fn read_head(read: &ReadTransaction) -> Result<Head, FileError> {
    let meta = read.open_table(META).map_err(FileError::of)?;
    let row = meta.get(BLOCK).map_err(FileError::of)?;
    let row = row.ok_or_else(|| damaged("no row in its meta table"))?;
    let head = Head::decode(unsummed(row.value())?).map_err(|error| damaged(error.to_string()))?;
    match head.version {
        VERSION => Ok(head),
        newer => Err(FileError::Newer {
            found: newer.into(),
            known: VERSION.into(),
        }),
    }
}

fn read_ids(read: &ReadTransaction, key: u8) -> Result<RoaringBitmap, FileError> {
    let series = read.open_table(SERIES).map_err(FileError::of)?;
    let row = series.get(key).map_err(FileError::of)?;
    let row = row.ok_or_else(|| damaged("no bitmap of its series"))?;
    RoaringBitmap::deserialize_from(unsummed(row.value())?)
        .map_err(|error| damaged(format!("bitmap of series: {error}")))
}

/// The page after one that says its last series goes on.
fn next_page(table: &ChunkTable, key: u64, id: u32) -> Result<ChunkRow, FileError> {
    let mut after = table.range(key + 1..).map_err(FileError::of)?;
    match after.next().transpose().map_err(FileError::of)? {
        Some(row) if row.0.value() >> 32 == u64::from(id) => Ok(row),
        _ => Err(damaged(format!("series {id} has no end"))),
    }
}

fn expect_found(found: Option<u32>, id: u32) -> Result<(), FileError> {
    match found == Some(id) {
        true => Ok(()),
        false => Err(damaged(format!("series {id} is not where it should be"))),
    }
}

/// A page's key must be what the page says.
pub(super) fn check_key(key: u64, page: &Page<'_>) -> Result<(), FileError> {
    match key >> 32 == u64::from(page.first()) {
        true => Ok(()),
        false => Err(damaged("a page stands under another's key")),
    }
}

pub(super) fn out_of_order() -> FileError {
    damaged("series out of order")
}

/// Reads a row of `owners`.
pub(super) fn held(row: &[u8]) -> Result<Held, FileError> {
    let malformed = |_| damaged("a device's row is malformed");
    let mut reader = Reader::new(unsummed(row)?);
    let samples = reader.varint().map_err(malformed)?;
    let (mut columns, mut last) = (Vec::new(), 0u64);
    while !reader.is_empty() {
        last = last.wrapping_add(reader.varint().map_err(malformed)?);
        columns.push(u32::try_from(last).map_err(|_| damaged("a device's row is malformed"))?);
    }
    Ok(Held { samples, columns })
}
