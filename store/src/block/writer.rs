//! Writes a block file.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message;
use redb::{Builder, Database, WriteTransaction};
use roaring::RoaringBitmap;
use wire::Tenant;
use wire::varint::put;

use super::{
    BLOCK, BlockMeta, CHUNKS, HISTOGRAMS, Head, META, OWNERS, SERIES, TIMES, VERSION, WITH_CHUNKS,
    WITH_HISTOGRAMS, damaged, page, summed, times,
};
use crate::disk::{Access, Boxed, Disk};
use crate::journal::{FileError, begin, disk_bytes, guard};
use crate::ledger::DeviceRef;

/// redb writes pages out early, and twice, when a transaction outgrows its cache.
const CACHE: usize = 64 << 20;

/// Histograms that are put into their table together.
const HISTOGRAM_ROWS: usize = 256;

/// A times column of a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimesId(u32);

#[derive(Debug, Default)]
struct Owner {
    samples: u64,
    columns: Vec<u32>,
}

/// A times column that was put.
#[derive(Debug, Clone, Copy)]
struct Column {
    owner: DeviceRef,
    count: u32,
}

/// Writes `<name>.redb.new`, and renames it when it is whole; if that does not come, the file goes.
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    file: String,
    tenant: Tenant,
    range: (i64, i64),
    generation: u64,
    /// The transaction goes before its database.
    open: Option<(WriteTransaction, Database)>,
    chunks: Chunks,
    times: Times,
    histograms: Vec<(u32, i64, DeviceRef, Vec<u8>)>,
    owners: BTreeMap<DeviceRef, Owner>,
    with_chunks: RoaringBitmap,
    with_histograms: RoaringBitmap,
    min_time: i64,
    max_time: i64,
    samples: u64,
}

#[derive(Debug, Default)]
struct Chunks {
    page: page::Builder,
    first: u32,
    last: u32,
    /// How many pages up to this one have gone on with the series of the one before.
    gone_on: u32,
}

#[derive(Debug, Default)]
struct Times {
    page: page::Builder,
    first: u32,
    columns: Vec<Column>,
    known: HashMap<(DeviceRef, u64, u64), u32>,
    /// Keys of the hashes, so that nobody can make two columns that have the same.
    keys: (RandomState, RandomState),
    bytes: Vec<u8>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// The name of a block's file.
fn name_of(tenant: &Tenant, start_ms: i64, generation: u64) -> String {
    format!("{tenant}-{start_ms}-{generation}.redb")
}

impl Writer {
    /// Begins the file of a block that ends before `range.1`, in place of one of the same name that was not finished.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        tenant: &Tenant,
        range: (i64, i64),
        generation: u64,
    ) -> Result<Self, FileError> {
        let mut writer = Writer {
            disk: disk.clone(),
            dir: dir.to_owned(),
            file: name_of(tenant, range.0, generation),
            tenant: tenant.clone(),
            range,
            generation,
            open: None,
            chunks: Chunks::default(),
            times: Times::default(),
            histograms: Vec::new(),
            owners: BTreeMap::new(),
            with_chunks: RoaringBitmap::new(),
            with_histograms: RoaringBitmap::new(),
            min_time: i64::MAX,
            max_time: i64::MIN,
            samples: 0,
        };
        let new = writer.new_path();
        remove(&**disk, &new)?;
        let backend = Boxed(disk.backend(&new, Access::Write)?);
        writer.open = Some(guard(|| {
            let db = Builder::new()
                .set_cache_size(CACHE)
                .create_with_backend(backend)
                .map_err(FileError::of)?;
            Ok((begin(&db)?, db))
        })?);
        Ok(writer)
    }

    fn new_path(&self) -> PathBuf {
        self.dir.join(format!("{}.new", self.file))
    }

    /// A column of strictly rising times, all of one owner; the same owner and times give the same column.
    pub(crate) fn times(&mut self, owner: DeviceRef, times: &[i64]) -> Result<TimesId, FileError> {
        let (Some(first), Some(last)) = (times.first(), times.last()) else {
            return Err(damaged("a times column without times"));
        };
        if !times.is_sorted_by(|a, b| a < b) || *first < self.range.0 || *last >= self.range.1 {
            return Err(damaged("times of a column do not rise, or are outside the block"));
        }
        let column = Column {
            owner,
            count: u32::try_from(times.len()).map_err(|_| damaged("a times column is too long"))?,
        };
        let this = &mut self.times;
        this.bytes.clear();
        times::encode(times, &mut this.bytes);
        let key = (
            owner,
            this.keys.0.hash_one(&this.bytes),
            this.keys.1.hash_one(&this.bytes),
        );
        if let Some(id) = this.known.get(&key) {
            return Ok(TimesId(*id));
        }
        if !this.page.has_room(this.bytes.len()) {
            self.flush_times()?;
        }
        let this = &mut self.times;
        let id = this.columns.len() as u32;
        if this.page.is_empty() {
            this.first = id;
        }
        this.page.push((owner, column.count), &this.bytes);
        this.columns.push(column);
        this.known.insert(key, id);
        self.owners.entry(owner).or_default().columns.push(id);
        self.min_time = self.min_time.min(*first);
        self.max_time = self.max_time.max(*last);
        Ok(TimesId(id))
    }

    /// Adds values of a series: a chunk of as many as its column has times. Ids do not fall; of an id that comes again
    /// the later values win at equal times.
    pub(crate) fn series(
        &mut self,
        id: u32,
        times: TimesId,
        chunk: &[u8],
        count: usize,
    ) -> Result<(), FileError> {
        let column = self.times.columns.get(times.0 as usize).copied();
        let Some(column) = column.filter(|column| column.count as usize == count) else {
            return Err(damaged("a chunk and its times column have different lengths"));
        };
        if id < self.chunks.last {
            return Err(damaged("series out of order"));
        }
        if !self.chunks.page.has_room(chunk.len()) {
            self.flush_chunks(self.chunks.last == id)?;
        }
        let this = &mut self.chunks;
        if this.page.is_empty() {
            (this.first, this.last) = (id, id);
        }
        this.page.push((id - this.last, times.0), chunk);
        this.last = id;
        self.with_chunks.insert(id);
        self.count(column.owner, count as u64);
        Ok(())
    }

    /// Adds a native histogram; one that is there already with this id and time is replaced.
    pub(crate) fn histogram(
        &mut self,
        id: u32,
        owner: DeviceRef,
        time: i64,
        bytes: &[u8],
    ) -> Result<(), FileError> {
        if !(self.range.0..self.range.1).contains(&time) {
            return Err(damaged("a histogram is outside the block"));
        }
        let mut row = Vec::with_capacity(bytes.len() + 5);
        put(&mut row, u64::from(owner));
        row.extend_from_slice(bytes);
        self.histograms.push((id, time, owner, summed(&row)));
        if self.histograms.len() >= HISTOGRAM_ROWS {
            self.flush_histograms()?;
        }
        Ok(())
    }

    fn count(&mut self, owner: DeviceRef, samples: u64) {
        self.owners.entry(owner).or_default().samples += samples;
        self.samples += samples;
    }

    fn txn(&self) -> Result<&WriteTransaction, FileError> {
        match &self.open {
            Some((txn, _)) => Ok(txn),
            None => Err(damaged("a block that failed is written on")),
        }
    }

    fn flush_chunks(&mut self, goes_on: bool) -> Result<(), FileError> {
        let this = &mut self.chunks;
        if this.page.is_empty() {
            return Ok(());
        }
        let key = u64::from(this.first) << 32 | u64::from(this.gone_on);
        let page = this.page.finish(this.first, goes_on);
        this.gone_on = if goes_on { this.gone_on + 1 } else { 0 };
        let txn = self.txn()?;
        guard(|| {
            let mut table = txn.open_table(CHUNKS).map_err(FileError::of)?;
            table.insert(key, page.as_slice()).map_err(FileError::of)?;
            Ok(())
        })
    }

    fn flush_times(&mut self) -> Result<(), FileError> {
        let this = &mut self.times;
        if this.page.is_empty() {
            return Ok(());
        }
        let (first, page) = (this.first, this.page.finish(this.first, false));
        let txn = self.txn()?;
        guard(|| {
            let mut table = txn.open_table(TIMES).map_err(FileError::of)?;
            table.insert(first, page.as_slice()).map_err(FileError::of)?;
            Ok(())
        })
    }

    fn flush_histograms(&mut self) -> Result<(), FileError> {
        let rows = std::mem::take(&mut self.histograms);
        let mut replaced = Vec::new();
        let txn = self.txn()?;
        guard(|| {
            let mut table = txn.open_table(HISTOGRAMS).map_err(FileError::of)?;
            for (id, time, _, row) in &rows {
                let old = table
                    .insert((*id, *time), row.as_slice())
                    .map_err(FileError::of)?;
                if let Some(old) = old {
                    replaced.push(super::owner_of_histogram(old.value())?.0);
                }
            }
            Ok(())
        })?;
        for (id, time, owner, _) in rows {
            self.with_histograms.insert(id);
            self.min_time = self.min_time.min(time);
            self.max_time = self.max_time.max(time);
            self.count(owner, 1);
        }
        for owner in replaced {
            self.samples -= 1;
            self.owners.entry(owner).or_default().samples -= 1;
        }
        Ok(())
    }

    /// Makes the block durable under its name.
    pub(crate) fn finish(mut self) -> Result<BlockMeta, FileError> {
        self.flush_chunks(false)?;
        self.flush_times()?;
        self.flush_histograms()?;
        self.with_chunks.optimize();
        self.with_histograms.optimize();
        let (txn, db) = self
            .open
            .take()
            .ok_or_else(|| damaged("a block that failed is finished"))?;
        let written = guard(|| {
            self.write_tables(&txn)?;
            txn.commit().map_err(FileError::of)?;
            // Not compacted: that writes a tenth more, and frees nothing but the sparse end of the file.
            db.close().map_err(FileError::of)
        });
        let written = written.and_then(|()| self.publish());
        if written.is_err() {
            // What is left of it is deleted at the next start.
            let _ = self.disk.remove(&self.new_path());
        }
        written
    }

    fn write_tables(&self, txn: &WriteTransaction) -> Result<(), FileError> {
        // All tables are there, so that a reader misses none.
        txn.open_table(CHUNKS).map_err(FileError::of)?;
        txn.open_table(TIMES).map_err(FileError::of)?;
        txn.open_table(HISTOGRAMS).map_err(FileError::of)?;
        let mut owners = txn.open_table(OWNERS).map_err(FileError::of)?;
        for (owner, held) in &self.owners {
            let mut row = Vec::with_capacity(held.columns.len() + 8);
            put(&mut row, held.samples);
            let mut last = 0;
            for column in &held.columns {
                put(&mut row, u64::from(column - last));
                last = *column;
            }
            owners
                .insert(*owner, summed(&row).as_slice())
                .map_err(FileError::of)?;
        }
        let mut series = txn.open_table(SERIES).map_err(FileError::of)?;
        for (key, ids) in [
            (WITH_CHUNKS, &self.with_chunks),
            (WITH_HISTOGRAMS, &self.with_histograms),
        ] {
            let mut bitmap = Vec::with_capacity(ids.serialized_size());
            ids.serialize_into(&mut bitmap)?;
            series
                .insert(key, summed(&bitmap).as_slice())
                .map_err(FileError::of)?;
        }
        let mut meta = txn.open_table(META).map_err(FileError::of)?;
        meta.insert(BLOCK, summed(&self.head().encode_to_vec()).as_slice())
            .map_err(FileError::of)?;
        Ok(())
    }

    fn series_count(&self) -> u32 {
        // Ids have 32 bits, and are never all used.
        self.with_chunks.union_len(&self.with_histograms) as u32
    }

    fn head(&self) -> Head {
        Head {
            version: VERSION,
            tenant: self.tenant.to_string(),
            start_ms: self.range.0,
            end_ms: self.range.1,
            generation: self.generation,
            min_time: self.min_time,
            max_time: self.max_time,
            series: self.series_count(),
            samples: self.samples,
            columns: self.times.columns.len() as u32,
        }
    }

    fn publish(&self) -> Result<BlockMeta, FileError> {
        let path = self.dir.join(&self.file);
        self.disk.rename(&self.new_path(), &path)?;
        self.disk.sync_dir(&self.dir)?;
        let bytes = disk_bytes(&path);
        let owners = self.owners.iter().map(|(owner, held)| (*owner, held.samples));
        Ok(BlockMeta {
            tenant: self.tenant.clone(),
            start_ms: self.range.0,
            end_ms: self.range.1,
            generation: self.generation,
            min_time: self.min_time,
            max_time: self.max_time,
            series: self.series_count(),
            samples: self.samples,
            bytes,
            owners: owners.collect(),
            file: self.file.clone(),
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some((txn, db)) = self.open.take() {
            // Nothing of it is wanted; what is left of it is deleted at the next start.
            let _ = guard(|| {
                drop(txn);
                drop(db);
                Ok(())
            });
            let _ = self.disk.remove(&self.new_path());
        }
    }
}

fn remove(disk: &dyn Disk, path: &Path) -> std::io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
