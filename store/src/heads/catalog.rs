//! The blocks behind the heads: what was loaded at start, what a seal adds, what merges and retention replace.

use std::collections::BTreeMap;
use std::sync::Arc;

use wire::Tenant;

use super::seal::SealInput;
use super::tenant::TenantHead;
use super::window_head::WindowTally;
use super::{Heads, Partition};
use crate::block::{BlockFile, BlockMeta, Blocks};
use crate::index::Contents;
use crate::ledger::DeviceRef;
use crate::tally::Tally;
use crate::window::Window;

impl Heads {
    /// Takes what a partition has on disk, at start, before any row.
    pub(crate) fn load(&self, partition: usize, contents: Contents, blocks: Blocks) {
        let mut partition = self.write(partition);
        for (tenant, series) in contents.series {
            partition.head(&tenant).registry.load(&series);
        }
        for (tenant, below) in contents.above_dropped {
            partition.head(&tenant).registry.reserve(below);
        }
        for meta in contents.blocks {
            let tenant = meta.tenant.clone();
            partition.head(&tenant).add_block(blocks.file(meta));
        }
        for (tenant, window, sealed) in contents.sealed {
            partition.head(&tenant).sealed.insert(window, sealed);
        }
        partition.totals = contents.totals.into_iter().collect();
        partition.blocks = Some(blocks);
    }

    /// The blocks of a partition, of all tenants.
    pub(crate) fn blocks(&self, partition: usize) -> Vec<Arc<BlockFile>> {
        let partition = self.read(partition);
        let heads = partition.tenants.values();
        heads.flat_map(|head| head.blocks.iter().cloned()).collect()
    }

    /// New totals of devices whose samples are counted as given, as an index is to have them.
    pub(crate) fn totals_with(
        &self,
        partition: usize,
        counted: &[(DeviceRef, Tally)],
    ) -> Vec<(DeviceRef, Tally)> {
        let partition = self.read(partition);
        let with = |(device, tally): &(DeviceRef, Tally)| {
            let mut sum = partition.totals.get(device).cloned().unwrap_or_default();
            sum.add(tally);
            sum.forget_files(partition.oldest_file);
            (*device, sum)
        };
        counted.iter().map(with).collect()
    }

    /// Lets a block that the index has taken stand for the rows it was written from.
    pub(crate) fn sealed(&self, input: &SealInput, meta: BlockMeta) {
        let mut partition = self.write(input.target.partition);
        partition.count(&input.tallies);
        let Some(file) = partition.blocks.as_ref().map(|blocks| blocks.file(meta)) else {
            return;
        };
        let head = partition.head(&input.target.tenant);
        head.let_go(input.target.window);
        head.add_block(file);
        head.sealed.insert(input.target.window, input.sealed.clone());
        head.registry.set_indexed(input.new_ids.iter().copied());
    }

    /// Puts a merged block in the place of its sources, after the index has done so. Files of those that go are removed
    /// when their last reader is done.
    pub(crate) fn merged(&self, (partition, tenant): (usize, &Tenant), sources: &[u64], merged: BlockMeta) {
        let mut partition = self.write(partition);
        let file = partition.blocks.as_ref().map(|blocks| blocks.file(merged));
        let head = partition.head(tenant);
        head.remove_blocks(sources);
        if let Some(file) = file {
            head.add_block(file);
        }
    }

    /// How many samples of each device go with blocks. Blocks of one window go together, as of a sample that stands in two
    /// of them only the first counts.
    pub(crate) fn samples_in(
        &self,
        (partition, tenant): (usize, &Tenant),
        blocks: &[u64],
    ) -> Vec<(DeviceRef, u64)> {
        let partition = self.read(partition);
        let head = partition.tenants.get(tenant);
        head.map_or_else(Vec::new, |head| head.samples_in(blocks))
    }

    /// Lets blocks go for good, after the index has; `counted` is added to the totals. No seal of their windows is under
    /// way. Files are removed when their last reader is done.
    pub(crate) fn removed(
        &self,
        (partition, tenant): (usize, &Tenant),
        blocks: &[u64],
        counted: &[(DeviceRef, Tally)],
    ) {
        let mut partition = self.write(partition);
        partition.count(counted);
        let head = partition.head(tenant);
        for window in head.windows_of(blocks) {
            if let Some(rows) = head.windows.get_mut(&window) {
                rows.tallies.values_mut().for_each(WindowTally::lose_blocks);
            }
        }
        head.remove_blocks(blocks);
    }

    /// Forgets up to which number windows are sealed where the journal has nothing before `first` any more; gives
    /// those that an index may forget.
    pub(crate) fn forget_sealed(&self, partition: usize, first: u64) -> Vec<(Tenant, Window)> {
        let mut gone = Vec::new();
        let mut partition = self.write(partition);
        partition.oldest_file = first;
        for (tenant, head) in &mut partition.tenants {
            head.sealed.retain(|window, sealed| {
                let keep = sealed.number >= first;
                if !keep {
                    gone.push((tenant.clone(), *window));
                }
                keep
            });
        }
        gone
    }
}

impl Partition {
    fn count(&mut self, counted: &[(DeviceRef, Tally)]) {
        for (device, tally) in counted {
            let sum = self.totals.entry(*device).or_default();
            sum.add(tally);
            sum.forget_files(self.oldest_file);
        }
    }
}

impl TenantHead {
    fn add_block(&mut self, file: Arc<BlockFile>) {
        self.version += 1;
        self.newest_stored = self.newest_stored.max(file.meta().max_time);
        let at = self
            .blocks
            .partition_point(|known| known.meta().generation < file.meta().generation);
        self.blocks.insert(at, file);
    }

    fn remove_blocks(&mut self, generations: &[u64]) {
        self.version += 1;
        self.blocks.retain(|file| {
            let goes = generations.contains(&file.meta().generation);
            if goes {
                file.remove();
            }
            !goes
        });
    }

    /// Windows with rows that lie in blocks' ranges.
    fn windows_of(&self, generations: &[u64]) -> Vec<Window> {
        let blocks = self.blocks.iter().map(|file| file.meta());
        let blocks: Vec<_> = blocks
            .filter(|meta| generations.contains(&meta.generation))
            .collect();
        let within = |window: &&Window| {
            let start = window.start_ms();
            blocks
                .iter()
                .any(|meta| (meta.start_ms..meta.end_ms).contains(&start))
        };
        self.windows.keys().filter(within).copied().collect()
    }

    fn samples_in(&self, generations: &[u64]) -> Vec<(DeviceRef, u64)> {
        let mut sums: BTreeMap<DeviceRef, u64> = BTreeMap::new();
        for file in &self.blocks {
            if generations.contains(&file.meta().generation) {
                for (device, samples) in &file.meta().owners {
                    *sums.entry(*device).or_default() += samples;
                }
            }
        }
        sums.into_iter().filter(|(_, samples)| *samples > 0).collect()
    }

    fn let_go(&mut self, window: Window) {
        let Some(head) = self.sealing.remove(&window) else {
            return;
        };
        for number in head.groups {
            if let Some(Some(group)) = self.groups.get_mut(number as usize) {
                group.sealed(window);
            }
        }
    }

    /// Blocks that may have samples in a range of time, both ends included, by rising generation.
    pub(super) fn blocks_in(&self, start: i64, end: i64) -> impl Iterator<Item = &Arc<BlockFile>> {
        self.blocks
            .iter()
            .filter(move |file| file.meta().min_time <= end && file.meta().max_time >= start)
    }
}
