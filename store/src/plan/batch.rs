//! Plans a delivery: row by row, what is new of it.

use std::sync::Arc;

use bytes::Bytes;
use wire::batch::{Batch, Encoding, Key};
use wire::{Seq, SeqSet, Timestamp};

use super::{Effect, Planner};
use crate::entry::{BatchEntry, Lane};
use crate::ledger::{Class, Fact, RowFact};
use crate::quarantine::{Quarantined, bytes_of};
use crate::record::{BatchRecord, What};

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
        self.plan.effects.push(batch_effect(number, entry, rows, key));
    }

    /// The class of every row. Rows of one seq are one record: new or not together.
    fn classify(&mut self, entry: &BatchEntry) -> Vec<RowFact> {
        let session = entry.batch.header.session;
        let limit = entry.received.plus(self.config.future_limit).ms();
        let old = self.settled_among(&entry.device, session, &entry.batch.seqs());
        let mut rows = row_facts(&entry.batch, |seq| match old.binary_search(&seq) {
            Ok(_) => Class::Redelivered,
            Err(_) => Class::Stored,
        });
        for row in &mut rows {
            if row.class == Class::Stored && row.time_ms > limit {
                let bytes = bytes_of(row.samples);
                let fits = self.quarantine_bytes.saturating_add(bytes) <= self.config.quarantine_bytes;
                row.class = if fits {
                    Class::Quarantined
                } else {
                    Class::QuarantineFull
                };
                self.quarantine_bytes += if fits { bytes } else { 0 };
            }
        }
        rows
    }

    /// Enters the rows into the receipt and the group's settled set.
    fn note(&mut self, entry: &BatchEntry, rows: &[RowFact]) {
        let session = entry.batch.header.session;
        let mut refused = SeqSet::new();
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
                Class::QuarantineFull => {
                    refused.insert(seq);
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
        if !refused.is_empty() {
            receipt.refused.push(("quarantine_full", refused));
        }
        if !new.is_empty() {
            self.settled
                .entry((entry.device.clone(), session))
                .or_default()
                .insert_all(&new);
        }
    }

    fn wants_key(&self, entry: &BatchEntry, key: &Key) -> bool {
        let here = self.group_keys.get(&entry.device);
        here.or_else(|| self.keys.of(&entry.device))
            .is_none_or(|keys| keys.wants(key))
    }

    fn keep_key(&mut self, entry: &BatchEntry, key: Arc<Key>) {
        let known = self.keys.of(&entry.device).cloned().unwrap_or_default();
        let keys = self.group_keys.entry(entry.device.clone()).or_insert(known);
        keys.insert(key);
    }

    /// The payload as received; written anew if it needs a key that a later reader of the journal will not have.
    fn payload(&self, entry: &BatchEntry) -> Bytes {
        let session = entry.batch.header.session;
        match entry.keyed {
            Some(id) if !self.has_key(&entry.device, session, id) => {
                wire::batch::encode(&entry.batch, Encoding::SelfContained)
                    .payload
                    .into()
            }
            _ => entry.payload.clone(),
        }
    }
}

/// What a journaled batch does, planned just now or read again.
pub(crate) fn batch_effect(
    device: u32,
    entry: BatchEntry,
    rows: Vec<RowFact>,
    key: Option<Arc<Key>>,
) -> Effect {
    let header = entry.batch.header;
    let quarantined = quarantined(&entry, &rows);
    let take = rows.iter().map(|row| row.class == Class::Stored).collect();
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
        quarantined,
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

fn quarantined(entry: &BatchEntry, rows: &[RowFact]) -> Option<Quarantined> {
    let rows: Vec<&RowFact> = rows
        .iter()
        .filter(|row| row.class == Class::Quarantined)
        .collect();
    Some(Quarantined {
        device: entry.device.clone(),
        session: entry.batch.header.session,
        first: rows.iter().map(|row| Seq::new(row.seq)).min()?,
        last: rows.iter().map(|row| Seq::new(row.seq)).max()?,
        received: entry.received,
        from: Timestamp::from_ms(rows.iter().map(|row| row.time_ms).min()?),
        to: Timestamp::from_ms(rows.iter().map(|row| row.time_ms).max()?),
        rows: rows.len() as u64,
        samples: rows.iter().map(|row| row.samples).sum(),
    })
}
