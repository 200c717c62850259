//! Seals: windows of the heads become blocks.

use std::collections::BTreeMap;

use wire::Timestamp;

use super::{Disk, Round};
use crate::block::{BlockMeta, Writer};
use crate::heads::{SealInput, SealTarget};
use crate::index::Change;
use crate::journal::FileError;
use crate::ledger::DeviceRef;
use crate::seal;
use crate::store::Store;
use crate::store::partitions::{PartitionDisk, lock};
use crate::tally::Tally;

/// Windows that go into the index at once, if their series are there.
const AT_ONCE: usize = 32;

impl Store {
    /// Windows to be sealed in this round.
    pub(super) fn targets(&self, now: Timestamp) -> Vec<SealTarget> {
        let held = self.writer().journal.excess(self.config.journal_bytes);
        self.heads.due(now.ms(), held)
    }

    /// Seals windows of a partition.
    pub(super) fn seal(&self, (number, disk): Disk<'_>, targets: &[SealTarget], round: &mut Round) {
        if targets.is_empty() {
            return;
        }
        let mut partition = lock(disk);
        let mut done = Vec::new();
        for target in targets {
            let Some(input) = self.heads.freeze(target) else {
                continue;
            };
            // The next window has mostly the same series, and is to find them in the index.
            let at_once = !input.new_ids.is_empty() || done.len() + 1 >= AT_ONCE;
            match self.write_block(&mut partition, &input) {
                Ok(meta) => done.push((input, meta)),
                Err(error) => {
                    self.heads.unsealed(input);
                    round.failed.push(format!("seal: {error}"));
                }
            }
            if at_once {
                self.take_sealed(number, &mut partition, std::mem::take(&mut done), round);
            }
        }
        self.take_sealed(number, &mut partition, done, round);
    }

    fn write_block(&self, partition: &mut PartitionDisk, input: &SealInput) -> Result<BlockMeta, FileError> {
        let SealTarget { tenant, window, .. } = &input.target;
        let range = (window.start_ms(), window.end_ms());
        let generation = partition.take_gen();
        let writer = Writer::create(&self.config.disk, &partition.dir, tenant, range, generation)?;
        seal::write(input, writer)
    }

    /// Puts blocks into the index, and then in the place of the rows that they were written from.
    fn take_sealed(
        &self,
        number: usize,
        partition: &mut PartitionDisk,
        mut done: Vec<(SealInput, BlockMeta)>,
        round: &mut Round,
    ) {
        if done.is_empty() {
            return;
        }
        let mut change = Change::default();
        let mut counted: BTreeMap<DeviceRef, Tally> = BTreeMap::new();
        for (input, meta) in &mut done {
            let SealTarget { tenant, window, .. } = &input.target;
            let series = std::mem::take(&mut input.new_series);
            change.series.push((tenant.clone(), series));
            change.add.push(meta.clone());
            change
                .sealed
                .push((tenant.clone(), *window, input.sealed.clone()));
            for (device, tally) in &input.tallies {
                counted.entry(*device).or_default().add(tally);
            }
        }
        let counted: Vec<_> = counted.into_iter().collect();
        change.totals = self.heads.totals_with(number, &counted);
        match partition.commit(&self.config, change) {
            Ok(()) => {
                round.sealed += done.len();
                for (input, meta) in done {
                    self.heads.sealed(&input, meta);
                }
            }
            Err(error) => {
                round.failed.push(format!("seal: {error}"));
                for (input, _) in done {
                    self.heads.unsealed(input);
                }
            }
        }
    }
}
