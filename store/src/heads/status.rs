//! Counts of what the heads hold, by label and by device.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;
use wire::Tenant;
use wire::labels::METRIC_NAME;

use super::Heads;
use super::tenant::TenantHead;
use crate::status::{HeadStatus, Top};

impl Heads {
    /// Counts a tenant's active series by their labels, a label at a time. The bridge's own are left out.
    pub(crate) fn status(&self, tenant: &Tenant, limit: usize) -> HeadStatus {
        let mut status = HeadStatus::default();
        let mut names: BTreeSet<String> = BTreeSet::new();
        let mut active: Vec<RoaringBitmap> = Vec::new();
        for partition in 0..self.rings.count() {
            let partition = self.read(partition);
            let head = partition.tenants.get(tenant);
            active.push(head.map(TenantHead::active_set).unwrap_or_default());
            if let Some(head) = head {
                names.extend(head.registry().names().map(str::to_owned));
                head.count_rows(&mut status);
            }
        }
        status.series = active.iter().map(RoaringBitmap::len).sum();
        let tops = || Top::new(limit);
        let (mut metrics, mut values, mut bytes, mut pairs) = (tops(), tops(), tops(), tops());
        for name in names {
            let counts = self.counts_of(tenant, &name, &active);
            if counts.is_empty() {
                continue;
            }
            status.label_pairs += counts.len() as u64;
            values.add(name.clone(), counts.len() as u64);
            let size = counts
                .iter()
                .map(|(value, count)| value.len() as u64 * count)
                .sum();
            bytes.add(name.clone(), size);
            for (value, count) in counts {
                pairs.add(format!("{name}={value}"), count);
                if name == METRIC_NAME {
                    metrics.add(value, count);
                }
            }
        }
        status.series_by_metric = metrics.into_counts();
        status.values_by_label = values.into_counts();
        status.bytes_by_label = bytes.into_counts();
        status.series_by_pair = pairs.into_counts();
        status
    }

    /// How many active series have each value of a label.
    fn counts_of(&self, tenant: &Tenant, name: &str, active: &[RoaringBitmap]) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for (partition, active) in active.iter().enumerate() {
            let partition = self.read(partition);
            let Some(head) = partition.tenants.get(tenant) else {
                continue;
            };
            for (value, series) in head.registry().series_by_value(name) {
                let count = series.intersection_len(active);
                if count > 0 {
                    *counts.entry(value.to_owned()).or_default() += count;
                }
            }
        }
        counts
    }
}

impl TenantHead {
    /// Series in groups of devices.
    fn active_set(&self) -> RoaringBitmap {
        let groups = self.groups().filter(|group| group.owner().is_some());
        groups.flat_map(|group| group.series().iter().copied()).collect()
    }

    fn count_rows(&self, status: &mut HeadStatus) {
        for group in self.groups().filter(|group| group.owner().is_some()) {
            let (chunks, times) = group.extent();
            status.chunks += (chunks * group.series().len()) as u64;
            if let Some((first, last)) = times {
                let (from, to) = status.times_ms.unwrap_or((first, last));
                status.times_ms = Some((from.min(first), to.max(last)));
            }
        }
    }
}
