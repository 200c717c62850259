//! Random deliveries, results of rules, copies, late and future rows, histograms, seals, merges, retention, ring changes, restarts and gaps
//! against a plain reference.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use store::{Hashrings, Matcher, OwnSample, OwnValue, Predicate, Recorded, SeriesSlice, Store, Test};
use wire::{Labels, Timestamp};

use super::device::{Device, Record, START, assert_equation, labels, open_with, tenant};

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    /// Device makes records at this time, this far apart, in an hour before or after; some with native histograms.
    Make {
        device: usize,
        rows: u8,
        at: i16,
        apart: u8,
        hours: i64,
        histograms: bool,
    },
    /// Device sends some of its records, new or not: a window of them, by these thousandths, with a key or without.
    Send {
        device: usize,
        from: u16,
        to: u16,
        keyed: bool,
        join: bool,
    },
    /// Device drops a window of its records.
    Drop { device: usize, from: u16, to: u16 },
    /// The store stops and starts.
    Restart,
    /// A round of maintenance so many minutes later; the clock may go back.
    Maintain { minutes: i64 },
    /// So many steps for the next journal file.
    Prepare { steps: u8 },
    /// The ring gets another number of partitions.
    Rings { partitions: u32 },
    /// Device starts again.
    Session { device: usize },
    /// Device says what it has.
    Seen { device: usize },
    /// Rules give results of some series at some times, mostly not for the first time, in an hour before or after.
    Record {
        series: u8,
        count: u8,
        at: i16,
        rows: u8,
        hours: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let device = || 0usize..3;
    prop_oneof![
        4 => (device(), 1u8..12, -50i16..200, 0u8..3, hours(), any::<bool>())
            .prop_map(|(device, rows, at, apart, hours, histograms)| Step::Make { device, rows, at, apart, hours, histograms }),
        3 => (0i64..6000).prop_map(|minutes| Step::Maintain { minutes }),
        3 => (1u8..4).prop_map(|steps| Step::Prepare { steps }),
        1 => (1u32..5).prop_map(|partitions| Step::Rings { partitions }),
        8 => (device(), 0u16..1000, 0u16..1000, any::<bool>(), any::<bool>())
            .prop_map(|(device, from, to, keyed, join)| Step::Send { device, from, to, keyed, join }),
        1 => (device(), 0u16..1000, 0u16..1000).prop_map(|(device, from, to)| Step::Drop { device, from, to }),
        1 => Just(Step::Restart),
        1 => device().prop_map(|device| Step::Session { device }),
        1 => device().prop_map(|device| Step::Seen { device }),
        4 => (0u8..4, 1u8..4, -3i16..5, 1u8..12, hours())
            .prop_map(|(series, count, at, rows, hours)| Step::Record { series, count, at, rows, hours }),
    ]
}

/// Mostly this hour; else up to days ago, or ahead.
fn hours() -> impl Strategy<Value = i64> {
    prop_oneof![6 => Just(0), 3 => -60i64..0, 1 => 2i64..6]
}

/// When all deliveries arrive, and how far ahead of that a row may be.
const RECEIVED: i64 = START + HOUR;
const HOUR: i64 = 3_600_000;
const FUTURE: i64 = 600_000;
/// How long samples are kept.
const RETENTION: i64 = 39 * HOUR + HOUR / 2;

/// Of one series and time there may be a float, by its bits, and a native histogram, by its count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Float,
    Histogram,
}

/// What should be there.
#[derive(Default)]
struct Reference {
    settled: BTreeSet<u64>,
    stored: u64,
    dropped: u64,
    generated_before: u64,
    /// By series and time, all of them in order: the last one counts.
    samples: BTreeMap<(usize, i64, Kind), Vec<u64>>,
    /// Stored, in the order of their arrival, and too far ahead to be seen: what a batch had of them waits for its last.
    waiting: Vec<Vec<Record>>,
}

impl Reference {
    fn put(&mut self, record: &Record) {
        for (series, value) in record.values.iter().enumerate() {
            if let Some(value) = value {
                self.add((series, record.time, Kind::Float), value.to_bits());
            }
        }
        if let Some(count) = record.histogram {
            let series = record.values.len() - 1;
            self.add((series, record.time, Kind::Histogram), count);
        }
    }

    fn add(&mut self, sample: (usize, i64, Kind), value: u64) {
        self.samples.entry(sample).or_default().push(value);
    }

    fn release(&mut self, now: i64) {
        let waiting = std::mem::take(&mut self.waiting);
        let come = |batch: &Vec<Record>| batch.iter().all(|record| record.time <= now + FUTURE);
        let (due, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(come);
        self.waiting = waiting;
        due.iter().flatten().for_each(|record| self.put(record));
    }
}

struct World {
    dir: tempfile::TempDir,
    store: Option<Store>,
    devices: Vec<(Device, Vec<Record>, Reference)>,
    next_session: u64,
    next_key: u32,
    clock: i64,
    partitions: u32,
    /// The ring was changed.
    moved: bool,
    /// The latest time of a round of maintenance.
    latest: i64,
    /// The last that this start had.
    now: Option<i64>,
    /// The last result of each series and time.
    results: BTreeMap<(Labels, i64), u64>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open_with(dir.path(), small(2));
        let devices: Vec<_> = (0..3)
            .map(|n| {
                let device = Device::new(&format!("d-{n}"), 1, 2 + 3 * n);
                device.put_dictionary(&store);
                (device, Vec::new(), Reference::default())
            })
            .collect();
        World {
            dir,
            store: Some(store),
            devices,
            next_session: 2,
            next_key: 1,
            clock: 0,
            partitions: 2,
            moved: false,
            latest: i64::MIN / 2,
            now: None,
            results: BTreeMap::new(),
        }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    #[expect(clippy::too_many_lines, reason = "a flat match")]
    fn step(&mut self, step: Step) {
        match step {
            Step::Make {
                device,
                rows,
                at,
                apart,
                hours,
                histograms,
            } => {
                let (device, records, _) = &mut self.devices[device];
                for row in 0..i64::from(rows) {
                    self.clock += 1;
                    let time = START + hours * HOUR + i64::from(at) * 10 + row * i64::from(apart);
                    let salt = self.clock;
                    let values = (0..device.series())
                        .map(|i| ((salt + i as i64) % 5 != 0).then(|| ((salt * 3 + i as i64) % 4) as f64))
                        .collect();
                    records.push(match histograms && salt % 3 == 0 {
                        true => device.with_histogram(time, values, salt as u64 % 7),
                        false => device.sparse(time, values),
                    });
                }
            }
            Step::Send {
                device,
                from,
                to,
                keyed,
                join,
            } => self.send(device, (from, to), keyed, join),
            Step::Drop { device, from, to } => {
                let (device, records, reference) = &mut self.devices[device];
                let Some((first, last)) = window(records, from, to) else {
                    return;
                };
                let store = self.store.as_ref().unwrap();
                store
                    .commit(vec![device.gap(first as u64 + 1, last as u64 + 1)])
                    .unwrap();
                for record in &records[first..=last] {
                    if reference.settled.insert(record.seq) {
                        reference.dropped += record.samples();
                    }
                }
            }
            Step::Restart => {
                self.store = None;
                self.now = None;
                self.store = Some(open_with(self.dir.path(), small(self.partitions)));
            }
            Step::Maintain { minutes } => {
                let now = RECEIVED + minutes * 60_000;
                self.latest = self.latest.max(now);
                self.now = Some(now);
                let round = self.store().maintain(Timestamp::from_ms(now));
                assert_eq!(round.failed, Vec::<String>::new());
                self.devices
                    .iter_mut()
                    .for_each(|(_, _, reference)| reference.release(now));
            }
            Step::Prepare { steps } => {
                for _ in 0..steps {
                    self.store().prepare_journal().unwrap();
                }
            }
            Step::Rings { partitions } => {
                self.partitions = partitions;
                self.moved = true;
                self.store()
                    .set_hashrings(&Hashrings::of_partitions(partitions))
                    .unwrap();
            }
            Step::Session { device } => {
                let (device, records, reference) = &mut self.devices[device];
                self.next_session += 1;
                // What is left of the session before is declared at once, so that only one is open.
                if device.last() > 0 {
                    let store = self.store.as_ref().unwrap();
                    let last = device.last();
                    store
                        .commit(vec![device.gap(1, last), device.state(1, last, true)])
                        .unwrap();
                    for record in records.iter() {
                        if reference.settled.insert(record.seq) {
                            reference.dropped += record.samples();
                        }
                    }
                }
                reference.generated_before += device.total();
                reference.settled.clear();
                records.clear();
                device.restart(self.next_session);
            }
            Step::Seen { device } => {
                let (device, _, _) = &self.devices[device];
                if device.last() > 0 {
                    self.store().commit(vec![device.seen(1)]).unwrap();
                }
            }
            Step::Record {
                series,
                count,
                at,
                rows,
                hours,
            } => {
                let from = START + hours * HOUR + i64::from(at) * 10;
                let times = (0..i64::from(rows)).map(|row| from + row * 5);
                let all = (series..series + count).flat_map(|series| {
                    let labels = rule_labels(series);
                    times.clone().map(move |time| (labels.clone(), time))
                });
                self.record(all.collect());
            }
        }
    }

    fn record(&mut self, places: Vec<(Labels, i64)>) {
        let mut samples = Vec::new();
        for (labels, time) in places {
            self.clock += 1;
            samples.push(OwnSample {
                labels,
                time: Timestamp::from_ms(time),
                value: ((self.clock % 3) as f64).into(),
            });
        }
        let recorded = self.store().record(&tenant(), &samples).unwrap();
        let newest = samples.iter().map(|sample| sample.time.ms()).max().unwrap();
        let now = self.now.unwrap_or(newest);
        let mut expected = Recorded::default();
        let mut all_kept = true;
        for sample in samples {
            let time = sample.time.ms();
            all_kept &= time >= self.latest - RETENTION;
            if time < now - RETENTION {
                expected.out_of_retention += 1;
            } else if time > now + 24 * HOUR {
                expected.future += 1;
            } else {
                let OwnValue::Float(value) = sample.value else {
                    continue;
                };
                let value = value.to_bits();
                let before = self.results.insert((sample.labels, time), value);
                expected.overwritten += u64::from(before.is_some_and(|before| before != value));
            }
        }
        expected.refused = expected.out_of_retention + expected.future;
        if !all_kept {
            // What would be overwritten may be gone.
            assert!(recorded.overwritten <= expected.overwritten);
            expected.overwritten = recorded.overwritten;
        }
        assert_eq!(recorded, expected);
    }

    fn check_results(&self, found: &[SeriesSlice]) {
        let mut samples = BTreeMap::new();
        for slice in found.iter().filter(|slice| slice.labels.get("i").is_none()) {
            for (time, value) in slice.times_ms.iter().zip(&slice.values) {
                samples.insert((slice.labels.clone(), *time), value.to_bits());
            }
        }
        for (place, value) in &self.results {
            let found = samples.remove(place);
            let kept = place.1 >= self.latest - RETENTION;
            assert!(
                found == Some(*value) || found.is_none() && !kept,
                "{place:?}: {value}, and {found:?} is found"
            );
        }
        assert_eq!(samples, BTreeMap::new());
    }

    fn send(&mut self, device: usize, (from, to): (u16, u16), keyed: bool, join: bool) {
        let (device, records, reference) = &mut self.devices[device];
        let Some((first, last)) = window(records, from, to) else {
            return;
        };
        let rows = &records[first..=last];
        let store = self.store.as_ref().unwrap();
        let mut entries = Vec::new();
        if keyed {
            self.next_key += 1;
            let (entry, key) = device.define(&rows[..1], self.next_key);
            entries.extend([entry, device.keyed(rows, &key)]);
        } else {
            entries.push(device.deliver(rows));
        }
        let mut commits = vec![entries];
        if !join {
            commits = commits.remove(0).into_iter().map(|entry| vec![entry]).collect();
        }
        for entries in commits {
            store.commit(entries).unwrap();
        }
        let mut ahead = Vec::new();
        for record in rows {
            if !reference.settled.insert(record.seq) {
                continue;
            }
            if record.time < RECEIVED - RETENTION {
                reference.dropped += record.samples();
                continue;
            }
            reference.stored += record.samples();
            match record.time > RECEIVED + FUTURE {
                true => ahead.push(record.clone()),
                false => reference.put(record),
            }
        }
        if !ahead.is_empty() {
            reference.waiting.push(ahead);
        }
    }

    /// Settles every record that is left; then each device says how far it came, as it does at every connect.
    fn drain(&mut self) {
        for device in 0..self.devices.len() {
            let records = self.devices[device].1.len();
            for first in (0..records).step_by(40) {
                let place = |at: usize| (at * 1000).div_ceil(records) as u16;
                self.send(
                    device,
                    (place(first), place((first + 39).min(records - 1))),
                    false,
                    true,
                );
            }
            self.step(Step::Seen { device });
        }
    }

    /// Whether what is read of a range otherwise is what all of its samples say.
    fn check_newest(&self, found: &[SeriesSlice]) {
        let store = self.store();
        let times: BTreeSet<i64> = found.iter().flat_map(|s| s.times_ms.iter()).copied().collect();
        let times: Vec<i64> = times.into_iter().collect();
        let places = (0..times.len()).step_by(times.len() / 5 + 1);
        for (start, end) in places.flat_map(|at| [(i64::MIN, at), (times[at / 2], at), (times[at], at)]) {
            let end = times[end];
            let all = store.select(&tenant(), &[], start, end, usize::MAX).unwrap();
            let newest = store
                .selection(&tenant(), Vec::new(), (start, end), true)
                .read_all(&store::ReadLimits::samples(usize::MAX))
                .unwrap();
            let last = |slice: &SeriesSlice| {
                let value = slice.values.last().map(|value| value.to_bits());
                (slice.labels.clone(), slice.times_ms.last().copied(), value)
            };
            assert!(newest.iter().all(|slice| slice.times_ms.len() < 2));
            assert_eq!(
                newest.iter().map(last).collect::<Vec<_>>(),
                all.iter().map(last).collect::<Vec<_>>()
            );
            let labels: Vec<Labels> = all.iter().map(|slice| slice.labels.clone()).collect();
            assert!(labels.is_sorted());
            let there = store.series(&tenant(), &[], start, end);
            assert!(labels.iter().all(|set| there.contains(set)));
            let values: BTreeSet<String> = there
                .iter()
                .filter_map(|set| set.get("i"))
                .map(str::to_owned)
                .collect();
            let of_i = Matcher {
                name: "i".to_owned(),
                test: Test::Passes(Predicate::new(|value| !value.is_empty())),
            };
            for matchers in [&[][..], &[of_i]] {
                let found = store.label_values_between(&tenant(), "i", matchers, start, end);
                assert!(found.iter().map(|value| &**value).eq(&values));
                let names = store.label_names_between(&tenant(), matchers, start, end);
                assert_eq!(names.contains(&"i".to_owned()), !values.is_empty());
            }
        }
    }

    /// Until all is settled, how many samples a gap held may be a guess, where it overlaps what was stored.
    fn check(&self, drained: bool) {
        let found = self
            .store()
            .select(&tenant(), &[], i64::MIN, i64::MAX, usize::MAX)
            .unwrap();
        self.check_newest(&found);
        self.check_results(&found);
        for (device, _, reference) in &self.devices {
            let mut samples = BTreeMap::new();
            let id = device.name.device().as_str();
            let of_device =
                |s: &&SeriesSlice| s.labels.get("device_id") == Some(id) && s.labels.get("i").is_some();
            for slice in found.iter().filter(of_device) {
                let series: usize = slice.labels.get("i").unwrap().parse().unwrap();
                for (time, value) in slice.times_ms.iter().zip(&slice.values) {
                    samples.insert((series, *time, Kind::Float), value.to_bits());
                }
                for (time, histogram) in &slice.histograms {
                    samples.insert((series, *time, Kind::Histogram), histogram.count);
                }
            }
            let kept = |(_, time, _): &&(usize, i64, Kind)| *time >= self.latest - RETENTION;
            let missing = |sample: &&(usize, i64, Kind)| !samples.contains_key(*sample);
            assert_eq!(reference.samples.keys().filter(kept).find(missing), None);
            for (sample, value) in samples {
                let all = reference.samples.get(&sample).map_or(&[][..], Vec::as_slice);
                // Of samples in two partitions, any is found.
                let right = all.last() == Some(&value) || self.moved && all.contains(&value);
                assert!(right, "{sample:?}: {value} of {all:?}");
            }
            let Some(ledger) = self.store().device(&device.name) else {
                assert_eq!(reference.stored + reference.dropped, 0);
                continue;
            };
            assert_eq!(ledger.stored, reference.stored);
            if drained {
                assert_eq!(ledger.dropped.values().sum::<u64>(), reference.dropped);
                assert_eq!(ledger.generated, reference.generated_before + device.total());
                assert_eq!(ledger.pending, 0);
                assert_equation(self.store(), &device.name);
            }
            let settled: BTreeSet<u64> = self
                .store()
                .settled(&device.name, device.session)
                .ranges()
                .flat_map(|r| r.start().get()..=r.end().get())
                .collect();
            assert_eq!(settled, reference.settled);
        }
    }
}

/// Series of rules, some of them of two metrics, some with a device's id.
fn rule_labels(series: u8) -> Labels {
    let metric = ["a:b", "ALERTS"][usize::from(series % 2)];
    let id = format!("d-{}", series % 3);
    labels(&[
        ("__name__", metric),
        ("device_id", &id),
        ("rule", &series.to_string()),
    ])
}

fn small(partitions: u32) -> store::Config {
    store::Config {
        journal_file_bytes: 3000,
        hashrings: Hashrings::of_partitions(partitions),
        head_bytes: 20_000,
        late_bytes: 5000,
        retention_time: Duration::from_millis(RETENTION as u64),
        ..store::Config::default()
    }
}

fn window(records: &[Record], from: u16, to: u16) -> Option<(usize, usize)> {
    let place = |n: u16| usize::from(n) * records.len() / 1000;
    let (first, last) = (place(from.min(to)), place(from.max(to)));
    (!records.is_empty()).then_some((first, last.min(first + 40)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_holds_what_a_plain_reference_holds(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.check(false);
        world.step(Step::Restart);
        world.check(false);
        world.drain();
        world.check(true);
        world.step(Step::Restart);
        world.check(true);
        world.store = None;
        let report = store::check(world.dir.path(), &mut |_| {}).unwrap();
        prop_assert_eq!(report.damage, []);
    }
}
