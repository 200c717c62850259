//! Resolved series by device, dictionary and list, so that labels are looked at once for many rows.

use std::collections::HashMap;
use std::sync::Arc;

use wire::dict::{DictHash, SeriesId};

use crate::ledger::DeviceRef;

#[derive(Debug)]
struct List<S> {
    dict: DictHash,
    ids: Vec<SeriesId>,
    series: Arc<[S]>,
    /// Since the last sweep.
    used: bool,
}

/// Lists of series, within a bound of series in all.
#[derive(Debug)]
pub(super) struct Lists<S> {
    by_device: HashMap<DeviceRef, Vec<List<S>>>,
    count: usize,
    most: usize,
}

impl<S> Lists<S> {
    pub(super) fn new(most: usize) -> Self {
        Lists {
            by_device: HashMap::new(),
            count: 0,
            most,
        }
    }

    pub(super) fn get(&mut self, device: DeviceRef, dict: DictHash, ids: &[SeriesId]) -> Option<Arc<[S]>> {
        let lists = self.by_device.get_mut(&device)?;
        let list = lists.iter_mut().find(|l| l.dict == dict && l.ids == ids)?;
        list.used = true;
        Some(list.series.clone())
    }

    pub(super) fn insert(&mut self, device: DeviceRef, dict: DictHash, ids: &[SeriesId], series: Arc<[S]>) {
        if self.count + ids.len() > self.most {
            self.sweep();
        }
        self.count += ids.len();
        self.by_device.entry(device).or_default().push(List {
            dict,
            ids: ids.to_vec(),
            series,
            used: true,
        });
    }

    /// Lets go of what was not used since the last sweep; of everything, if that is less than half.
    fn sweep(&mut self) {
        for lists in self.by_device.values_mut() {
            lists.retain_mut(|list| std::mem::take(&mut list.used));
        }
        self.by_device.retain(|_, lists| !lists.is_empty());
        let kept = self.by_device.values().flatten();
        self.count = kept.map(|list| list.ids.len()).sum();
        if self.count > self.most / 2 {
            self.by_device.clear();
            self.count = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_found_and_bounded() {
        let hash = DictHash::from_bytes([1; 16]);
        let mut lists = Lists::new(100);
        for n in 0..1000u32 {
            let ids = [SeriesId::new(n), SeriesId::new(n + 1)];
            assert!(lists.get(n % 7, hash, &ids).is_none());
            lists.insert(n % 7, hash, &ids, Arc::from([n, n]));
            assert_eq!(lists.get(n % 7, hash, &ids).as_deref(), Some(&[n, n][..]));
            assert!(lists.count <= 100);
        }
    }
}
