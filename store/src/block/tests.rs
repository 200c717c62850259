use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use wire::Tenant;

use super::*;
use crate::chunk;
use crate::disk::{Disk, SystemDisk};

const START: i64 = 1_795_000_000_000;
const HOUR: (i64, i64) = (START, START + 3_600_000);

/// Samples by (series, time), and histograms by the same.
type Samples = BTreeMap<(u32, i64), (DeviceRef, u64)>;
type Histograms = BTreeMap<(u32, i64), (DeviceRef, Vec<u8>)>;

/// Calls of a writer: series, owner, and samples by time; a call with an id that was there replaces equal times.
#[derive(Debug, Clone)]
struct Input {
    columns: Vec<(u32, DeviceRef, BTreeMap<i64, u64>)>,
    histograms: Vec<(u32, DeviceRef, i64, Vec<u8>)>,
}

impl Input {
    fn samples(&self) -> Samples {
        let columns = self.columns.iter();
        columns
            .flat_map(|(id, owner, column)| column.iter().map(|(t, bits)| ((*id, *t), (*owner, *bits))))
            .collect()
    }

    fn histograms(&self) -> Histograms {
        let rows = self.histograms.iter();
        rows.map(|(id, owner, time, bytes)| ((*id, *time), (*owner, bytes.clone())))
            .collect()
    }

    fn write(&self, dir: &Path, generation: u64) -> BlockMeta {
        let mut writer = writer(dir, generation);
        let mut encoder = chunk::Encoder::default();
        for (id, owner, column) in &self.columns {
            let times: Vec<i64> = column.keys().copied().collect();
            let values: Vec<f64> = column.values().map(|bits| f64::from_bits(*bits)).collect();
            let mut bytes = Vec::new();
            encoder.encode(&values, &mut 0, &mut bytes);
            let column = writer.times(*owner, &times).unwrap();
            assert_eq!(writer.times(*owner, &times).unwrap(), column);
            writer.series(*id, column, &bytes, values.len()).unwrap();
        }
        for (id, owner, time, bytes) in &self.histograms {
            writer.histogram(*id, *owner, *time, bytes).unwrap();
        }
        writer.finish().unwrap()
    }
}

fn disk() -> Arc<dyn Disk> {
    Arc::new(SystemDisk)
}

fn writer(dir: &Path, generation: u64) -> Writer {
    let tenant = Tenant::new("acme-1").unwrap();
    Writer::create(&disk(), dir, &tenant, HOUR, generation).unwrap()
}

fn open(dir: &Path, meta: &BlockMeta) -> Arc<Block> {
    Arc::new(Block::open(&SystemDisk, &dir.join(&meta.file)).unwrap())
}

/// What reading finds; equal times of one series in order of the calls.
fn read(block: &Block, ids: &[u32], range: (i64, i64)) -> Result<Samples, FileError> {
    let mut found = Samples::new();
    block.read(ids, range, |id, owner, times, values| {
        assert_eq!(times.len(), values.len());
        for (time, value) in times.iter().zip(values) {
            found.insert((id, *time), (owner, value.to_bits()));
        }
    })?;
    Ok(found)
}

fn read_histograms(
    block: &Block,
    ids: &[u32],
    range: (i64, i64),
) -> Result<Vec<(u32, i64, Vec<u8>)>, FileError> {
    let mut found = Vec::new();
    block.histograms(ids, range, |id, _, time, bytes| {
        found.push((id, time, bytes.to_vec()));
    })?;
    Ok(found)
}

fn all(block: &Block) -> Vec<u32> {
    block.ids().iter().collect()
}

/// Times on a grid, so that columns are shared and collide.
fn column() -> impl Strategy<Value = BTreeMap<i64, u64>> {
    let value = prop_oneof![
        4 => (0u32..50).prop_map(|n| f64::from(n).to_bits()),
        1 => any::<u64>(),
    ];
    prop_oneof![
        proptest::collection::btree_map((0i64..20).prop_map(|n| START + n * 15_000), value.clone(), 1..20),
        proptest::collection::btree_map(HOUR.0..HOUR.1, value, 1..60),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let columns = proptest::collection::vec((0u32..60, 0u32..4, column()), 1..60);
    let histogram = (
        0u32..70,
        0u32..4,
        HOUR.0..HOUR.0 + 30,
        proptest::collection::vec(any::<u8>(), 0..20),
    );
    (columns, proptest::collection::vec(histogram, 0..20)).prop_map(|(mut columns, histograms)| {
        // A series has one owner.
        for (id, owner, _) in &mut columns {
            *owner = *id % 4;
        }
        columns.sort_by_key(|(id, _, _)| *id);
        Input { columns, histograms }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_written_is_read(
        input in input(),
        some in proptest::collection::btree_set(0u32..70, 0..20),
        from in -1000i64..3_600_000,
        span in 0i64..1_000_000,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let meta = input.write(dir.path(), 7);
        let block = open(dir.path(), &meta);
        let samples = input.samples();
        prop_assert_eq!(&read(&block, &all(&block), HOUR).unwrap(), &samples);
        let some: Vec<u32> = some.into_iter().collect();
        let range = (START + from, START + from + span);
        let part: Samples = samples
            .iter()
            .filter(|((id, time), _)| some.contains(id) && (range.0..=range.1).contains(time))
            .map(|(key, value)| (*key, *value))
            .collect();
        prop_assert_eq!(read(&block, &some, range).unwrap(), part);
        let histograms: Vec<(u32, i64, Vec<u8>)> = input
            .histograms()
            .into_iter()
            .map(|((id, time), (_, bytes))| (id, time, bytes))
            .collect();
        prop_assert_eq!(read_histograms(&block, &all(&block), HOUR).unwrap(), histograms);
        for owner in 0..4 {
            let times: BTreeSet<i64> = input
                .columns
                .iter()
                .filter(|(_, of, _)| *of == owner)
                .flat_map(|(_, _, column)| column.keys().copied())
                .collect();
            prop_assert_eq!(block.times_of(owner).unwrap(), times.into_iter().collect::<Vec<_>>());
        }
        let found = block.verify(&mut |_| {}).unwrap();
        prop_assert_eq!((found.series, found.samples, &found.owners), (meta.series, meta.samples, &meta.owners));
        let written: usize = input.columns.iter().map(|(_, _, column)| column.len()).sum();
        prop_assert_eq!(meta.samples, (written + input.histograms().len()) as u64);
        prop_assert_eq!(meta.bytes, crate::journal::disk_bytes(&dir.path().join(&meta.file)));
        prop_assert!(meta.bytes > 0);
    }

    #[test]
    fn of_merged_blocks_the_higher_gen_wins(inputs in proptest::collection::vec(input(), 1..6)) {
        let dir = tempfile::tempdir().unwrap();
        let (mut samples, mut histograms, mut sources) = (Samples::new(), Histograms::new(), Vec::new());
        for (generation, input) in (1..).zip(&inputs) {
            sources.push(open(dir.path(), &input.write(dir.path(), generation)));
            samples.extend(input.samples());
            histograms.extend(input.histograms());
        }
        let meta = merge(&sources, writer(dir.path(), 100)).unwrap();
        let block = open(dir.path(), &meta);
        prop_assert_eq!(&read(&block, &all(&block), HOUR).unwrap(), &samples);
        let expected: Vec<_> = histograms.iter().map(|((id, t), (_, b))| (*id, *t, b.clone())).collect();
        prop_assert_eq!(read_histograms(&block, &all(&block), HOUR).unwrap(), expected);
        let found = block.verify(&mut |_| {}).unwrap();
        // Nothing stands twice.
        prop_assert_eq!(found.samples, (samples.len() + histograms.len()) as u64);
        let mut owners = BTreeMap::new();
        for owner in samples.values().map(|v| v.0).chain(histograms.values().map(|v| v.0)) {
            *owners.entry(owner).or_insert(0u64) += 1;
        }
        let found: BTreeMap<_, _> = found.owners.into_iter().filter(|(_, n)| *n > 0).collect();
        prop_assert_eq!(found, owners);
    }
}

/// A block of several pages of each kind.
fn large() -> Input {
    let column = |id: u32, n: i64| {
        let sample = |at: i64| {
            let bits = (id as u64 + 1)
                .wrapping_mul(at as u64)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (START + at * 900 + i64::from(id % 3), bits)
        };
        (id, id % 5, (0..n).map(sample).collect())
    };
    Input {
        columns: (0..40)
            .flat_map(|id| (0..if id == 9 { 6 } else { 1 }).map(move |n| column(id * 1000, 500 + 100 * n)))
            .collect(),
        histograms: (0..300)
            .map(|n| (n, 1, START + i64::from(n), vec![n as u8; 40]))
            .collect(),
    }
}

#[test]
fn a_series_that_goes_on_over_pages_is_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let input = large();
    let block = open(dir.path(), &input.write(dir.path(), 1));
    assert_eq!(read(&block, &all(&block), HOUR).unwrap(), input.samples());
    let nine: Samples = input
        .samples()
        .into_iter()
        .filter(|((id, _), _)| *id == 9000)
        .collect();
    assert_eq!(nine.len(), 1000);
    assert_eq!(read(&block, &[8500, 9000, 9001], HOUR).unwrap(), nine);
    block.verify(&mut |_| {}).unwrap();
}

#[test]
fn damage_is_an_error_or_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let input = large();
    let meta = input.write(dir.path(), 1);
    let path = dir.path().join(&meta.file);
    let whole = std::fs::read(&path).unwrap();
    let (samples, mut seen) = (input.samples(), 0);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..300usize {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut bytes = whole.clone();
        match round % 4 {
            0 => bytes.truncate(random as usize % whole.len()),
            // The first page is redb's own and small.
            1 => bytes[random as usize % 4096] ^= 1 << (round % 8),
            _ => bytes[random as usize % whole.len()] ^= 1 << (round % 8),
        }
        std::fs::write(&path, &bytes).unwrap();
        let block = Block::open(&SystemDisk, &path);
        let found = block.as_ref().map_err(|_| ()).and_then(|block| {
            let checked = block.verify(&mut |_| {}).map_err(|_| ());
            let found = read(block, &all(block), HOUR).map_err(|_| ());
            if checked.is_ok() {
                assert_eq!(found.as_ref(), Ok(&samples), "round {round}");
            }
            found
        });
        match found {
            Ok(found) => assert_eq!(found, samples, "round {round}"),
            Err(()) => seen += 1,
        }
    }
    assert!(seen > 150, "only {seen} of 300 were seen");
}

#[test]
fn a_writer_that_fails_or_is_dropped_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut dropped = writer(dir.path(), 1);
    let column = dropped.times(1, &[START, START + 1]).unwrap();
    assert!(dropped.times(1, &[]).is_err());
    assert!(dropped.times(1, &[START, START]).is_err());
    assert!(dropped.times(1, &[HOUR.1]).is_err());
    assert!(dropped.series(5, column, &[0, 0, 0], 3).is_err());
    dropped.series(5, column, &[0, 0, 0], 2).unwrap();
    assert!(dropped.series(4, column, &[0, 0, 0], 2).is_err());
    assert!(dropped.histogram(5, 1, HOUR.1, &[]).is_err());
    drop(dropped);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_removed_block_is_read_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let input = large();
    let blocks = Blocks::new(disk(), dir.path(), 2);
    let files: Vec<Arc<BlockFile>> = (1..5)
        .map(|generation| blocks.file(input.write(dir.path(), generation)))
        .collect();
    for file in &files {
        file.open().unwrap();
    }
    let (removed, reader) = (files[0].clone(), files[0].clone());
    drop(files);
    removed.remove();
    drop(removed);
    let block = reader.open().unwrap();
    let path = reader.path();
    drop(reader);
    assert!(!path.exists());
    assert_eq!(read(&block, &all(&block), HOUR).unwrap(), input.samples());
}

#[test]
fn a_merged_series_is_cut_into_columns_that_fit_a_page() {
    let dir = tempfile::tempdir().unwrap();
    let part = |from: i64| Input {
        columns: vec![(
            3,
            1,
            (from..from + 900)
                .map(|n| (START + n * 100, n as u64 * 0x1234_5678_9abc))
                .collect(),
        )],
        histograms: Vec::new(),
    };
    let inputs = [part(0), part(900), part(1800), part(2000)];
    let sources: Vec<Arc<Block>> = (1..)
        .zip(&inputs)
        .map(|(generation, input)| open(dir.path(), &input.write(dir.path(), generation)))
        .collect();
    let block = open(dir.path(), &merge(&sources, writer(dir.path(), 9)).unwrap());
    let expected: Samples = inputs.iter().flat_map(Input::samples).collect();
    assert_eq!(read(&block, &[3], HOUR).unwrap(), expected);
    let mut calls = 0;
    block
        .read(&[3], HOUR, |_, _, times, _| {
            assert!(times.len() <= 1440);
            calls += 1;
        })
        .unwrap();
    assert_eq!(calls, 3);
}
