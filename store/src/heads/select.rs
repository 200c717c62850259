//! Queries over all partitions, blocks and heads. What is read is found under a partition's lock and read after it.

use std::collections::BTreeSet;
use std::sync::Arc;

use prost::Message;
use roaring::RoaringBitmap;
use wire::message::Histogram;
use wire::{DeviceName, Labels, Tenant};

use super::Heads;
use super::merge::Merged;
use super::tenant::{Source, TenantHead};
use crate::block::BlockFile;
use crate::error::SelectError;
use crate::journal::FileError;
use crate::ledger::DeviceRef;
use crate::matcher::Matcher;
use crate::query::{ReadBack, SeriesSlice};

/// Series from which on partitions are read by a thread each.
const PARALLEL: usize = 1024;

/// How often a query asks all partitions again because the rings changed meanwhile.
const MAX_TRIES: usize = 8;

/// Series of a device that are read at once to count them.
const COUNTED_AT_ONCE: usize = 32;

/// Series of a partition that may have samples in a range of time, and where those are.
#[derive(Default)]
struct Found {
    /// Sorted.
    ids: Vec<u32>,
    labels: Vec<Labels>,
    heads: Vec<InHeads>,
    /// By rising generation.
    blocks: Vec<Arc<BlockFile>>,
}

/// What heads have of a series; histograms as (time, protobuf), of one time the later wins.
struct InHeads {
    sources: Vec<Source>,
    histograms: Vec<(i64, Arc<[u8]>)>,
}

/// Samples of a series as they are read.
#[derive(Default)]
struct Column {
    floats: Merged,
    histograms: Vec<(i64, Vec<u8>)>,
}

/// A range of time, both ends included, and whose samples: all, or those of one device.
#[derive(Clone, Copy)]
struct Wanted {
    start: i64,
    end: i64,
    only: Option<DeviceRef>,
}

impl TenantHead {
    fn found(&self, ids: RoaringBitmap, wanted: Wanted) -> Found {
        let (start, end) = (wanted.start, wanted.end);
        let blocks: Vec<_> = self.blocks_in(start, end).cloned().collect();
        let mut found = Found {
            blocks,
            ..Found::default()
        };
        for series in ids {
            let in_heads = InHeads {
                sources: self.sources(series, (start, end), wanted.only),
                histograms: self
                    .histograms(series, (start, end))
                    .filter(|(_, histogram)| wanted.only.is_none_or(|owner| owner == histogram.owner))
                    .map(|(time, histogram)| (time, histogram.bytes.clone()))
                    .collect(),
            };
            if found.blocks.is_empty() && in_heads.sources.is_empty() && in_heads.histograms.is_empty() {
                continue;
            }
            found.ids.push(series);
            found.labels.push(self.registry().labels(series));
            found.heads.push(in_heads);
        }
        found
    }
}

impl Found {
    /// Reads every series, but no more than about `most` samples: then some are missing. `fails` is told of a block that
    /// cannot be read.
    fn read(
        &self,
        wanted: Wanted,
        most: usize,
        fails: impl Fn(&BlockFile, FileError) -> Result<(), SelectError>,
    ) -> Result<Vec<Column>, SelectError> {
        let mut columns: Vec<Column> = self.ids.iter().map(|_| Column::default()).collect();
        let mut count = 0;
        for file in &self.blocks {
            if let Err(error) = self.read_block(file, wanted, (&mut count, most), &mut columns) {
                fails(file, error)?;
            }
        }
        for (column, heads) in columns.iter_mut().zip(&self.heads) {
            if count > most {
                break;
            }
            column.floats.add_heads(&heads.sources, wanted.start, wanted.end);
            let histograms = heads
                .histograms
                .iter()
                .map(|(time, bytes)| (*time, bytes.to_vec()));
            column.histograms.extend(histograms);
            column.finish();
            count += column.len();
        }
        Ok(columns)
    }

    fn read_block(
        &self,
        file: &BlockFile,
        wanted: Wanted,
        (count, most): (&mut usize, usize),
        columns: &mut [Column],
    ) -> Result<(), FileError> {
        let block = file.open()?;
        let range = (wanted.start, wanted.end);
        let place = |id: u32, owner: DeviceRef, count: usize| {
            let is_wanted = wanted.only.is_none_or(|only| only == owner) && count <= most;
            self.ids.binary_search(&id).ok().filter(|_| is_wanted)
        };
        block.read(&self.ids, range, |id, owner, times, values| {
            if let Some(at) = place(id, owner, *count) {
                *count += times.len();
                columns[at].floats.add(times, values);
            }
        })?;
        block.histograms(&self.ids, range, |id, owner, time, bytes| {
            if let Some(at) = place(id, owner, *count) {
                *count += 1;
                columns[at].histograms.push((time, bytes.to_vec()));
            }
        })
    }
}

impl Column {
    /// How many samples there are.
    fn len(&self) -> usize {
        self.floats.values.len() + self.histograms.len()
    }

    /// Adds what another partition has.
    fn add(&mut self, other: Column) {
        self.floats.add(&other.floats.times_ms, &other.floats.values);
        self.histograms.extend(other.histograms);
        self.finish();
    }

    /// Leaves the last added of each time, in order of time.
    fn finish(&mut self) {
        self.floats.finish();
        self.histograms.sort_by_key(|(time, _)| *time);
        self.histograms.reverse();
        self.histograms.dedup_by_key(|(time, _)| *time);
        self.histograms.reverse();
    }

    fn slice(self, labels: Labels) -> SeriesSlice {
        let histograms = self.histograms.into_iter();
        SeriesSlice {
            labels,
            times_ms: self.floats.times_ms,
            values: self.floats.values,
            histograms: histograms
                .filter_map(|(time, bytes)| Some((time, Histogram::decode(bytes.as_slice()).ok()?)))
                .collect(),
        }
    }
}

impl Heads {
    fn found(&self, partition: usize, tenant: &Tenant, matchers: &[Matcher], wanted: Wanted) -> Found {
        let partition = self.read(partition);
        let head = partition.tenants.get(tenant);
        head.map_or_else(Found::default, |head| {
            head.found(head.registry().find(matchers), wanted)
        })
    }

    /// Series that satisfy every matcher and have samples in the range, both ends included, sorted by labels.
    pub(crate) fn select(
        &self,
        tenant: &Tenant,
        matchers: &[Matcher],
        (start, end): (i64, i64),
        max_samples: usize,
    ) -> Result<Vec<SeriesSlice>, SelectError> {
        if start > end {
            return Ok(Vec::new());
        }
        let wanted = Wanted {
            start,
            end,
            only: None,
        };
        let found = self.found_in_all(tenant, matchers, wanted);
        let series: usize = found.iter().map(|found| found.ids.len()).sum();
        let read = |found: Found| slices(found, wanted, max_samples);
        let parts: Vec<Result<Vec<SeriesSlice>, SelectError>> = if series < PARALLEL {
            found.into_iter().map(read).collect()
        } else {
            std::thread::scope(|scope| {
                let threads: Vec<_> = found.into_iter().map(|f| scope.spawn(move || read(f))).collect();
                threads
                    .into_iter()
                    .map(|thread| {
                        thread
                            .join()
                            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                    })
                    .collect()
            })
        };
        let mut all = Vec::with_capacity(series);
        for part in parts {
            all.extend(part?);
        }
        all.sort_by(|a: &SeriesSlice, b| a.labels.cmp(&b.labels));
        let all = joined(all);
        if all
            .iter()
            .map(|s| s.values.len() + s.histograms.len())
            .sum::<usize>()
            > max_samples
        {
            return Err(SelectError::TooManySamples { limit: max_samples });
        }
        Ok(all)
    }

    /// What each partition has. While the rings change a series' newest rows may be in a partition that was asked already
    /// and its next ones in one that was not: then all are asked again, so that no row is missing before one that is found.
    fn found_in_all(&self, tenant: &Tenant, matchers: &[Matcher], wanted: Wanted) -> Vec<Found> {
        let mut tries = 0..MAX_TRIES;
        loop {
            let changes = self.rings.changes();
            let found = (0..self.rings.count())
                .map(|partition| self.found(partition, tenant, matchers, wanted))
                .collect();
            if tries.next().is_none() || self.rings.changes() == changes {
                return found;
            }
        }
    }

    /// Labels of series that satisfy every matcher and may have samples in the range, sorted. A block that cannot be read
    /// may have any.
    pub(crate) fn series(
        &self,
        tenant: &Tenant,
        matchers: &[Matcher],
        (start, end): (i64, i64),
    ) -> Vec<Labels> {
        let wanted = Wanted {
            start,
            end,
            only: None,
        };
        let mut all = BTreeSet::new();
        for partition in 0..self.rings.count() {
            let found = self.found(partition, tenant, matchers, wanted);
            let mut stored = RoaringBitmap::new();
            for file in &found.blocks {
                match file.open() {
                    Ok(block) => stored |= block.ids(),
                    Err(_) => stored.extend(&found.ids),
                }
            }
            let series = found.ids.into_iter().zip(found.labels).zip(found.heads);
            all.extend(series.filter_map(|((id, labels), heads)| {
                let in_heads = !heads.sources.is_empty() || !heads.histograms.is_empty();
                (in_heads || stored.contains(id)).then_some(labels)
            }));
        }
        all.into_iter().collect()
    }

    fn each_head(&self, tenant: &Tenant, mut see: impl FnMut(&TenantHead)) {
        for partition in 0..self.rings.count() {
            if let Some(head) = self.read(partition).tenants.get(tenant) {
                see(head);
            }
        }
    }

    /// Names of labels of the series that satisfy every matcher, sorted.
    pub(crate) fn label_names(&self, tenant: &Tenant, matchers: &[Matcher]) -> Vec<String> {
        let mut names = BTreeSet::new();
        self.each_head(tenant, |head| {
            let registry = head.registry();
            if matchers.is_empty() {
                names.extend(registry.names().map(str::to_owned));
            }
            for series in matching(head, matchers) {
                names.extend(registry.texts(series).map(|(name, _)| name.to_owned()));
            }
        });
        names.into_iter().collect()
    }

    /// Values of a label of the series that satisfy every matcher, sorted.
    pub(crate) fn label_values(&self, tenant: &Tenant, name: &str, matchers: &[Matcher]) -> Vec<String> {
        let mut values = BTreeSet::new();
        self.each_head(tenant, |head| {
            let registry = head.registry();
            if matchers.is_empty() {
                values.extend(registry.values(name).map(str::to_owned));
            }
            for series in matching(head, matchers) {
                let mut pairs = registry.texts(series);
                values.extend(pairs.find(|(n, _)| *n == name).map(|(_, value)| value.to_owned()));
            }
        });
        values.into_iter().collect()
    }

    /// Counts a device's samples by reading them all, a few series at a time. What cannot be read is not counted.
    pub(crate) fn read_back(&self, device: &DeviceName, number: DeviceRef) -> ReadBack {
        let wanted = Wanted {
            start: i64::MIN,
            end: i64::MAX,
            only: Some(number),
        };
        let of_device = [Matcher::equal(wire::labels::DEVICE_ID, device.device().as_str())];
        let mut names = BTreeSet::new();
        self.each_head(device.tenant(), |head| {
            let series = head.registry().find(&of_device);
            names.extend(series.into_iter().map(|series| head.registry().labels(series)));
        });
        let names: Vec<Labels> = names.into_iter().collect();
        let mut count = ReadBack::default();
        for names in names.chunks(COUNTED_AT_ONCE) {
            let read = self.columns_of(device.tenant(), names, wanted, |file, error| {
                file.doubt();
                let path = file.path();
                tracing::warn!(file = %path.display(), %error, "a block cannot be read; its samples are not counted");
                Ok(())
            });
            let (columns, joined) = read.unwrap_or_default();
            count.joined += joined;
            for column in columns {
                count.series += u64::from(column.len() > 0);
                count.samples += column.len() as u64;
                let twice = column.floats.times_ms.windows(2).filter(|w| w[0] >= w[1]).count();
                count.duplicates += twice as u64;
            }
        }
        count
    }

    /// Samples of series by their labels, sorted, of a range of time, both ends included; sorted by labels.
    pub(crate) fn select_series(
        &self,
        tenant: &Tenant,
        names: &[Labels],
        (start, end): (i64, i64),
    ) -> Result<Vec<SeriesSlice>, SelectError> {
        let wanted = Wanted {
            start,
            end,
            only: None,
        };
        let (columns, _) = self.columns_of(tenant, names, wanted, unreadable)?;
        let found = names.iter().zip(columns).filter(|(_, column)| column.len() > 0);
        Ok(found.map(|(set, column)| column.slice(set.clone())).collect())
    }

    /// The samples of some series, sorted by labels, of all partitions that have them, and how many gave way to those of
    /// another partition. `fails` is told of a block that cannot be read.
    fn columns_of(
        &self,
        tenant: &Tenant,
        names: &[Labels],
        wanted: Wanted,
        fails: impl Fn(&BlockFile, FileError) -> Result<(), SelectError>,
    ) -> Result<(Vec<Column>, u64), SelectError> {
        let mut joined = 0;
        let mut all: Vec<Column> = names.iter().map(|_| Column::default()).collect();
        for partition in 0..self.rings.count() {
            let found = match self.read(partition).tenants.get(tenant) {
                Some(head) => {
                    let series = names.iter().map(|set| head.registry().find_labels(set.iter()));
                    head.found(series.flatten().collect(), wanted)
                }
                None => continue,
            };
            let columns = found.read(wanted, usize::MAX, &fails)?;
            for (labels, column) in found.labels.iter().zip(columns) {
                if let Ok(at) = names.binary_search(labels) {
                    let count = all[at].len() + column.len();
                    all[at].add(column);
                    joined += (count - all[at].len()) as u64;
                }
            }
        }
        Ok((all, joined))
    }

    /// Bytes of memory that samples take, roughly, and how many series there are.
    pub(crate) fn size(&self) -> (usize, usize) {
        let usage = self.usage();
        (usage.head_bytes, usage.series)
    }
}

fn matching(head: &TenantHead, matchers: &[Matcher]) -> RoaringBitmap {
    match matchers.is_empty() {
        true => RoaringBitmap::new(),
        false => head.registry().find(matchers),
    }
}

fn slices(found: Found, wanted: Wanted, max_samples: usize) -> Result<Vec<SeriesSlice>, SelectError> {
    // Until they are merged, some may be there twice.
    let columns = found.read(wanted, max_samples.saturating_mul(2), unreadable)?;
    let count: usize = columns.iter().map(Column::len).sum();
    if count > max_samples {
        return Err(SelectError::TooManySamples { limit: max_samples });
    }
    let series = columns.into_iter().zip(found.labels);
    let with_samples = series.filter(|(column, _)| column.len() > 0);
    Ok(with_samples
        .map(|(column, labels)| column.slice(labels))
        .collect())
}

/// Makes one of series that are in two partitions, as they are after a change of the ring.
fn joined(all: Vec<SeriesSlice>) -> Vec<SeriesSlice> {
    let mut joined: Vec<SeriesSlice> = Vec::with_capacity(all.len());
    for slice in all {
        match joined.last_mut() {
            Some(last) if last.labels == slice.labels => {
                let mut floats = Merged::default();
                floats.add(&last.times_ms, &last.values);
                floats.add(&slice.times_ms, &slice.values);
                floats.finish();
                (last.times_ms, last.values) = (floats.times_ms, floats.values);
                last.histograms.extend(slice.histograms);
                last.histograms.sort_by_key(|(time, _)| *time);
                last.histograms.dedup_by_key(|(time, _)| *time);
            }
            _ => joined.push(slice),
        }
    }
    joined
}

fn unreadable(file: &BlockFile, error: FileError) -> Result<(), SelectError> {
    file.doubt();
    Err(SelectError::Unreadable(format!(
        "{}: {error}",
        file.path().display()
    )))
}
