//! Hashrings that change: nothing is lost or doubled, also under load, under queries and across starts.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use store::ring::Algorithm;
use store::{Config, Hashrings, HashringsError, MAX_PARTITIONS, Matcher, Store};

use super::device::{Device, Record, START, assert_equation, config, labels, open_with, tenant};

const DEVICES: usize = 4;
const SERIES: usize = 30;

/// Files that send each series somewhere else.
const FILES: [&str; 5] = [
    r#"[{"endpoints": ["p000", "p001", "p002", "p003"], "algorithm": "ketama"}]"#,
    r#"[{"endpoints": ["p003", "p002", "p001"], "algorithm": "hashmod"}]"#,
    r#"[{"tenants": ["ac*"], "tenant_matcher_type": "glob", "endpoints": ["a-1:10901", "a-2:10901"]},
        {"endpoints": ["p000"]}]"#,
    r#"[{"tenants": ["other"], "endpoints": ["p000"]}, {"endpoints": ["b", "p001", "c"], "algorithm": "ketama"}]"#,
    r#"[{"endpoints": ["p000"]}]"#,
];

fn rings(text: &str) -> Hashrings {
    Hashrings::parse(text.as_bytes(), Algorithm::Hashmod).unwrap()
}

fn open(dir: &Path, file: &str) -> Store {
    let config = Config {
        hashrings: rings(file),
        ..config()
    };
    open_with(dir, config)
}

fn value(series: usize, seq: u64) -> f64 {
    (seq * 1000 + series as u64) as f64
}

/// Every series of every device has each row from the first up to one between two numbers, once and with its value.
fn check(store: &Store, at_least: u64, at_most: impl Fn() -> u64) {
    let matcher = [Matcher::equal("__name__", "m")];
    let found = store
        .select(&tenant(), &matcher, i64::MIN, i64::MAX, usize::MAX)
        .unwrap();
    let at_most = at_most();
    assert!(
        found.is_sorted_by(|a, b| a.labels < b.labels),
        "a series is found twice"
    );
    if at_least > 0 {
        assert_eq!(found.len(), DEVICES * SERIES);
    }
    for slice in &found {
        let series: usize = slice.labels.get("i").unwrap().parse().unwrap();
        let rows = slice.values.len() as u64;
        assert!(
            (at_least..=at_most).contains(&rows),
            "{at_least} <= {rows} <= {at_most}"
        );
        for (at, (time, found)) in slice.times_ms.iter().zip(&slice.values).enumerate() {
            let seq = at as u64 + 1;
            assert_eq!((*time, *found), (START + seq as i64 * 1000, value(series, seq)));
        }
    }
}

fn record(device: &mut Device) -> Record {
    let seq = device.last() + 1;
    device.record(START + seq as i64 * 1000, |series| value(series, seq))
}

#[test]
fn hashrings_that_change_under_load_and_queries_lose_and_double_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut devices: Vec<Device> = (0..DEVICES)
        .map(|n| Device::new(&format!("gw-{n}"), n as u64 + 1, SERIES))
        .collect();
    let (begun, done) = (AtomicU64::new(0), AtomicU64::new(0));
    for (start, file) in FILES.iter().enumerate() {
        let store = open(dir.path(), file);
        let so_far = done.load(Ordering::Relaxed);
        check(&store, so_far, || so_far);
        for device in &devices {
            device.put_dictionary(&store);
        }
        let ended = AtomicBool::new(false);
        let changes = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for next in (start + 1..).take_while(|_| !ended.load(Ordering::Relaxed)) {
                    let changed = store.set_hashrings(&rings(FILES[next % FILES.len()])).unwrap();
                    changes.fetch_add(u64::from(changed), Ordering::Relaxed);
                    std::thread::sleep(std::time::Duration::from_millis(3));
                }
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    while !ended.load(Ordering::Relaxed) {
                        let at_least = done.load(Ordering::Relaxed);
                        check(&store, at_least, || begun.load(Ordering::Relaxed));
                    }
                });
            }
            for _ in 0..40 {
                begun.fetch_add(3, Ordering::Relaxed);
                let entries = devices.iter_mut().map(|device| {
                    let rows = [record(device), record(device), record(device)];
                    device.deliver(&rows)
                });
                store.commit(entries.collect()).unwrap();
                done.fetch_add(3, Ordering::Relaxed);
            }
            ended.store(true, Ordering::Relaxed);
        });
        assert!(changes.into_inner() > 0, "the rings changed under load");
        for device in &devices {
            assert_equation(&store, &device.name);
            assert_eq!(store.read_back(&device.name).series, SERIES as u64);
        }
    }
    let all = done.load(Ordering::Relaxed);
    check(&open(dir.path(), FILES[4]), all, || all);
}

#[test]
fn external_labels_are_stored_with_the_series_of_their_tenants() {
    let dir = tempfile::tempdir().unwrap();
    let file = r#"[{"tenants": ["acme"], "endpoints": ["a", "b"], "external_labels": {"zone": "eu", "x": "y"}},
                   {"endpoints": ["p000"]}]"#;
    let store = open(dir.path(), file);
    let mut device = Device::new("gw-1", 1, 1);
    device.add_series(labels(&[("__name__", "m"), ("zone", "us")]));
    let mut other = Device::of("other.gw-1", 1, 1);
    for device in [&device, &other] {
        device.put_dictionary(&store);
    }
    let entries = [&mut device, &mut other].map(|device| {
        let rows = [record(device)];
        device.deliver(&rows)
    });
    store.commit(entries.into()).unwrap();
    let found = |store: &Store, tenant: &wire::Tenant| -> Vec<String> {
        let found = store.select(tenant, &[], i64::MIN, i64::MAX, usize::MAX).unwrap();
        found.into_iter().map(|slice| slice.labels.to_string()).collect()
    };
    let expected = [
        r#"m{device_id="gw-1", i="0", x="y", zone="eu"}"#,
        r#"m{device_id="gw-1", x="y", zone="us"}"#,
    ];
    assert_eq!(found(&store, &tenant()), expected);
    assert_eq!(
        found(&store, other.name.tenant()),
        [r#"m{device_id="gw-1", i="0"}"#]
    );
    drop(store);
    // What was routed by that file stays as it was stored.
    let store = open(dir.path(), FILES[0]);
    assert_eq!(found(&store, &tenant()), expected);
    assert_equation(&store, &device.name);
}

#[test]
fn hashrings_with_more_partitions_than_a_store_has_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), FILES[0]);
    let most = Hashrings::of_partitions(MAX_PARTITIONS as u32);
    assert_eq!(store.set_hashrings(&most), Ok(true));
    assert_eq!(store.set_hashrings(&most), Ok(false));
    let refused = store.set_hashrings(&rings(r#"[{"endpoints": ["one-more"]}]"#));
    assert_eq!(
        refused,
        Err(HashringsError::TooManyPartitions(MAX_PARTITIONS + 1))
    );
    assert_eq!(store.hashrings(), most);
}

#[test]
fn a_time_that_a_series_has_in_two_partitions_is_found_once_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), r#"[{"endpoints": ["a"]}]"#);
    let mut device = Device::new("gw-1", 1, 3);
    device.put_dictionary(&store);
    for (file, time) in [("a", 1), ("a", 2), ("b", 2), ("b", 3), ("a", 2)] {
        store
            .set_hashrings(&rings(&format!(r#"[{{"endpoints": ["{file}"]}}]"#)))
            .unwrap();
        let record = device.record(START + time * 1000, |series| series as f64);
        store.commit(vec![device.deliver(&[record])]).unwrap();
    }
    let check = |store: &Store| {
        assert_equation(store, &device.name);
        let read = store.read_back(&device.name);
        assert_eq!((read.series, read.samples, read.joined), (3, 9, 3));
        assert_eq!(store.device(&device.name).unwrap().removed["same_timestamp"], 3);
    };
    check(&store);
    drop(store);
    check(&open(dir.path(), r#"[{"endpoints": ["c"]}]"#));
}
