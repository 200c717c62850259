//! What queries read of all partitions, blocks and heads. It is found under a partition's lock and read after it.

use std::collections::BTreeSet;

use roaring::RoaringBitmap;
use wire::{DeviceName, Labels, Tenant};

use super::Heads;
use super::column::Column;
use super::found::{Found, Wanted};
use super::merge::Merged;
use super::meter::Meter;
use super::tenant::TenantHead;
use super::times::Before;
use crate::block::BlockFile;
use crate::error::SelectError;
use crate::journal::FileError;
use crate::ledger::DeviceRef;
use crate::matcher::Matcher;
use crate::query::{ReadBack, ReadLimits, SeriesSlice};

/// Series from which on partitions are read by a thread each.
const PARALLEL: usize = 1024;

/// How often a query asks all partitions again because the rings changed meanwhile.
const MAX_TRIES: usize = 8;

/// Series of a device that are read at once to count them.
const COUNTED_AT_ONCE: usize = 32;

impl TenantHead {
    /// Where samples of some series may be, with the order of their labels.
    pub(super) fn found_in_order(&self, ids: RoaringBitmap, wanted: Wanted) -> Found {
        let mut found = self.found(ids, wanted);
        found.order = self.registry().order(&found.ids);
        found
    }
}

impl Heads {
    /// What each partition has, looked for until the rings do not change meanwhile.
    pub(super) fn found_anew(&self, tenant: &Tenant, matchers: &[Matcher], wanted: Wanted) -> Vec<Found> {
        let mut tries = 0..MAX_TRIES;
        let find = |partition: usize| {
            let partition = self.read(partition);
            let head = partition.tenants.get(tenant);
            head.map_or_else(Found::default, |head| {
                head.found_in_order(head.registry().find(matchers), wanted)
            })
        };
        loop {
            let changes = self.rings.changes();
            let found = (0..self.rings.count()).map(find).collect();
            if tries.next().is_none() || self.rings.changes() == changes {
                return self.results_last(found);
            }
        }
    }

    /// Counts a device's samples by reading them all, a few series at a time. What cannot be read is not counted.
    pub(crate) fn read_back(&self, device: &DeviceName, number: DeviceRef) -> ReadBack {
        let wanted = Wanted {
            only: Some(number),
            ..Wanted::all((i64::MIN, i64::MAX))
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
                let times = column.floats.times_ms();
                let twice = times.clone().zip(times.skip(1)).filter(|(a, b)| a >= b);
                count.duplicates += twice.count() as u64;
            }
        }
        count
    }

    /// Samples of series by their labels, sorted, of a range of time, both ends included; sorted by labels.
    pub(crate) fn select_series(
        &self,
        tenant: &Tenant,
        names: &[Labels],
        range: (i64, i64),
    ) -> Result<Vec<SeriesSlice>, SelectError> {
        let (columns, _) = self.columns_of(tenant, names, Wanted::all(range), unreadable)?;
        let found = names.iter().zip(columns).filter(|(_, column)| column.len() > 0);
        let mut before = Before::default();
        Ok(found
            .map(|(set, column)| column.slice(set.clone(), &mut before))
            .collect())
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
        // Of one time those of rules win.
        let mut partitions: Vec<usize> = (0..self.rings.count()).collect();
        let results = self.rings.results();
        partitions.sort_by_key(|partition| Some(*partition) == results);
        for partition in partitions {
            let found = match self.read(partition).tenants.get(tenant) {
                Some(head) => {
                    let series = names.iter().map(|set| head.registry().find_labels(set.iter()));
                    head.found(series.flatten().collect(), wanted)
                }
                None => continue,
            };
            let unlimited = ReadLimits::samples(usize::MAX);
            let columns = found.read(wanted, Meter::new(&unlimited), &fails)?;
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

/// Reads what partitions have and joins it, sorted by labels.
pub(super) fn joined_slices(
    mut found: Vec<Found>,
    wanted: Wanted,
    limits: &ReadLimits<'_>,
) -> Result<Vec<SeriesSlice>, SelectError> {
    found.retain(|found| !found.ids.is_empty());
    let series: usize = found.iter().map(|found| found.ids.len()).sum();
    let partitions = found.len();
    let read = |found: Found| slices(found, wanted, limits);
    let parts: Vec<Result<Vec<SeriesSlice>, SelectError>> = if series < PARALLEL || partitions < 2 {
        found.into_iter().map(read).collect()
    } else {
        std::thread::scope(|scope| {
            let threads: Vec<_> = found.into_iter().map(|f| scope.spawn(move || read(f))).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect()
        })
    };
    let mut all = Vec::with_capacity(series);
    for part in parts {
        all.extend(part?);
    }
    if partitions > 1 {
        // Runs that are sorted already.
        all.sort_by(|a: &SeriesSlice, b| a.labels.cmp(&b.labels));
        all = joined(all);
        if wanted.newest {
            all.iter_mut().for_each(SeriesSlice::keep_newest_float);
        }
    }
    match all.iter().map(SeriesSlice::len).sum::<usize>() > limits.max_samples {
        true => Err(Meter::new(limits).too_many()),
        false => Ok(all),
    }
}

/// Reads what one partition has, in the order that is given with it.
pub(super) fn slices(
    found: Found,
    wanted: Wanted,
    limits: &ReadLimits<'_>,
) -> Result<Vec<SeriesSlice>, SelectError> {
    let columns = found.read(wanted, Meter::new(limits), unreadable)?;
    let mut series: Vec<Option<SeriesSlice>> = Vec::with_capacity(columns.len());
    let mut count = 0;
    let mut before = Before::default();
    for (column, labels) in columns.into_iter().zip(found.labels) {
        let mut slice = (column.len() > 0).then(|| column.slice(labels, &mut before));
        if wanted.newest {
            slice.iter_mut().for_each(SeriesSlice::keep_newest_float);
        }
        count += slice.as_ref().map_or(0, SeriesSlice::len);
        series.push(slice);
    }
    if count > limits.max_samples {
        return Err(Meter::new(limits).too_many());
    }
    let in_order = found
        .order
        .iter()
        .filter_map(|at| series.get_mut(*at as usize)?.take());
    Ok(in_order.collect())
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
                (last.times_ms, last.values) = floats.into_columns(&mut Before::default());
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
