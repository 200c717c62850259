//! What is to be done beside commits, one round at a time: seals, merges, retention, damage, quarantine, the journal's
//! files.
//!
//! Only a round changes the partitions' folders. Each of its steps leaves the store whole when the disk refuses, and the
//! next round tries again.

mod damage;
mod merge;
mod retention;
mod seal;

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use wire::Timestamp;

use super::partitions::{PartitionDisk, lock};
use super::{Store, read};
use crate::cursors;
use crate::error::Damage;
use crate::heads::SealTarget;
use crate::index::Change;
use crate::journal::FileError;

/// How often what nobody uses is let go, ms.
const SWEEP_MS: i64 = 60_000;

/// What a round of maintenance did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Round {
    /// Windows of a tenant and partition that became blocks.
    pub sealed: usize,
    /// Blocks that went into larger ones.
    pub merged: usize,
    /// Blocks that went as they were older, or took more, than is kept.
    pub expired: usize,
    /// Batches' rows that left the quarantine.
    pub released: usize,
    /// Journal files unlinked.
    pub freed: usize,
    /// Dictionaries that no kept record names.
    pub dictionaries: usize,
    /// Blocks that were set aside.
    pub damage: Vec<Damage>,
    /// Steps that the disk refused; the next round tries them again.
    pub failed: Vec<String>,
}

impl Round {
    /// Notes what a step did, or why it did not.
    fn note<T: Default>(&mut self, step: &str, outcome: Result<T, impl std::fmt::Display>) -> T {
        outcome.unwrap_or_else(|error| {
            self.failed.push(format!("{step}: {error}"));
            T::default()
        })
    }

    fn add(&mut self, other: Round) {
        self.sealed += other.sealed;
        self.merged += other.merged;
        self.expired += other.expired;
        self.damage.extend(other.damage);
        self.failed.extend(other.failed);
    }
}

/// A partition by its number.
type Disk<'a> = (usize, &'a Mutex<PartitionDisk>);

/// What rounds remember.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    swept_ms: Option<i64>,
}

impl Store {
    /// One round of what time brings, to be called about each second: windows that are due become blocks, blocks are
    /// merged, what is too old goes, quarantined rows are released, and journal files that nobody needs are unlinked.
    /// Rounds wait for one another.
    pub fn maintain(&self, now: Timestamp) -> Round {
        let mut upkeep = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
        self.clock.store(now.ms(), Ordering::Relaxed);
        let mut round = Round::default();
        let released = self.settle_quarantine(now);
        round.released = round.note("quarantine", released);
        let opened = self.open_new_partitions(&mut round.damage);
        round.note("partitions", opened);
        let targets = self.targets(now);
        let disks = self.partitions();
        let partitions = in_parallel(disks.len(), |number| {
            let mut part = Round::default();
            let disk = (number, &*disks[number]);
            self.set_aside_damaged(disk, &mut part);
            self.seal(disk, &targets_of(&targets, number), &mut part);
            self.merge(disk, now, &mut part);
            part
        });
        partitions.into_iter().for_each(|part| round.add(part));
        self.expire(now, &mut round);
        round.note("cursors", self.write_cursors());
        let freed = self.free_journal();
        round.freed = round.note("journal", freed);
        if upkeep
            .swept_ms
            .is_none_or(|at| now.ms() >= at.saturating_add(SWEEP_MS))
        {
            upkeep.swept_ms = Some(now.ms());
            self.sweep(now, &mut round);
        }
        round
    }

    /// Unlinks the journal files that neither a head nor a destination needs.
    fn free_journal(&self) -> Result<usize, FileError> {
        let mut writer = self.writer();
        // No commit is under way, so the heads hold everything that is journaled and in no block.
        let needed = self.heads.oldest_number();
        let needed = needed.into_iter().chain(cursors::oldest(&writer.tables.cursors));
        let below = needed.min().unwrap_or(u64::MAX);
        writer.journal.free(below)
    }

    /// Lets go what nobody uses any more: groups, series, notes of what is sealed, dictionaries.
    fn sweep(&self, now: Timestamp, round: &mut Round) {
        let oldest = self.writer().journal.oldest();
        self.heads.sweep(now.ms());
        for (number, partition) in self.partitions().iter().enumerate() {
            let mut partition = lock(partition);
            partition.drop_series(self.heads.take_unused(number));
            let unsealed = self.heads.forget_sealed(number, oldest);
            if partition.has_dropped() || !unsealed.is_empty() {
                let change = Change {
                    unsealed,
                    ..Change::default()
                };
                round.note("index", partition.commit(&self.config, change));
            }
        }
        let quarantined = read(&self.quarantine).dicts();
        let swept = self.dicts.sweep(oldest, &quarantined);
        round.dictionaries = round.note("dictionaries", swept);
    }
}

/// Does something for each of so many, on as many threads as there are cores.
fn in_parallel(count: usize, act: impl Fn(usize) -> Round + Sync) -> Vec<Round> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(count);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return done;
            }
            done.push(act(number));
        }
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            done.extend(
                other
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            );
        }
        done
    })
}

fn targets_of(targets: &[SealTarget], number: usize) -> Vec<SealTarget> {
    let of = targets.iter().filter(|target| target.partition == number);
    of.cloned().collect()
}
