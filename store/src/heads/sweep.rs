//! What the heads let go when nobody uses it any more: layouts, groups without rows, series without samples.

use std::collections::HashSet;
use std::sync::Arc;

use roaring::RoaringBitmap;
use wire::Tenant;

use super::registry::Place;
use super::tenant::TenantHead;
use super::{Heads, WRITERS};
use crate::block::BlockFile;
use crate::ledger::DeviceRef;

/// How long a layout is kept that no batch used, ms.
const IDLE_MS: i64 = 3_600_000;

/// How long rows of the bridge's own series are kept that get no more, ms.
const OWN_IDLE_MS: i64 = 6 * 3_600_000;

impl Heads {
    /// Drops layouts that were not used for an hour and groups that hold no rows and are in no layout. Waits for the
    /// commit that is under way.
    pub(crate) fn sweep(&self, now_ms: i64) {
        let _between = self.between();
        let mut used: HashSet<(usize, u32)> = HashSet::new();
        for writer in 0..WRITERS {
            let mut writer = self.lock(writer);
            writer
                .layouts
                .retain(|_, layouts| !layouts.sweep(now_ms.saturating_sub(IDLE_MS)));
            let layouts = writer.layouts.values();
            used.extend(
                layouts
                    .flat_map(|layouts| layouts.parts())
                    .map(|part| (part.partition(), part.group())),
            );
        }
        for partition in 0..self.rings.count() {
            for head in self.write(partition).tenants.values_mut() {
                head.sweep(now_ms, |group| used.contains(&(partition, group)));
            }
        }
    }

    /// Takes series out that are in no group and in no block; gives them, to be dropped from the index. They come back
    /// under another number. Waits for the commit that is under way.
    pub(crate) fn take_unused(&self, partition: usize) -> Vec<(Tenant, u32)> {
        let candidates: Vec<(Tenant, RoaringBitmap, u64, Vec<Arc<BlockFile>>)> = self
            .read(partition)
            .tenants
            .iter()
            .map(|(tenant, head)| {
                (
                    tenant.clone(),
                    head.without_group(),
                    head.version,
                    head.blocks.clone(),
                )
            })
            .collect();
        let mut unused = Vec::new();
        for (tenant, mut series, version, blocks) in candidates {
            for file in blocks {
                if series.is_empty() {
                    break;
                }
                match file.open() {
                    Ok(block) => series -= block.ids(),
                    // It may hold any.
                    Err(_) => series.clear(),
                }
            }
            if !series.is_empty() {
                unused.push((tenant, series, version));
            }
        }
        let _between = self.between();
        let mut gone = Vec::new();
        let mut partition = self.write(partition);
        for (tenant, series, version) in unused {
            let Some(head) = partition
                .tenants
                .get_mut(&tenant)
                .filter(|head| head.version == version)
            else {
                continue;
            };
            for series in series & head.without_group() {
                head.registry.remove(series);
                gone.push((tenant.clone(), series));
            }
        }
        gone
    }

    /// Series of a tenant's devices that are in groups, that is, have rows in memory or had lately.
    pub(crate) fn active(&self, tenant: &Tenant) -> usize {
        self.active_in(tenant, None)
    }

    /// The same of one device.
    pub(crate) fn active_of(&self, tenant: &Tenant, device: DeviceRef) -> usize {
        self.active_in(tenant, Some(device))
    }

    fn active_in(&self, tenant: &Tenant, device: Option<DeviceRef>) -> usize {
        let in_partition = |partition| {
            let partition = self.read(partition);
            partition
                .tenants
                .get(tenant)
                .map_or(0, |head| head.active(device))
        };
        (0..self.rings.count()).map(in_partition).sum()
    }
}

impl TenantHead {
    fn without_group(&self) -> RoaringBitmap {
        let all = self.registry.all().iter();
        all.filter(|series| self.registry.place(*series).is_none())
            .collect()
    }

    fn sweep(&mut self, now_ms: i64, is_used: impl Fn(u32) -> bool) {
        let mut dropped = false;
        for number in 0..self.groups.len() as u32 {
            let Some(group) = self.group(number) else { continue };
            let idle = match group.owner() {
                Some(_) => group.is_empty() && !is_used(number),
                None => group.newest() < now_ms.saturating_sub(OWN_IDLE_MS),
            };
            if idle {
                self.drop_group(number);
                dropped = true;
            }
        }
        if dropped {
            self.registry.forget_groups();
        }
    }

    fn drop_group(&mut self, number: u32) {
        let Some(group) = self.groups.get_mut(number as usize).and_then(Option::take) else {
            return;
        };
        self.unlist(number, group.series());
        for sibling in group.siblings() {
            if let Some(Some(sibling)) = self.groups.get_mut(*sibling as usize) {
                sibling.remove_sibling(number);
            }
        }
        for series in group.series().iter() {
            self.leave(*series, number, group.owner());
        }
        if let Some(counts) = self.counts.get_mut(&group.owner()) {
            counts.groups -= 1;
            if counts.groups == 0 {
                self.counts.remove(&group.owner());
            }
        }
        self.free.push(number);
    }

    /// Takes a series out of a group; the next of its groups becomes its first.
    fn leave(&mut self, series: u32, group: u32, owner: Option<DeviceRef>) {
        let is_here = |place: &Place| place.group == group;
        let others = self.more.get_mut(&series);
        if self.registry.place(series).is_some_and(|place| is_here(&place)) {
            let next = others.and_then(Vec::pop);
            self.registry.set_place(series, next);
            let next_owner = next.and_then(|place| self.group(place.group).map(|group| group.owner()));
            if let Some(counts) = self.counts.get_mut(&owner) {
                counts.series -= 1;
            }
            if let Some(counts) = next_owner.and_then(|owner| self.counts.get_mut(&owner)) {
                counts.series += 1;
            }
        } else if let Some(others) = others {
            others.retain(|place| !is_here(place));
        }
        if self.more.get(&series).is_some_and(Vec::is_empty) {
            self.more.remove(&series);
        }
    }
}
