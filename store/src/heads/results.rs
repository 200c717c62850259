//! Results of the bridge's rules in the heads. They are in a partition of their own, so that none shares a series with a
//! device and what is counted of devices stays theirs; queries join a series that is in both.

use roaring::RoaringBitmap;
use wire::{Labels, Tenant};

use super::delivery::{Arrival, Delivery};
use super::found::{Found, Wanted};
use super::{Heads, WRITERS};
use crate::error::SelectError;
use crate::query::ReadLimits;
use crate::results::{OWNER, Results};

/// Series that are read at once to count their samples.
const COUNTED_AT_ONCE: usize = 1024;

impl Heads {
    /// Puts results in, those of a call after those of the call before. Says how many took the place of another value.
    pub(crate) fn record(&self, tenant: &Tenant, lists: Vec<Results>, arrival: Arrival) -> u64 {
        let mut writer = self.lock(WRITERS);
        let mut overwritten = 0;
        for mut list in lists {
            let parts = self.place_results(tenant, &list.series);
            let take = vec![true; list.rows.rows.len()];
            let order = writer.order;
            writer.order += take.len() as u64;
            let delivery = Delivery::new(&mut list.rows, &take, (OWNER, arrival, order));
            for part in &parts {
                overwritten += self.append(tenant, part, &delivery, &mut writer);
            }
        }
        overwritten
    }

    /// Whether results have a series that has rows in memory, or had lately.
    pub(crate) fn has_result(&self, tenant: &Tenant, labels: &Labels) -> bool {
        let Some(partition) = self.rings.results() else {
            return false;
        };
        let partition = self.read(partition);
        let head = partition.tenants.get(tenant);
        head.is_some_and(|head| head.is_active(labels.iter()))
    }

    /// Puts what the results' partition has behind what the others have, as of one time the later wins.
    pub(super) fn results_last(&self, mut found: Vec<Found>) -> Vec<Found> {
        if let Some(at) = self.rings.results().filter(|at| *at < found.len()) {
            let results = found.remove(at);
            found.push(results);
        }
        found
    }

    /// Whether one of the series found, by partition, is both a device's and a result. All those of devices are where the
    /// ring of now sends them.
    pub(super) fn has_twins(&self, tenant: &Tenant, ids: &[RoaringBitmap]) -> bool {
        let results = self.rings.results();
        let Some((results, own)) = results.and_then(|at| Some((at, ids.get(at)?))) else {
            return false;
        };
        let others = ids.iter().map(RoaringBitmap::len).sum::<u64>() - own.len();
        if others == 0 {
            return false;
        }
        let routing = self.rings.current();
        let route = routing.of(tenant);
        let labels = |series| {
            let partition = self.read(results);
            let head = partition.tenants.get(tenant);
            head.map(|head| head.registry().labels(series))
        };
        own.iter().filter_map(labels).any(|labels| {
            let place = route.place(labels.ring_hash(tenant));
            let partition = self.read(place);
            let head = partition.tenants.get(tenant);
            let twin = head.and_then(|head| head.registry().find_labels(labels.iter()));
            twin.is_some_and(|twin| ids.get(place).is_some_and(|ids| ids.contains(twin)))
        })
    }

    /// Counts all results by reading them, a few series at a time.
    pub(crate) fn count_results(&self) -> Result<u64, SelectError> {
        let Some(partition) = self.rings.results() else {
            return Ok(0);
        };
        let tenants: Vec<Tenant> = self.read(partition).tenants.keys().cloned().collect();
        let wanted = Wanted {
            only: Some(OWNER),
            ..Wanted::all((i64::MIN, i64::MAX))
        };
        let mut samples = 0;
        for tenant in tenants {
            let found = |ids: &[u32]| {
                let partition = self.read(partition);
                let head = partition.tenants.get(&tenant);
                head.map_or_else(Found::default, |head| {
                    head.found_in_order(ids.iter().copied().collect(), wanted)
                })
            };
            let all: Vec<u32> = match self.read(partition).tenants.get(&tenant) {
                Some(head) => head.registry().all().iter().collect(),
                None => continue,
            };
            for ids in all.chunks(COUNTED_AT_ONCE) {
                let slices = super::select::slices(found(ids), wanted, &ReadLimits::samples(usize::MAX))?;
                samples += slices.iter().map(|slice| slice.len() as u64).sum::<u64>();
            }
        }
        Ok(samples)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wire::Timestamp;

    use super::*;
    use crate::heads::HeadLimits;
    use crate::results::{OwnSample, arrange};
    use crate::rings::{Hashrings, Rings};

    fn heads() -> Heads {
        let (rings, _) = Rings::new(Vec::new(), &Hashrings::of_partitions(2));
        let limits = HeadLimits {
            head_bytes: 1 << 20,
            late_bytes: 1 << 20,
            own_rows: 1,
        };
        Heads::new(Arc::new(rings), limits)
    }

    fn record(heads: &Heads, tenant: &Tenant, metric: &str, series: impl Iterator<Item = u64>, time: i64) {
        let sample = |series: u64| OwnSample {
            labels: Labels::new([("__name__", metric), ("i", &format!("{series:03}"))]).unwrap(),
            time: Timestamp::from_ms(time),
            value: (time as f64).into(),
        };
        let samples: Vec<OwnSample> = series.map(sample).collect();
        let arrival = Arrival {
            number: 1,
            file: 1,
            received_ms: 1,
            ring: 1,
            replayed: false,
        };
        heads.record(tenant, arrange(&samples.iter().collect::<Vec<_>>()), arrival);
    }

    #[test]
    fn many_rules_have_a_group_each_and_one_that_changes_leaves_few() {
        let (heads, tenant) = (heads(), Tenant::new("t").unwrap());
        let groups = || {
            let partition = heads.read(heads.rings.results().unwrap());
            partition.tenants[&tenant].groups().count()
        };
        for time in 0..3 {
            for rule in 0..200 {
                record(&heads, &tenant, &format!("rule_{rule}"), 0..20, time);
            }
        }
        assert_eq!(groups(), 200);
        // Each time another one of the hundred is not firing.
        for time in 0..90_i64 {
            let firing = (0..100).filter(|series| *series != time as u64);
            record(&heads, &tenant, "ALERTS", firing, time);
        }
        assert!(groups() <= 200 + 100 + MOST, "{}", groups());
        let everything = heads.selection(&tenant, Vec::new(), (i64::MIN, i64::MAX), false);
        let found = everything.read_all(&ReadLimits::samples(usize::MAX)).unwrap();
        let samples: usize = found.iter().map(|slice| slice.values.len()).sum();
        assert_eq!(samples, 200 * 20 * 3 + 90 * 99);
    }

    /// Lists that a series may be in, and those that lack it.
    const MOST: usize = 8;
}
