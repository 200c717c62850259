//! The store: one folder, one writer, many readers.

mod copies;
mod freshness;
mod hashrings;
mod maintain;
mod open;
mod partitions;
mod pressure;
mod quarantine;
mod replay;
mod results;
mod rollover;
mod status;
mod tables;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use wire::batch::{Key, KeyId};
use wire::dict::{DictHash, Dictionary};
use wire::{DeviceName, Labels, SeqSet, SessionId, Tenant, Timestamp};

pub use self::freshness::Lacking;
pub use self::maintain::Round;
use self::maintain::Upkeep;
use self::partitions::Shared;
pub use self::pressure::{Pressure, Usage};
use crate::config::Config;
use crate::dicts::{Dicts, NewDictionary};
use crate::entry::Entry;
use crate::error::{CommitError, Damage, SelectError};
use crate::heads::{Arrival, Gate, Heads, Selection};
use crate::journal::{FileError, Journal, TableWrites, Tables};
use crate::keys::Keys;
use crate::ledger::{Device, DeviceLedger, Fact, Ledger, Reasons};
use crate::letters::{self, DeadLetter};
use crate::matcher::Matcher;
use crate::metadata::{Metadata, MetadataTable};
use crate::plan::{Dictionaries, Effect, Plan, Planner};
use crate::quarantine::{Quarantine, Quarantined};
use crate::query::{ReadBack, ReadLimits, SeriesSlice};
use crate::receipt::Receipt;
use crate::record::Record;
use crate::rings::Rings;
pub use status::Room;

/// How far a start has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Journal files read.
    pub files: usize,
    /// Journal files there are.
    pub files_total: usize,
    /// Bytes of values read.
    pub bytes: u64,
    /// Samples put into the heads.
    pub samples: u64,
}

/// One folder of journal, dictionaries and what is kept of them in memory. All methods may be called from any thread;
/// commits wait for one another.
#[derive(Debug)]
pub struct Store {
    config: Config,
    dir: PathBuf,
    dicts: Dicts,
    metadata: MetadataTable,
    rings: Arc<Rings>,
    heads: Heads,
    writer: Mutex<Writer>,
    ledger: RwLock<Ledger>,
    keys: RwLock<Keys>,
    quarantine: RwLock<Quarantine>,
    damage: Vec<Damage>,
    /// The highest number that was sealed, if the journal ended before it at the start.
    sealed_beyond: Option<u64>,
    partitions: RwLock<Vec<Shared>>,
    upkeep: Mutex<Upkeep>,
    /// Held by who writes ahead for the next journal file.
    preparing: Mutex<()>,
    /// Number of the journal's next value.
    numbers: AtomicU64,
    /// Time of the last round of maintenance, ms; `i64::MIN`: there was none.
    clock: AtomicI64,
    /// Held while the store lives.
    _lock: File,
}

#[derive(Debug)]
struct Writer {
    journal: Journal,
    tables: Tables,
    /// Cursors that go with the next transaction.
    cursors: Vec<(String, Option<Bytes>)>,
    /// Number of the last value that each generation of the hashrings routed.
    routed: BTreeMap<u32, u64>,
}

impl Store {
    /// What was set aside at start, for the log; nothing in the common case.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// A dictionary that was put, from memory or disk.
    pub fn dictionary(&self, device: &DeviceName, hash: DictHash) -> Option<Arc<Dictionary>> {
        self.dicts.get(device, hash)
    }

    /// How many label sets a dictionary has that was put; it need not be in memory for this.
    pub fn dictionary_sets(&self, device: &DeviceName, hash: DictHash) -> Option<usize> {
        self.dicts.sets(device, hash)
    }

    /// Makes a device's dictionary durable; one that is there already costs nothing.
    pub fn put_dictionary(&self, device: &DeviceName, dict: Dictionary) -> Result<(), CommitError> {
        self.put_dictionaries(vec![NewDictionary {
            device: device.clone(),
            dictionary: Arc::new(dict),
            outline: None,
        }])
    }

    /// Makes dictionaries durable in one transaction.
    pub fn put_dictionaries(&self, dicts: Vec<NewDictionary>) -> Result<(), CommitError> {
        self.check_room()?;
        self.dicts.put(dicts).map_err(disk)
    }

    /// What devices told of a tenant's metric families, by name, of one if it is named; at most `most` families.
    pub fn metadata(
        &self,
        tenant: &Tenant,
        family: Option<&str>,
        most: usize,
    ) -> Vec<(String, Vec<Metadata>)> {
        self.metadata.of(tenant, family, most)
    }

    /// How often metadata did not fit into its tenant's budget.
    pub fn metadata_refused(&self) -> u64 {
        self.metadata.refused()
    }

    /// A key that a committed batch of the session defined. The last two of a session are kept, of the last four sessions
    /// of a device that defined one.
    pub fn key(&self, device: &DeviceName, session: SessionId, id: KeyId) -> Option<Arc<Key>> {
        let number = read(&self.ledger).find(device)?;
        read(&self.keys).of(number)?.get(session, id).cloned()
    }

    /// The settled seqs of a session: stored, refused, or covered by a gap.
    pub fn settled(&self, device: &DeviceName, session: SessionId) -> SeqSet {
        read(&self.ledger).settled(device, session)
    }

    /// Whether a session was let go and is still remembered so at a time of the bridge's clock.
    pub fn forgotten(&self, device: &DeviceName, session: SessionId, now: Timestamp) -> bool {
        let ledger = read(&self.ledger);
        ledger.device(device).is_some_and(|d| d.forgotten(session, now))
    }

    /// Makes entries durable in one transaction and then visible. On an error nothing of them took effect, not even after
    /// a restart, and the next commit may succeed.
    pub fn commit(&self, entries: Vec<Entry>) -> Result<Receipt, CommitError> {
        let mut writer = self.writer();
        self.check_room()?;
        let gate = self.heads.gate();
        let dicts = self.dictionaries_of(&entries)?;
        self.metadata.learn(&entries, &self.dicts).map_err(disk)?;
        let mut plan = {
            let (ledger, keys) = (read(&self.ledger), read(&self.keys));
            let quarantine = read(&self.quarantine);
            Planner::new(&ledger, &keys, &self.config, &quarantine, (&self.heads, &dicts)).plan(entries)
        };
        plan.receipt.bytes = self.carry_out(&mut writer, &mut plan, &dicts, gate)?;
        plan.receipt.number = writer.journal.last();
        Ok(plan.receipt)
    }

    /// Makes a plan durable and has it take effect. Returns the bytes of values written.
    fn carry_out(
        &self,
        writer: &mut Writer,
        plan: &mut Plan,
        dicts: &Dictionaries,
        gate: Gate<'_>,
    ) -> Result<u64, CommitError> {
        if plan.records.is_empty() {
            return Ok(0);
        }
        let limits = letters::Limits {
            rows: self.config.dead_letters,
            bytes: self.config.dead_letter_bytes,
        };
        // It changes only under the writer's lock.
        let routing = self.rings.current();
        let ring = routing.generation();
        for record in &mut plan.records {
            record.ring = ring;
        }
        let letters = std::mem::take(&mut plan.letters);
        let quarantine = std::mem::take(&mut plan.quarantine);
        let changes = TableWrites {
            letters: letters::plan(&writer.tables.letters, letters, limits),
            quarantine: quarantine.clone(),
            rings: writer.ring_changes(&routing),
            ..TableWrites::default()
        };
        let written = self.write(writer, &plan.records, changes)?;
        write(&self.quarantine).apply(&quarantine);
        let number = writer.journal.last();
        writer.routed.insert(ring, number);
        let rows = plan.effects.iter().flat_map(rollover::rows_of);
        rows.for_each(|row| writer.journal.changed(row));
        let arrival = Arrival {
            number,
            file: writer.journal.file(),
            received_ms: 0,
            ring,
            replayed: false,
        };
        self.take_effect(std::mem::take(&mut plan.effects), dicts, arrival);
        gate.applied(number);
        self.dicts.committed(number);
        Ok(written)
    }

    /// One transaction of the journal.
    fn write(
        &self,
        writer: &mut Writer,
        records: &[Record],
        mut changes: TableWrites,
    ) -> Result<u64, CommitError> {
        changes.cursors = writer.cursors.clone();
        let tables = &writer.tables;
        let written = writer
            .journal
            .append(records, &changes, |stale| self.checkpoint(tables, stale))
            .map_err(disk)?;
        self.numbers.store(writer.journal.next(), Ordering::Release);
        writer.cursors.clear();
        writer.tables.apply(changes);
        Ok(written)
    }

    /// Refuses when the disk is nearly full.
    fn check_room(&self) -> Result<(), CommitError> {
        let Room { free, needed } = self.room().map_err(|error| disk(error.into()))?;
        match free < needed {
            true => Err(CommitError::NoRoom { free, needed }),
            false => Ok(()),
        }
    }

    /// The dictionaries of batches whose series have no place in the heads yet.
    fn dictionaries_of(&self, entries: &[Entry]) -> Result<Dictionaries, CommitError> {
        let mut dicts = Dictionaries::new();
        let ring = self.rings.current().generation();
        for entry in entries {
            let Entry::Batch(entry) = entry else { continue };
            let hash = entry.batch.header.dict;
            let unknown = || CommitError::UnknownDictionary {
                device: entry.device.clone(),
                hash,
            };
            if !self.dicts.claim(&entry.device, hash) {
                return Err(unknown());
            }
            if self.heads.knows(&entry.device, &entry.batch, ring)
                || dicts.contains_key(&(entry.device.clone(), hash))
            {
                continue;
            }
            let dict = self.dicts.get(&entry.device, hash).ok_or_else(unknown)?;
            dicts.insert((entry.device.clone(), hash), dict);
        }
        Ok(dicts)
    }

    fn take_effect(&self, effects: Vec<Effect>, dicts: &Dictionaries, arrival: Arrival) {
        {
            let mut ledger = write(&self.ledger);
            for effect in &effects {
                apply_fact(&mut ledger, effect);
            }
        }
        for effect in effects {
            if matches!(effect.fact, Fact::Forget) {
                self.dicts.forget_device(&effect.name);
            }
            let dict = effect.rows.as_ref().and_then(|(batch, _)| {
                let key = (effect.name.clone(), batch.header.dict);
                dicts.get(&key).map(|dict| &**dict)
            });
            apply_rest(effect, arrival, dict, &self.heads, &mut write(&self.keys));
        }
    }

    /// Every device that was ever seen and not forgotten, by name.
    pub fn ledger(&self) -> Vec<DeviceLedger> {
        let ledger = read(&self.ledger);
        let mut all: Vec<DeviceLedger> = ledger
            .devices()
            .map(|(number, device)| device.view(self.removed(number)))
            .collect();
        all.sort_unstable_by(|a, b| a.device.cmp(&b.device));
        all
    }

    /// One device.
    pub fn device(&self, device: &DeviceName) -> Option<DeviceLedger> {
        let ledger = read(&self.ledger);
        let number = ledger.find(device)?;
        Some(ledger.get(number)?.view(self.removed(number)))
    }

    /// When a device was last heard of, by the bridge's clock.
    pub fn last_seen(&self, device: &DeviceName) -> Option<Timestamp> {
        let ledger = read(&self.ledger);
        Some(ledger.get(ledger.find(device)?)?.last_seen())
    }

    fn removed(&self, device: u32) -> Reasons {
        let tally = self.heads.tally(device);
        let reasons = [
            ("same_timestamp", tally.same),
            ("conflict", tally.conflict),
            ("retention", tally.retention),
            ("damaged", tally.damaged),
        ];
        reasons.into_iter().filter(|(_, samples)| *samples > 0).collect()
    }

    /// Refused payloads, oldest first.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        letters::list(&self.writer().tables.letters)
    }

    /// Rows in quarantine, in the order they arrived.
    pub fn quarantined(&self) -> Vec<Quarantined> {
        let quarantine = read(&self.quarantine);
        quarantine.rows().map(|(_, held)| held.rows.clone()).collect()
    }

    /// Series that satisfy every matcher, with their samples from start to end (ms since the epoch, both included), sorted
    /// by labels; series without samples there are left out. Fails if that were more than `max_samples`.
    pub fn select(
        &self,
        tenant: &Tenant,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
        max_samples: usize,
    ) -> Result<Vec<SeriesSlice>, SelectError> {
        let selection = self.selection(tenant, matchers.to_vec(), (start_ms, end_ms), false);
        selection.read_all(&ReadLimits::samples(max_samples))
    }

    /// The same, to be read a batch of series at a time; with `newest`, of a series' floats only the newest one in the
    /// range, so that little else is read.
    pub fn selection<'s>(
        &'s self,
        tenant: &'s Tenant,
        matchers: Vec<Matcher>,
        range_ms: (i64, i64),
        newest: bool,
    ) -> Selection<'s> {
        self.heads.selection(tenant, matchers, range_ms, newest)
    }

    /// Labels of series that satisfy every matcher and have samples about that time (whole pieces and blocks count), sorted.
    pub fn series(&self, tenant: &Tenant, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Vec<Labels> {
        self.heads.series(tenant, matchers, (start_ms, end_ms))
    }

    /// Label names of the series that satisfy every matcher, sorted.
    pub fn label_names(&self, tenant: &Tenant, matchers: &[Matcher]) -> Vec<String> {
        self.heads.label_names(tenant, matchers, None)
    }

    /// The same of series that have samples about a time (whole pieces and blocks count), both ends included.
    pub fn label_names_between(
        &self,
        tenant: &Tenant,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
    ) -> Vec<String> {
        self.heads.label_names(tenant, matchers, Some((start_ms, end_ms)))
    }

    /// Values of a label over the series that satisfy every matcher, sorted.
    pub fn label_values(&self, tenant: &Tenant, name: &str, matchers: &[Matcher]) -> Vec<Arc<str>> {
        self.heads.label_values(tenant, name, matchers, None)
    }

    /// The same of series that have samples about a time (whole pieces and blocks count), both ends included.
    pub fn label_values_between(
        &self,
        tenant: &Tenant,
        name: &str,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
    ) -> Vec<Arc<str>> {
        self.heads
            .label_values(tenant, name, matchers, Some((start_ms, end_ms)))
    }

    /// Adds a row of the bridge's own series. They are in memory only, are gone after a restart, and keep the latest
    /// `own_rows` rows of each distinct list of labels. The labels stand as given.
    pub fn append_own(&self, tenant: &Tenant, time: Timestamp, row: &[(Labels, f64)]) {
        self.heads.append_own(tenant, time, row);
    }

    /// Counts a device's samples by reading all of them: the other side of the equation.
    pub fn read_back(&self, device: &DeviceName) -> ReadBack {
        let number = read(&self.ledger).find(device);
        number.map_or_else(ReadBack::default, |number| self.heads.read_back(device, number))
    }

    /// Series in the heads, and roughly the bytes of memory that their samples take.
    pub fn head_size(&self) -> (usize, usize) {
        let (bytes, series) = self.heads.size();
        (series, bytes)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ledger's part of an effect.
fn apply_fact(ledger: &mut Ledger, effect: &Effect) {
    if ledger.get(effect.device).is_none() {
        ledger.insert(effect.device, Device::new(effect.name.clone()));
    }
    ledger.apply(effect.device, effect.received, &effect.fact);
}

/// The rest of an effect. When it came, it says itself.
fn apply_rest(effect: Effect, arrival: Arrival, dict: Option<&Dictionary>, heads: &Heads, keys: &mut Keys) {
    if let Some((batch, take)) = effect.rows {
        let arrival = Arrival {
            received_ms: effect.received.ms(),
            ..arrival
        };
        heads.apply((effect.device, &effect.name), batch, &take, dict, arrival);
    }
    if let Some(key) = effect.key {
        keys.insert(effect.device, key);
    }
    match &effect.fact {
        Fact::LetGo { session, .. } => keys.forget(effect.device, *session),
        Fact::Forget => {
            keys.forget_device(effect.device);
            heads.forget(&effect.name);
        }
        _ => {}
    }
}

fn disk(error: FileError) -> CommitError {
    CommitError::Disk(error.to_string())
}

// A lock is poisoned only by a panic while it is held; what it guards is changed record by record, so it is whole.

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
