//! Selections that are read in batches.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use store::ring::Algorithm;
use store::{Config, Hashrings, Matcher, ReadLimits, SelectError, Selection, SeriesSlice, Store};
use wire::Timestamp;

use super::device::{Device, START, config, open_with, tenant};

const DEVICES: usize = 4;
const SERIES: usize = 600;
const EVERYTHING: (i64, i64) = (i64::MIN, i64::MAX);

fn opened(dir: &Path, endpoints: &str) -> Store {
    let file = format!(r#"[{{"endpoints": {endpoints}}}]"#);
    let config = Config {
        hashrings: Hashrings::parse(file.as_bytes(), Algorithm::Hashmod).unwrap(),
        ..config()
    };
    open_with(dir, config)
}

fn filled(store: &Store, hours: std::ops::Range<i64>) {
    for number in 0..DEVICES {
        let mut device = Device::new(&format!("gw-{number}"), 1 + hours.start as u64, SERIES);
        device.put_dictionary(store);
        for hour in hours.clone() {
            let records: Vec<_> = (0..6)
                .map(|n| {
                    device.record(START + hour * 3_600_000 + n * 600_000, |i| {
                        (i * number) as f64 + n as f64
                    })
                })
                .collect();
            store.commit(vec![device.deliver(&records)]).unwrap();
        }
    }
}

fn unlimited() -> ReadLimits<'static> {
    ReadLimits::samples(usize::MAX)
}

/// All batches together, sorted by labels.
fn together(selection: &Selection<'_>) -> Vec<SeriesSlice> {
    let batches = (0..selection.count()).map(|batch| selection.read(batch, &unlimited()).unwrap());
    let mut all: Vec<SeriesSlice> = batches.flatten().collect();
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    all
}

fn check(store: &Store, is_divided: bool) {
    let hour = (START + 3_000_000, START + 5_000_000);
    for (range, newest) in [
        (EVERYTHING, false),
        (EVERYTHING, true),
        (hour, false),
        (hour, true),
    ] {
        let tenant = tenant();
        let selection = store.selection(&tenant, Vec::new(), range, newest);
        assert_eq!(selection.count() > 1, is_divided);
        assert!(selection.series() >= (DEVICES * SERIES) as u64);
        let all = selection.read_all(&unlimited()).unwrap();
        assert_eq!(all.len(), DEVICES * SERIES);
        assert!(together(&selection) == all, "{range:?}, newest: {newest}");
    }
}

#[test]
fn batches_are_all_series_once_in_heads_and_in_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let store = opened(dir.path(), r#"["p000", "p001", "p002"]"#);
    filled(&store, 0..3);
    check(&store, true);
    store.maintain(Timestamp::from_ms(START + 7 * 3_600_000));
    check(&store, true);
    drop(store);
    check(&opened(dir.path(), r#"["p000", "p001", "p002"]"#), true);
}

#[test]
fn few_series_come_at_once_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = opened(dir.path(), r#"["p000", "p001", "p002"]"#);
    filled(&store, 0..1);
    let (tenant, of_one) = (tenant(), vec![Matcher::equal("device_id", "gw-2")]);
    let selection = store.selection(&tenant, of_one, EVERYTHING, false);
    assert_eq!((selection.count(), selection.series()), (1, SERIES as u64));
    let found = selection.read(0, &unlimited()).unwrap();
    assert!(found.len() == SERIES && found.is_sorted_by(|a, b| a.labels < b.labels));
}

#[test]
fn a_series_in_two_partitions_is_joined() {
    let dir = tempfile::tempdir().unwrap();
    filled(&opened(dir.path(), r#"["p000", "p001", "p002"]"#), 0..1);
    let store = opened(dir.path(), r#"["p000", "p002"]"#);
    check(&store, false);
    filled(&store, 1..2);
    check(&store, false);
}

#[test]
fn a_read_ends_where_its_limits_say() {
    let dir = tempfile::tempdir().unwrap();
    let store = opened(dir.path(), r#"["p000"]"#);
    filled(&store, 0..3);
    let tenant = tenant();
    for sealed in [false, true] {
        if sealed {
            store.maintain(Timestamp::from_ms(START + 7 * 3_600_000));
        }
        let selection = store.selection(&tenant, Vec::new(), EVERYTHING, false);
        let (taken, asked) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let take = |bytes: usize| taken.fetch_add(bytes, Ordering::Relaxed) + bytes < 1_000_000;
        let too_much = ReadLimits {
            take: &take,
            ..unlimited()
        };
        assert_eq!(selection.read_all(&too_much), Err(SelectError::TooMuchMemory));
        let stop = || asked.fetch_add(1, Ordering::Relaxed) > 2;
        let interrupted = ReadLimits {
            stop: &stop,
            ..unlimited()
        };
        assert_eq!(selection.read_all(&interrupted), Err(SelectError::Interrupted));
        let few = ReadLimits::samples(100);
        assert_eq!(
            selection.read(0, &few),
            Err(SelectError::TooManySamples { limit: 100 })
        );
        let enough = ReadLimits::samples(DEVICES * SERIES * 18);
        assert!(selection.read_all(&enough).is_ok());
    }
}
