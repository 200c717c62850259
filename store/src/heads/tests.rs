//! Heads, seals and blocks against a plain reference, without a journal: what was applied is kept and applied again.

mod life;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use wire::batch::{Batch, Group, Header, Presence, Row};
use wire::dict::{Dictionary, SeriesId};
use wire::message::{Histogram, HistogramCell};
use wire::{BootId, DeviceName, Labels, Seq, SessionId, Tenant, Timestamp};

use super::*;
use crate::block::{self, BlockMeta, Blocks, Writer};
use crate::disk::{Disk, SystemDisk};
use crate::index::{Contents, SeriesList};
use crate::query::ReadLimits;
use crate::rings::Hashrings;
use crate::seal;
use crate::sealed::Sealed;
use crate::window::{WINDOW_MS, Window};

const START: i64 = 1_795_000_000_000 / WINDOW_MS * WINDOW_MS;
const PARTITIONS: usize = 2;
const SERIES: usize = 5;

/// A row: window, place in it, and of each series nothing, a value, or a histogram.
type RowOf = (u8, u8, [u8; SERIES]);

#[derive(Debug, Clone)]
enum Step {
    /// A device delivers rows of series from one on.
    Deliver {
        device: u8,
        from: u8,
        rows: Vec<RowOf>,
    },
    /// A window is sealed, or cannot be.
    Seal {
        window: u8,
        fails: bool,
    },
    /// Blocks of a window are merged.
    Merge {
        window: u8,
    },
    /// Blocks of a window are too old.
    Retire {
        window: u8,
    },
    /// What is idle goes.
    Sweep,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let window = || 0u8..3;
    let cell = || prop_oneof![1 => Just(0u8), 6 => 1u8..5, 1 => 5u8..7];
    let row = (window(), 0u8..40, [cell(), cell(), cell(), cell(), cell()]);
    let whole = (window(), 0u8..40, [1u8..5, 1u8..5, 1u8..5, 1u8..5, 1u8..5]);
    let rows = prop_oneof![
        proptest::collection::vec(row, 1..4),
        proptest::collection::vec(whole, 1..60),
    ];
    prop_oneof![
        10 => (0u8..2, 0u8..3, rows).prop_map(|(device, from, rows)| Step::Deliver { device, from, rows }),
        4 => (window(), prop::bool::weighted(0.2)).prop_map(|(window, fails)| Step::Seal { window, fails }),
        1 => window().prop_map(|window| Step::Merge { window }),
        1 => window().prop_map(|window| Step::Retire { window }),
        1 => Just(Step::Sweep),
        1 => Just(Step::Restart),
    ]
}

/// What an index would hold.
#[derive(Default)]
struct Kept {
    series: BTreeMap<u32, Labels>,
    dropped: BTreeSet<u32>,
    blocks: Vec<BlockMeta>,
    sealed: BTreeMap<Window, Sealed>,
    totals: BTreeMap<DeviceRef, Tally>,
}

#[derive(Default)]
struct Reference {
    taken: u64,
    /// By series, time and kind (1: histogram): bits, or what stands for a histogram; and the number.
    samples: BTreeMap<(String, i64, u8), (u64, u64)>,
    retired: u64,
}

struct World {
    dir: tempfile::TempDir,
    disk: Arc<dyn Disk>,
    heads: Heads,
    kept: Vec<Kept>,
    next_generation: u64,
    journal: Vec<(u64, DeviceRef, Batch)>,
    dict: Dictionary,
    references: Vec<Reference>,
}

fn tenant() -> Tenant {
    Tenant::new("t").unwrap()
}

fn name(device: DeviceRef) -> DeviceName {
    format!("t.d{device}").parse().unwrap()
}

fn rings() -> Arc<Rings> {
    let (rings, _) = Rings::new(Vec::new(), &Hashrings::of_partitions(PARTITIONS as u32));
    Arc::new(rings)
}

fn heads() -> Heads {
    let limits = HeadLimits {
        head_bytes: usize::MAX,
        late_bytes: usize::MAX,
        own_rows: 100,
    };
    Heads::new(rings(), limits)
}

fn histogram(kind: u8) -> Histogram {
    Histogram {
        count: u64::from(kind),
        ..Histogram::default()
    }
}

impl World {
    fn new() -> Self {
        let mut dict = Dictionary::new();
        for i in 0..SERIES + 2 {
            let metric = format!("m{}", i % 3);
            let set = [("__name__", metric.as_str()), ("i", &i.to_string())];
            dict.append(Labels::new(set).unwrap()).unwrap();
        }
        let mut world = World {
            dir: tempfile::tempdir().unwrap(),
            disk: Arc::new(SystemDisk),
            heads: heads(),
            kept: (0..PARTITIONS).map(|_| Kept::default()).collect(),
            next_generation: 1,
            journal: Vec::new(),
            dict,
            references: vec![Reference::default(), Reference::default()],
        };
        world.load();
        world
    }

    fn folder(&self, partition: usize) -> std::path::PathBuf {
        let dir = self.dir.path().join(partition.to_string());
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn load(&mut self) {
        self.heads = heads();
        for (partition, kept) in self.kept.iter().enumerate() {
            let mut series = SeriesList::default();
            for (id, labels) in &kept.series {
                series.push(*id, labels.iter());
            }
            let contents = Contents {
                series: vec![(tenant(), series)],
                blocks: kept.blocks.clone(),
                sealed: kept
                    .sealed
                    .iter()
                    .map(|(window, sealed)| (tenant(), *window, sealed.clone()))
                    .collect(),
                totals: kept
                    .totals
                    .iter()
                    .map(|(device, tally)| (*device, tally.clone()))
                    .collect(),
                above_dropped: kept
                    .dropped
                    .last()
                    .map(|id| (tenant(), id + 1))
                    .into_iter()
                    .collect(),
                next_gen: self.next_generation,
            };
            let blocks = Blocks::new(self.disk.clone(), &self.folder(partition), 2);
            self.heads.load(partition, contents, blocks);
        }
    }

    fn batch(&self, from: u8, rows: &[RowOf]) -> Batch {
        let cells = || (0..SERIES).flat_map(|s| rows.iter().map(move |row| row.2[s]));
        let mut present = Presence::none(SERIES * rows.len());
        for (at, cell) in cells().enumerate() {
            present.set(at, (1..5).contains(&cell));
        }
        let whole = present.count() == present.len();
        let histograms = rows.iter().enumerate().flat_map(|(r, row)| {
            let cells = row.2.iter().enumerate().filter(|(_, cell)| **cell >= 5);
            cells.map(move |(s, cell)| HistogramCell {
                position: s as u32,
                row: r as u32,
                histogram: Some(histogram(*cell)),
            })
        });
        let group = Group {
            series: (0..SERIES as u32)
                .map(|s| SeriesId::new(s + u32::from(from)))
                .collect(),
            rows: rows
                .iter()
                .map(|row| Row {
                    seq: Seq::new(1),
                    time: Timestamp::from_ms(START + i64::from(row.0) * WINDOW_MS + i64::from(row.1) * 1000),
                    mono_ms: 0,
                })
                .collect(),
            values: cells().map(f64::from).collect(),
            present: (!whole).then_some(present),
            histograms: histograms.collect(),
            ..Group::default()
        };
        Batch {
            header: Header {
                session: SessionId::new(1),
                boot: BootId::new(1),
                dict: self.dict.hash(),
                total: 0,
                clock_error_ms: 0,
            },
            groups: vec![group],
        }
    }

    fn apply(&self, number: u64, device: DeviceRef, batch: &Batch, replayed: bool) {
        let arrival = Arrival {
            number,
            file: 1,
            received_ms: START + number as i64,
            ring: 1,
            replayed,
        };
        let take = vec![true; batch.groups[0].rows.len()];
        let gate = self.heads.gate();
        self.heads.apply(
            (device, &name(device)),
            batch.clone(),
            &take,
            Some(&self.dict),
            arrival,
        );
        gate.applied(number);
    }

    fn deliver(&mut self, device: DeviceRef, from: u8, rows: &[RowOf]) {
        let batch = self.batch(from, rows);
        let number = self.journal.len() as u64 + 1;
        self.apply(number, device, &batch, false);
        let reference = &mut self.references[device as usize];
        for (r, row) in rows.iter().enumerate() {
            let time = batch.groups[0].rows[r].time.ms();
            for (s, cell) in row.2.iter().enumerate().filter(|(_, cell)| **cell > 0) {
                let series = self.dict.get(SeriesId::new(s as u32 + u32::from(from))).unwrap();
                let key = (series.to_string(), time, u8::from(*cell >= 5));
                reference.taken += 1;
                reference.samples.insert(key, (u64::from(*cell), number));
            }
        }
        self.journal.push((number, device, batch));
    }

    fn targets(&self, window: u8) -> impl Iterator<Item = SealTarget> + use<> {
        let window = Window::of(START + i64::from(window) * WINDOW_MS);
        (0..PARTITIONS).map(move |partition| SealTarget {
            partition,
            tenant: tenant(),
            window,
        })
    }

    fn writer(&mut self, partition: usize, window: Window) -> (Writer, u64) {
        let generation = self.next_generation;
        self.next_generation += 1;
        let range = (window.start_ms(), window.end_ms());
        let dir = self.folder(partition);
        (
            Writer::create(&self.disk, &dir, &tenant(), range, generation).unwrap(),
            generation,
        )
    }

    fn seal(&mut self, window: u8, fails: bool) {
        for target in self.targets(window) {
            let Some(input) = self.heads.freeze(&target) else {
                continue;
            };
            assert_eq!(input.sealed.number, self.journal.len() as u64);
            let (writer, _) = self.writer(target.partition, target.window);
            let meta = seal::write(&input, writer).unwrap();
            let kept = &mut self.kept[target.partition];
            if fails {
                self.heads.unsealed(input);
                continue;
            }
            let totals = self.heads.totals_with(target.partition, &input.tallies);
            kept.totals.extend(totals);
            for (id, labels) in input.new_series.iter() {
                assert!(!kept.dropped.contains(&id), "the index has dropped {id}");
                kept.series.insert(id, Labels::new(labels).unwrap());
            }
            kept.sealed.insert(target.window, input.sealed.clone());
            kept.blocks.push(meta.clone());
            self.heads.sealed(&input, meta);
        }
    }

    fn blocks_of(&self, target: &SealTarget) -> Vec<Arc<block::BlockFile>> {
        let mut files = self.heads.blocks(target.partition);
        files.retain(|file| file.meta().start_ms == target.window.start_ms());
        files
    }

    fn merge(&mut self, window: u8) {
        for target in self.targets(window) {
            let files = self.blocks_of(&target);
            if files.len() < 2 {
                continue;
            }
            let sources: Vec<_> = files.iter().map(|file| file.open().unwrap()).collect();
            let (writer, _) = self.writer(target.partition, target.window);
            let merged = block::merge(&sources, writer).unwrap();
            let gone: Vec<u64> = files.iter().map(|file| file.meta().generation).collect();
            let kept = &mut self.kept[target.partition];
            kept.blocks.retain(|meta| !gone.contains(&meta.generation));
            kept.blocks.push(merged.clone());
            self.heads
                .merged((target.partition, &target.tenant), &gone, merged);
        }
    }

    fn retire(&mut self, window: u8) {
        for target in self.targets(window) {
            let gone: Vec<u64> = self
                .blocks_of(&target)
                .iter()
                .map(|f| f.meta().generation)
                .collect();
            let place = (target.partition, &target.tenant);
            let samples = self.heads.samples_in(place, &gone);
            let counted: Vec<_> = samples
                .iter()
                .map(|(device, samples)| {
                    let retention = *samples;
                    (
                        *device,
                        Tally {
                            retention,
                            ..Tally::default()
                        },
                    )
                })
                .collect();
            for (device, samples) in samples {
                self.references[device as usize].retired += samples;
            }
            let totals = self.heads.totals_with(target.partition, &counted);
            let kept = &mut self.kept[target.partition];
            kept.totals.extend(totals);
            kept.blocks.retain(|meta| !gone.contains(&meta.generation));
            self.heads.removed(place, &gone, &counted);
            let s = kept.sealed.get(&target.window).map_or(0, |sealed| sealed.number);
            self.forget_samples(&target, s);
        }
    }

    /// Takes what is gone out of the references: samples of a partition's window up to a number.
    fn forget_samples(&mut self, target: &SealTarget, s: u64) {
        let routing = rings().current();
        let ring = routing.of(&target.tenant);
        for (device, reference) in self.references.iter_mut().enumerate() {
            let id = name(device as DeviceRef);
            let dict = &self.dict;
            reference.samples.retain(|(series, time, _), (_, number)| {
                let set = dict.sets().iter().find(|set| set.to_string() == *series).unwrap();
                let hash = set.of_device(id.device().as_str()).ring_hash(&target.tenant);
                let here = ring.place(hash) == target.partition && Window::of(*time) == target.window;
                !(here && *number <= s)
            });
        }
    }

    fn restart(&mut self) {
        self.load();
        for (number, device, batch) in &self.journal {
            self.apply(*number, *device, batch, true);
        }
    }

    fn sweep(&mut self) {
        // Far ahead: all layouts are idle.
        self.heads.sweep(START + 100 * WINDOW_MS);
        for partition in 0..PARTITIONS {
            for (_, series) in self.heads.take_unused(partition) {
                self.kept[partition].series.remove(&series);
                self.kept[partition].dropped.insert(series);
            }
        }
    }

    fn check(&self) {
        for (device, reference) in self.references.iter().enumerate() {
            let device = device as DeviceRef;
            let id = [crate::matcher::Matcher::equal(
                "device_id",
                name(device).device().as_str(),
            )];
            let found = self
                .heads
                .selection(&tenant(), id.to_vec(), (i64::MIN, i64::MAX), false)
                .read_all(&ReadLimits::samples(usize::MAX))
                .unwrap();
            let mut samples = BTreeMap::new();
            for slice in found {
                let series = slice.labels.with("device_id", "").to_string();
                assert!(slice.times_ms.is_sorted_by(|a, b| a < b));
                for (time, value) in slice.times_ms.iter().zip(&slice.values) {
                    samples.insert((series.clone(), *time, 0), *value as u64);
                }
                for (time, histogram) in slice.histograms {
                    samples.insert((series.clone(), time, 1), histogram.count);
                }
            }
            let expected = reference
                .samples
                .iter()
                .map(|(key, (value, _))| (key.clone(), *value));
            assert_eq!(samples, expected.collect::<BTreeMap<_, _>>());
            let tally = self.heads.tally(device);
            let read = self.heads.read_back(&name(device), device);
            assert_eq!(tally.taken, reference.taken);
            assert_eq!(tally.retention, reference.retired);
            assert_eq!(read.samples, reference.samples.len() as u64);
            assert_eq!(
                read.samples + tally.same + tally.conflict + tally.retention,
                tally.taken,
                "{tally:?}"
            );
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Deliver { device, from, rows } => self.deliver(u32::from(device), from, &rows),
            Step::Seal { window, fails } => self.seal(window, fails),
            Step::Merge { window } => self.merge(window),
            Step::Retire { window } => self.retire(window),
            Step::Sweep => self.sweep(),
            Step::Restart => self.restart(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn heads_and_blocks_hold_what_a_plain_reference_holds(steps in proptest::collection::vec(step(), 1..30)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            world.check();
        }
        world.restart();
        world.check();
        for window in 0..3 {
            world.seal(window, false);
        }
        world.check();
        prop_assert_eq!(world.heads.oldest_number(), None);
        prop_assert_eq!(world.heads.usage().head_bytes, 0);
        world.restart();
        world.check();
    }
}
