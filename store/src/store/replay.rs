//! Reads the journal at start: every file into the heads, the newest also into the ledger.
//!
//! Records say what was decided, so nothing is decided here, with one exception: a row that the ledger already has is
//! skipped. That happens if a record could not be read at an earlier start and devices sent its rows again.

use std::collections::HashMap;
use std::sync::Arc;

use wire::dict::Dictionary;
use wire::message::Range;
use wire::{DeviceName, Seq, SeqSet, SessionId, Timestamp};

use super::{Progress, apply_fact, apply_rest};
use crate::dicts::Dicts;
use crate::entry::{BatchEntry, Lane};
use crate::error::Damage;
use crate::heads::{HeadLimits, Heads};
use crate::journal::{Checkpoint, FileError, JournalFile, Reader};
use crate::keys::{DeviceKeys, Keys};
use crate::ledger::{Class, DeviceRef, Fact, Ledger, decode_device, reason, removal};
use crate::plan::{Effect, batch_effect, released, row_facts};
use crate::record::{BatchRecord, Record, ReleasedRecord, What};
use crate::ring::Ring;

/// Values between two reports of progress.
const REPORT: u64 = 64;

/// What is being rebuilt.
pub(super) struct Replay<'a> {
    dicts: &'a Dicts,
    names: HashMap<DeviceRef, DeviceName>,
    heads: Heads,
    keys: Keys,
    /// From the newest file's checkpoint on.
    ledger: Option<Ledger>,
    next: u64,
    file_bytes: u64,
}

/// What was rebuilt.
pub(super) struct Parts {
    pub(super) heads: Heads,
    pub(super) keys: Keys,
    pub(super) ledger: Ledger,
}

impl<'a> Replay<'a> {
    pub(super) fn new(ring: Ring, limits: HeadLimits, dicts: &'a Dicts) -> Self {
        Replay {
            dicts,
            names: HashMap::new(),
            heads: Heads::new(ring, limits),
            keys: Keys::default(),
            ledger: None,
            next: 0,
            file_bytes: 0,
        }
    }

    /// The number after the last value read.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Bytes of values in the file read last.
    pub(super) fn bytes_of_file(&self) -> u64 {
        self.file_bytes
    }

    /// Takes the names and keys of devices out of a checkpoint.
    pub(super) fn begin_file(&mut self, checkpoint: &Checkpoint) {
        for (number, row) in &checkpoint.keys {
            if let Some(keys) = DeviceKeys::decode(row) {
                self.keys.put(*number, keys);
            }
        }
        for (number, bytes) in &checkpoint.devices {
            if let Some(device) = decode_device(bytes) {
                self.names.insert(*number, device.name().clone());
            }
        }
    }

    /// Starts the ledger from the newest file's checkpoint.
    pub(super) fn begin_ledger(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        let mut ledger = Ledger::default();
        ledger.reserve(checkpoint.next_device);
        for (number, bytes) in &checkpoint.devices {
            let device = decode_device(bytes).ok_or("a device in its checkpoint is malformed")?;
            ledger.insert(*number, device);
        }
        self.begin_file(checkpoint);
        self.ledger = Some(ledger);
        Ok(())
    }

    /// Reads a file's values below `end`. Values and records that cannot be read are reported and left out.
    pub(super) fn file(
        &mut self,
        file: &JournalFile,
        end: u64,
        damage: &mut Vec<Damage>,
        state: &mut Progress,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), FileError> {
        let mut reader = Reader::default();
        let mut report = |number: u64, what: String| {
            damage.push(Damage {
                path: file.path().to_owned(),
                what: format!("value {number}: {what}; it was left out"),
            });
        };
        self.file_bytes = 0;
        file.each_value(0, end, |number, value| {
            self.next = self.next.max(number + 1);
            self.file_bytes += value.len() as u64;
            state.bytes += value.len() as u64;
            match reader.push(value) {
                Ok(records) => {
                    for record in records {
                        match self.record(number, record) {
                            Ok(samples) => state.samples += samples,
                            Err(what) => report(number, what),
                        }
                    }
                }
                Err(error) => report(number, error.to_string()),
            }
            if number % REPORT == 0 {
                progress(*state);
            }
            true
        })?;
        state.files += 1;
        progress(*state);
        Ok(())
    }

    fn record(&mut self, number: u64, record: Record) -> Result<u64, String> {
        let name = match record.name.is_empty() {
            false => record.name.parse().map_err(|_| "a device's name is malformed")?,
            true => self
                .names
                .get(&record.device)
                .cloned()
                .ok_or("it is of a device that was not named")?,
        };
        self.names.insert(record.device, name.clone());
        let (effect, dict) = self.effect(record, name)?;
        if let Some(ledger) = &mut self.ledger {
            apply_fact(ledger, &effect);
        }
        let samples = match &effect.fact {
            Fact::Rows { rows, .. } => rows.iter().map(|row| row.samples).sum(),
            _ => 0,
        };
        apply_rest(
            &effect,
            (number, true),
            dict.as_deref(),
            &self.heads,
            &mut self.keys,
        );
        Ok(samples)
    }

    fn effect(&self, record: Record, name: DeviceName) -> Result<(Effect, Option<Arc<Dictionary>>), String> {
        let received = Timestamp::from_ms(record.received_ms);
        let device = record.device;
        let what = record.what.ok_or("a record says nothing")?;
        let fact = match what {
            What::Batch(batch) => return self.batch(device, name, received, &batch),
            What::Alert(record) => {
                let alert = record.alert.ok_or("an alert is missing")?;
                Fact::Alert {
                    session: SessionId::new(alert.session),
                    seq: alert.seq,
                    total: alert.total,
                }
            }
            What::Gap(gap) => Fact::Gap(gap),
            What::Session(state) => Fact::Session(state),
            What::Seen(seen) => Fact::Seen(seen.into()),
            What::Refused(refused) => Fact::Refused {
                session: SessionId::new(refused.session),
                seqs: seq_set(&refused.seqs),
                samples: refused.samples,
                reason: reason(&refused.reason),
            },
            What::LetGo(let_go) => Fact::LetGo {
                session: SessionId::new(let_go.session),
                until: Timestamp::from_ms(let_go.until_ms),
            },
            What::Forget(_) => Fact::Forget,
            What::Released(record) => return self.released(device, name, received, &record),
            What::Removed(record) => Fact::Removed {
                samples: record.samples,
                reason: removal(&record.reason),
            },
        };
        let effect = Effect {
            device,
            name,
            received,
            fact,
            rows: None,
            key: None,
        };
        Ok((effect, None))
    }

    /// Rows that cannot be read are released all the same, as the ledger has it, and count as damaged.
    fn released(
        &self,
        number: DeviceRef,
        name: DeviceName,
        received: Timestamp,
        record: &ReleasedRecord,
    ) -> Result<(Effect, Option<Arc<Dictionary>>), String> {
        let raw = wire::batch::peek(&record.payload).ok();
        let dict = raw.as_ref().and_then(|raw| self.dicts.get(&name, raw.dict()?));
        let decoded = raw.zip(dict.as_ref());
        let decoded = decoded.and_then(|(raw, dict)| raw.decode(dict.len(), None).ok());
        let effect = match decoded {
            Some(decoded) => released(number, name, received, decoded.batch),
            None => Effect {
                device: number,
                name,
                received,
                fact: Fact::Released {
                    samples: record.samples,
                    newest: Timestamp::default(),
                },
                rows: None,
                key: None,
            },
        };
        Ok((effect, dict))
    }

    fn batch(
        &self,
        number: DeviceRef,
        name: DeviceName,
        received: Timestamp,
        record: &BatchRecord,
    ) -> Result<(Effect, Option<Arc<Dictionary>>), String> {
        let raw = wire::batch::peek(&record.payload).map_err(|error| error.to_string())?;
        let session = raw.session();
        let key = raw
            .key()
            .and_then(|id| self.keys.of(number)?.get(session, id).cloned());
        let hash = raw.dict().or(key.as_ref().map(|key| key.dict()));
        let hash = hash.ok_or_else(|| format!("a batch of {name} lacks its key"))?;
        let dict = self
            .dicts
            .get(&name, hash)
            .ok_or_else(|| format!("a batch of {name} lacks its dictionary {hash}"))?;
        let decoded = raw
            .decode(dict.len(), key.as_deref())
            .map_err(|error| format!("a batch of {name}: {error}"))?;
        let mut rows = row_facts(&decoded.batch, |_| Class::Stored);
        Class::decode(&record.classes, &mut rows).ok_or("a row mask is malformed")?;
        if let Some(device) = self.ledger.as_ref().and_then(|ledger| ledger.get(number)) {
            for row in &mut rows {
                if device.is_settled(session, Seq::new(row.seq)) {
                    row.class = Class::Redelivered;
                }
            }
        }
        let entry = BatchEntry {
            device: name,
            lane: if record.lane == 0 {
                Lane::Fresh
            } else {
                Lane::Backlog
            },
            received,
            payload: record.payload.clone(),
            batch: decoded.batch,
            keyed: raw.key(),
            defines: decoded.key.map(Arc::new),
        };
        let key = entry.defines.clone();
        Ok((batch_effect(number, entry, rows, key), Some(dict)))
    }

    /// Counts what the ledger says is stored and no journal file holds any more.
    pub(super) fn finish(self) -> Parts {
        let mut ledger = self.ledger.unwrap_or_default();
        ledger.note_damage(|number| self.heads.tally(number).taken);
        Parts {
            heads: self.heads,
            keys: self.keys,
            ledger,
        }
    }
}

fn seq_set(ranges: &[Range]) -> SeqSet {
    let mut set = SeqSet::new();
    for range in ranges {
        set.insert_range(
            Seq::new(range.first),
            Seq::new(range.first.saturating_add(range.more)),
        );
    }
    set
}
