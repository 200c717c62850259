//! One of the two files of an index.
//!
//! Tables; all values but those of `series` and `pairs` are short, and every value begins with its CRC32C:
//!
//! - `meta`: "index" -> [`Head`]
//! - `pairs`, `series`: (u16 tenant, u32 page) -> page
//! - `dropped`: u16 tenant -> roaring bitmap of series in the pages that were dropped
//! - `blocks`: u64 gen -> [`BlockRow`]
//! - `sealed`: (u16 tenant, i64 first ms of a window) -> u64
//! - `totals`: u32 device's number -> five varints, then two for each journal file

use std::path::Path;

use prost::Message;
use redb::{
    Builder, Database, Key, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};
use roaring::RoaringBitmap;
use wire::Tenant;

use super::Contents;
use super::list::SeriesList;
use super::pages::{Tail, decompress, read_pairs, read_series};
use super::rows::{BlockRow, Head, read_tally};
use super::state::{Small, State, TenantPages, Writes};
use crate::block::{summed, unsummed};
use crate::disk::{Access, Boxed, Disk};
use crate::journal::{FileError, begin, guard};
use crate::sealed::Sealed;
use crate::window::Window;

/// Newest format version of index files.
const VERSION: u64 = 2;

/// Of a file in which no sealed window lacks a record.
const VERSION_COMPLETE: u64 = 1;

/// The version of a file that holds some small tables.
pub(super) fn version_of(small: &Small) -> u64 {
    match small.sealed.values().any(Sealed::lacks_any) {
        true => VERSION,
        false => VERSION_COMPLETE,
    }
}

type Bytes = &'static [u8];

const META: TableDefinition<'_, &str, Bytes> = TableDefinition::new("meta");
const PAIRS: TableDefinition<'_, (u16, u32), Bytes> = TableDefinition::new("pairs");
const SERIES: TableDefinition<'_, (u16, u32), Bytes> = TableDefinition::new("series");
const DROPPED: TableDefinition<'_, u16, Bytes> = TableDefinition::new("dropped");
const BLOCKS: TableDefinition<'_, u64, Bytes> = TableDefinition::new("blocks");
const SEALED: TableDefinition<'_, (u16, i64), Bytes> = TableDefinition::new("sealed");
const TOTALS: TableDefinition<'_, u32, Bytes> = TableDefinition::new("totals");

const INDEX: &str = "index";

/// Dropped series that are not worth a clean-up.
const FEW: u64 = 1000;

/// An open file.
#[derive(Debug)]
pub(super) struct IndexFile {
    db: Database,
}

/// What was read of a file.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    head: Head,
    small: Small,
    /// By tenant, as in `small`.
    pages: Vec<(Tail, Tail)>,
    series: Vec<SeriesList>,
}

fn damaged(what: &str) -> FileError {
    FileError::Damaged(what.into())
}

impl IndexFile {
    /// Opens a file that is there.
    pub(super) fn open(disk: &dyn Disk, path: &Path, cache: usize) -> Result<Self, FileError> {
        let backend = Boxed(disk.backend(path, Access::Write)?);
        guard(|| {
            let db = Builder::new()
                .set_cache_size(cache)
                .create_with_backend(backend)
                .map_err(FileError::of)?;
            Ok(IndexFile { db })
        })
    }

    /// Makes a file with all rows of another.
    pub(super) fn create(
        disk: &dyn Disk,
        path: &Path,
        cache: usize,
        from: Option<&IndexFile>,
    ) -> Result<Self, FileError> {
        let file = IndexFile::open(disk, path, cache)?;
        guard(|| {
            let read = from
                .map(|from| from.db.begin_read().map_err(FileError::of))
                .transpose()?;
            let txn = begin(&file.db)?;
            copy(read.as_ref(), &txn, META)?;
            copy(read.as_ref(), &txn, PAIRS)?;
            copy(read.as_ref(), &txn, SERIES)?;
            copy(read.as_ref(), &txn, DROPPED)?;
            copy(read.as_ref(), &txn, BLOCKS)?;
            copy(read.as_ref(), &txn, SEALED)?;
            copy(read.as_ref(), &txn, TOTALS)?;
            if from.is_none() {
                let head = Head {
                    version: VERSION_COMPLETE,
                    ..Head::default()
                };
                let mut meta = txn.open_table(META).map_err(FileError::of)?;
                meta.insert(INDEX, summed(&head.encode_to_vec()).as_slice())
                    .map_err(FileError::of)?;
            }
            txn.commit().map_err(FileError::of)
        })?;
        Ok(file)
    }

    /// One transaction, on disk when this returns `Ok`. After an error the file must not be written again.
    pub(super) fn commit(&self, writes: &Writes) -> Result<(), FileError> {
        guard(|| {
            let txn = begin(&self.db)?;
            if writes.whole {
                clear(&txn, writes)?;
            }
            change(
                &txn,
                PAIRS,
                writes.pairs.iter().map(|(k, v)| (*k, Some(v.as_slice()))),
            )?;
            change(
                &txn,
                SERIES,
                writes.series.iter().map(|(k, v)| (*k, Some(v.as_slice()))),
            )?;
            change(
                &txn,
                DROPPED,
                writes.dropped.iter().map(|(k, v)| (*k, Some(v.as_slice()))),
            )?;
            change(
                &txn,
                BLOCKS,
                writes.blocks.iter().map(|(k, v)| (*k, v.as_deref())),
            )?;
            change(
                &txn,
                SEALED,
                writes.sealed.iter().map(|(k, v)| (*k, v.as_deref())),
            )?;
            change(
                &txn,
                TOTALS,
                writes.totals.iter().map(|(k, v)| (*k, v.as_deref())),
            )?;
            change(&txn, META, std::iter::once((INDEX, Some(writes.head.as_slice()))))?;
            txn.commit().map_err(FileError::of)
        })
    }

    /// Reads all of it; the series themselves only if they are wanted.
    pub(super) fn load(&self, series: bool) -> Result<Loaded, FileError> {
        guard(|| {
            let read = self.db.begin_read().map_err(FileError::of)?;
            let head = head(&read)?;
            let mut loaded = Loaded {
                small: small(&read, &head)?,
                ..Loaded::default()
            };
            for (number, row) in (0..).zip(&head.tenants) {
                let mut list = SeriesList::default();
                let dropped = &loaded.small.tenants[usize::from(number)].1;
                let pairs = tail(&read, PAIRS, (number, row.pair_pages), |bytes| {
                    if series {
                        read_pairs(bytes, &mut list)?;
                    }
                    Ok(None)
                })?;
                let series = tail(&read, SERIES, (number, row.series_pages), |bytes| match series {
                    true => read_series(bytes, &mut list, |id| !dropped.contains(id)).map(Some),
                    false => Ok(None),
                })?;
                list.sort();
                loaded.pages.push((pairs, series));
                loaded.series.push(list);
            }
            loaded.head = head;
            Ok(loaded)
        })
    }
}

fn copy<K: Key + 'static>(
    from: Option<&ReadTransaction>,
    to: &WriteTransaction,
    table: TableDefinition<'static, K, Bytes>,
) -> Result<(), FileError> {
    let mut to = to.open_table(table).map_err(FileError::of)?;
    let Some(from) = from else { return Ok(()) };
    let from = from.open_table(table).map_err(FileError::of)?;
    for row in from.iter().map_err(FileError::of)? {
        let (key, value) = row.map_err(FileError::of)?;
        to.insert(key.value(), value.value()).map_err(FileError::of)?;
    }
    Ok(())
}

/// Puts rows in, or takes them out.
fn change<'a, K: Key + 'static>(
    txn: &WriteTransaction,
    table: TableDefinition<'static, K, Bytes>,
    rows: impl Iterator<Item = (K::SelfType<'a>, Option<&'a [u8]>)>,
) -> Result<(), FileError> {
    let mut table = txn.open_table(table).map_err(FileError::of)?;
    for (key, value) in rows {
        match value {
            Some(value) => drop(table.insert(key, value).map_err(FileError::of)?),
            None => drop(table.remove(key).map_err(FileError::of)?),
        }
    }
    Ok(())
}

/// Empties the small tables, and takes out pages that the state does not know.
fn clear(txn: &WriteTransaction, writes: &Writes) -> Result<(), FileError> {
    fn empty<K: Key + 'static>(
        txn: &WriteTransaction,
        table: TableDefinition<'static, K, Bytes>,
    ) -> Result<(), FileError> {
        let mut table = txn.open_table(table).map_err(FileError::of)?;
        table.retain(|_, _| false).map_err(FileError::of)
    }
    empty(txn, DROPPED)?;
    empty(txn, BLOCKS)?;
    empty(txn, SEALED)?;
    empty(txn, TOTALS)?;
    let pages = |tenant: u16| {
        writes
            .page_counts
            .get(usize::from(tenant))
            .copied()
            .unwrap_or((0, 0))
    };
    let mut pairs = txn.open_table(PAIRS).map_err(FileError::of)?;
    pairs
        .retain(|(tenant, page), _| page < pages(tenant).0)
        .map_err(FileError::of)?;
    let mut series = txn.open_table(SERIES).map_err(FileError::of)?;
    series
        .retain(|(tenant, page), _| page < pages(tenant).1)
        .map_err(FileError::of)
}

fn head(read: &ReadTransaction) -> Result<Head, FileError> {
    let meta = read.open_table(META).map_err(FileError::of)?;
    let row = meta.get(INDEX).map_err(FileError::of)?;
    let row = row.ok_or_else(|| damaged("no row in its meta table"))?;
    let head = Head::decode(unsummed(row.value())?).map_err(|error| FileError::Damaged(error.to_string()))?;
    match head.version {
        VERSION_COMPLETE..=VERSION => Ok(head),
        newer => Err(FileError::Newer {
            found: newer,
            known: VERSION,
        }),
    }
}

fn small(read: &ReadTransaction, head: &Head) -> Result<Small, FileError> {
    let mut small = Small {
        commits: head.commits,
        next_gen: head.next_gen,
        ..Small::default()
    };
    for row in &head.tenants {
        let name = Tenant::new(row.name.as_str()).map_err(|error| FileError::Damaged(error.to_string()))?;
        small.tenants.push((name, RoaringBitmap::new()));
    }
    each(read, DROPPED, |tenant, row| {
        let dropped = RoaringBitmap::deserialize_from(row)?;
        let held = small.tenants.get_mut(usize::from(tenant));
        held.ok_or_else(|| damaged("dropped series of no tenant"))?.1 = dropped;
        Ok(())
    })?;
    each(read, BLOCKS, |generation, row| {
        small.blocks.insert(generation, row.into());
        Ok(())
    })?;
    each(read, SEALED, |key, row| {
        let sealed = Sealed::decode(row).ok_or_else(|| damaged("a row of sealed is malformed"))?;
        small.sealed.insert(key, sealed);
        Ok(())
    })?;
    each(read, TOTALS, |device, row| {
        small.totals.insert(device, read_tally(row)?);
        Ok(())
    })?;
    let dropped = small.tenants.iter().map(|(_, dropped)| dropped.len());
    let counted = (head.blocks, head.sealed, head.totals) == small.counts()
        && head.tenants.iter().map(|row| row.dropped).eq(dropped);
    match counted {
        true => Ok(small),
        false => Err(damaged("rows are missing")),
    }
}

fn each<K: Key + 'static>(
    read: &ReadTransaction,
    table: TableDefinition<'static, K, Bytes>,
    mut see: impl FnMut(K::SelfType<'_>, &[u8]) -> Result<(), FileError>,
) -> Result<(), FileError> {
    let table = read.open_table(table).map_err(FileError::of)?;
    for row in table.iter().map_err(FileError::of)? {
        let (key, value) = row.map_err(FileError::of)?;
        see(key.value(), unsummed(value.value())?)?;
    }
    Ok(())
}

/// Reads all pages of a kind and tenant, and returns where to go on; `see` returns a page's last series.
fn tail(
    read: &ReadTransaction,
    table: TableDefinition<'static, (u16, u32), Bytes>,
    (tenant, pages): (u16, u32),
    mut see: impl FnMut(&[u8]) -> Result<Option<(u32, Vec<u32>)>, FileError>,
) -> Result<Tail, FileError> {
    let table = read.open_table(table).map_err(FileError::of)?;
    let (mut expected, mut tail) = (0, Tail::default());
    for row in table
        .range((tenant, 0)..=(tenant, u32::MAX))
        .map_err(FileError::of)?
    {
        let (key, value) = row.map_err(FileError::of)?;
        if key.value().1 != expected {
            break;
        }
        let bytes = decompress(unsummed(value.value())?)?;
        let last = see(&bytes)?;
        tail = Tail::go_on(expected, bytes, last);
        expected += 1;
    }
    match expected == pages {
        true => Ok(tail),
        false => Err(damaged("pages are missing")),
    }
}

impl Loaded {
    /// How many transactions made it.
    pub(super) fn commits(&self) -> u64 {
        self.head.commits
    }

    /// Whether it says the same.
    pub(super) fn is_like(&self, other: &Loaded) -> bool {
        let same_series = |(a, b): (&SeriesList, &SeriesList)| {
            let mut both = a.numbered().zip(b.numbered());
            a.len() == b.len()
                && both.all(|((id, in_a), (other, in_b))| {
                    let pairs = in_a.iter().map(|pair| a.pair(*pair));
                    id == other && pairs.eq(in_b.iter().map(|pair| b.pair(*pair)))
                })
        };
        self.head == other.head
            && self.small == other.small
            && self.series.len() == other.series.len()
            && self.series.iter().zip(&other.series).all(same_series)
    }

    /// Whether more of the series in the pages were dropped than are there.
    pub(super) fn is_wasteful(&self) -> bool {
        let dropped: u64 = self.small.tenants.iter().map(|(_, dropped)| dropped.len()).sum();
        let live: usize = self.series.iter().map(SeriesList::len).sum();
        dropped > FEW.max(live as u64)
    }

    /// Splits it into what others get to know and what is kept.
    pub(super) fn split(self) -> Result<(Contents, State), FileError> {
        let mut contents = Contents {
            next_gen: self.small.next_gen,
            totals: self
                .small
                .totals
                .iter()
                .map(|(device, tally)| (*device, tally.clone()))
                .collect(),
            ..Contents::default()
        };
        for (generation, row) in &self.small.blocks {
            let row = BlockRow::decode(&**row).map_err(|error| FileError::Damaged(error.to_string()))?;
            contents.blocks.push(row.meta(*generation)?);
        }
        for ((tenant, start), sealed) in &self.small.sealed {
            let tenant = self.small.tenants.get(usize::from(*tenant));
            let (tenant, _) = tenant.ok_or_else(|| damaged("a sealed window of no tenant"))?;
            contents
                .sealed
                .push((tenant.clone(), Window::of(*start), sealed.clone()));
        }
        for (tenant, dropped) in &self.small.tenants {
            let above = dropped.max().map_or(0, |last| last.saturating_add(1));
            contents.above_dropped.push((tenant.clone(), above));
        }
        let mut state = State::new(self.small);
        for ((pairs, series), list) in self.pages.into_iter().zip(&self.series) {
            state
                .pages
                .push(TenantPages::go_on(pairs, series, list, &state.keys));
        }
        let tenants = state.small.tenants.iter().map(|(tenant, _)| tenant.clone());
        contents.series = tenants.zip(self.series).collect();
        Ok((contents, state))
    }
}
