//! Caps on series: a list of series that would exceed one is dropped, row by row, before it costs memory.

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
    of_devices: HashMap<DeviceName, usize>,
    of_tenants: HashMap<Tenant, usize>,
    /// Lists met before in the commit, and whether they are over a cap.
    known: HashMap<(DeviceName, DictHash, Vec<SeriesId>), bool>,
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
        }
    }

    /// Whether each group of a batch is over a cap; empty if none is.
    pub(super) fn over(&mut self, number: Option<DeviceRef>, entry: &BatchEntry) -> Vec<bool> {
        let key = (entry.device.clone(), entry.batch.header.dict);
        let Some(dict) = self.dicts.get(&key) else {
            return Vec::new();
        };
        let groups = entry.batch.groups.iter();
        let over: Vec<bool> = groups
            .map(|group| self.is_over(number, &entry.device, group, (key.1, dict)))
            .collect();
        match over.contains(&true) {
            true => over,
            false => Vec::new(),
        }
    }

    fn is_over(
        &mut self,
        number: Option<DeviceRef>,
        device: &DeviceName,
        group: &Group,
        (hash, dict): (DictHash, &Dictionary),
    ) -> bool {
        let list = (device.clone(), hash, group.series.clone());
        if let Some(over) = self.known.get(&list) {
            return *over;
        }
        let new = self.heads.new_series(device, group, dict);
        let tenant = device.tenant();
        let (most, most_of_tenant) = (
            self.config.max_series_per_device,
            self.config.max_series_of(tenant),
        );
        let here = self.of_devices.get(device).copied().unwrap_or(0);
        let here_of_tenant = self.of_tenants.get(tenant).copied().unwrap_or(0);
        let exceeds = |most: usize, held: &dyn Fn() -> usize, here: usize| {
            most > 0 && new > 0 && held().saturating_add(here).saturating_add(new) > most
        };
        let held = || number.map_or(0, |number| self.heads.active_of(tenant, number));
        let over = exceeds(most, &held, here)
            || exceeds(most_of_tenant, &|| self.heads.active(tenant), here_of_tenant);
        if !over {
            *self.of_devices.entry(device.clone()).or_default() += new;
            *self.of_tenants.entry(tenant.clone()).or_default() += new;
        }
        self.known.insert(list, over);
        over
    }
}
