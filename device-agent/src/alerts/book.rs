//! What was last logged of each alert, and until when its source vouches for it.
//!
//! Pure. An assertion that says nothing new only puts the end off. Ends are counted on the monotonic clock from when they
//! were heard, so a jump of the wall clock ends nothing.

use std::collections::BTreeMap;

use wire::message::Alert;
use wire::{Labels, Timestamp};

use super::posted::Posted;
use crate::input::Moment;

/// Alerts that are remembered, firing and over.
pub(crate) const MAX_ALERTS: usize = 1000;

/// Text of these, bytes.
const MAX_BYTES: usize = 4 << 20;

/// How long one that is over is remembered, ms: Prometheus says that it is for 15 minutes.
const KEEP_ENDED: u64 = 20 * 60_000;

/// Shortest time between records of one alert that differ in nothing but annotations and source, ms.
const CHANGE_EVERY: u64 = 60_000;

/// Room for another alert is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_ALERTS} alerts or {MAX_BYTES} bytes of them are known already")]
pub(crate) struct Full;

/// The alerts by their labels.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Book {
    entries: BTreeMap<Labels, Entry>,
    bytes: usize,
}

/// What is known of one alert.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// As last logged; of a firing one, `ends_ms` is the end by its latest assertion.
    pub(crate) posted: Posted,
    /// It is over, at `posted.ends_ms`.
    pub(crate) ended: bool,
    /// The log has it.
    pub(crate) logged: bool,
    /// From its latest assertion to the end that this set, ms.
    pub(crate) patience_ms: u64,
    /// When it ends, or may be forgotten: ms since boot.
    until_ms: u64,
    /// When it was last logged: ms since boot.
    logged_ms: u64,
}

impl Book {
    /// A book of entries of an earlier run: sources have as long as they had to assert their alerts again.
    pub(crate) fn restored(entries: impl IntoIterator<Item = Entry>, now: Moment) -> Book {
        let mut book = Book::default();
        for mut entry in entries.into_iter().take(MAX_ALERTS) {
            let span = if entry.ended {
                KEEP_ENDED
            } else {
                entry.patience_ms
            };
            entry.until_ms = now.mono_ms.saturating_add(span);
            book.insert(entry);
        }
        book
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Alerts that fire.
    pub(crate) fn firing(&self) -> usize {
        self.entries().filter(|entry| !entry.ended).count()
    }

    /// The same with the times, ms since boot, at which they were last asserted.
    pub(crate) fn asserted(&self) -> impl Iterator<Item = (&Posted, u64)> {
        let firing = self.entries().filter(|entry| !entry.ended);
        firing.map(|entry| (&entry.posted, entry.until_ms.saturating_sub(entry.patience_ms)))
    }

    /// Takes an assertion; the record that it makes, if it says something new.
    ///
    /// # Errors
    /// It is of an alert that is not known yet, and there is no room.
    pub(crate) fn assert(&mut self, mut posted: Posted, now: Moment) -> Result<Option<Alert>, Full> {
        let ended = posted.is_resolved(now.wall);
        let known = self.entries.get(&posted.labels);
        if let Some(known) = known.filter(|known| !known.ended) {
            posted.starts_ms = posted.starts_ms.min(known.posted.starts_ms);
        }
        let silent = known.is_some_and(|known| known.covers(&posted, ended, now.mono_ms));
        if silent {
            self.put_off(&posted, now);
            return Ok(None);
        }
        self.make_room(&posted)?;
        let record = posted.record(ended.then_some(posted.ends_ms));
        self.insert(Entry::new(posted, ended, now));
        Ok(Some(record))
    }

    /// Whether an alert ends or can be forgotten now, or is still to be logged.
    pub(crate) fn is_due(&self, now: Moment) -> bool {
        self.entries()
            .any(|entry| !entry.logged || entry.until_ms <= now.mono_ms)
    }

    /// Ends what was not asserted in time, and forgets what is long over; the records of the ends.
    pub(crate) fn expire(&mut self, now: Moment) -> Vec<Alert> {
        let due = |entry: &Entry| entry.until_ms <= now.mono_ms;
        let gone: Vec<Labels> = self.labels_of(|entry| entry.ended && entry.logged && due(entry));
        gone.iter().for_each(|labels| self.remove(labels));
        let mut records = Vec::new();
        for entry in self
            .entries
            .values_mut()
            .filter(|entry| !entry.ended && due(entry))
        {
            records.push(entry.posted.record(Some(entry.posted.ends_ms)));
            *entry = Entry::new(entry.posted.clone(), true, now);
        }
        records
    }

    /// The records of what is not known to be in the log.
    pub(crate) fn unlogged(&self) -> Vec<Alert> {
        let unlogged = self.entries().filter(|entry| !entry.logged);
        unlogged
            .map(|entry| entry.posted.record(entry.ended.then_some(entry.posted.ends_ms)))
            .collect()
    }

    /// The log has these of what is not known to be in it, in the order of [`Book::unlogged`].
    pub(crate) fn found(&mut self, logged: &[bool]) {
        let unlogged = self.entries.values_mut().filter(|entry| !entry.logged);
        unlogged
            .zip(logged)
            .for_each(|(entry, found)| entry.logged = *found);
    }

    /// The log has everything.
    pub(crate) fn logged(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.logged = true);
    }

    fn put_off(&mut self, posted: &Posted, now: Moment) {
        if let Some(known) = self.entries.get_mut(&posted.labels).filter(|known| !known.ended) {
            known.posted.ends_ms = posted.ends_ms;
            known.patience_ms = patience(posted, now.wall);
            known.until_ms = now.mono_ms.saturating_add(known.patience_ms);
        }
    }

    /// Forgets what is over, oldest first, until there is room.
    fn make_room(&mut self, posted: &Posted) -> Result<(), Full> {
        let known = self.entries.get(&posted.labels).map_or(0, Entry::bytes);
        let more = size(posted);
        let fits = |book: &Book| {
            let count = book.entries.len() + usize::from(known == 0);
            count <= MAX_ALERTS && book.bytes - known + more <= MAX_BYTES
        };
        while !fits(self) {
            let over = self
                .entries
                .iter()
                .filter(|(labels, entry)| entry.ended && entry.logged && **labels != posted.labels);
            let oldest = over.min_by_key(|(_, entry)| entry.until_ms);
            let labels = oldest.map(|(labels, _)| labels.clone()).ok_or(Full)?;
            self.remove(&labels);
        }
        Ok(())
    }

    fn labels_of(&self, which: impl Fn(&Entry) -> bool) -> Vec<Labels> {
        let found = self.entries.iter().filter(|(_, entry)| which(entry));
        found.map(|(labels, _)| labels.clone()).collect()
    }

    fn insert(&mut self, entry: Entry) {
        let labels = entry.posted.labels.clone();
        self.bytes += entry.bytes();
        if let Some(before) = self.entries.insert(labels, entry) {
            self.bytes -= before.bytes();
        }
    }

    fn remove(&mut self, labels: &Labels) {
        if let Some(entry) = self.entries.remove(labels) {
            self.bytes -= entry.bytes();
        }
    }
}

impl Entry {
    /// One that is still to be logged.
    fn new(posted: Posted, ended: bool, now: Moment) -> Entry {
        let patience_ms = patience(&posted, now.wall);
        let span = if ended { KEEP_ENDED } else { patience_ms };
        Entry {
            posted,
            ended,
            logged: false,
            patience_ms,
            until_ms: now.mono_ms.saturating_add(span),
            logged_ms: now.mono_ms,
        }
    }

    /// One that was stored; its times on the monotonic clock are set when it is put into a book.
    pub(crate) fn stored(posted: Posted, ended: bool, logged: bool, patience_ms: u64) -> Entry {
        Entry {
            posted,
            ended,
            logged,
            patience_ms,
            until_ms: 0,
            logged_ms: 0,
        }
    }

    /// Whether an assertion of this alert says nothing that has to be logged now.
    fn covers(&self, posted: &Posted, ended: bool, now_ms: u64) -> bool {
        if !self.logged || self.ended != ended {
            return false;
        }
        if ended {
            return posted.ends_ms == self.posted.ends_ms;
        }
        let told = &self.posted;
        let same = told.annotations == posted.annotations && told.generator_url == posted.generator_url;
        let rested = now_ms.saturating_sub(self.logged_ms) >= CHANGE_EVERY;
        posted.starts_ms == told.starts_ms && (same || !rested)
    }

    fn bytes(&self) -> usize {
        size(&self.posted)
    }
}

fn patience(posted: &Posted, now: Timestamp) -> u64 {
    u64::try_from(posted.ends_ms.saturating_sub(now.ms())).unwrap_or(0)
}

/// Text of an alert with a little for the rest, bytes.
fn size(posted: &Posted) -> usize {
    let text = |set: &Labels| {
        set.iter()
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>()
    };
    text(&posted.labels) + text(&posted.annotations) + posted.generator_url.len() + 256
}

#[cfg(test)]
pub(super) mod tests;
