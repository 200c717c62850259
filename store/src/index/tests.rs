use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;
use redb::StorageBackend;

use super::*;
use crate::disk::{Access, SystemDisk};
use crate::few::Few;
use crate::sealed::RecordId;

type Pairs = Vec<(String, String)>;

/// What an index should hold.
#[derive(Debug, Default, Clone, PartialEq)]
struct Model {
    series: BTreeMap<(Tenant, u32), Pairs>,
    blocks: BTreeMap<u64, BlockMeta>,
    sealed: BTreeMap<(Tenant, Window), Sealed>,
    totals: BTreeMap<DeviceRef, Tally>,
    next_gen: u64,
}

impl Model {
    fn of(contents: &Contents) -> Self {
        let mut series = BTreeMap::new();
        for (tenant, list) in &contents.series {
            for (id, labels) in list.iter() {
                let pairs = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
                assert_eq!(series.insert((tenant.clone(), id), pairs.collect()), None);
            }
            assert!(list.iter().is_sorted_by_key(|(id, _)| id));
        }
        let sealed = contents.sealed.iter();
        Model {
            series,
            blocks: contents
                .blocks
                .iter()
                .map(|meta| (meta.generation, meta.clone()))
                .collect(),
            sealed: sealed
                .map(|(tenant, window, sealed)| ((tenant.clone(), *window), sealed.clone()))
                .collect(),
            totals: contents.totals.iter().cloned().collect(),
            next_gen: contents.next_gen,
        }
    }

    fn after(&self, change: &Change) -> Self {
        let mut next = self.clone();
        for (tenant, list) in &change.series {
            for (id, labels) in list.iter() {
                let pairs = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
                next.series.insert((tenant.clone(), id), pairs.collect());
            }
        }
        for key in &change.dropped_series {
            next.series.remove(key);
        }
        for generation in &change.remove {
            next.blocks.remove(generation);
        }
        next.next_gen = next.next_gen.max(change.next_gen);
        for meta in &change.add {
            next.blocks.insert(meta.generation, meta.clone());
            next.next_gen = next.next_gen.max(meta.generation + 1);
        }
        for (tenant, window) in &change.unsealed {
            next.sealed.remove(&(tenant.clone(), *window));
        }
        for (tenant, window, sealed) in &change.sealed {
            next.sealed.insert((tenant.clone(), *window), sealed.clone());
        }
        next.totals.extend(change.totals.iter().cloned());
        next.totals.retain(|_, tally| *tally != Tally::default());
        next
    }
}

/// A disk whose writes and syncs fail once `left` has come to 0, until it is raised.
#[derive(Debug)]
struct Failing {
    left: Arc<AtomicI64>,
}

#[derive(Debug)]
struct FailingFile {
    file: Box<dyn StorageBackend>,
    left: Arc<AtomicI64>,
}

fn spend(left: &AtomicI64) -> io::Result<()> {
    match left.fetch_sub(1, Ordering::Relaxed) > 0 {
        true => Ok(()),
        false => Err(io::Error::other("the disk fails")),
    }
}

impl Disk for Failing {
    fn backend(&self, path: &Path, access: Access) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new(FailingFile {
            file: SystemDisk.backend(path, access)?,
            left: self.left.clone(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        spend(&self.left)?;
        SystemDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove(path)
    }

    fn free(&self, dir: &Path) -> io::Result<u64> {
        SystemDisk.free(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        spend(&self.left)?;
        SystemDisk.sync_dir(dir)
    }
}

impl StorageBackend for FailingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        spend(&self.left)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        spend(&self.left)?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        spend(&self.left)?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

fn tenant(n: u32) -> Tenant {
    Tenant::new(format!("t{n}")).unwrap()
}

fn block(generation: u64, n: u32) -> BlockMeta {
    BlockMeta {
        tenant: tenant(n % 3),
        start_ms: i64::from(n) * 3_600_000 - 7_200_000,
        end_ms: i64::from(n + 1) * 3_600_000,
        generation,
        min_time: -i64::from(n),
        max_time: i64::from(n),
        series: n,
        samples: u64::from(n) * 1000,
        bytes: 1 << n,
        owners: (0..n).map(|owner| (owner * 3, u64::from(owner))).collect(),
        file: format!("t-{generation}.redb"),
    }
}

/// Some lack a record.
fn sealed(number: u64) -> Sealed {
    let device = (number % 7) as u32;
    let lacked = RecordId {
        number: number / 2,
        device,
    };
    Sealed::default().then(
        number,
        if device > 2 {
            &[]
        } else {
            std::slice::from_ref(&lacked)
        },
    )
}

/// Numbers a change is made of; ids and gens go on from what the index has.
#[derive(Debug, Clone)]
struct Draft {
    series: Vec<(u32, u32)>,
    dropped: Vec<prop::sample::Index>,
    blocks: Vec<u32>,
    removed: Vec<prop::sample::Index>,
    sealed: Vec<(u32, i64, u64)>,
    unsealed: Vec<prop::sample::Index>,
    totals: Vec<(u32, u64)>,
}

impl Draft {
    fn change(&self, model: &Model, next_id: &mut u32) -> Change {
        let mut lists: BTreeMap<Tenant, SeriesList> = BTreeMap::new();
        for (of, labels) in &self.series {
            let name = format!("metric_{}", labels % 3);
            let instance = format!("host-{labels}");
            let pairs = [("__name__", name.as_str()), ("instance", &instance), ("x", "")];
            *next_id += 1 + labels % 2;
            let pairs = pairs.into_iter().take(1 + *labels as usize % 3);
            lists.entry(tenant(*of)).or_default().push(*next_id, pairs);
        }
        let pick = |index: &prop::sample::Index, len: usize| (len > 0).then(|| index.index(len.max(1)));
        let dropped = self
            .dropped
            .iter()
            .filter_map(|index| pick(index, model.series.len()));
        let removed = self
            .removed
            .iter()
            .filter_map(|index| pick(index, model.blocks.len()));
        let unsealed = self
            .unsealed
            .iter()
            .filter_map(|index| pick(index, model.sealed.len()));
        let window = |hour: i64| Window::of(hour * 3_600_000);
        let by_file = |n: u64| {
            let mut files = Few::default();
            (0..n % 3).for_each(|file| files.insert(file * file, n));
            files
        };
        let tally = |n: u64| Tally {
            taken: n,
            same: n / 2,
            by_file: by_file(n),
            ..Tally::default()
        };
        Change {
            series: lists.into_iter().collect(),
            dropped_series: dropped
                .filter_map(|at| model.series.keys().nth(at).cloned())
                .collect(),
            add: (model.next_gen..)
                .zip(&self.blocks)
                .map(|(generation, n)| block(generation, *n))
                .collect(),
            remove: removed
                .filter_map(|at| model.blocks.keys().nth(at).copied())
                .collect(),
            sealed: self
                .sealed
                .iter()
                .map(|(t, hour, n)| (tenant(*t), window(*hour), sealed(*n)))
                .collect(),
            unsealed: unsealed
                .filter_map(|at| model.sealed.keys().nth(at).cloned())
                .collect(),
            totals: self
                .totals
                .iter()
                .map(|(device, n)| (*device, tally(*n)))
                .collect(),
            next_gen: model.next_gen + 1,
        }
    }
}

fn draft() -> impl Strategy<Value = Draft> {
    let picks = || proptest::collection::vec(any::<prop::sample::Index>(), 0..4);
    (
        proptest::collection::vec((0u32..3, 0u32..200), 0..40),
        picks(),
        proptest::collection::vec(0u32..20, 0..3),
        picks(),
        proptest::collection::vec((0u32..3, -3i64..30, any::<u64>()), 0..5),
        picks(),
        proptest::collection::vec((0u32..50, 0u64..9), 0..10),
    )
        .prop_map(
            |(series, dropped, blocks, removed, sealed, unsealed, totals)| Draft {
                series,
                dropped,
                blocks,
                removed,
                sealed,
                unsealed,
                totals,
            },
        )
}

fn open(disk: &Arc<dyn Disk>, dir: &Path) -> (Index, Model, Vec<Damage>) {
    let (index, contents, damage) = Index::open(disk, dir, 1 << 20).unwrap();
    (index, Model::of(&contents), damage)
}

fn system() -> Arc<dyn Disk> {
    Arc::new(SystemDisk)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_change_is_durable_or_has_no_effect(
        steps in proptest::collection::vec((draft(), 0i64..120, any::<bool>()), 1..12),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let disk: Arc<dyn Disk> = Arc::new(Failing { left: left.clone() });
        let (mut index, mut model, _) = open(&disk, dir.path());
        let mut next_id = 0;
        // What a crash may leave, beside the model.
        let mut maybe: Vec<Model> = Vec::new();
        for (draft, budget, crash) in steps {
            let change = draft.change(&model, &mut next_id);
            // Beyond 80 nothing fails.
            left.store(if budget > 80 { i64::MAX } else { budget }, Ordering::Relaxed);
            match index.commit(&change) {
                Ok(()) => {
                    model = model.after(&change);
                    maybe.clear();
                }
                Err(_) => maybe.push(model.after(&change)),
            }
            if crash {
                drop(index);
                left.store(i64::MAX, Ordering::Relaxed);
                let (again, found, damage) = open(&disk, dir.path());
                prop_assert!(damage.is_empty(), "{:?}", damage);
                prop_assert!(found == model || maybe.contains(&found));
                index = again;
                model = found;
                maybe.clear();
            }
        }
        left.store(i64::MAX, Ordering::Relaxed);
        let change = Change { totals: vec![(77, Tally { taken: 1, ..Tally::default() })], ..Change::default() };
        index.commit(&change).unwrap();
        drop(index);
        prop_assert_eq!(open(&disk, dir.path()).1, model.after(&change));
    }
}

/// An index with some of everything, and what it holds.
fn filled(dir: &Path, changes: u32) -> Model {
    let (mut index, mut model, _) = open(&system(), dir);
    let mut next_id = 0;
    for n in 0..changes {
        let draft = Draft {
            series: (0..600).map(|s| (s % 3, s * 7 + n)).collect(),
            dropped: Vec::new(),
            blocks: vec![n % 20],
            removed: Vec::new(),
            sealed: vec![(n % 3, i64::from(n), 5)],
            unsealed: Vec::new(),
            totals: (0..30).map(|device| (device, u64::from(n))).collect(),
        };
        let change = draft.change(&model, &mut next_id);
        index.commit(&change).unwrap();
        model = model.after(&change);
    }
    model
}

#[test]
fn a_damaged_file_is_made_anew_from_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let model = filled(dir.path(), 4);
    let mut reported = 0;
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..80usize {
        let name = if round % 2 == 0 { FIRST } else { COPY };
        let path = dir.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let at = random as usize % if round % 8 < 2 { 512 } else { bytes.len() };
        match round % 10 {
            9 => bytes.truncate(at),
            _ => bytes[at] ^= 1 << (random >> 61),
        }
        std::fs::write(&path, &bytes).unwrap();
        let (index, found, damage) = open(&system(), dir.path());
        assert_eq!(found, model, "round {round}");
        reported += damage.len();
        drop(index);
        assert_eq!(open(&system(), dir.path()).2, Vec::new(), "round {round}");
    }
    assert!(reported > 20, "only {reported} of 80 were seen");
}

#[test]
fn of_two_damaged_files_nothing_is_made_up() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 2);
    for name in [FIRST, COPY] {
        std::fs::write(dir.path().join(name), b"no database").unwrap();
    }
    let (_, found, damage) = open(&system(), dir.path());
    assert_eq!((found, damage.len()), (Model::default(), 2));
    assert!(dir.path().join("index.redb.damaged").exists());
    assert!(dir.path().join("index.copy.redb.damaged").exists());
}

#[test]
fn a_missing_file_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let model = filled(dir.path(), 2);
    for name in [FIRST, COPY] {
        std::fs::remove_file(dir.path().join(name)).unwrap();
        assert_eq!(open(&system(), dir.path()).1, model);
        assert!(dir.path().join(name).exists());
    }
}

#[test]
fn dropped_series_leave_the_pages_at_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let model = filled(dir.path(), 4);
    let (mut index, _, _) = open(&system(), dir.path());
    let dropped = model.series.keys().take(1800).cloned().collect();
    let change = Change {
        dropped_series: dropped,
        ..Change::default()
    };
    index.commit(&change).unwrap();
    let model = model.after(&change);
    drop(index);
    for _ in 0..2 {
        let (index, found, _) = open(&system(), dir.path());
        assert_eq!(found, model);
        assert!(
            index
                .state
                .small
                .tenants
                .iter()
                .all(|(_, dropped)| dropped.is_empty())
        );
    }
}

/// A fleet: series of each metric by device, as their ids are given out.
fn fleet(devices: u32) -> SeriesList {
    let mut list = SeriesList::default();
    for metric in 0..300u32 {
        for device in 0..devices {
            for cpu in 0..if metric < 20 { 12 } else { 1 } {
                let id = metric * 1_000_000 + device * 16 + cpu;
                let texts = [
                    format!("node_metric_{metric}_total"),
                    cpu.to_string(),
                    format!("dev-{device:06}"),
                    format!("10.0.{}.{}:9100", device / 256, device % 256),
                ];
                let names = ["__name__", "cpu", "device_id", "instance"];
                let pairs = names
                    .into_iter()
                    .zip(texts.iter().map(String::as_str))
                    .chain([("job", "node")]);
                list.push(id, pairs);
            }
        }
    }
    list
}

#[test]
fn a_series_of_a_fleet_takes_a_few_bytes() {
    let devices = std::env::var("BACKHAUL_INDEX_DEVICES").map_or(40, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let (mut index, _, _) = open(&system(), dir.path());
    let change = Change {
        series: vec![(tenant(1), fleet(devices))],
        ..Change::default()
    };
    let series = change.series[0].1.len();
    let start = std::time::Instant::now();
    index.commit(&change).unwrap();
    let written = start.elapsed();
    drop(index);
    let bytes = std::fs::metadata(dir.path().join(FIRST)).unwrap().len();
    let start = std::time::Instant::now();
    let (_, contents, _) = Index::open(&system(), dir.path(), 1 << 20).unwrap();
    println!(
        "{series} series: {bytes} bytes, written in {written:?}, read in {:?}",
        start.elapsed()
    );
    assert_eq!(contents.series[0].1.len(), series);
    assert!(bytes / (series as u64) < 14);
}
