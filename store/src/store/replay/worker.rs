//! Rebuilds the devices of one shard: decodes their records in order, puts rows into the heads, folds the ledger.
//!
//! Records say what was decided, so nothing is decided here, with one exception: a row that the ledger already has does not
//! count as stored again. That happens if a record could not be read at an earlier start and devices sent its rows again. It
//! goes into the heads all the same, so that they are given the same of a record at every start that can read it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use bytes::Bytes;
use wire::batch::{Decoded, Raw};
use wire::dict::{DictHash, Dictionary};
use wire::message::Range;
use wire::{DeviceName, Seq, SeqSet, SessionId, Timestamp};

use super::super::{apply_fact, apply_rest};
use crate::dicts::Dicts;
use crate::entry::{BatchEntry, Lane};
use crate::error::Damage;
use crate::heads::{Arrival, Heads};
use crate::keys::{DeviceKeys, Keys};
use crate::ledger::{Class, Device, DeviceRef, Fact, Ledger, reason, removal};
use crate::plan::{Effect, batch_effect, released, row_facts};
use crate::record::{BatchRecord, Record, ReleasedRecord, ResultsRecord, What};
use crate::results;
use crate::sealed::RecordId;

/// What a worker is given, in order.
pub(super) enum Job {
    /// The next file begins.
    File(Begin),
    Records(Vec<(Place, Record)>),
}

/// Where a record is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Number of the last value of its commit.
    pub(super) number: u64,
    /// First number of the file that it counts to.
    pub(super) file: u64,
}

/// What a file's checkpoint has of a shard's devices.
#[derive(Default)]
pub(super) struct Begin {
    pub(super) path: PathBuf,
    pub(super) names: Vec<(DeviceRef, DeviceName)>,
    pub(super) keys: Vec<(DeviceRef, Vec<u8>)>,
    /// Of the newest file: the ledger is folded from here on.
    pub(super) ledger: Option<Vec<(DeviceRef, Device)>>,
}

/// What a worker rebuilt.
#[derive(Default)]
pub(super) struct Rebuilt {
    pub(super) keys: Keys,
    pub(super) ledger: Ledger,
    pub(super) damage: Vec<Damage>,
    /// Records whose rows could not be read.
    pub(super) left_out: Vec<RecordId>,
    /// Samples that the ledger has as released, of records whose rows could not be read.
    pub(super) unread: HashMap<DeviceRef, u64>,
}

/// One shard.
pub(super) struct Worker<'a> {
    dicts: &'a Dicts,
    heads: &'a Heads,
    /// Samples read by all workers.
    samples: &'a AtomicU64,
    path: PathBuf,
    names: HashMap<DeviceRef, DeviceName>,
    /// Lengths of dictionaries, as decoding needs no more of those whose series have their places, and the last number
    /// that named each.
    known: HashMap<(DeviceRef, DictHash), (usize, u64)>,
    /// The ledger is folded.
    folding: bool,
    rebuilt: Rebuilt,
}

impl<'a> Worker<'a> {
    pub(super) fn new(dicts: &'a Dicts, heads: &'a Heads, samples: &'a AtomicU64) -> Self {
        Worker {
            dicts,
            heads,
            samples,
            path: PathBuf::new(),
            names: HashMap::new(),
            known: HashMap::new(),
            folding: false,
            rebuilt: Rebuilt::default(),
        }
    }

    /// Does its jobs until there are no more.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) -> Rebuilt {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::File(begin) => self.begin(begin),
                Job::Records(records) => {
                    for (place, record) in records {
                        if let Err(what) = self.record(place, record) {
                            self.rebuilt
                                .damage
                                .push(left_out(&self.path, place.number, &what));
                        }
                    }
                }
            }
        }
        for ((device, hash), (_, number)) in self.known {
            if let Some(name) = self.names.get(&device) {
                self.dicts.note_use(name, hash, number);
            }
        }
        self.rebuilt
    }

    fn begin(&mut self, begin: Begin) {
        self.path = begin.path;
        self.names.extend(begin.names);
        for (number, row) in begin.keys {
            if let Some(keys) = DeviceKeys::decode(&row) {
                self.rebuilt.keys.put(number, keys);
            }
        }
        if let Some(devices) = begin.ledger {
            self.folding = true;
            for (number, device) in devices {
                self.rebuilt.ledger.insert(number, device);
            }
        }
    }

    fn record(&mut self, place: Place, record: Record) -> Result<(), String> {
        let number = place.number;
        let arrival = Arrival {
            number,
            file: place.file,
            received_ms: record.received_ms,
            ring: record.ring,
            replayed: true,
        };
        if let Some(What::Results(lists)) = &record.what {
            return self.results(arrival, lists);
        }
        let device = record.device;
        if !record.name.is_empty() {
            let name: DeviceName = record.name.parse().map_err(|_| "a device's name is malformed")?;
            // Whatever becomes of the record, the number is the device's.
            if self.folding && self.rebuilt.ledger.get(device).is_none() {
                self.rebuilt.ledger.insert(device, Device::new(name.clone()));
            }
            self.names.insert(device, name);
        }
        let name = self.names.get(&device).cloned();
        let name = name.ok_or("it is of a device that was not named")?;
        let (received, ring) = (Timestamp::from_ms(record.received_ms), record.ring);
        let what = record.what.ok_or("a record says nothing")?;
        let (effect, dict) = match what {
            What::Batch(batch) => self.batch((device, number), name, (received, ring), &batch)?,
            What::Released(record) => self.released((device, number), name, (received, ring), &record),
            other => (plain(device, name, received, fact(other)?), None),
        };
        if self.folding {
            apply_fact(&mut self.rebuilt.ledger, &effect);
        }
        apply_rest(
            effect,
            arrival,
            dict.as_deref(),
            self.heads,
            &mut self.rebuilt.keys,
        );
        Ok(())
    }

    fn results(&mut self, arrival: Arrival, lists: &ResultsRecord) -> Result<(), String> {
        let (tenant, lists) = results::decode(lists)?;
        self.count(lists.iter().map(|list| list.rows.samples()).sum());
        self.heads.record(&tenant, lists, arrival);
        Ok(())
    }

    /// Rows that cannot be read are released all the same, as the ledger has it, and count as damaged.
    fn released(
        &mut self,
        (device, number): (DeviceRef, u64),
        name: DeviceName,
        (received, ring): (Timestamp, u32),
        record: &ReleasedRecord,
    ) -> (Effect, Option<Arc<Dictionary>>) {
        let read = self.read((device, number), &name, ring, &record.payload);
        match read {
            Ok((_, decoded, dict)) => {
                self.count(decoded.batch.samples());
                (released(device, name, received, decoded.batch), dict)
            }
            Err(_) => {
                if self.folding {
                    *self.rebuilt.unread.entry(device).or_default() += record.samples;
                }
                let fact = Fact::Released {
                    samples: record.samples,
                    newest: Timestamp::default(),
                };
                (plain(device, name, received, fact), None)
            }
        }
    }

    fn batch(
        &mut self,
        (device, number): (DeviceRef, u64),
        name: DeviceName,
        (received, ring): (Timestamp, u32),
        record: &BatchRecord,
    ) -> Result<(Effect, Option<Arc<Dictionary>>), String> {
        let (raw, decoded, dict) = self.read((device, number), &name, ring, &record.payload)?;
        let mut rows = row_facts(&decoded.batch, |_| Class::Stored);
        Class::decode(&record.classes, &mut rows).ok_or("a row mask is malformed")?;
        let take = rows.iter().map(|row| row.class == Class::Stored).collect();
        if self.folding
            && let Some(ledger) = self.rebuilt.ledger.get(device)
        {
            for row in &mut rows {
                if ledger.is_settled(raw.session(), Seq::new(row.seq)) {
                    row.class = Class::Redelivered;
                }
            }
        }
        self.count(rows.iter().map(|row| row.samples).sum());
        let entry = BatchEntry {
            device: name,
            lane: match record.lane {
                0 => Lane::Fresh,
                _ => Lane::Backlog,
            },
            received,
            payload: record.payload.clone(),
            batch: decoded.batch,
            keyed: raw.key(),
            defines: decoded.key.map(Arc::new),
        };
        let key = entry.defines.clone();
        Ok((batch_effect(device, entry, (rows, take), key), dict))
    }

    /// Decodes a payload. The dictionary comes with it if the heads need it. What cannot be read is noted as left out.
    fn read(
        &mut self,
        place: (DeviceRef, u64),
        name: &DeviceName,
        ring: u32,
        payload: &Bytes,
    ) -> Result<(Raw, Decoded, Option<Arc<Dictionary>>), String> {
        let read = self.try_read(place, name, ring, payload);
        if read.is_err() {
            let (device, number) = place;
            self.rebuilt.left_out.push(RecordId { number, device });
        }
        read
    }

    fn try_read(
        &mut self,
        (device, number): (DeviceRef, u64),
        name: &DeviceName,
        ring: u32,
        payload: &Bytes,
    ) -> Result<(Raw, Decoded, Option<Arc<Dictionary>>), String> {
        let raw = wire::batch::peek(payload).map_err(|error| error.to_string())?;
        let keys = self.rebuilt.keys.of(device);
        let key = raw.key().and_then(|id| keys?.get(raw.session(), id).cloned());
        let hash = raw.dict().or(key.as_ref().map(|key| key.dict()));
        let hash = hash.ok_or_else(|| format!("a batch of {name} lacks its key"))?;
        let fetch = || {
            let dict = self.dicts.get(name, hash);
            dict.ok_or_else(|| format!("a batch of {name} lacks its dictionary {hash}"))
        };
        let len = match self.known.get_mut(&(device, hash)) {
            Some((len, last)) => {
                *last = number;
                *len
            }
            None => {
                let len = fetch()?.len();
                self.known.insert((device, hash), (len, number));
                len
            }
        };
        let decoded = raw
            .decode(len, key.as_deref())
            .map_err(|error| format!("a batch of {name}: {error}"))?;
        let dict = match self.heads.knows(name, &decoded.batch, ring) {
            true => None,
            false => Some(fetch()?),
        };
        Ok((raw, decoded, dict))
    }

    fn count(&self, samples: u64) {
        self.samples.fetch_add(samples, Ordering::Relaxed);
    }
}

/// How a value or record that cannot be read is reported.
pub(super) fn left_out(path: &Path, number: u64, what: &str) -> Damage {
    Damage {
        path: path.to_owned(),
        what: format!("value {number}: {what}; it was left out"),
    }
}

fn plain(device: DeviceRef, name: DeviceName, received: Timestamp, fact: Fact) -> Effect {
    Effect {
        device,
        name,
        received,
        fact,
        rows: None,
        key: None,
    }
}

/// What a record without rows says.
fn fact(what: What) -> Result<Fact, String> {
    Ok(match what {
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
        What::Removed(record) => Fact::Removed {
            samples: record.samples,
            reason: removal(&record.reason),
        },
        What::Batch(_) | What::Released(_) | What::Results(_) => return Err("a record with rows".into()),
    })
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
