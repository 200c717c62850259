//! Plans a delivery: row by row, what is new of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use wire::batch::{Batch, Key};
use wire::{Seq, SeqSet};

use super::{Effect, Planner};
use crate::entry::{BatchEntry, Lane};
use crate::ledger::{Class, Fact, RowFact};
use crate::quarantine;
use crate::record::{BatchRecord, What};
use crate::subset::subset;

impl Planner<'_> {
    pub(super) fn batch(&mut self, entry: BatchEntry) {
        let session = entry.batch.header.session;
        let rows = match self.forgotten(&entry.device, session, entry.received) {
            true => {
                self.receipt(&entry.device, session).forgotten = true;
                row_facts(&entry.batch, |_| Class::Redelivered)
            }
            false => self.classify(&entry),
        };
        self.note(&entry, &rows);
        let any_new = rows.iter().any(|row| row.class != Class::Redelivered);
        let key = entry.defines.clone().filter(|key| self.wants_key(&entry, key));
        if !any_new && key.is_none() {
            return;
        }
        let payload = self.payload(&entry);
        if let Some(key) = &key {
            self.keep_key(&entry, key.clone());
        }
        let what = What::Batch(BatchRecord {
            lane: u32::from(entry.lane == Lane::Backlog),
            classes: Class::encode(rows.iter().map(|row| row.class)),
            payload,
        });
        let record = self.record(&entry.device, entry.received, what);
        let number = record.device;
        self.plan.records.push(record);
        let take = rows.iter().map(|row| row.class == Class::Stored).collect();
        self.plan
            .effects
            .push(batch_effect(number, entry, (rows, take), key));
    }

    /// The class of every row. Rows of one seq are one record: they share a fate.
    fn classify(&mut self, entry: &BatchEntry) -> Vec<RowFact> {
        let session = entry.batch.header.session;
        let ahead = entry.received.plus(self.config.future_limit).ms();
        let kept = self
            .config
            .oldest_kept(entry.device.tenant(), entry.received)
            .ms();
        let old = self.settled_among(&entry.device, session, &entry.batch.seqs());
        let mut rows = row_facts(&entry.batch, |seq| match old.binary_search(&seq) {
            Ok(_) => Class::Redelivered,
            Err(_) => Class::Stored,
        });
        let mut special = BTreeMap::new();
        for row in rows.iter().filter(|row| row.class == Class::Stored) {
            if row.time_ms > ahead {
                special.insert(row.seq, Class::Quarantined);
            } else if row.time_ms < kept {
                special.entry(row.seq).or_insert(Class::OutOfRetention);
            }
        }
        // What has one row that is kept is kept.
        for row in rows.iter().filter(|row| (kept..=ahead).contains(&row.time_ms)) {
            if special.get(&row.seq) == Some(&Class::OutOfRetention) {
                special.remove(&row.seq);
            }
        }
        let over = self.caps.over(self.find(&entry.device), entry);
        for (group, _) in entry.batch.groups.iter().zip(over).filter(|(_, over)| *over) {
            special.extend(group.rows.iter().map(|row| (row.seq.get(), Class::Limit)));
        }
        if !special.is_empty() {
            set_classes(&mut rows, &special);
            self.quarantine(entry, &mut rows);
        }
        rows
    }

    /// Puts rows of the class into the quarantine, all of them or, if there is no room, none.
    fn quarantine(&mut self, entry: &BatchEntry, rows: &mut [RowFact]) {
        let ahead: Vec<bool> = rows.iter().map(|row| row.class == Class::Quarantined).collect();
        if !ahead.contains(&true) {
            return;
        }
        let batch = subset(&entry.batch, &ahead);
        let device = self.find(&entry.device).unwrap_or(self.next_device);
        let row = quarantine::encode(device, &entry.device, entry.received, &batch);
        let (bytes, number) = self.quarantined;
        let bytes = bytes.saturating_add(row.len() as u64);
        if bytes <= self.config.quarantine_bytes {
            self.quarantined = (bytes, number + 1);
            self.held.push((entry.device.clone(), number));
            self.plan.quarantine.push((number, Some(row)));
            return;
        }
        for row in rows.iter_mut().filter(|row| row.class == Class::Quarantined) {
            row.class = Class::QuarantineFull;
        }
    }

    /// Enters the rows into the receipt and the group's settled set.
    fn note(&mut self, entry: &BatchEntry, rows: &[RowFact]) {
        let session = entry.batch.header.session;
        let mut refused: BTreeMap<&'static str, SeqSet> = BTreeMap::new();
        let receipt = self.receipt(&entry.device, session);
        let mut new = SeqSet::new();
        for row in rows {
            let seq = Seq::new(row.seq);
            receipt.settled.insert(seq);
            match row.class {
                Class::Redelivered => {
                    receipt.redelivered_rows += 1;
                    continue;
                }
                Class::QuarantineFull | Class::OutOfRetention | Class::Limit => {
                    let reason = row.class.dropped().unwrap_or("limit");
                    refused.entry(reason).or_default().insert(seq);
                }
                Class::Stored | Class::Quarantined => {
                    receipt.stored_rows += 1;
                    receipt.stored_samples += row.samples;
                    receipt.quarantined_rows += u64::from(row.class == Class::Quarantined);
                }
            }
            new.insert(seq);
        }
        receipt.newly_settled.insert_all(&new);
        receipt.refused.extend(refused);
        if !new.is_empty() {
            self.settled
                .entry((entry.device.clone(), session))
                .or_default()
                .insert_all(&new);
        }
    }

    fn wants_key(&self, entry: &BatchEntry, key: &Key) -> bool {
        let here = self.group_keys.get(&entry.device);
        here.or_else(|| self.keys_of(&entry.device))
            .is_none_or(|keys| keys.wants(key))
    }

    fn keep_key(&mut self, entry: &BatchEntry, key: Arc<Key>) {
        let known = self.keys_of(&entry.device).cloned().unwrap_or_default();
        let keys = self.group_keys.entry(entry.device.clone()).or_insert(known);
        keys.insert(key);
    }

    /// The payload as received; written anew if it needs a key that a later reader of the journal will not have.
    fn payload(&self, entry: &BatchEntry) -> Bytes {
        let session = entry.batch.header.session;
        match entry.keyed {
            Some(id) if !self.has_key(&entry.device, session, id) => quarantine::self_contained(&entry.batch),
            _ => entry.payload.clone(),
        }
    }
}

/// What a journaled batch does, planned just now or read again; `take`: rows that go into the heads.
pub(crate) fn batch_effect(
    device: u32,
    entry: BatchEntry,
    (rows, take): (Vec<RowFact>, Vec<bool>),
    key: Option<Arc<Key>>,
) -> Effect {
    let header = entry.batch.header;
    Effect {
        device,
        name: entry.device,
        received: entry.received,
        fact: Fact::Rows {
            session: header.session,
            total: header.total,
            rows,
        },
        rows: Some((entry.batch, take)),
        key,
    }
}

/// Rows in the order of groups and rows, each in the class of its seq.
pub(crate) fn row_facts(batch: &Batch, class: impl Fn(Seq) -> Class) -> Vec<RowFact> {
    let mut facts = Vec::new();
    for group in &batch.groups {
        let full = group.present.is_none() && group.histograms.is_empty();
        for (r, row) in group.rows.iter().enumerate() {
            facts.push(RowFact {
                seq: row.seq.get(),
                samples: match full {
                    true => group.series.len() as u64,
                    false => group.samples_of_row(r),
                },
                time_ms: row.time.ms(),
                class: class(row.seq),
            });
        }
    }
    facts
}

fn set_classes(rows: &mut [RowFact], classes: &BTreeMap<u64, Class>) {
    for row in rows.iter_mut().filter(|row| row.class == Class::Stored) {
        if let Some(class) = classes.get(&row.seq) {
            row.class = *class;
        }
    }
}
