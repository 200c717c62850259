//! Queries over all partitions. Sources are collected under a partition's lock and read after it.

use std::collections::BTreeSet;

use prost::Message;
use roaring::RoaringBitmap;
use wire::message::Histogram;
use wire::{Labels, Tenant};

use super::Heads;
use super::merge::merge;
use super::tenant::{Source, TenantHead};
use crate::error::SelectError;
use crate::ledger::DeviceRef;
use crate::matcher::Matcher;
use crate::query::{ReadBack, SeriesSlice};

/// Series from which on partitions are read by a thread each.
const PARALLEL: usize = 1024;

type Found = Vec<(Labels, Vec<Source>, Vec<(i64, Histogram)>)>;

impl Heads {
    /// Series that satisfy every matcher and have samples in the range, both ends included, sorted by labels.
    pub(crate) fn select(
        &self,
        tenant: &Tenant,
        matchers: &[Matcher],
        (start, end): (i64, i64),
        max_samples: usize,
    ) -> Result<Vec<SeriesSlice>, SelectError> {
        let found: Vec<Found> = (0..self.partitions.len())
            .map(|partition| self.found(partition, tenant, matchers, start, end))
            .collect();
        let series: usize = found.iter().map(Vec::len).sum();
        let read = |found: Found| slices(found, start, end, max_samples);
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
        if all
            .iter()
            .map(|s| s.values.len() + s.histograms.len())
            .sum::<usize>()
            > max_samples
        {
            return Err(SelectError::TooManySamples { limit: max_samples });
        }
        all.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        Ok(all)
    }

    fn found(&self, partition: usize, tenant: &Tenant, matchers: &[Matcher], start: i64, end: i64) -> Found {
        let partition = self.read(partition);
        let Some(head) = partition.tenants.get(tenant) else {
            return Vec::new();
        };
        head.registry()
            .find(matchers)
            .into_iter()
            .filter_map(|series| {
                let sources = head.sources(series, (start, end), None);
                let histograms: Vec<_> = head
                    .histograms(series, (start, end))
                    .filter_map(|(time, histogram)| Some((time, Histogram::decode(&*histogram.bytes).ok()?)))
                    .collect();
                let any = !sources.is_empty() || !histograms.is_empty();
                any.then(|| (head.registry().labels(series), sources, histograms))
            })
            .collect()
    }

    /// Labels of series that satisfy every matcher and may have samples in the range, sorted.
    pub(crate) fn series(&self, tenant: &Tenant, matchers: &[Matcher], start: i64, end: i64) -> Vec<Labels> {
        let mut all: Vec<Labels> = (0..self.partitions.len())
            .flat_map(|partition| self.found(partition, tenant, matchers, start, end))
            .map(|(labels, _, _)| labels)
            .collect();
        all.sort_unstable();
        all
    }

    fn each_head(&self, tenant: &Tenant, mut see: impl FnMut(&TenantHead)) {
        for partition in 0..self.partitions.len() {
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
                let labels = registry.labels(series);
                names.extend(labels.iter().map(|(name, _)| name.to_owned()));
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
                values.extend(registry.labels(series).get(name).map(str::to_owned));
            }
        });
        values.into_iter().collect()
    }

    /// Counts a device's samples by reading them all.
    pub(crate) fn read_back(&self, tenant: &Tenant, device: DeviceRef) -> ReadBack {
        let mut count = ReadBack::default();
        self.each_head(tenant, |head| {
            let mut series: Vec<u32> = head
                .groups()
                .filter(|group| group.owner() == Some(device))
                .flat_map(|group| group.series().iter().copied())
                .collect();
            series.sort_unstable();
            series.dedup();
            for series in series {
                let merged = merge(
                    &head.sources(series, (i64::MIN, i64::MAX), Some(device)),
                    i64::MIN,
                    i64::MAX,
                );
                count.series += 1;
                count.samples += merged.values.len() as u64;
                let histograms = head.histograms(series, (i64::MIN, i64::MAX));
                count.samples += histograms.filter(|(_, h)| h.owner == device).count() as u64;
                let twice = merged.times_ms.windows(2).filter(|w| w[0] >= w[1]).count();
                count.duplicates += twice as u64;
            }
        });
        count
    }

    /// Bytes of memory that samples take, roughly, and how many series there are.
    pub(crate) fn size(&self) -> (usize, usize) {
        let (mut bytes, mut series) = (0, 0);
        for partition in 0..self.partitions.len() {
            for head in self.read(partition).tenants.values() {
                bytes += head.windows().values().map(|window| window.bytes).sum::<usize>();
                series += head.registry().len();
            }
        }
        (bytes, series)
    }
}

fn matching(head: &TenantHead, matchers: &[Matcher]) -> RoaringBitmap {
    match matchers.is_empty() {
        true => RoaringBitmap::new(),
        false => head.registry().find(matchers),
    }
}

fn slices(found: Found, start: i64, end: i64, max_samples: usize) -> Result<Vec<SeriesSlice>, SelectError> {
    let mut slices = Vec::with_capacity(found.len());
    let mut left = max_samples;
    for (labels, sources, histograms) in found {
        let merged = merge(&sources, start, end);
        left = left
            .checked_sub(merged.values.len() + histograms.len())
            .ok_or(SelectError::TooManySamples { limit: max_samples })?;
        if !merged.values.is_empty() || !histograms.is_empty() {
            slices.push(SeriesSlice {
                labels,
                times_ms: merged.times_ms,
                values: merged.values,
                histograms,
            });
        }
    }
    Ok(slices)
}
