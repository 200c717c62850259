//! The fresh lane: rows of this run that have not left memory, and the key that they are written against.

use std::collections::VecDeque;

use wire::batch::Key;

use crate::delivery::assembly::{alike, place};
use crate::delivery::outbox::MessageId;
use crate::wal::LoggedRow;

/// Rows per group of a key after which it is renewed.
const RENEW_AFTER: usize = 60;

/// Rows of other targets that are kept to be in the next key.
const MAX_RECENT: usize = 8;

/// Rows in one fresh batch from which it needs no key.
pub(crate) const SELF_CONTAINED_FROM: usize = 20;

/// A key that this connection's bridge can have.
#[derive(Debug)]
pub(crate) struct ActiveKey {
    pub(crate) key: Key,
    /// The batch that defines it.
    pub(crate) message: MessageId,
    /// That batch is settled.
    pub(crate) settled: bool,
    /// Rows written against it.
    rows: usize,
    /// Rows that had no group in it.
    alone: usize,
}

/// Rows in memory, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    queue: VecDeque<LoggedRow>,
    /// The last row of each target, as far as targets can be told by their series.
    recent: Vec<LoggedRow>,
}

impl ActiveKey {
    pub(crate) fn new(key: Key, message: MessageId) -> ActiveKey {
        ActiveKey {
            key,
            message,
            settled: false,
            rows: 0,
            alone: 0,
        }
    }

    /// Counts a row that is written with this key.
    pub(crate) fn used(&mut self, row: &LoggedRow) {
        match place(&self.key, &row.group.series) {
            Some(_) => self.rows += 1,
            None => self.alone += 1,
        }
    }

    /// Whether it is time for the next key: used up, or a round of rows found no place in it.
    pub(crate) fn is_old(&self, targets: usize) -> bool {
        self.rows >= RENEW_AFTER * self.key.groups().len().max(1) || self.alone >= targets.max(1)
    }
}

impl Fresh {
    /// Adds a row; returns the oldest one if there are more than `most`.
    pub(crate) fn push(&mut self, row: LoggedRow, most: usize) -> Option<LoggedRow> {
        self.queue.push_back(row);
        if self.queue.len() > most {
            return self.queue.pop_front();
        }
        None
    }

    pub(crate) fn rows(&self) -> &VecDeque<LoggedRow> {
        &self.queue
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Takes the first rows out.
    pub(crate) fn take(&mut self, count: usize) -> Vec<LoggedRow> {
        self.queue.drain(..count.min(self.queue.len())).collect()
    }

    /// Puts rows back that did not go.
    pub(crate) fn put_back(&mut self, rows: Vec<LoggedRow>) {
        rows.into_iter().rev().for_each(|row| self.queue.push_front(row));
    }

    /// Drops rows that `keep` does not want.
    pub(crate) fn retain(&mut self, keep: impl Fn(&LoggedRow) -> bool) {
        self.queue.retain(keep);
    }

    /// How many targets were seen.
    pub(crate) fn targets(&self) -> usize {
        self.recent.len()
    }

    /// Rows of other targets than these: a key that is defined now should have them too.
    pub(crate) fn others(&self, rows: &[LoggedRow]) -> Vec<LoggedRow> {
        let Some(first) = rows.first() else {
            return Vec::new();
        };
        let other = |known: &&LoggedRow| {
            known.lineage == first.lineage
                && !rows
                    .iter()
                    .any(|row| alike(&row.group.series, &known.group.series))
        };
        self.recent.iter().filter(other).cloned().collect()
    }

    /// Remembers rows that were published as their targets' last.
    pub(crate) fn published(&mut self, rows: Vec<LoggedRow>) {
        for mut row in rows {
            row.group.metadata.clear();
            self.recent.retain(|known| {
                known.lineage == row.lineage && !alike(&known.group.series, &row.group.series)
            });
            if self.recent.len() >= MAX_RECENT {
                self.recent.remove(0);
            }
            self.recent.push(row);
        }
    }
}
