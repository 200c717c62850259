//! The store on a disk whose power goes at any operation: what was committed is there once, the rest wholly or not at all.
//!
//! Seeds run on all cores. `BACKHAUL_SEED` repeats one, `BACKHAUL_POWER_CUTS` says how many are tried.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "store/device.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod device;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use device::{Device, Record, START, assert_equation, labels, tenant};
use fault_disk::{Fault, FaultDisk, Operation};
use store::{Config, OpenError, OwnSample, SeriesSlice, Store};
use wire::Timestamp;

/// A device and what the store should hold of it.
struct Known {
    device: Device,
    records: Vec<Record>,
    /// Of the open session: settled by a commit that succeeded.
    settled: BTreeSet<u64>,
    /// By series and time: bits of what was stored.
    samples: BTreeMap<(usize, i64), u64>,
    /// The same of what is too far ahead to be seen.
    waiting: BTreeMap<(usize, i64), u64>,
}

/// Results of rules by series and time: bits of the last.
type Results = BTreeMap<(usize, i64), u64>;

/// What a commit would have done that failed.
#[derive(Debug, Default)]
struct Doubt {
    /// New seqs by device.
    seqs: BTreeSet<(usize, u64)>,
    results: Results,
}

struct World {
    random: fastrand::Rng,
    dir: tempfile::TempDir,
    disk: FaultDisk,
    devices: Vec<Known>,
    next_session: u64,
    now: i64,
    /// The commits that failed since the last that did not: after a restart one of them may have happened, and then all
    /// of it.
    doubted: Vec<Doubt>,
    results: Results,
    times: BTreeSet<i64>,
    /// The latest time of a round of maintenance that may have released rows.
    tried: i64,
    /// The disk was told to fail.
    refusing: bool,
}

const HOUR: i64 = 3_600_000;
/// How far ahead a row may be and be seen.
const FUTURE: i64 = 600_000;

impl World {
    fn new(seed: u64) -> World {
        let mut random = fastrand::Rng::with_seed(seed);
        let dir = tempfile::tempdir().unwrap();
        let known = |n: usize| Known {
            device: Device::new(&format!("d-{n}"), 1, 1 + 3 * n),
            records: Vec::new(),
            settled: BTreeSet::new(),
            samples: BTreeMap::new(),
            waiting: BTreeMap::new(),
        };
        World {
            disk: FaultDisk::new(&dir.path().join("data"), random.u64(..)).unwrap(),
            random,
            dir,
            devices: (0..3).map(known).collect(),
            next_session: 2,
            now: START + HOUR,
            doubted: Vec::new(),
            results: Results::new(),
            times: BTreeSet::new(),
            tried: i64::MIN,
            refusing: false,
        }
    }

    fn open(&mut self) -> Result<Store, OpenError> {
        let config = Config {
            disk: Arc::new(self.disk.clone()),
            min_free_disk: 0,
            hashrings: store::Hashrings::of_partitions(2),
            journal_file_bytes: self.random.u64(1000..20_000),
            head_bytes: self.random.usize(500..100_000),
            late_bytes: self.random.usize(500..100_000),
            cache_bytes: 1 << 20,
            ..Config::default()
        };
        Store::open(&self.dir.path().join("data"), config, &mut |_| {})
    }

    fn step(&mut self, store: &Store) {
        match self.random.u8(0..20) {
            0..=4 => self.make(),
            5..=10 => self.commit(store),
            11 | 12 => self.record(store),
            13 => self.session(store),
            17 | 18 => self.maintain(store),
            19 => self.prepare(store),
            14 if self.random.u8(0..3) == 0 => {
                self.refusing = true;
                self.disk.fail(Fault {
                    operation: [Operation::Write, Operation::Sync, Operation::Name][self.random.usize(0..3)],
                    after: self.random.u64(0..8),
                    times: self.random.u64(1..3),
                });
            }
            15 if self.random.u8(0..3) == 0 => {
                self.refusing = true;
                self.disk.room(Some(self.random.u64(0..50_000)));
            }
            16 => {
                self.refusing = false;
                self.disk.heal();
            }
            _ => {}
        }
    }

    /// A round of maintenance at the time of the deliveries or up to days later.
    fn maintain(&mut self, store: &Store) {
        let ahead = match self.random.u8(0..3) {
            0 => 0,
            1 => self.random.i64(0..3 * HOUR),
            _ => self.random.i64(0..72 * HOUR),
        };
        let now = self.now + ahead;
        let round = store.maintain(Timestamp::from_ms(now));
        let asked = self.disk.is_out() || self.refusing;
        assert!(round.failed.is_empty() || asked, "{:?}", round.failed);
        self.tried = self.tried.max(now);
    }

    /// Up to all steps that the next journal file needs.
    fn prepare(&mut self, store: &Store) {
        for _ in 0..self.random.u8(1..4) {
            match store.prepare_journal() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => assert!(self.disk.is_out() || self.refusing, "{error}"),
            }
        }
    }

    fn make(&mut self) {
        let known = &mut self.devices[self.random.usize(0..3)];
        for _ in 0..self.random.u8(1..10) {
            let ago = match self.random.u8(0..12) {
                0 => self.random.i64(-6 * HOUR..-FUTURE),
                1..=3 => self.random.i64(0..48 * HOUR),
                _ => self.random.i64(0..2 * HOUR),
            };
            let time = self.now - ago;
            if !self.times.insert(time) {
                continue;
            }
            let values = (0..known.device.series())
                .map(|_| (self.random.u8(0..6) > 0).then(|| self.random.f64()))
                .collect();
            known.records.push(known.device.sparse(time, values));
        }
    }

    /// One to three deliveries of some records, settled before or not, in one commit.
    fn commit(&mut self, store: &Store) {
        let mut entries = Vec::new();
        let mut sent: Vec<(usize, BTreeSet<u64>)> = Vec::new();
        for _ in 0..self.random.u8(1..4) {
            let at = self.random.usize(0..3);
            let known = &mut self.devices[at];
            if known.records.is_empty() {
                continue;
            }
            if !has_dictionary(store, &known.device) {
                continue;
            }
            let first = match self.random.bool() {
                true => known.records.len().saturating_sub(8),
                false => self.random.usize(0..known.records.len()),
            };
            let last = self.random.usize(first..known.records.len().min(first + 12));
            let rows = &known.records[first..=last];
            entries.push(known.device.deliver(rows));
            sent.push((at, rows.iter().map(|r| r.seq).collect()));
        }
        let new = |(at, seq): &(usize, u64)| !self.devices[*at].settled.contains(seq);
        let sent: BTreeSet<(usize, u64)> = sent
            .into_iter()
            .flat_map(|(at, seqs)| seqs.into_iter().map(move |seq| (at, seq)))
            .filter(new)
            .collect();
        if sent.is_empty() {
            return;
        }
        match store.commit(entries) {
            Ok(_) => {
                self.doubted.clear();
                self.settle(&sent);
            }
            Err(_) => self.doubted.push(Doubt {
                seqs: sent,
                ..Doubt::default()
            }),
        }
    }

    /// Results of up to four series at some times, many of which had results before.
    fn record(&mut self, store: &Store) {
        let mut results = Results::new();
        for _ in 0..self.random.u8(1..12) {
            let time = self.now - self.random.i64(0..40) * HOUR / 2;
            results.insert((self.random.usize(0..4), time), self.random.f64().to_bits());
        }
        let sample = |((series, time), value): (&(usize, i64), &u64)| OwnSample {
            labels: labels(&[("__name__", "rule"), ("series", &series.to_string())]),
            time: Timestamp::from_ms(*time),
            value: f64::from_bits(*value).into(),
        };
        let samples: Vec<OwnSample> = results.iter().map(sample).collect();
        let known = |place: &&(usize, i64)| self.results.contains_key(*place);
        let overwritten = results.keys().filter(known).count() as u64;
        match store.record(&tenant(), &samples) {
            Ok(recorded) => {
                assert_eq!((recorded.overwritten, recorded.refused), (overwritten, 0));
                self.doubted.clear();
                self.results.extend(results);
            }
            Err(_) => self.doubted.push(Doubt {
                results,
                ..Doubt::default()
            }),
        }
    }

    fn settle(&mut self, seqs: &BTreeSet<(usize, u64)>) {
        seqs.iter().for_each(|(at, seq)| self.devices[*at].settle(*seq));
    }

    /// A device declares what is left and starts again.
    fn session(&mut self, store: &Store) {
        let at = self.random.usize(0..3);
        let known = &mut self.devices[at];
        let last = known.device.last();
        let in_doubt = self
            .doubted
            .iter()
            .flat_map(|doubt| &doubt.seqs)
            .any(|(of, _)| *of == at);
        if last == 0 || in_doubt {
            return;
        }
        let entries = vec![known.device.gap(1, last), known.device.state(1, last, true)];
        if store.commit(entries).is_ok() {
            self.doubted.clear();
        }
        known.records.clear();
        known.settled.clear();
        known.device.restart(self.next_session);
        self.next_session += 1;
    }

    fn run(&mut self) {
        for _ in 0..self.random.u8(2..6) {
            if self.random.u8(0..4) > 0 {
                self.disk.cut_after(self.random.u64(0..120));
            }
            self.life();
            self.disk.power_cut().unwrap();
            self.refusing = false;
            for _ in 0..self.random.u8(1..3) {
                let store = self.open().unwrap();
                assert_eq!(store.damage(), []);
                self.decide(&store);
                self.check(&store);
                if self.random.bool() {
                    self.maintain(&store);
                    self.check(&store);
                }
            }
            assert_eq!(self.strays(), Vec::<String>::new());
        }
        // In the end the time of all rows has come.
        let store = self.open().unwrap();
        self.tried = self.now + 10 * HOUR;
        let round = store.maintain(Timestamp::from_ms(self.tried));
        assert_eq!(round.failed, Vec::<String>::new());
        self.check(&store);
        assert!(self.devices.iter().all(|known| known.waiting.is_empty()));
    }

    /// From a start to a cut.
    fn life(&mut self) {
        let store = match self.open() {
            Ok(store) => store,
            Err(error) => return assert!(self.disk.is_out(), "{error}"),
        };
        for _ in 0..self.random.u8(0..40) {
            self.step(&store);
            if self.disk.is_out() {
                break;
            }
        }
        if self.random.bool() && !self.disk.is_out() {
            // What a failed commit held stays void while the store lives.
            self.disk.heal();
            self.refusing = false;
            self.check(&store);
        }
        if !self.disk.is_out() {
            self.disk.cut_after(0);
        }
    }

    fn strays(&self) -> Vec<String> {
        let strays = self.disk.strays().unwrap();
        strays
            .iter()
            .map(|path| path.display().to_string())
            .filter(|path| !path.ends_with("/lock"))
            .collect()
    }

    /// Takes the store's word for what was in doubt.
    fn decide(&mut self, store: &Store) {
        let new = |at: usize| {
            let known = &self.devices[at];
            let settled = known.settled_in(store);
            settled
                .into_iter()
                .filter(|seq| !known.settled.contains(seq))
                .map(move |seq| (at, seq))
                .collect::<Vec<_>>()
        };
        let new: BTreeSet<(usize, u64)> = (0..self.devices.len()).flat_map(new).collect();
        let found = results_in(store);
        let doubted = std::mem::take(&mut self.doubted);
        if new.is_empty() && found == self.results {
            return;
        }
        let with = |results: &Results| {
            let mut all = self.results.clone();
            all.extend(results);
            all
        };
        let is_it = |doubt: &&Doubt| doubt.seqs == new && with(&doubt.results) == found;
        assert!(
            doubted.iter().any(|doubt| is_it(&doubt)),
            "{new:?} and {found:?} after {:?} were in no commit: {doubted:?}",
            self.results
        );
        self.results = found;
        self.settle(&new);
    }

    fn check(&mut self, store: &Store) {
        let found = store
            .select(&tenant(), &[], i64::MIN, i64::MAX, usize::MAX)
            .unwrap();
        assert_eq!(results_of(&found), self.results);
        for known in &mut self.devices {
            assert_eq!(known.settled_in(store), known.settled);
            let id = known.device.name.device().as_str();
            let mut samples = BTreeMap::new();
            for slice in found.iter().filter(|s| s.labels.get("device_id") == Some(id)) {
                let series: usize = slice.labels.get("i").unwrap().parse().unwrap();
                for (time, value) in slice.times_ms.iter().zip(&slice.values) {
                    samples.insert((series, *time), value.to_bits());
                }
            }
            known.released(&samples, self.tried);
            assert_eq!(samples, known.samples);
            let quarantined = store
                .device(&known.device.name)
                .map_or(0, |device| device.quarantined);
            assert_eq!(quarantined, known.waiting.len() as u64);
            match store.device(&known.device.name) {
                Some(_) => assert_equation(store, &known.device.name),
                None => assert!(known.samples.is_empty()),
            }
        }
    }
}

fn results_in(store: &Store) -> Results {
    let found = store.select(&tenant(), &[], i64::MIN, i64::MAX, usize::MAX);
    results_of(&found.unwrap())
}

fn results_of(found: &[SeriesSlice]) -> Results {
    let mut results = Results::new();
    for slice in found {
        let Some(series) = slice.labels.get("series") else {
            continue;
        };
        for (time, value) in slice.times_ms.iter().zip(&slice.values) {
            results.insert((series.parse().unwrap(), *time), value.to_bits());
        }
    }
    results
}

/// Puts a device's dictionary if it is not there: one that nothing names is swept.
fn has_dictionary(store: &Store, device: &Device) -> bool {
    let dict = device.dictionary();
    store.dictionary(&device.name, dict.hash()).is_some() || store.put_dictionary(&device.name, dict).is_ok()
}

impl Known {
    fn settle(&mut self, seq: u64) {
        self.settled.insert(seq);
        let record = &self.records[seq as usize - 1];
        for (series, value) in record.values.iter().enumerate() {
            if let Some(value) = value {
                let place = match record.time > START + HOUR + FUTURE {
                    true => &mut self.waiting,
                    false => &mut self.samples,
                };
                place.insert((series, record.time), value.to_bits());
            }
        }
    }

    /// Rows that a round of maintenance may have released.
    fn released(&mut self, found: &BTreeMap<(usize, i64), u64>, tried: i64) {
        let seen = |sample: &(usize, i64)| sample.1 <= tried + FUTURE && found.contains_key(sample);
        let waiting = std::mem::take(&mut self.waiting);
        let (out, waiting) = waiting.into_iter().partition(|(sample, _)| seen(sample));
        self.waiting = waiting;
        let out: BTreeMap<(usize, i64), u64> = out;
        self.samples.extend(out);
    }

    fn settled_in(&self, store: &Store) -> BTreeSet<u64> {
        let settled = store.settled(&self.device.name, self.device.session);
        settled
            .ranges()
            .flat_map(|r| r.start().get()..=r.end().get())
            .collect()
    }
}

#[test]
fn a_power_cut_at_any_operation_loses_and_doubles_nothing() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("BACKHAUL_SEED");
    let count = if first.is_some() {
        1
    } else {
        number("BACKHAUL_POWER_CUTS").unwrap_or(40)
    };
    let first = first.unwrap_or_else(|| fastrand::u64(..1 << 48));
    let next = AtomicU64::new(first);
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        break;
                    }
                    let world = || World::new(seed).run();
                    std::panic::catch_unwind(world)
                        .unwrap_or_else(|_| panic!("repeat it with BACKHAUL_SEED={seed}"));
                }
            });
        }
    });
}
