//! What queries find.

use regex::Regex;
use store::{Matcher, SelectError, Store, Test};
use wire::{Tenant, Timestamp};

use super::device::{Device, Record, START, assert_equation, labels, open, tenant};

fn matcher(name: &str, test: Test) -> Matcher {
    Matcher {
        name: name.into(),
        test,
    }
}

fn all(store: &Store, matchers: &[Matcher]) -> Vec<String> {
    let found = store
        .select(&tenant(), matchers, i64::MIN, i64::MAX, usize::MAX)
        .unwrap();
    found.into_iter().map(|slice| slice.labels.to_string()).collect()
}

#[test]
fn matchers_choose_series_as_in_prometheus() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut device = Device::new("gw-1", 1, 0);
    for set in [
        labels(&[("__name__", "up"), ("job", "a")]),
        labels(&[("__name__", "up"), ("job", "b"), ("zone", "eu")]),
        labels(&[("__name__", "down"), ("job", "b"), ("device_id", "mine")]),
    ] {
        device.add_series(set);
    }
    device.put_dictionary(&store);
    let record = device.record(START, |i| i as f64);
    store.commit(vec![device.deliver(&[record])]).unwrap();
    let up_a = "up{device_id=\"gw-1\", job=\"a\"}";
    let up_b = "up{device_id=\"gw-1\", job=\"b\", zone=\"eu\"}";
    let down = "down{device_id=\"gw-1\", exported_device_id=\"mine\", job=\"b\"}";
    assert_eq!(all(&store, &[]), [down, up_a, up_b]);
    assert_eq!(all(&store, &[Matcher::equal("__name__", "up")]), [up_a, up_b]);
    assert_eq!(all(&store, &[Matcher::equal("zone", "")]), [down, up_a]);
    assert_eq!(all(&store, &[matcher("zone", Test::NotEqual("".into()))]), [up_b]);
    assert_eq!(
        all(&store, &[matcher("job", Test::NotEqual("a".into()))]),
        [down, up_b]
    );
    let regex = |text: &str| Regex::new(&format!("^(?:{text})$")).unwrap();
    assert_eq!(all(&store, &[matcher("zone", Test::Regex(regex(".*")))]).len(), 3);
    assert_eq!(all(&store, &[matcher("zone", Test::Regex(regex(".+")))]), [up_b]);
    assert_eq!(
        all(&store, &[matcher("job", Test::NotRegex(regex("b|c")))]),
        [up_a]
    );
    let two = [
        Matcher::equal("job", "b"),
        matcher("__name__", Test::Regex(regex("u."))),
    ];
    assert_eq!(all(&store, &two), [up_b]);
    assert!(all(&store, &[Matcher::equal("nothing", "x")]).is_empty());

    let names = store.label_names(&tenant(), &[]);
    assert_eq!(
        names,
        ["__name__", "device_id", "exported_device_id", "job", "zone"]
    );
    assert_eq!(
        store.label_names(&tenant(), &two),
        ["__name__", "device_id", "job", "zone"]
    );
    let jobs = |matchers: &[Matcher]| store.label_values(&tenant(), "job", matchers);
    assert_eq!(jobs(&[]), ["a".into(), "b".into()]);
    assert_eq!(jobs(&[Matcher::equal("zone", "")]), ["a".into(), "b".into()]);
    assert_eq!(jobs(&two), ["b".into()]);
    assert_eq!(store.series(&tenant(), &two, START, START).len(), 1);
    assert!(store.series(&tenant(), &two, START + 1, START + 2).is_empty());
}

#[test]
fn tenants_do_not_see_one_another() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for name in ["acme.gw-1", "other.gw-1"] {
        let mut device = Device::of(name, 1, 2);
        device.put_dictionary(&store);
        let record = device.record(START, |_| name.len() as f64);
        store.commit(vec![device.deliver(&[record])]).unwrap();
    }
    for (tenant, value) in [("acme", 9.0), ("other", 10.0)] {
        let tenant = Tenant::new(tenant).unwrap();
        let found = store.select(&tenant, &[], i64::MIN, i64::MAX, 10).unwrap();
        assert_eq!(found.iter().map(|s| s.values[0]).collect::<Vec<_>>(), [value; 2]);
    }
    assert!(store.label_names(&Tenant::new("third").unwrap(), &[]).is_empty());
}

#[test]
fn values_come_back_bit_for_bit_and_absent_ones_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut device = Device::new("gw-1", 1, 3);
    device.put_dictionary(&store);
    let odd = [
        f64::from_bits(0x7ff0_0000_0000_0002),
        f64::from_bits(0x7ff8_dead_beef_0001),
        -0.0,
        f64::NEG_INFINITY,
        0.1 + 0.2,
        479.0 * 0.001,
        f64::MIN_POSITIVE / 4.0,
    ];
    let mut expected: Vec<Vec<(i64, u64)>> = vec![Vec::new(); 3];
    for n in 0..100i64 {
        let value = |i: usize| odd[(n as usize * 3 + i) % odd.len()];
        let values: Vec<_> = (0..3)
            .map(|i| (n as usize % (i + 2) != 1).then(|| value(i)))
            .collect();
        for (i, value) in values.iter().enumerate() {
            expected[i].extend(value.map(|v| (START + n * 1000, v.to_bits())));
        }
        let record = device.sparse(START + n * 1000, values);
        store.commit(vec![device.deliver(&[record])]).unwrap();
    }
    let found = store
        .select(&tenant(), &[], i64::MIN, i64::MAX, usize::MAX)
        .unwrap();
    let bits = |slice: &store::SeriesSlice| -> Vec<(i64, u64)> {
        let values = slice.values.iter().map(|v| v.to_bits());
        slice.times_ms.iter().copied().zip(values).collect()
    };
    assert_eq!(found.iter().map(bits).collect::<Vec<_>>(), expected);
    let part = store
        .select(&tenant(), &[], START + 10_000, START + 12_000, usize::MAX)
        .unwrap();
    assert!(part.iter().all(|s| {
        s.times_ms
            .iter()
            .all(|t| (START + 10_000..=START + 12_000).contains(t))
    }));
    let count: usize = found.iter().map(|s| s.values.len()).sum();
    assert!(store.select(&tenant(), &[], i64::MIN, i64::MAX, count).is_ok());
    let refused = store.select(&tenant(), &[], i64::MIN, i64::MAX, count - 1);
    assert_eq!(refused, Err(SelectError::TooManySamples { limit: count - 1 }));
}

#[test]
fn late_rows_of_any_age_are_merged_in_order_of_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut device = Device::new("gw-1", 1, 2);
    device.put_dictionary(&store);
    // Fresh rows at odd places; the backlog comes newest first, a year back.
    let records: Vec<Record> = (0..200)
        .map(|n| device.record(START + n * 10_000, |i| (n as usize * 2 + i) as f64))
        .collect();
    let old: Vec<Record> = (0..200)
        .map(|n| {
            device.record(START - 365 * 86_400_000 + n * 10_000, |i| {
                -((n as usize * 2 + i) as f64)
            })
        })
        .collect();
    for record in records.iter().filter(|r| r.seq % 2 == 1) {
        store
            .commit(vec![device.deliver(std::slice::from_ref(record))])
            .unwrap();
    }
    for chunk in old.chunks(7).rev() {
        store.commit(vec![device.deliver(chunk)]).unwrap();
    }
    for record in records.iter().filter(|r| r.seq % 2 == 0).rev() {
        store
            .commit(vec![device.deliver(std::slice::from_ref(record))])
            .unwrap();
    }
    let check = |store: &Store| {
        let found = store
            .select(
                &tenant(),
                &[Matcher::equal("i", "1")],
                i64::MIN,
                i64::MAX,
                usize::MAX,
            )
            .unwrap();
        let expected: Vec<(i64, f64)> = old
            .iter()
            .chain(&records)
            .map(|r| (r.time, r.values[1].unwrap()))
            .collect();
        let times: Vec<(i64, f64)> = found[0]
            .times_ms
            .iter()
            .copied()
            .zip(found[0].values.iter().copied())
            .collect();
        assert_eq!(times, expected);
        assert_equation(store, &device.name);
    };
    check(&store);
    drop(store);
    check(&open(dir.path()));
}

#[test]
fn of_two_samples_of_one_time_equal_ones_collapse_and_else_the_later_wins() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut device = Device::new("gw-1", 1, 2);
    device.put_dictionary(&store);
    // Frozen, open and repeated in the same batch; series 0 repeats its value, series 1 another one.
    let first: Vec<Record> = (0..40)
        .map(|n| device.record(START + n * 1000, |i| i as f64))
        .collect();
    let second: Vec<Record> = (0..40)
        .map(|n| device.record(START + n * 1000, |i| i as f64 * 2.0))
        .collect();
    store.commit(vec![device.deliver(&first)]).unwrap();
    store.commit(vec![device.deliver(&second)]).unwrap();
    // The device's list of series grows, and its records of the same times come once more.
    device.add_series(labels(&[("__name__", "m"), ("i", "2")]));
    device.put_dictionary(&store);
    let third: Vec<Record> = (0..3)
        .map(|n| device.record(START + n * 1000, |i| i as f64 * 2.0))
        .collect();
    store.commit(vec![device.deliver(&third)]).unwrap();
    drop(store);
    let store = open(dir.path());
    let ledger = store.device(&device.name).unwrap();
    assert_eq!(ledger.removed["same_timestamp"], 40 + 6);
    assert_eq!(ledger.removed["conflict"], 40);
    let found = store
        .select(
            &tenant(),
            &[Matcher::equal("i", "1")],
            i64::MIN,
            i64::MAX,
            usize::MAX,
        )
        .unwrap();
    assert_eq!(found[0].values, [2.0; 40]);
    assert_equation(&store, &device.name);
}

#[test]
fn ever_new_lists_of_series_cost_no_more_groups_than_series() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut device = Device::new("gw-1", 1, 12);
    device.put_dictionary(&store);
    for n in 0..600u64 {
        let values = (0..12).map(|_| Some(n as f64)).collect();
        let record = device.sparse(START + n as i64, values);
        let mut entry = device.entry(&[record], wire::batch::Encoding::SelfContained);
        // Each time another list: the batch's group loses some of its series.
        let group = &mut entry.batch.groups[0];
        let keep: Vec<usize> = (0..12).filter(|i| (n * 7 + 1) >> i & 1 == 1).collect();
        group.series = keep.iter().map(|i| group.series[*i]).collect();
        group.values = keep.iter().map(|i| group.values[*i]).collect();
        entry.payload = wire::batch::encode(&entry.batch, wire::batch::Encoding::SelfContained)
            .payload
            .into();
        store.commit(vec![store::Entry::Batch(entry)]).unwrap();
    }
    let read = store.read_back(&device.name);
    let before = store
        .select(&tenant(), &[], i64::MIN, i64::MAX, usize::MAX)
        .unwrap();
    assert_eq!(read.samples, store.device(&device.name).unwrap().stored);
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.read_back(&device.name), read);
    assert_eq!(
        store
            .select(&tenant(), &[], i64::MIN, i64::MAX, usize::MAX)
            .unwrap(),
        before
    );
}

#[test]
fn the_bridge_s_own_series_are_found_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let config = store::Config {
        own_rows: 64,
        ..super::device::config()
    };
    let store = super::device::open_with(dir.path(), config);
    let row = [
        (
            labels(&[("__name__", "backhaul_device_up"), ("device_id", "gw-1")]),
            1.0,
        ),
        (
            labels(&[("__name__", "backhaul_device_last_seen"), ("device_id", "gw-1")]),
            2.0,
        ),
    ];
    for n in 0..1000 {
        store.append_own(&tenant(), Timestamp::from_ms(START + n), &row);
    }
    let found = store
        .select(
            &tenant(),
            &[Matcher::equal("__name__", "backhaul_device_up")],
            0,
            i64::MAX,
            1000,
        )
        .unwrap();
    assert_eq!(found[0].labels, row[0].0);
    let kept = found[0].times_ms.len();
    assert!((64..=128).contains(&kept), "{kept} rows");
    assert_eq!(found[0].times_ms.last(), Some(&(START + 999)));
}
