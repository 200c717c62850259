//! A tail hands over every stored sample once, from any place and while the journal is written.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use store::{Cursor, OwnSample, Place, Store, Tail, Unpassed};
use wire::{Labels, Tenant, Timestamp};

use super::device::{Device, START, config, open_with};

/// Files of a few batches each.
fn open(dir: &Path) -> Store {
    let config = store::Config {
        journal_file_bytes: 30_000,
        ..config()
    };
    open_with(dir, config)
}

type Found = BTreeMap<(String, i64), Vec<u64>>;

fn name_of(_: &Tenant, labels: &Labels) -> String {
    labels.to_string()
}

/// Reads to the end in pieces; the place after each, and what was found.
fn drain(tail: &mut Tail<String>, max: u64, found: &mut Found) -> Vec<Place> {
    let mut places = Vec::new();
    loop {
        let piece = tail.read(max, &mut name_of).unwrap();
        let mut samples = 0;
        for rows in &piece.rows {
            samples += rows.samples.len() + rows.histograms.len();
            for sample in &rows.samples {
                let series = rows.series[sample.series as usize].clone();
                let values = found.entry((series, sample.time_ms)).or_default();
                values.push(sample.value.to_bits());
            }
        }
        assert_eq!(piece.samples, samples as u64);
        if piece.samples == 0 {
            return places;
        }
        places.push(piece.place);
    }
}

fn stored(store: &Store, devices: &[Device]) -> Found {
    let mut all = Found::new();
    for device in devices {
        let slices = store.select(device.name.tenant(), &[], i64::MIN, i64::MAX, usize::MAX);
        for slice in slices.unwrap() {
            for (time, value) in slice.times_ms.iter().zip(&slice.values) {
                all.insert((slice.labels.to_string(), *time), vec![value.to_bits()]);
            }
        }
    }
    all
}

/// Two devices, keyed and plain batches, rows delivered twice, over several files.
fn fill(store: &Store, devices: &mut [Device], rounds: u64, random: &mut fastrand::Rng) {
    for device in devices {
        device.put_dictionary(store);
        let first = device.record(START, |i| i as f64);
        let (entry, mut key) = device.define(&[first], device.last() as u32 + 1);
        store.commit(vec![entry]).unwrap();
        let mut before = None;
        for n in 1..rounds {
            let noise = |i: usize| ((i as u64 * 7919 + n) as f64).sqrt();
            let record = device.record(START + n as i64 * 1000, noise);
            let mut records = vec![record.clone()];
            // Sometimes the one before comes again.
            records.extend(before.replace(record).filter(|_| random.bool()));
            let entry = match random.u8(0..10) {
                0 => {
                    let (entry, next) = device.define(&records[..1], 1000 + n as u32);
                    key = next;
                    entry
                }
                1..5 => device.keyed(&records, &key),
                _ => device.deliver(&records),
            };
            store.commit(vec![entry, device.seen(1)]).unwrap();
        }
    }
}

#[test]
fn every_stored_sample_is_handed_over_once_from_any_place() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    let mut devices = [Device::new("gw-1", 1, 200), Device::new("gw-2", 2, 50)];
    let mut tail = Tail::new(store.clone(), Place::default(), 300).unwrap();
    let mut found = Found::new();
    fill(&store, &mut devices, 60, &mut random);
    drain(&mut tail, 1000, &mut found);
    fill_more(&store, &mut devices, &mut random);
    let places = drain(&mut tail, 1, &mut found);
    assert!(std::fs::read_dir(dir.path().join("journal")).unwrap().count() > 2);
    assert_eq!(found, stored(&store, &devices));
    assert_eq!((tail.place().number, tail.damaged()), (store.next_number(), 0));
    drop(tail);
    drop(store);

    let store = Arc::new(open(dir.path()));
    for _ in 0..5 {
        // What was read up to a place, and what is read from there on, is everything once.
        let at = random.usize(0..places.len());
        let mut found = Found::new();
        let mut first = Tail::new(store.clone(), Place::default(), 1000).unwrap();
        while first.place() < places[at] {
            let piece = first.read(1, &mut name_of).unwrap();
            for rows in piece.rows {
                for s in rows.samples {
                    let key = (rows.series[s.series as usize].clone(), s.time_ms);
                    found.entry(key).or_default().push(s.value.to_bits());
                }
            }
        }
        let mut second = Tail::new(store.clone(), places[at], 1000).unwrap();
        assert_eq!(second.place(), places[at]);
        drain(&mut second, 500, &mut found);
        assert_eq!(found, stored(&store, &devices), "from {:?}", places[at]);
    }
}

fn fill_more(store: &Store, devices: &mut [Device], random: &mut fastrand::Rng) {
    for device in devices {
        device.restart(random.u64(100..));
        for n in 0..40 {
            let records = [0, 1].map(|m| device.record(START + 200_000 + n * 1000 + m, |i| i as f64 * 0.25));
            store.commit(vec![device.deliver(&records)]).unwrap();
        }
    }
}

#[test]
fn what_is_skipped_is_counted_and_the_rest_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    let mut devices = [Device::new("gw-1", 1, 200), Device::new("gw-2", 2, 50)];
    fill(&store, &mut devices, 100, &mut fastrand::Rng::with_seed(7));
    let all = stored(&store, &devices).len() as u64;
    let bytes = store.journal_bytes_from(0);
    let target = store.journal_last_bytes(bytes / 3);
    assert!(store.journal_bytes_from(target) <= bytes / 3);
    let mut tail = Tail::new(store.clone(), Place::default(), 1000).unwrap();
    let (mut skipped, mut times) = (0, None);
    loop {
        let part = tail.skip(target, Timestamp::from_ms(i64::MIN), 1000).unwrap();
        skipped += part.samples;
        times = times.or(part.times);
        if part.done {
            break;
        }
    }
    assert!(tail.place().number >= target && skipped > 0 && skipped < all);
    assert_eq!(times.unwrap().0, START);
    let mut found = Found::new();
    drain(&mut tail, 1000, &mut found);
    assert_eq!(found.len() as u64 + skipped, all);
    // By age: everything had arrived before that.
    let mut tail = Tail::<String>::new(store.clone(), Place::default(), 1000).unwrap();
    let received = tail.next_received().unwrap().unwrap();
    let part = tail
        .skip(0, received.plus(std::time::Duration::from_millis(1)), u64::MAX)
        .unwrap();
    assert_eq!(
        (part.samples, part.done, tail.place().number),
        (all, true, store.next_number())
    );
}

#[test]
fn cursors_are_durable_and_what_they_have_not_passed_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    let mut device = Device::new("gw-1", 1, 3);
    device.put_dictionary(&store);
    let mut numbers = Vec::new();
    for n in 0..3 {
        let record = device.record(START + n, |i| i as f64);
        numbers.push(store.commit(vec![device.deliver(&[record])]).unwrap().number);
    }
    let cursor = Cursor {
        number: numbers[0] + 1,
        state: vec![1, 2].into(),
    };
    store.note_cursor("far", Some(&cursor));
    store.write_cursors().unwrap();
    drop(store);
    let store = Arc::new(open(dir.path()));
    assert_eq!(store.cursors(), [("far".to_owned(), cursor.clone())]);
    let unpassed = Unpassed::since(&store, cursor.number).unwrap();
    assert_eq!(
        unpassed.iter().map(|u| u.number).collect::<Vec<_>>(),
        numbers[1..]
    );
    let key = (device.name.clone(), device.session);
    assert_eq!(unpassed[1].seqs[&key].first().map(|seq| seq.get()), Some(3));
}

#[test]
fn quarantined_rows_are_handed_over_when_they_are_released() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    let mut device = Device::new("gw-1", 1, 3);
    device.put_dictionary(&store);
    // Deliveries arrive an hour after the start.
    let records = [START, START + 2 * 3_600_000].map(|time| device.record(time, |i| i as f64));
    store.commit(vec![device.deliver(&records)]).unwrap();
    let mut tail = Tail::new(store.clone(), Place::default(), 1000).unwrap();
    let mut found = Found::new();
    drain(&mut tail, 1000, &mut found);
    assert!(found.keys().all(|(_, time)| *time == START) && found.len() == 3);
    assert_eq!(
        store.maintain(Timestamp::from_ms(START + 2 * 3_600_000)).released,
        1
    );
    found.clear();
    drain(&mut tail, 1000, &mut found);
    assert!(found.keys().all(|(_, time)| *time == START + 2 * 3_600_000) && found.len() == 3);
    assert_eq!(tail.damaged(), 0);
}

#[test]
fn results_of_rules_are_handed_over_as_they_are_recorded_also_those_that_overwrite() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    let mut device = Device::new("gw-1", 1, 3);
    device.put_dictionary(&store);
    let record = device.record(START, |i| i as f64);
    store.commit(vec![device.deliver(&[record])]).unwrap();
    let result = |series: &str, n: i64, value: f64| OwnSample {
        labels: Labels::new([("__name__", "job:x:sum"), ("job", series)]).unwrap(),
        time: Timestamp::from_ms(START + n),
        value: value.into(),
    };
    let tenant = device.name.tenant();
    let first = [result("a", 0, 1.0), result("b", 0, 2.0), result("a", 1, 3.0)];
    store.record(tenant, &first).unwrap();
    assert_eq!(
        store.record(tenant, &[result("a", 0, 9.0)]).unwrap().overwritten,
        1
    );
    let mut tail = Tail::new(store.clone(), Place::default(), 1000).unwrap();
    let mut found = Found::new();
    drain(&mut tail, 1, &mut found);
    let of = |series: &str, n: i64| {
        let key = (result(series, n, 0.0).labels.to_string(), START + n);
        found.get(&key).cloned().unwrap_or_default()
    };
    assert_eq!(of("a", 0), [1.0_f64, 9.0].map(f64::to_bits));
    assert_eq!(of("b", 0), [2.0_f64.to_bits()]);
    assert_eq!(of("a", 1), [3.0_f64.to_bits()]);
    assert_eq!((found.len(), tail.damaged()), (3 + 3, 0));
    // What is passed over is counted the same way.
    let mut tail = Tail::<String>::new(store.clone(), Place::default(), 1000).unwrap();
    let skipped = tail.skip(store.next_number(), Timestamp::from_ms(i64::MIN), 1000);
    let skipped = skipped.unwrap();
    assert_eq!(
        (skipped.samples, skipped.times),
        (3 + 4, Some((START, START + 1)))
    );
}
