//! Caps on series: a list of series that would exceed one is dropped, row by row, before it costs memory.
//!
//! To count how many series of a list are new costs a look-up of each, so lists are counted only when all their series
//! being new would exceed a cap.

use std::collections::HashMap;
use std::sync::Arc;

use wire::batch::Group;
use wire::dict::{DictHash, Dictionary, SeriesId};
use wire::{DeviceName, Tenant};

use crate::config::Config;
use crate::entry::BatchEntry;
use crate::heads::Heads;
use crate::ledger::DeviceRef;

/// Dictionaries of batches that have a list of series the heads do not know.
pub(crate) type Dictionaries = HashMap<(DeviceName, DictHash), Arc<Dictionary>>;

/// Series counted while planning a commit.
pub(super) struct Caps<'a> {
    heads: &'a Heads,
    dicts: &'a Dictionaries,
    config: &'a Config,
    /// Series that the commit adds.
    of_devices: HashMap<DeviceName, Added>,
    of_tenants: HashMap<Tenant, Added>,
    /// Lists met before in the commit, and whether they are over a cap.
    known: HashMap<(DeviceName, DictHash), Vec<List>>,
    /// Lists that are within the caps, and not counted.
    uncounted: Vec<(DeviceName, DictHash, Arc<[SeriesId]>)>,
}

/// A list of series, and whether it is over a cap.
type List = (Arc<[SeriesId]>, bool);

/// Series that a commit adds.
#[derive(Debug, Clone, Copy, Default)]
struct Added {
    /// By lists that were counted.
    counted: usize,
    /// At most, by all.
    most: usize,
}

impl<'a> Caps<'a> {
    pub(super) fn new(heads: &'a Heads, dicts: &'a Dictionaries, config: &'a Config) -> Self {
        Caps {
            heads,
            dicts,
            config,
            of_devices: HashMap::new(),
            of_tenants: HashMap::new(),
            known: HashMap::new(),
            uncounted: Vec::new(),
        }
    }

    /// Whether each group of a batch is over a cap; empty if none is.
    pub(super) fn over(&mut self, number: Option<DeviceRef>, entry: &BatchEntry) -> Vec<bool> {
        let key = (entry.device.clone(), entry.batch.header.dict);
        if !self.dicts.contains_key(&key) {
            return Vec::new();
        }
        let groups = entry.batch.groups.iter();
        let over: Vec<bool> = groups.map(|group| self.is_over(number, &key, group)).collect();
        match over.contains(&true) {
            true => over,
            false => Vec::new(),
        }
    }

    fn is_over(&mut self, number: Option<DeviceRef>, key: &(DeviceName, DictHash), group: &Group) -> bool {
        let mut known = self.known.get(key).into_iter().flatten();
        if let Some((_, over)) = known.find(|(list, _)| *list == group.series) {
            return *over;
        }
        let (device, hash) = key;
        let over = if self.exceeds(number, device, group.series.len(), |added| added.most) {
            for (device, hash, series) in std::mem::take(&mut self.uncounted) {
                let new = self.new_series(&device, hash, &series);
                self.add(&device, |added| added.counted += new);
            }
            self.of_devices.values_mut().for_each(Added::settle);
            self.of_tenants.values_mut().for_each(Added::settle);
            let new = self.new_series(device, *hash, &group.series);
            let over = new > 0 && self.exceeds(number, device, new, |added| added.counted);
            if !over {
                self.add(device, |added| {
                    added.counted += new;
                    added.most += new;
                });
            }
            over
        } else {
            let most = group.series.len();
            self.add(device, |added| added.most += most);
            self.uncounted.push((device.clone(), *hash, group.series.clone()));
            false
        };
        let lists = self.known.entry(key.clone()).or_default();
        lists.push((group.series.clone(), over));
        over
    }

    /// Whether so many more series of a device exceed a cap.
    fn exceeds(
        &self,
        number: Option<DeviceRef>,
        device: &DeviceName,
        more: usize,
        added: impl Fn(&Added) -> usize,
    ) -> bool {
        let tenant = device.tenant();
        let exceeds = |cap: usize, held: &dyn Fn() -> usize, here: Option<&Added>| {
            let here = here.map_or(0, &added);
            cap > 0 && held().saturating_add(here).saturating_add(more) > cap
        };
        let held = || number.map_or(0, |number| self.heads.active_of(tenant, number));
        exceeds(
            self.config.max_series_per_device,
            &held,
            self.of_devices.get(device),
        ) || exceeds(
            self.config.max_series_of(tenant),
            &|| self.heads.active(tenant),
            self.of_tenants.get(tenant),
        )
    }

    fn new_series(&self, device: &DeviceName, hash: DictHash, series: &[SeriesId]) -> usize {
        let dict = self.dicts.get(&(device.clone(), hash));
        dict.map_or(0, |dict| self.heads.new_series(device, series, dict))
    }

    fn add(&mut self, device: &DeviceName, add: impl Fn(&mut Added)) {
        add(self.of_devices.entry(device.clone()).or_default());
        add(self.of_tenants.entry(device.tenant().clone()).or_default());
    }
}

impl Added {
    /// Now that all are counted.
    fn settle(&mut self) {
        self.most = self.counted;
    }
}
