//! What is to be done beside commits, one round at a time.

use wire::Timestamp;

use super::Store;
use crate::cursors;

/// What a round of maintenance did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Round {
    /// Batches' rows that left the quarantine.
    pub released: usize,
    /// Journal files unlinked.
    pub freed: usize,
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
}

impl Store {
    /// One round of what time brings: cursors are written, quarantined rows released, journal files unlinked that nobody
    /// needs. To be called about each second; a step that fails leaves everything as it was and is tried again.
    pub fn maintain(&self, now: Timestamp) -> Round {
        let mut round = Round::default();
        let released = self.settle_quarantine(now);
        round.released = round.note("quarantine", released);
        round.note("cursors", self.write_cursors());
        let freed = self.free_journal();
        round.freed = round.note("journal", freed);
        round
    }

    /// Unlinks the journal files that neither a head nor a destination needs.
    fn free_journal(&self) -> Result<usize, crate::journal::FileError> {
        let mut writer = self.writer();
        let needed = Some(1).into_iter().chain(cursors::oldest(&writer.tables.cursors));
        let below = needed.min().unwrap_or(u64::MAX);
        writer.journal.free(below)
    }
}
