//! Results of rules: durable as devices' rows are, overwritten by later ones, and of no device.

use std::path::Path;

use redb::{Database, ReadableDatabase, TableDefinition};
use store::ring::Algorithm;
use store::{
    Config, Hashrings, Matcher, OwnSample, OwnValue, ReadLimits, Recorded, SeriesSlice, Store, TenantConfig,
    Wanted, check, dump,
};
use wire::message::Histogram;
use wire::{Labels, Timestamp};

use super::device::{Device, START, assert_equation, config, labels, open, open_with, tenant};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const DAWN: i64 = START / DAY * DAY;

fn result(series: usize, time: i64, value: f64) -> OwnSample {
    OwnSample {
        labels: named("job:m:sum", series),
        time: Timestamp::from_ms(time),
        value: value.into(),
    }
}

fn named(metric: &str, series: usize) -> Labels {
    labels(&[("__name__", metric), ("device_id", &format!("gw-{series}"))])
}

fn found(store: &Store) -> Vec<SeriesSlice> {
    store
        .select(&tenant(), &[], i64::MIN, i64::MAX, usize::MAX)
        .unwrap()
}

fn values(store: &Store, series: usize) -> Vec<(i64, f64)> {
    let all = found(store);
    let slice = all
        .iter()
        .find(|slice| slice.labels == named("job:m:sum", series));
    slice.map_or_else(Vec::new, |slice| {
        let times = slice.times_ms.iter().copied();
        times.zip(slice.values.iter().copied()).collect()
    })
}

fn maintain(store: &Store, now: i64) {
    let round = store.maintain(Timestamp::from_ms(now));
    assert_eq!(round.failed, Vec::<String>::new());
}

fn overwritten(count: u64) -> Recorded {
    Recorded {
        overwritten: count,
        ..Recorded::default()
    }
}

/// Nothing of the folder is wrong; gives the results found.
fn sound(dir: &Path) -> u64 {
    let report = check(dir, &mut |_| {}).unwrap();
    assert_eq!(report.damage, []);
    assert_eq!(report.devices, 0);
    report.results
}

#[test]
fn the_newest_by_the_journal_wins_in_memory_in_blocks_and_after_starts() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let record = |store: &Store, samples: &[OwnSample]| store.record(&tenant(), samples).unwrap();
    assert_eq!(record(&store, &[]), Recorded::default());
    let row = |value: f64| {
        [
            result(1, DAWN, value),
            result(2, DAWN, value),
            result(1, DAWN + 1, value),
        ]
    };
    assert_eq!(record(&store, &row(1.0)), overwritten(0));
    assert_eq!(record(&store, &row(1.0)), overwritten(0), "equal values collapse");
    assert_eq!(record(&store, &row(2.0)), overwritten(3));
    let twice = [result(1, DAWN + 2, 7.0), result(1, DAWN + 2, 8.0)];
    assert_eq!(record(&store, &twice), overwritten(1));
    let expected = [(DAWN, 2.0), (DAWN + 1, 2.0), (DAWN + 2, 8.0)];
    assert_eq!(values(&store, 1), expected);
    drop(store);
    assert_eq!(sound(dir.path()), 4);

    let store = open(dir.path());
    assert_eq!(values(&store, 1), expected);
    maintain(&store, DAWN + 3 * HOUR);
    assert!(store.usage().blocks > 0);
    assert_eq!(values(&store, 1), expected, "sealed");
    // A window is evaluated again: first in memory behind its block, then in a block of its own.
    assert_eq!(record(&store, &row(2.0)), overwritten(0));
    assert_eq!(record(&store, &row(3.0)), overwritten(3));
    let expected = [(DAWN, 3.0), (DAWN + 1, 3.0), (DAWN + 2, 8.0)];
    assert_eq!(values(&store, 1), expected);
    maintain(&store, DAWN + 4 * HOUR);
    assert_eq!(store.usage().head_bytes, 0);
    assert_eq!(values(&store, 1), expected, "sealed late");
    assert_eq!(record(&store, &row(4.0)), overwritten(3));
    let expected = [(DAWN, 4.0), (DAWN + 1, 4.0), (DAWN + 2, 8.0)];
    drop(store);

    let store = open(dir.path());
    assert_eq!(values(&store, 1), expected);
    for hour in 0..4 {
        maintain(&store, DAWN + 3 * DAY + hour * HOUR);
    }
    assert_eq!(store.usage().blocks, 1, "a day is one block");
    assert_eq!(values(&store, 1), expected, "merged");
    assert_eq!(store.ledger().len(), 0, "no device has any part in it");
    drop(store);
    assert_eq!(sound(dir.path()), 4);
}

#[test]
fn labels_stand_as_given_and_are_found_by_every_query() {
    let dir = tempfile::tempdir().unwrap();
    let file = r#"[{"endpoints": ["p000", "p001"], "external_labels": {"region": "eu"}}]"#;
    let config = Config {
        hashrings: Hashrings::parse(file.as_bytes(), Algorithm::Ketama).unwrap(),
        ..config()
    };
    let store = open_with(dir.path(), config);
    let sample = OwnSample {
        labels: labels(&[("__name__", "ALERTS"), ("Zone", "a"), ("alertname", "Hot")]),
        time: Timestamp::from_ms(START),
        value: 1.0.into(),
    };
    store.record(&tenant(), std::slice::from_ref(&sample)).unwrap();
    let of_name = [Matcher::equal("alertname", "Hot")];
    assert_eq!(found(&store)[0].labels, sample.labels);
    let set = [sample.labels.clone()];
    assert_eq!(store.series(&tenant(), &of_name, START, START), set);
    assert_eq!(store.label_values(&tenant(), "Zone", &of_name), ["a".into()]);
    assert_eq!(
        store.label_names_between(&tenant(), &[], START, START),
        ["Zone", "__name__", "alertname"]
    );
    assert_eq!(store.head_status(&tenant(), 10).series, 1);
    let other = wire::Tenant::new("other").unwrap();
    assert_eq!(
        store.series(&other, &[], i64::MIN, i64::MAX),
        Vec::<Labels>::new()
    );
    drop(store);
    let wanted = Wanted {
        tenant: tenant(),
        matchers: Vec::new(),
        start_ms: i64::MIN,
        end_ms: i64::MAX,
    };
    let mut text = Vec::new();
    dump(dir.path(), &wanted, &mut text, &mut |_| {}, &mut |_, _| {}).unwrap();
    let line = format!(
        "ALERTS{{Zone=\"a\",alertname=\"Hot\"}} 1.0 {}.{:03}\n# EOF\n",
        START / 1000,
        START % 1000
    );
    assert_eq!(String::from_utf8(text).unwrap(), line);
}

#[test]
fn what_is_refused_is_counted_by_reason() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config {
        retention_time: std::time::Duration::from_secs(3600),
        ..config()
    };
    let cap = TenantConfig {
        max_series: Some(3),
        ..TenantConfig::default()
    };
    config.tenants.insert(tenant(), cap);
    let store = open_with(dir.path(), config);
    maintain(&store, START);
    let long = labels(&[("__name__", "long"), ("text", &"x".repeat(17_000))]);
    let long = OwnSample {
        labels: long,
        time: Timestamp::from_ms(START),
        value: 0.0.into(),
    };
    let samples = [
        result(1, START - HOUR - 1, 1.0),
        result(1, START - HOUR, 1.0),
        result(1, START, 1.0),
        result(1, START + DAY, 1.0),
        result(1, START + DAY + 1, 1.0),
        result(2, START, 1.0),
        result(3, START, 1.0),
        result(4, START, 1.0),
        result(4, START - 1, 1.0),
        long,
    ];
    let expected = Recorded {
        overwritten: 0,
        refused: 5,
        out_of_retention: 1,
        future: 1,
        limit: 3,
    };
    assert_eq!(store.record(&tenant(), &samples).unwrap(), expected);
    let times = |series| {
        values(&store, series)
            .iter()
            .map(|(time, _)| *time)
            .collect::<Vec<_>>()
    };
    assert_eq!(times(1), [START - HOUR, START, START + DAY]);
    assert_eq!((times(3), times(4)), (vec![START], vec![]));
    // Series that are there already go on.
    let again = [result(3, START + 1, 1.0), result(4, START + 1, 1.0)];
    let expected = Recorded {
        refused: 1,
        limit: 1,
        ..Recorded::default()
    };
    assert_eq!(store.record(&tenant(), &again).unwrap(), expected);
    // A device's series count beside them.
    let mut device = Device::new("gw-9", 1, 1);
    device.put_dictionary(&store);
    let row = device.record(START, |_| 1.0);
    store.commit(vec![device.deliver(&[row])]).unwrap();
    assert_eq!(store.device(&device.name).unwrap().dropped["limit"], 1);
}

#[test]
fn results_and_a_device_s_rows_of_one_series_do_not_touch_one_another() {
    const SERIES: usize = 1500;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut device = Device::new("gw-1", 1, SERIES);
    device.put_dictionary(&store);
    let rows: Vec<_> = (0..10).map(|n| device.record(DAWN + n, |i| i as f64)).collect();
    store.commit(vec![device.deliver(&rows)]).unwrap();
    // Half of its series, every second row of them, and rows that it does not have.
    let sample = |i: usize, time: i64| OwnSample {
        labels: labels(&[("__name__", "m"), ("device_id", "gw-1"), ("i", &i.to_string())]),
        time: Timestamp::from_ms(time),
        value: (-1.0).into(),
    };
    let twins: Vec<_> = (0..SERIES)
        .step_by(2)
        .flat_map(|i| (0..20).step_by(2).map(move |n| sample(i, DAWN + n)))
        .collect();
    let look = |store: &Store, device: &Device| {
        let rows = device.last() as i64;
        let all = Vec::new();
        let of_tenant = tenant();
        let selection = store.selection(&of_tenant, all, (i64::MIN, i64::MAX), false);
        let limits = ReadLimits::samples(usize::MAX);
        let mut found: Vec<SeriesSlice> = (0..selection.count())
            .flat_map(|batch| selection.read(batch, &limits).unwrap())
            .collect();
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        assert_eq!(found.len(), SERIES, "each series once");
        for slice in found {
            let i: usize = slice.labels.get("i").unwrap().parse().unwrap();
            let of_device = |n: i64| (n < rows).then_some(i as f64);
            let of_rules = |n: i64| (i.is_multiple_of(2) && n % 2 == 0).then_some(-1.0);
            let expected = (0..20).filter_map(|n| Some((DAWN + n, of_rules(n).or(of_device(n))?)));
            let samples = slice.times_ms.iter().copied().zip(slice.values);
            assert!(samples.eq(expected), "{}", slice.labels);
        }
        assert_equation(store, &device.name);
        let ledger = store.device(&device.name).unwrap();
        assert_eq!(ledger.stored, rows as u64 * SERIES as u64);
        assert_eq!(ledger.removed.values().sum::<u64>(), 0);
    };
    assert_eq!(store.record(&tenant(), &twins).unwrap(), overwritten(0));
    look(&store, &device);
    maintain(&store, DAWN + 3 * HOUR);
    look(&store, &device);
    drop(store);
    let store = open(dir.path());
    look(&store, &device);
    // Partitions that come after that of results hold rows of times at which there are results.
    store.set_hashrings(&Hashrings::of_partitions(9)).unwrap();
    let rows: Vec<_> = (10..20).map(|n| device.record(DAWN + n, |i| i as f64)).collect();
    store.commit(vec![device.deliver(&rows)]).unwrap();
    look(&store, &device);
    maintain(&store, DAWN + 6 * HOUR);
    look(&store, &device);
    drop(store);
    let report = check(dir.path(), &mut |_| {}).unwrap();
    assert_eq!(report.damage, []);
    assert_eq!(report.results, twins.len() as u64);
    // Neither does a new device get the number that blocks have results under.
    let store = open(dir.path());
    let mut other = Device::new("gw-2", 1, 2);
    other.put_dictionary(&store);
    let row = other.record(DAWN, |_| 1.0);
    store.commit(vec![other.deliver(&[row])]).unwrap();
    assert_equation(&store, &other.name);
    assert_eq!(store.ledger().len(), 2);
}

const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");

/// The only file of a journal.
fn journal(dir: &Path) -> Database {
    let mut files = std::fs::read_dir(dir.join("journal")).unwrap();
    Database::open(files.next().unwrap().unwrap().path()).unwrap()
}

fn version(dir: &Path) -> u64 {
    let file = journal(dir);
    let read = file.begin_read().unwrap();
    let meta = read.open_table(META).unwrap();
    meta.get("version").unwrap().unwrap().value()
}

#[test]
fn a_file_of_the_version_before_is_written_on_and_says_so_once_it_has_results() {
    let dir = tempfile::tempdir().unwrap();
    let commit = |store: &Store, seq: i64| {
        let mut device = Device::new("gw-1", seq as u64, 2);
        device.put_dictionary(store);
        let row = device.record(START + seq, |_| 1.0);
        store.commit(vec![device.deliver(&[row])]).unwrap();
    };
    commit(&open(dir.path()), 1);
    {
        let file = journal(dir.path());
        let txn = file.begin_write().unwrap();
        txn.open_table(META).unwrap().insert("version", 1).unwrap();
        txn.commit().unwrap();
    }
    commit(&open(dir.path()), 2);
    assert_eq!(version(dir.path()), 1);
    let store = open(dir.path());
    store.record(&tenant(), &[result(1, START, 1.0)]).unwrap();
    store.record(&tenant(), &[result(1, START + 1, 1.0)]).unwrap();
    drop(store);
    assert_eq!(version(dir.path()), 3);
    assert_eq!(values(&open(dir.path()), 1).len(), 2);
}

#[test]
fn a_snapshot_has_results_in_blocks_and_in_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.record(&tenant(), &[result(1, DAWN, 1.0)]).unwrap();
    maintain(&store, DAWN + 3 * HOUR);
    store
        .record(
            &tenant(),
            &[result(1, DAWN, 2.0), result(2, DAWN + 3 * HOUR, 3.0)],
        )
        .unwrap();
    store.snapshot("copy", &mut |_, _| Ok(())).unwrap();
    let copy = dir.path().join("snapshots/copy");
    assert_eq!(sound(&copy), 2);
    assert_eq!(values(&open(&copy), 1), [(DAWN, 2.0)]);
}

#[test]
fn results_are_gone_with_their_time_and_what_is_left_adds_up() {
    let dir = tempfile::tempdir().unwrap();
    let config = || Config {
        retention_time: std::time::Duration::from_secs(86_400),
        ..config()
    };
    let store = open_with(dir.path(), config());
    store.record(&tenant(), &[result(1, DAWN, 1.0)]).unwrap();
    maintain(&store, DAWN + 3 * HOUR);
    store
        .record(
            &tenant(),
            &[result(1, DAWN, 2.0), result(1, DAWN + 20 * HOUR, 2.0)],
        )
        .unwrap();
    maintain(&store, DAWN + 3 * HOUR + 20 * 60_000);
    maintain(&store, DAWN + 2 * DAY);
    assert_eq!(values(&store, 1), Vec::new());
    drop(store);
    assert_eq!(sound(dir.path()), 0);
}

fn histogram(time: i64, count: u64) -> OwnSample {
    let histogram = Histogram {
        count,
        positive_deltas: vec![1; 5],
        ..Histogram::default()
    };
    OwnSample {
        value: OwnValue::Histogram(Box::new(histogram)),
        ..result(1, time, 0.0)
    }
}

#[test]
fn histograms_are_found_in_memory_in_blocks_and_after_starts_and_the_newest_wins() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let counts = |store: &Store| -> Vec<(i64, u64)> {
        let all = found(store);
        let histograms = all.iter().flat_map(|slice| &slice.histograms);
        histograms
            .map(|(time, histogram)| (*time, histogram.count))
            .collect()
    };
    let record = |store: &Store, samples: &[OwnSample]| store.record(&tenant(), samples).unwrap();
    let first = [
        histogram(DAWN, 1),
        result(2, DAWN, 7.0),
        histogram(DAWN + 1, 2),
        histogram(DAWN, 3),
    ];
    assert_eq!(record(&store, &first), overwritten(1), "within a call");
    assert_eq!(
        record(&store, &first[2..3]),
        overwritten(0),
        "equal ones collapse"
    );
    assert_eq!(record(&store, &[histogram(DAWN, 4)]), overwritten(1));
    let mut expected = vec![(DAWN, 4), (DAWN + 1, 2)];
    assert_eq!(counts(&store), expected);
    drop(store);
    store = open(dir.path());
    assert_eq!(counts(&store), expected, "after a start");
    maintain(&store, DAWN + 3 * HOUR);
    assert_eq!(counts(&store), expected, "sealed");
    assert_eq!(record(&store, &[histogram(DAWN + 1, 5)]), overwritten(1));
    expected[1].1 = 5;
    assert_eq!(counts(&store), expected, "over a block");
    drop(store);
    assert_eq!(sound(dir.path()), 3);
    store = open(dir.path());
    assert_eq!((counts(&store), values(&store, 2)), (expected, vec![(DAWN, 7.0)]));

    let mut large = histogram(DAWN, 1);
    if let OwnValue::Histogram(histogram) = &mut large.value {
        histogram.positive_deltas = vec![1; 70_000];
    }
    let recorded = record(&store, &[large]);
    assert_eq!((recorded.limit, recorded.refused), (1, 1));
}
