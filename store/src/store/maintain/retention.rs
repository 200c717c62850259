//! Retention: blocks that are older, or take more, than is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wire::{Tenant, Timestamp};

use super::{Disk, Round};
use crate::block::{BlockFile, BlockMeta};
use crate::index::Change;
use crate::journal::FileError;
use crate::ledger::DeviceRef;
use crate::store::Store;
use crate::store::partitions::lock;
use crate::tally::Tally;

impl Store {
    /// Removes blocks that ended before what is kept, and the oldest ones while there are too many.
    pub(super) fn expire(&self, now: Timestamp, round: &mut Round) {
        let disks = self.partitions();
        let blocks: Vec<Vec<Arc<BlockFile>>> =
            (0..disks.len()).map(|number| self.heads.blocks(number)).collect();
        let mut cuts: BTreeMap<Tenant, i64> = BTreeMap::new();
        for file in blocks.iter().flatten() {
            let tenant = &file.meta().tenant;
            if !cuts.contains_key(tenant) {
                cuts.insert(tenant.clone(), self.config.oldest_kept(tenant, now).ms());
            }
        }
        self.cut_by_size(blocks.iter().flatten().map(|file| file.meta()), &mut cuts);
        for (number, files) in blocks.iter().enumerate() {
            for (tenant, gone) in ended(files, &cuts) {
                let removed =
                    self.remove_blocks((number, &disks[number]), &tenant, &gone, |tally, samples| {
                        tally.retention = samples
                    });
                match removed {
                    Ok(()) => round.expired += gone.len(),
                    Err(error) => round.failed.push(format!("retention: {error}")),
                }
            }
        }
    }

    /// Raises the times before which blocks go until what is left takes no more than it may.
    fn cut_by_size<'a>(&self, blocks: impl Iterator<Item = &'a BlockMeta>, cuts: &mut BTreeMap<Tenant, i64>) {
        let mut kept: Vec<&BlockMeta> = blocks.filter(|meta| meta.end_ms > cuts[&meta.tenant]).collect();
        kept.sort_by_key(|meta| meta.end_ms);
        for (tenant, own) in self
            .config
            .tenants
            .iter()
            .filter(|(_, own)| own.retention_size > 0)
        {
            let theirs = kept.iter().copied().filter(|meta| meta.tenant == *tenant);
            if let Some(cut) = cut(theirs.collect(), own.retention_size) {
                cuts.insert(tenant.clone(), cut);
            }
        }
        kept.retain(|meta| meta.end_ms > cuts[&meta.tenant]);
        if self.config.retention_size > 0
            && let Some(all) = cut(kept, self.config.retention_size)
        {
            cuts.values_mut().for_each(|cut| *cut = (*cut).max(all));
        }
    }

    /// Takes blocks out of the index and the heads; `count` enters each device's samples of them into what is counted.
    pub(super) fn remove_blocks(
        &self,
        (number, disk): Disk<'_>,
        tenant: &Tenant,
        gone: &[u64],
        count: impl Fn(&mut Tally, u64),
    ) -> Result<(), FileError> {
        let mut partition = lock(disk);
        let counted: Vec<(DeviceRef, Tally)> = self
            .heads
            .samples_in((number, tenant), gone)
            .into_iter()
            .map(|(device, samples)| {
                let mut tally = Tally::default();
                count(&mut tally, samples);
                (device, tally)
            })
            .collect();
        let change = Change {
            remove: gone.to_vec(),
            totals: self.heads.totals_with(number, &counted),
            ..Change::default()
        };
        partition.commit(&self.config, change)?;
        self.heads.removed((number, tenant), gone, &counted);
        Ok(())
    }
}

/// The end of the last block that has to go so that the rest takes no more than `most`; blocks by rising end.
fn cut(blocks: Vec<&BlockMeta>, most: u64) -> Option<i64> {
    let mut bytes: u64 = blocks.iter().map(|meta| meta.bytes).sum();
    let mut end = None;
    for meta in blocks {
        if bytes <= most {
            break;
        }
        bytes -= meta.bytes;
        end = Some(meta.end_ms);
    }
    end
}

/// Blocks that end at or before their tenant's cut and share no time with one that stays.
fn ended(files: &[Arc<BlockFile>], cuts: &BTreeMap<Tenant, i64>) -> BTreeMap<Tenant, Vec<u64>> {
    let ends = |meta: &BlockMeta| meta.end_ms <= cuts.get(&meta.tenant).copied().unwrap_or(i64::MIN);
    let staying: BTreeSet<(&Tenant, i64, i64)> = files
        .iter()
        .map(|file| file.meta())
        .filter(|meta| !ends(meta))
        .map(|meta| (&meta.tenant, meta.start_ms, meta.end_ms))
        .collect();
    let mut gone: BTreeMap<Tenant, Vec<u64>> = BTreeMap::new();
    for meta in files.iter().map(|file| file.meta()).filter(|meta| ends(meta)) {
        let shares = |(tenant, start, end): &(&Tenant, i64, i64)| {
            **tenant == meta.tenant && *start < meta.end_ms && meta.start_ms < *end
        };
        if !staying.iter().any(shares) {
            gone.entry(meta.tenant.clone()).or_default().push(meta.generation);
        }
    }
    gone
}
