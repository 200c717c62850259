//! A selection that is read a batch of series at a time.
//!
//! Which series there are is found at once; where their samples are is found when a batch is read, so that what a
//! selection takes is a number per series. Batches are of neighbouring numbers of one partition: series of one metric,
//! device after device, so that a batch touches few groups and few pages.

use std::ops::RangeInclusive;

use roaring::RoaringBitmap;
use wire::Tenant;

use super::Heads;
use super::found::{Found, Wanted};
use crate::error::SelectError;
use crate::matcher::Matcher;
use crate::query::{ReadLimits, SeriesSlice};

/// Most series of a batch.
const LARGEST: u64 = 4096;

/// Fewest series of a batch, however long the range.
const SMALLEST: u64 = 64;

/// Bytes of samples that a batch may have, if a series has one every 15 s.
const BATCH_BYTES: u64 = 4 << 20;
const BYTES_PER_MS: f64 = 16.0 / 15_000.0;

/// Series that are read at once in any case, sorted by their labels.
const SMALL: u64 = 1024;

/// Series that satisfy matchers, to be read in batches.
#[derive(Debug)]
pub struct Selection<'s> {
    heads: &'s Heads,
    tenant: &'s Tenant,
    wanted: Wanted,
    /// By partition.
    ids: Vec<RoaringBitmap>,
    /// The changes of the rings before the series were found.
    changes: u64,
    matchers: Vec<Matcher>,
    /// Partition, first and last series; empty: all are read at once.
    batches: Vec<(usize, RangeInclusive<u32>)>,
}

impl Heads {
    /// Finds the series that satisfy every matcher. Of their samples those in the range, both ends included, are read
    /// later; of floats only the newest, if so wanted.
    pub(crate) fn selection<'s>(
        &'s self,
        tenant: &'s Tenant,
        matchers: Vec<Matcher>,
        range: (i64, i64),
        newest: bool,
    ) -> Selection<'s> {
        let wanted = Wanted {
            newest,
            ..Wanted::all(range)
        };
        let changes = self.rings.changes();
        let find = |partition: usize| {
            let partition = self.read(partition);
            let head = partition.tenants.get(tenant);
            head.map_or_else(RoaringBitmap::new, |head| head.registry().find(&matchers))
        };
        let ids: Vec<RoaringBitmap> = match range.0 <= range.1 {
            true => (0..self.rings.count()).map(find).collect(),
            false => Vec::new(),
        };
        let series: u64 = ids.iter().map(RoaringBitmap::len).sum();
        let alone = || self.are_at_home(tenant) && !self.has_twins(tenant, &ids);
        let batches = match series > SMALL && alone() {
            true => batches(&ids, wanted),
            false => Vec::new(),
        };
        Selection {
            heads: self,
            tenant,
            wanted,
            ids,
            changes,
            matchers,
            batches,
        }
    }
}

fn batches(ids: &[RoaringBitmap], wanted: Wanted) -> Vec<(usize, RangeInclusive<u32>)> {
    let span = wanted.end.saturating_sub(wanted.start) as f64;
    let of_series = if wanted.newest { 16.0 } else { span * BYTES_PER_MS };
    let size = ((BATCH_BYTES as f64 / of_series.max(16.0)) as u64).clamp(SMALLEST, LARGEST);
    let mut batches = Vec::new();
    for (partition, ids) in ids.iter().enumerate() {
        // As even as they can be.
        let count = ids.len().div_ceil(size);
        let begin = |batch: u64| ids.len() * batch / count;
        let id = |place: u64| ids.select(u32::try_from(place).ok()?);
        let of = |batch: u64| Some((partition, id(begin(batch))?..=id(begin(batch + 1) - 1)?));
        batches.extend((0..count).filter_map(of));
    }
    batches
}

impl Selection<'_> {
    /// How many batches there are; one if there are few series, which then come sorted by their labels.
    pub fn count(&self) -> usize {
        self.batches.len().max(1)
    }

    /// Series that satisfy the matchers, whether they have samples in the range or not.
    pub fn series(&self) -> u64 {
        self.ids.iter().map(RoaringBitmap::len).sum()
    }

    /// The series of a batch that have samples in the range. No series is in two batches.
    ///
    /// # Errors
    /// Every variant of [`SelectError`].
    pub fn read(&self, batch: usize, limits: &ReadLimits<'_>) -> Result<Vec<SeriesSlice>, SelectError> {
        let Some((partition, between)) = self.batches.get(batch) else {
            return self.read_all(limits);
        };
        let mut ids: RoaringBitmap = self.ids[*partition].range(between.clone()).collect();
        let found = {
            let partition = self.heads.read(*partition);
            let head = partition.tenants.get(self.tenant);
            head.map_or_else(Found::default, |head| {
                // Some may have gone since they were found.
                ids &= head.registry().all();
                let mut found = head.found(ids, self.wanted);
                found.order = (0..found.ids.len() as u32).collect();
                found
            })
        };
        super::select::slices(found, self.wanted, limits)
    }

    /// All series that have samples in the range, sorted by labels.
    ///
    /// # Errors
    /// Every variant of [`SelectError`].
    pub fn read_all(&self, limits: &ReadLimits<'_>) -> Result<Vec<SeriesSlice>, SelectError> {
        let found = self.found_in_all();
        super::select::joined_slices(found, self.wanted, limits)
    }

    /// What each partition has. While the rings change a series' newest rows may be in a partition that was asked already
    /// and its next ones in one that was not: then all are asked again, so that no row is missing before one that is found.
    fn found_in_all(&self) -> Vec<Found> {
        let (heads, tenant, wanted) = (self.heads, self.tenant, self.wanted);
        let found = self.ids.iter().enumerate().map(|(partition, ids)| {
            let partition = heads.read(partition);
            let head = partition.tenants.get(tenant);
            head.map_or_else(Found::default, |head| {
                head.found_in_order(ids & head.registry().all(), wanted)
            })
        });
        let found = found.collect();
        match heads.rings.changes() == self.changes {
            true => heads.results_last(found),
            false => heads.found_anew(tenant, &self.matchers, wanted),
        }
    }
}
