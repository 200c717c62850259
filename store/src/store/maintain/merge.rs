//! Merges: the blocks of a day that is over become one, and so do many blocks of one window.

use std::collections::BTreeMap;
use std::sync::Arc;

use wire::{Tenant, Timestamp};

use super::{Disk, Round};
use crate::block::{BlockFile, BlockMeta, Writer, merge};
use crate::index::Change;
use crate::journal::FileError;
use crate::store::Store;
use crate::store::partitions::{PartitionDisk, lock};
use crate::window::{DAY_MS, WINDOW_MS};

/// Blocks of one window, and late ones beside a day's, that are read one by one.
const MANY: usize = 8;

/// How long after its end a day's windows are sealed, ms.
const SETTLED_MS: i64 = WINDOW_MS;

/// Blocks to be made one.
struct Merge {
    tenant: Tenant,
    range: (i64, i64),
    /// By rising generation.
    sources: Vec<Arc<BlockFile>>,
}

impl Store {
    /// Does the most urgent merge of a partition, if one is due.
    pub(super) fn merge(&self, (number, disk): Disk<'_>, now: Timestamp, round: &mut Round) {
        let Some(due) = due(self.heads.blocks(number), now.ms()) else {
            return;
        };
        let mut partition = lock(disk);
        match self.merge_blocks(number, &mut partition, &due) {
            Ok(()) => round.merged += due.sources.len(),
            Err(error) => {
                // Whichever it is, the next round finds it.
                if matches!(error, FileError::Damaged(_)) {
                    due.sources.iter().for_each(|source| source.doubt());
                }
                round.failed.push(format!("merge: {error}"));
            }
        }
    }

    fn merge_blocks(
        &self,
        number: usize,
        partition: &mut PartitionDisk,
        due: &Merge,
    ) -> Result<(), FileError> {
        let sources: Vec<_> = due
            .sources
            .iter()
            .map(|file| file.open())
            .collect::<Result<_, _>>()?;
        let generation = partition.take_gen();
        let writer = Writer::create(
            &self.config.disk,
            &partition.dir,
            &due.tenant,
            due.range,
            generation,
        )?;
        let merged = merge(&sources, writer)?;
        let gone: Vec<u64> = due.sources.iter().map(|file| file.meta().generation).collect();
        let change = Change {
            add: vec![merged.clone()],
            remove: gone.clone(),
            ..Change::default()
        };
        partition.commit(&self.config, change)?;
        self.heads.merged((number, &due.tenant), &gone, merged);
        Ok(())
    }
}

/// The merge that saves the most: of the days and windows that have too many blocks, the one with the most.
fn due(blocks: Vec<Arc<BlockFile>>, now_ms: i64) -> Option<Merge> {
    let mut days: BTreeMap<(Tenant, i64), Vec<Arc<BlockFile>>> = BTreeMap::new();
    for file in blocks {
        let meta = file.meta();
        let key = (meta.tenant.clone(), meta.start_ms.div_euclid(DAY_MS));
        days.entry(key).or_default().push(file);
    }
    let merges = days.into_iter().filter_map(|((tenant, day), mut files)| {
        files.sort_by_key(|file| file.meta().generation);
        let range = (day.saturating_mul(DAY_MS), (day + 1).saturating_mul(DAY_MS));
        let over = now_ms >= range.1.saturating_add(SETTLED_MS);
        let whole = files.iter().any(|file| is_day(file.meta()));
        let enough = match (over, whole) {
            (true, true) => files.len() > MANY,
            (true, false) => files.len() > 1,
            (false, _) => return many_of_one(tenant, files),
        };
        enough.then_some(Merge {
            tenant,
            range,
            sources: files,
        })
    });
    merges.max_by_key(|merge| merge.sources.len())
}

/// The window that has the most blocks, if they are too many. A day's block among them stays out only if none of its
/// windows is written anew.
fn many_of_one(tenant: Tenant, files: Vec<Arc<BlockFile>>) -> Option<Merge> {
    if files.iter().any(|file| is_day(file.meta())) {
        return None;
    }
    let mut windows: BTreeMap<i64, Vec<Arc<BlockFile>>> = BTreeMap::new();
    for file in files {
        windows.entry(file.meta().start_ms).or_default().push(file);
    }
    let (start, sources) = windows.into_iter().max_by_key(|(_, files)| files.len())?;
    (sources.len() > MANY).then_some(Merge {
        tenant,
        range: (start, start.saturating_add(WINDOW_MS)),
        sources,
    })
}

fn is_day(meta: &BlockMeta) -> bool {
    meta.end_ms - meta.start_ms > WINDOW_MS
}
