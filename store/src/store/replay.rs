//! Reads the journal at start: every file into the heads, the newest also into the ledger.
//!
//! The calling thread reads values and takes records out; workers, one per core, each rebuild the devices of a shard, so
//! that the records of a device are applied in their order. Shards go by name, as a device that was forgotten and came
//! back has another number and the same series. What is under way to a worker is bounded.

mod worker;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use wire::DeviceName;
use worker::{Begin, Job, Place, Rebuilt, Worker, left_out};

use super::Progress;
use super::open::{Chain, damaged, file_error, set_aside};
use crate::config::Config;
use crate::dicts::Dicts;
use crate::error::{Damage, OpenError};
use crate::heads::Heads;
use crate::journal::{Checkpoint, FileError, JournalFile, Reader, Sums};
use crate::keys::Keys;
use crate::ledger::{Device, DeviceRef, Ledger, decode_device};
use crate::record::{Record, What};
use crate::sealed::RecordId;

/// Values between two reports of progress.
const REPORT: u64 = 64;

/// Bytes of payloads that go to a worker at once.
const BUNDLE: usize = 128 << 10;

/// The worker that reads results of rules.
const RESULTS_SHARD: usize = 0;

/// Bundles that may wait for each worker.
const WAITING: usize = 8;

/// What was rebuilt.
pub(super) struct Rebuild {
    pub(super) keys: Keys,
    pub(super) ledger: Ledger,
    /// Number of the last value of each generation of the hashrings.
    pub(super) routed: BTreeMap<u32, u64>,
    pub(super) newest: Option<Newest>,
    /// The number after the last value read.
    pub(super) next: u64,
    /// A number above those of all devices that records name.
    pub(super) above: DeviceRef,
    /// Devices that the journal does not name and blocks do.
    pub(super) unnamed: usize,
    pub(super) begun: Begun,
}

/// What tells the samples that heads and blocks were given before the newest file was begun from those since.
#[derive(Default)]
pub(super) struct Begun {
    /// The newest file's first number; 0 without one.
    pub(super) first: u64,
    /// Samples that they had been given then, as the checkpoint has it.
    pub(super) given: HashMap<DeviceRef, i128>,
    /// Records that they lacked then. What is read of them now counts as given since.
    left_out: HashSet<RecordId>,
    /// Samples released since, of records whose rows cannot be read.
    pub(super) unread: HashMap<DeviceRef, u64>,
}

impl Begun {
    fn of(first: u64, devices: &[(DeviceRef, Device)]) -> Self {
        let given = devices.iter().map(|(number, device)| (*number, device.given()));
        let left_out = devices.iter().flat_map(|(number, device)| {
            let record = |number: &u64, device| RecordId {
                number: *number,
                device,
            };
            device.left_out().iter().map(move |at| record(at, *number))
        });
        Begun {
            first,
            given: given.collect(),
            left_out: left_out.collect(),
            unread: HashMap::new(),
        }
    }

    /// The file that a record counts to.
    fn file_of(&self, record: RecordId, file: u64) -> u64 {
        match self.left_out.contains(&record) {
            true => file.max(self.first),
            false => file,
        }
    }
}

/// The newest file, unless it is not to be written again, its checkpoint, and bytes of its values.
pub(super) type Newest = (Option<JournalFile>, Checkpoint, u64);

/// Reads the whole journal.
pub(super) fn replay(
    chain: Chain,
    config: &Config,
    (dicts, heads): (&Dicts, &Heads),
    damage: &mut Vec<Damage>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Rebuild, OpenError> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let samples = AtomicU64::new(0);
    thread::scope(|scope| {
        let (senders, threads): (Vec<_>, Vec<_>) = (0..cores)
            .map(|_| {
                let (jobs, received) = sync_channel(WAITING);
                let worker = Worker::new(dicts, heads, &samples);
                (jobs, scope.spawn(move || worker.run(&received)))
            })
            .unzip();
        let files_total = chain.older.len() + usize::from(chain.newest.is_some());
        let mut source = Source {
            config,
            shards: senders.into_iter().map(Shard::new).collect(),
            shard_of: HashMap::new(),
            heads,
            owners: None,
            unnamed: BTreeSet::new(),
            samples: &samples,
            state: Progress {
                files_total,
                ..Progress::default()
            },
            damage,
            progress,
            next: chain.end.unwrap_or(1),
            above: 0,
            file_first: 0,
            file_bytes: 0,
            begun: Begun::default(),
            routed: BTreeMap::new(),
        };
        let newest = source.chain(chain);
        let (next, above, unnamed) = (source.next, source.above, source.unnamed.len());
        let mut state = source.state;
        let routed = std::mem::take(&mut source.routed);
        let mut begun = std::mem::take(&mut source.begun);
        drop(source);
        let mut ledger = Ledger::default();
        let mut keys = Keys::default();
        let mut lacking = Vec::new();
        for thread in threads {
            let rebuilt = thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let Rebuilt {
                keys: some,
                ledger: part,
                damage: found,
                left_out: lacked,
                unread,
            } = rebuilt;
            keys.merge(some);
            ledger.merge(part);
            damage.extend(found);
            lacking.extend(lacked);
            begun.unread.extend(unread);
        }
        heads.leave_out(lacking);
        state.samples = samples.load(Ordering::Relaxed);
        progress(state);
        let newest = newest?;
        if let Some((_, checkpoint, _)) = &newest {
            ledger.reserve(checkpoint.next_device);
        }
        Ok(Rebuild {
            keys,
            ledger,
            routed,
            newest,
            next,
            above,
            unnamed,
            begun,
        })
    })
}

/// The ledger as a file began with it.
fn whole((file, checkpoint): &(JournalFile, Checkpoint)) -> Result<Vec<(DeviceRef, Device)>, OpenError> {
    let device = |(number, bytes): &(DeviceRef, Vec<u8>)| Some((*number, decode_device(bytes)?));
    let ledger = checkpoint.devices.iter().map(device).collect::<Option<_>>();
    ledger.ok_or_else(|| damaged(file.path(), "a device in its checkpoint is malformed".into()))
}

/// The reading side.
struct Source<'a> {
    config: &'a Config,
    shards: Vec<Shard>,
    /// Shards of the devices that were named.
    shard_of: HashMap<DeviceRef, usize>,
    heads: &'a Heads,
    /// Devices as blocks know them, once they were asked for.
    owners: Option<BTreeMap<DeviceRef, DeviceName>>,
    /// Those whose name is from there.
    unnamed: BTreeSet<DeviceRef>,
    samples: &'a AtomicU64,
    state: Progress,
    damage: &'a mut Vec<Damage>,
    progress: &'a mut dyn FnMut(Progress),
    next: u64,
    above: DeviceRef,
    /// First number of the file that is read.
    file_first: u64,
    file_bytes: u64,
    begun: Begun,
    routed: BTreeMap<u32, u64>,
}

/// The way to one worker.
struct Shard {
    jobs: SyncSender<Job>,
    records: Vec<(Place, Record)>,
    bytes: usize,
}

impl Shard {
    fn new(jobs: SyncSender<Job>) -> Self {
        Shard {
            jobs,
            records: Vec::new(),
            bytes: 0,
        }
    }

    fn push(&mut self, place: Place, record: Record) {
        // Room for what is small but many.
        self.bytes += 64
            + match &record.what {
                Some(What::Batch(batch)) => batch.payload.len(),
                Some(What::Released(released)) => released.payload.len(),
                Some(What::Results(results)) => results.lists.len(),
                _ => 256,
            };
        self.records.push((place, record));
        if self.bytes >= BUNDLE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.bytes = 0;
        let records = std::mem::take(&mut self.records);
        if !records.is_empty() {
            self.send(Job::Records(records));
        }
    }

    fn send(&self, job: Job) {
        // A worker is gone only if it panicked, and then joining it says so.
        let _ = self.jobs.send(job);
    }
}

impl Source<'_> {
    fn chain(&mut self, chain: Chain) -> Result<Option<Newest>, OpenError> {
        let ends = chain.ends();
        let ledger = chain.newest.as_ref().map(whole).transpose()?;
        if let (Some((file, _)), Some(devices)) = (&chain.newest, &ledger) {
            self.begun = Begun::of(file.first(), devices);
        }
        if let Some((file, checkpoint)) = chain.newest.as_ref().filter(|_| !chain.older.is_empty()) {
            // A number is a device's for good: names that a damaged record had in an older file may be here.
            let begins = self.names(checkpoint);
            self.send(file.path(), begins);
        }
        for ((_, path), end) in chain.older.iter().zip(ends) {
            self.older(path, end)?;
        }
        let Some((file, checkpoint)) = chain.newest else {
            return Ok(None);
        };
        self.begin(file.path(), &checkpoint, ledger);
        self.next = self.next.max(file.first());
        self.file(&file, chain.end.unwrap_or(u64::MAX))
            .map_err(|error| file_error(file.path(), error))?;
        let file = chain.end.is_none().then_some(file);
        Ok(Some((file, checkpoint, self.file_bytes)))
    }

    fn older(&mut self, path: &Path, end: u64) -> Result<(), OpenError> {
        let opened = JournalFile::open(&self.config.disk, path, self.config.cache_bytes, Sums::Trust);
        let read = opened.and_then(|file| {
            self.begin(path, &file.checkpoint()?, None);
            self.file(&file, end)
        });
        match read {
            Ok(()) => Ok(()),
            Err(FileError::Damaged(what)) => {
                self.damage.push(set_aside(self.config, path, &what)?);
                Ok(())
            }
            Err(error) => Err(file_error(path, error)),
        }
    }

    /// The shard of a device that has this name; without one, it stays where it is.
    fn shard(&mut self, number: DeviceRef, name: &str) -> usize {
        let count = self.shards.len();
        if !name.is_empty() {
            let mut hasher = DefaultHasher::new();
            name.hash(&mut hasher);
            self.shard_of.insert(number, hasher.finish() as usize % count);
        }
        // One that was never named is refused by any worker.
        self.shard_of.get(&number).copied().unwrap_or(0)
    }

    /// Names a device whose first record cannot be read, if blocks have it.
    fn name(&mut self, record: &mut Record) {
        if !record.name.is_empty() || self.shard_of.contains_key(&record.device) {
            return;
        }
        let owners = self.owners.get_or_insert_with(|| self.heads.owners(|_| true));
        if let Some(name) = owners.get(&record.device) {
            record.name = name.to_string();
            self.unnamed.insert(record.device);
        }
    }

    /// Hands a checkpoint's devices to their workers.
    fn begin(&mut self, path: &Path, checkpoint: &Checkpoint, ledger: Option<Vec<(DeviceRef, Device)>>) {
        let mut begins = self.names(checkpoint);
        for (number, row) in &checkpoint.keys {
            begins[self.shard(*number, "")].keys.push((*number, row.clone()));
        }
        let folding = ledger.is_some();
        for begin in &mut begins {
            begin.ledger = folding.then(Vec::new);
        }
        for (number, device) in ledger.into_iter().flatten() {
            if let Some(ledger) = &mut begins[self.shard(number, "")].ledger {
                ledger.push((number, device));
            }
        }
        self.send(path, begins);
    }

    /// The names of a checkpoint's devices.
    fn names(&mut self, checkpoint: &Checkpoint) -> Vec<Begin> {
        let mut begins: Vec<Begin> = self.shards.iter().map(|_| Begin::default()).collect();
        for (number, bytes) in &checkpoint.devices {
            if let Some(device) = decode_device(bytes) {
                let name = device.name().clone();
                let shard = self.shard(*number, &name.to_string());
                begins[shard].names.push((*number, name));
            }
        }
        begins
    }

    fn send(&mut self, path: &Path, begins: Vec<Begin>) {
        for (shard, mut begin) in self.shards.iter_mut().zip(begins) {
            begin.path = path.to_owned();
            shard.flush();
            shard.send(Job::File(begin));
        }
    }

    /// Reads a file's values below `end`. Values and records that cannot be read are reported and left out.
    fn file(&mut self, file: &JournalFile, end: u64) -> Result<(), FileError> {
        let mut reader = Reader::default();
        self.file_first = file.first();
        self.file_bytes = 0;
        let read = file.each_value(0, end, |number, value| {
            self.next = self.next.max(number + 1);
            self.file_bytes += value.len() as u64;
            self.state.bytes += value.len() as u64;
            match reader.push(value) {
                Ok(records) => records.into_iter().for_each(|record| self.record(number, record)),
                Err(error) => self
                    .damage
                    .push(left_out(file.path(), number, &error.to_string())),
            }
            if number % REPORT == 0 {
                self.report();
            }
            true
        });
        self.shards.iter_mut().for_each(Shard::flush);
        read?;
        self.state.files += 1;
        self.report();
        Ok(())
    }

    /// Hands a record to its worker.
    fn record(&mut self, number: u64, mut record: Record) {
        let last = self.routed.entry(record.ring).or_default();
        *last = number.max(*last);
        let shard = match &record.what {
            // In their order, so all of them to one.
            Some(What::Results(_)) => RESULTS_SHARD,
            _ => {
                self.name(&mut record);
                self.above = self.above.max(record.device.saturating_add(1));
                self.shard(record.device, &record.name)
            }
        };
        let id = RecordId {
            number,
            device: record.device,
        };
        let file = self.begun.file_of(id, self.file_first);
        self.shards[shard].push(Place { number, file }, record);
    }

    fn report(&mut self) {
        self.state.samples = self.samples.load(Ordering::Relaxed);
        (self.progress)(self.state);
    }
}
