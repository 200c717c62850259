//! Seals, merges, retention, damage: what rounds of maintenance do, and that restarts in between change nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use store::{Config, Hashrings, Matcher, Round, Store};
use wire::Timestamp;

use super::device::{Device, Record, START, assert_equation, config, open_with, tenant};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// The start of the day on which everything arrives, and when that is.
const DAWN: i64 = START / DAY * DAY;
const ARRIVAL: i64 = START + HOUR;

/// The hour in which it arrives.
const LAST: i64 = (ARRIVAL - DAWN) / HOUR;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn files(dir: &Path, folder: &str, with: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir.join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().contains(with))
        .collect();
    found.sort();
    found
}

fn partitions(config: &Config) -> impl Iterator<Item = &str> {
    config.hashrings.rings().iter().flat_map(|ring| ring.endpoints())
}

fn blocks(dir: &Path, config: &Config) -> Vec<PathBuf> {
    partitions(config)
        .flat_map(|name| files(dir, name, "acme-"))
        .collect()
}

/// Everything, as (labels, time, bits).
fn all(store: &Store) -> Vec<(String, i64, u64)> {
    let found = store
        .select(&tenant(), &[], i64::MIN, i64::MAX, usize::MAX)
        .unwrap();
    let mut samples: Vec<_> = found
        .iter()
        .flat_map(|slice| {
            let labels = format!("{:?}", slice.labels);
            let pairs = slice.times_ms.iter().zip(&slice.values);
            pairs.map(move |(time, value)| (labels.clone(), *time, value.to_bits()))
        })
        .collect();
    samples.sort();
    samples
}

fn quiet(round: &Round) {
    assert_eq!((&round.failed, &round.damage), (&vec![], &vec![]));
}

/// A device whose records of some hours, one a minute, are committed in an order of choice.
fn fill(store: &Store, device: &mut Device, hours: std::ops::Range<i64>) -> Vec<Record> {
    let records: Vec<Record> = (hours.start * 60..hours.end * 60)
        .map(|n| device.record(DAWN + n * 60_000, |i| ((i as i64 * 7919 + n) as f64).sqrt()))
        .collect();
    for some in records.chunks(30) {
        store.commit(vec![device.deliver(some)]).unwrap();
    }
    records
}

#[test]
fn sealed_windows_are_found_as_before_and_the_journal_is_freed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), config());
    let mut device = Device::new("gw-1", 1, 300);
    device.put_dictionary(&store);
    fill(&store, &mut device, LAST - 5..LAST);
    let now = device.record(ARRIVAL - 1000, |i| i as f64);
    store.commit(vec![device.deliver(&[now])]).unwrap();
    let before = all(&store);
    let journal = files(dir.path(), "journal", ".redb").len();
    assert!(journal > 2, "{journal}");
    // One window is not over.
    let round = store.maintain(at(ARRIVAL + 16 * 60_000));
    quiet(&round);
    assert!(round.sealed > 0);
    let usage = store.usage();
    assert!(usage.blocks > 0 && usage.head_bytes > 0);
    assert_eq!(all(&store), before);
    assert_equation(&store, &device.name);
    let round = store.maintain(at(ARRIVAL + 2 * HOUR));
    quiet(&round);
    assert_eq!(files(dir.path(), "journal", ".redb").len(), 1);
    assert_eq!(store.usage().head_bytes, 0);
    assert_eq!(all(&store), before);
    for _ in 0..2 {
        let ledger = store.device(&device.name).unwrap();
        assert_eq!((ledger.stored, ledger.removed.len()), (301 * 300, 0));
    }
    drop(store);
    let mut last = store::Progress::default();
    let store = Store::open(dir.path(), config(), &mut |progress| last = progress).unwrap();
    assert_eq!(store.damage(), []);
    assert_eq!(all(&store), before);
    assert_equation(&store, &device.name);
    assert_eq!(store.usage().head_bytes, 0);
}

#[test]
fn late_rows_replace_and_collapse_against_blocks_and_count_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), config());
    let mut device = Device::new("gw-1", 1, 10);
    device.put_dictionary(&store);
    let records = fill(&store, &mut device, 0..2);
    quiet(&store.maintain(at(ARRIVAL + 16 * 60_000)));
    let sealed = blocks(dir.path(), &config()).len();
    device.restart(2);
    let same = device.sparse(records[5].time, records[5].values.clone());
    let other = device.record(records[6].time, |_| -1.0);
    let new = device.record(records[7].time + 1, |_| -2.0);
    store.commit(vec![device.deliver(&[same, other, new])]).unwrap();
    let check = |store: &Store| {
        let ledger = store.device(&device.name).unwrap();
        assert_eq!(
            (ledger.removed["same_timestamp"], ledger.removed["conflict"]),
            (10, 10)
        );
        assert_equation(store, &device.name);
        all(store)
    };
    let before = check(&store);
    let round = store.maintain(at(ARRIVAL + 20 * 60_000));
    quiet(&round);
    assert!(blocks(dir.path(), &config()).len() > sealed);
    assert_eq!(check(&store), before);
    drop(store);
    // Samples that stand in two blocks are none too many.
    assert_eq!(store::check(dir.path(), &mut |_| {}).unwrap().damage, []);
    let store = open_with(dir.path(), config());
    assert_eq!(check(&store), before);
    // A day later all of it is one block in each partition.
    for round in 0..3 {
        let round = store.maintain(at(DAWN + DAY + 2 * HOUR + round));
        quiet(&round);
    }
    assert_eq!(check(&store), before);
    let merged = blocks(dir.path(), &config());
    assert!(merged.len() <= partitions(&config()).count(), "{merged:?}");
    drop(store);
    let store = open_with(dir.path(), config());
    assert_eq!(check(&store), before);
}

#[test]
fn what_is_too_old_or_too_much_goes_and_is_counted() {
    for by_size in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let kept = Config {
            retention_time: Duration::from_secs(if by_size { 1000 * 86_400 } else { 2 * 3600 }),
            retention_size: if by_size { 1 } else { 0 },
            ..config()
        };
        let store = open_with(dir.path(), config());
        let mut device = Device::new("gw-1", 1, 50);
        device.put_dictionary(&store);
        fill(&store, &mut device, LAST - 4..LAST - 1);
        quiet(&store.maintain(at(ARRIVAL + 20 * 60_000)));
        let full = store.usage();
        drop(store);
        let store = open_with(dir.path(), kept.clone());
        let round = store.maintain(at(ARRIVAL + 25 * 60_000));
        quiet(&round);
        assert!(round.expired > 0);
        let usage = store.usage();
        assert!(usage.block_bytes < full.block_bytes);
        let found = store
            .select(&tenant(), &[Matcher::equal("i", "0")], i64::MIN, i64::MAX, 1000)
            .unwrap();
        let times = found.first().map_or(0, |slice| slice.times_ms.len());
        assert_eq!(times, if by_size { 0 } else { 60 });
        let check = |store: &Store| {
            let ledger = store.device(&device.name).unwrap();
            assert_eq!(
                ledger.removed["retention"],
                if by_size { 180 * 50 } else { 120 * 50 }
            );
            assert_equation(store, &device.name);
        };
        check(&store);
        let on_disk = blocks(dir.path(), &kept).len();
        assert_eq!(on_disk, usage.blocks);
        drop(store);
        check(&open_with(dir.path(), kept));
    }
}

#[test]
fn a_damaged_block_is_set_aside_and_the_rest_serves() {
    for gone in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let one = Config {
            hashrings: Hashrings::of_partitions(1),
            ..config()
        };
        let store = open_with(dir.path(), one.clone());
        let mut device = Device::new("gw-1", 1, 50);
        device.put_dictionary(&store);
        fill(&store, &mut device, 0..3);
        quiet(&store.maintain(at(ARRIVAL + 20 * 60_000)));
        drop(store);
        let victim = blocks(dir.path(), &one).swap_remove(1);
        match gone {
            true => std::fs::remove_file(&victim).unwrap(),
            false => {
                let len = std::fs::metadata(&victim).unwrap().len();
                std::fs::write(&victim, vec![7; len as usize]).unwrap();
            }
        }
        let store = open_with(dir.path(), one.clone());
        let read = store.select(&tenant(), &[], i64::MIN, i64::MAX, usize::MAX);
        assert!(read.is_err());
        let round = store.maintain(at(ARRIVAL + 20 * 60_000));
        assert_eq!((round.damage.len(), round.failed.len()), (1, 0), "{round:?}");
        assert_eq!(files(dir.path(), "p000", ".damaged").len(), usize::from(!gone));
        for _ in 0..2 {
            assert_eq!(all(&store).len(), 120 * 50);
            let ledger = store.device(&device.name).unwrap();
            assert_eq!(ledger.removed["damaged"], 60 * 50);
            assert_equation(&store, &device.name);
            quiet(&store.maintain(at(ARRIVAL + 20 * 60_000)));
        }
        drop(store);
        let store = open_with(dir.path(), one);
        assert_eq!(all(&store).len(), 120 * 50);
        assert_equation(&store, &device.name);
    }
}

#[test]
fn a_journal_over_its_limit_is_freed_by_early_seals() {
    let dir = tempfile::tempdir().unwrap();
    let tight = Config {
        journal_bytes: 1_500_000,
        ..config()
    };
    let store = open_with(dir.path(), tight.clone());
    let mut device = Device::new("gw-1", 1, 500);
    device.put_dictionary(&store);
    let now = at(ARRIVAL);
    // All within one window that is not over.
    for n in 0..300 {
        let record = device.record(ARRIVAL - 400_000 + n * 1000, |i| {
            ((i as i64 * 7919 + n) as f64).sqrt()
        });
        store.commit(vec![device.deliver(&[record])]).unwrap();
        if n % 20 == 0 {
            quiet(&store.maintain(now));
        }
    }
    quiet(&store.maintain(now));
    assert!(store.usage().journal_bytes <= 2_500_000, "{:?}", store.usage());
    assert_equation(&store, &device.name);
    let before = all(&store);
    drop(store);
    let store = open_with(dir.path(), tight);
    assert_eq!(all(&store), before);
    assert_equation(&store, &device.name);
}

#[test]
fn dictionaries_that_no_kept_record_names_go() {
    let dir = tempfile::tempdir().unwrap();
    let short = Config {
        journal_file_bytes: 20_000,
        ..config()
    };
    let store = open_with(dir.path(), short.clone());
    let mut device = Device::new("gw-1", 1, 100);
    device.put_dictionary(&store);
    let first = device.dictionary().hash();
    fill(&store, &mut device, 0..1);
    device.add_series(super::device::labels(&[("__name__", "more")]));
    device.put_dictionary(&store);
    let second = device.dictionary().hash();
    fill(&store, &mut device, 1..3);
    assert_eq!(store.maintain(at(DAWN)).dictionaries, 0);
    let mut swept = 0;
    for n in 1..5 {
        let round = store.maintain(at(ARRIVAL + 16 * 60_000 + n * 61_000));
        quiet(&round);
        swept += round.dictionaries;
    }
    assert_eq!(swept, 1);
    assert!(store.dictionary(&device.name, first).is_none());
    assert!(store.dictionary(&device.name, second).is_some());
    drop(store);
    let store = open_with(dir.path(), short);
    assert!(store.dictionary(&device.name, second).is_some());
    assert_equation(&store, &device.name);
}
