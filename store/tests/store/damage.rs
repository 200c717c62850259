//! Damage to the journal's newest file and to the dictionaries: the rest serves, and the books balance all the time.

use std::path::{Path, PathBuf};

use store::{Config, Hashrings, SeriesSlice, Store};
use wire::Timestamp;

use super::device::{Device, Record, START, assert_equation, config, tenant};

const HOUR: i64 = 3_600_000;
const ARRIVAL: i64 = START + HOUR;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

/// When every window of the records is over.
fn later() -> Timestamp {
    at(ARRIVAL + 30 * 60_000)
}

fn small() -> Config {
    Config {
        journal_file_bytes: 20_000,
        hashrings: Hashrings::of_partitions(2),
        ..config()
    }
}

/// A start that may find damage.
fn start(dir: &Path, config: Config) -> Store {
    Store::open(dir, config, &mut |_| {}).unwrap()
}

fn journal(dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir.join("journal")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "redb"));
    files.sort();
    files
}

fn spoil(path: &Path) {
    let len = std::fs::metadata(path).unwrap().len();
    std::fs::write(path, vec![7; len as usize]).unwrap();
}

fn all(store: &Store) -> Vec<SeriesSlice> {
    store
        .select(&tenant(), &[], i64::MIN, i64::MAX, usize::MAX)
        .unwrap()
}

fn samples_of(store: &Store, device: &Device) -> u64 {
    let id = device.name.device().as_str();
    let of_device = |slice: &&SeriesSlice| slice.labels.get("device_id") == Some(id);
    let found = all(store);
    let counts = found.iter().filter(of_device).map(|slice| slice.times_ms.len());
    counts.sum::<usize>() as u64
}

/// The equation, and that queries find what reading back finds.
fn assert_books(store: &Store, device: &Device) {
    assert_equation(store, &device.name);
    let read = store.read_back(&device.name);
    assert_eq!(read.samples, samples_of(store, device), "{}", device.name);
}

/// Some devices with records of two hours, the first sealed, the second not.
fn filled(dir: &Path, config: Config) -> (Store, Vec<(Device, Vec<Record>)>) {
    let store = start(dir, config);
    let mut devices = Vec::new();
    for n in 0..3 {
        let mut device = Device::new(&format!("gw-{n}"), 10 + n, 20);
        device.put_dictionary(&store);
        let mut records = Vec::new();
        for hour in [-3, 0] {
            let from = ARRIVAL + hour * HOUR - 1_800_000;
            for k in 0..40 {
                let value = |i: usize| ((i as i64 * 7919 + k) as f64).sqrt();
                records.push(device.record(from + k * 1000, value));
            }
        }
        devices.push((device, records));
    }
    for half in 0..2 {
        for (device, records) in &devices {
            deliver(&store, device, &records[half * 40..][..40]);
        }
        if half == 0 {
            let round = store.maintain(at(ARRIVAL + 16 * 60_000));
            assert!(round.sealed > 0, "{round:?}");
        }
    }
    (store, devices)
}

/// The journal is one file.
fn one_file() -> Config {
    Config {
        journal_file_bytes: 10_000_000,
        ..small()
    }
}

/// A filled store that was started after its dictionaries were spoiled.
fn without_dictionaries(dir: &Path) -> (Store, Vec<(Device, Vec<Record>)>) {
    let (store, devices) = filled(dir, one_file());
    drop(store);
    spoil(&dir.join("dict.redb"));
    let store = start(dir, one_file());
    assert!(!store.damage().is_empty());
    (store, devices)
}

fn deliver(store: &Store, device: &Device, records: &[Record]) {
    device.put_dictionary(store);
    for some in records.chunks(10) {
        store.commit(vec![device.deliver(some)]).unwrap();
    }
}

#[test]
fn without_a_journal_the_ledger_is_taken_over_from_blocks_and_devices_send_the_rest_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, devices) = filled(dir.path(), small());
    drop(store);
    journal(dir.path()).iter().for_each(|path| spoil(path));
    for again in [false, true] {
        let store = start(dir.path(), small());
        assert!(!store.damage().is_empty(), "{again}");
        for (device, _) in &devices {
            let ledger = store.device(&device.name).unwrap();
            assert_eq!((ledger.stored, ledger.recovered), (0, 40 * 20), "{again}");
            assert_books(&store, device);
        }
    }
    let store = start(dir.path(), small());
    // In another order than at first.
    for (device, records) in devices.iter().rev() {
        deliver(&store, device, records);
        store.commit(vec![device.seen(1)]).unwrap();
    }
    let check = |store: &Store| {
        for (device, _) in &devices {
            let ledger = store.device(&device.name).unwrap();
            assert_eq!((ledger.generated, ledger.stored), (80 * 20, 80 * 20));
            assert_eq!(
                (ledger.recovered, ledger.removed["same_timestamp"]),
                (40 * 20, 40 * 20)
            );
            assert_eq!(samples_of(store, device), 80 * 20);
            assert_books(store, device);
        }
    };
    check(&store);
    drop(store);
    let store = start(dir.path(), small());
    assert_eq!(store.damage(), []);
    check(&store);
    assert!(store.maintain(later()).failed.is_empty());
    check(&store);
    drop(store);
    let report = store::check(dir.path(), &mut |_| {}).unwrap();
    assert_eq!(report.damage, []);
}

#[test]
fn a_new_device_does_not_get_the_number_of_one_that_was_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (store, devices) = filled(dir.path(), small());
    drop(store);
    journal(dir.path()).iter().for_each(|path| spoil(path));
    let store = start(dir.path(), small());
    let mut new = Device::new("new", 99, 20);
    let records: Vec<Record> = (0..40)
        .map(|k| new.record(ARRIVAL - 3 * HOUR - 1_800_000 + k * 1000, |i| i as f64))
        .collect();
    deliver(&store, &new, &records);
    let check = || {
        let ledger = store.device(&new.name).unwrap();
        assert_eq!((ledger.stored, ledger.recovered), (40 * 20, 0));
        assert_books(&store, &new);
        devices
            .iter()
            .for_each(|(device, _)| assert_books(&store, device));
    };
    check();
    assert!(store.maintain(later()).failed.is_empty());
    check();
}

#[test]
fn without_dictionaries_what_blocks_have_is_recovered_and_the_rest_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, devices) = without_dictionaries(dir.path());
    for (device, _) in &devices {
        let ledger = store.device(&device.name).unwrap();
        assert_eq!((ledger.stored, ledger.recovered), (0, 40 * 20));
        assert_books(&store, device);
    }
    for (device, records) in &devices {
        deliver(&store, device, records);
        assert_eq!(samples_of(&store, device), 80 * 20);
        assert_books(&store, device);
    }
    assert!(store.maintain(later()).failed.is_empty());
    drop(store);
    // The dictionaries are there again, so the first records can be read again.
    let store = start(dir.path(), one_file());
    assert_eq!(store.damage(), []);
    for (device, _) in &devices {
        assert_eq!(store.device(&device.name).unwrap().stored, 80 * 20);
        assert_eq!(samples_of(&store, device), 80 * 20);
        assert_books(&store, device);
    }
}

#[test]
fn what_was_declared_lost_for_want_of_a_dictionary_is_stored_once_that_is_back() {
    // Seals in between have not what was left out.
    for seals in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (store, devices) = without_dictionaries(dir.path());
        let (device, records) = &devices[0];
        // Of its last record, which no block has, the device has nothing left.
        store.commit(vec![device.gap(80, 80)]).unwrap();
        deliver(&store, device, &records[..79]);
        let ledger = store.device(&device.name).unwrap();
        assert_eq!((ledger.stored, ledger.dropped["wal_bytes"]), (79 * 20, 20));
        assert_books(&store, device);
        if seals {
            assert!(store.maintain(later()).sealed > 0);
        }
        drop(store);
        for _ in 0..2 {
            let store = start(dir.path(), one_file());
            let ledger = store.device(&device.name).unwrap();
            assert_eq!(
                (ledger.stored, ledger.dropped.values().sum::<u64>()),
                (80 * 20, 0)
            );
            assert_eq!(samples_of(&store, device), 80 * 20, "sealed: {seals}");
            assert_books(&store, device);
            if seals {
                store.maintain(later());
            }
        }
    }
}

#[test]
fn what_comes_back_twice_does_not_hide_what_lacks() {
    for rolls in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let store = start(dir.path(), small());
        let (mut device, mut other) = (Device::new("gw", 10, 20), Device::new("other", 7, 100));
        let mut records = |hour: i64| -> Vec<Record> {
            let from = ARRIVAL + hour * HOUR;
            (0..30)
                .map(|k| device.record(from + k * 1000, |i| i as f64))
                .collect()
        };
        // Rows of a window that stays open in one file, of one that is over in the next.
        let (open, over) = (records(0), records(-3));
        deliver(&store, &device, &open);
        begin_file(&store, dir.path(), &mut other);
        let files = journal(dir.path()).len();
        deliver(&store, &device, &over);
        assert!(store.maintain(at(ARRIVAL + 16 * 60_000)).sealed > 0);
        assert_eq!(journal(dir.path()).len(), files);
        drop(store);
        spoil(&dir.path().join("dict.redb"));
        let counted = |store: &Store| {
            let ledger = store.device(&device.name).unwrap();
            let damaged = ledger.removed.get("damaged").copied().unwrap_or(0);
            assert_books(store, &device);
            (
                ledger.stored,
                ledger.recovered,
                damaged,
                samples_of(store, &device),
            )
        };
        for _ in 0..2 {
            let store = start(dir.path(), small());
            assert_eq!(counted(&store), (600, 600, 600, 600));
        }
        let store = start(dir.path(), small());
        deliver(&store, &device, &open);
        deliver(&store, &device, &over);
        assert_eq!(counted(&store), (1200, 600, 600, 600));
        if rolls {
            begin_file(&store, dir.path(), &mut other);
        }
        drop(store);
        // The dictionary is there again: what lacked is found.
        for _ in 0..2 {
            let store = start(dir.path(), small());
            let lacked = if rolls { 600 } else { 0 };
            assert_eq!(counted(&store), (1200, 600 + lacked, lacked, 1200), "{rolls}");
            store.maintain(at(ARRIVAL + 2 * HOUR));
            assert_eq!(counted(&store), (1200, 600 + lacked, lacked, 1200), "{rolls}");
        }
    }
}

/// Commits rows of another device until a file is begun.
fn begin_file(store: &Store, dir: &Path, other: &mut Device) {
    other.put_dictionary(store);
    let before = journal(dir).len();
    while journal(dir).len() == before {
        let record = other.record(ARRIVAL, |i| (i as f64).sqrt());
        store.commit(vec![other.deliver(&[record])]).unwrap();
    }
}

#[test]
fn a_session_that_was_let_go_in_a_lost_record_does_not_stay_pending() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut devices) = filled(dir.path(), small());
    let (device, _) = &mut devices[0];
    let record = device.record(ARRIVAL, |i| i as f64);
    store.commit(vec![device.seen(1)]).unwrap();
    // A file is begun whose checkpoint has a record pending, and in it the session ends.
    let mut other = Device::new("other", 7, 100);
    begin_file(&store, dir.path(), &mut other);
    store.commit(vec![device.deliver(&[record])]).unwrap();
    let let_go = store::Entry::LetGo {
        device: device.name.clone(),
        received: at(ARRIVAL),
        session: device.session,
    };
    store.commit(vec![let_go]).unwrap();
    drop(store);
    spoil(journal(dir.path()).last().unwrap());
    let all_sessions = |sessions| store::Entry::Sessions {
        device: device.name.clone(),
        received: at(ARRIVAL),
        sessions,
    };
    let store = start(dir.path(), small());
    assert_eq!(store.device(&device.name).unwrap().pending, 20);
    store.commit(vec![all_sessions(vec![device.session])]).unwrap();
    assert_eq!(store.device(&device.name).unwrap().pending, 20);
    drop(store);
    let store = start(dir.path(), small());
    store.commit(vec![other.seen(1)]).unwrap();
    drop(store);
    let store = start(dir.path(), small());
    assert_eq!(store.damage(), []);
    store.commit(vec![all_sessions(vec![])]).unwrap();
    let ledger = store.device(&device.name).unwrap();
    assert_eq!((ledger.pending, ledger.dropped["lost_at_store"]), (0, 20));
    assert_eq!(
        ledger.gaps.last().map(|gap| (gap.first, gap.last, gap.samples)),
        Some((81, 81, 20))
    );
    assert_books(&store, device);
    // A store that lost nothing forgets nobody's session by absence.
    let (device, _) = &devices[1];
    let sound = tempfile::tempdir().unwrap();
    let store = start(sound.path(), small());
    store.commit(vec![device.seen(1)]).unwrap();
    let none = store::Entry::Sessions {
        device: device.name.clone(),
        received: at(ARRIVAL),
        sessions: Vec::new(),
    };
    store.commit(vec![none]).unwrap();
    assert_eq!(store.device(&device.name).unwrap().pending, 80 * 20);
}

/// A life of devices with bit flips in the journal and the dictionaries at every other start.
fn life(seed: u64, rounds: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut devices: Vec<(Device, Vec<Record>)> = Vec::new();
    let mut sessions = 1;
    for _ in 0..rounds {
        let store = start(dir.path(), small());
        let books = |devices: &[(Device, Vec<Record>)], what: &str| {
            for (device, _) in devices {
                if store.device(&device.name).is_some() {
                    assert_books(&store, device);
                } else {
                    let known: Vec<_> = store.ledger().into_iter().map(|l| l.device).collect();
                    assert_eq!(
                        samples_of(&store, device),
                        0,
                        "{what}: {}, known {known:?} {:?}",
                        device.name,
                        store.damage()
                    );
                }
            }
        };
        books(&devices, "at the start");
        for _ in 0..random.usize(1..8) {
            match random.u8(0..8) {
                0 if devices.len() < 4 => {
                    let device = Device::new(
                        &format!("d-{}", devices.len()),
                        1_000_000 + sessions,
                        random.usize(1..20),
                    );
                    sessions += 1;
                    devices.push((device, Vec::new()));
                }
                0 | 1 => {
                    store.maintain(if random.bool() { later() } else { at(ARRIVAL) });
                }
                2 if !devices.is_empty() => {
                    let at = random.usize(0..devices.len());
                    let (device, records) = &devices[at];
                    if !records.is_empty() {
                        // The log goes on to hold everything.
                        store.commit(vec![device.seen(1)]).unwrap();
                    }
                }
                _ if !devices.is_empty() => {
                    let at = random.usize(0..devices.len());
                    let (device, records) = &mut devices[at];
                    for _ in 0..random.usize(0..20) {
                        let time = START + HOUR * random.i64(-3..1) + records.len() as i64 * 1000;
                        let value = |i: usize| ((i * 7919 + records.len()) as f64).sqrt();
                        records.push(device.record(time, value));
                    }
                    if !records.is_empty() {
                        let from = random.usize(0..records.len());
                        let some = &records[from..];
                        deliver(&store, device, &some[..some.len().min(30)]);
                    }
                }
                _ => {}
            }
            books(&devices, "later");
        }
        if random.u8(0..4) == 0 {
            for (device, records) in devices.iter().filter(|(_, records)| !records.is_empty()) {
                deliver(&store, device, records);
                store.commit(vec![device.seen(1)]).unwrap();
                let ledger = store.device(&device.name).unwrap();
                let damaged = ledger.removed.get("damaged").copied().unwrap_or(0);
                let found = samples_of(&store, device);
                assert!(
                    found + damaged >= device.total(),
                    "{found} of {}: {ledger:?}",
                    device.total()
                );
                assert_eq!((ledger.generated, ledger.pending), (device.total(), 0));
            }
            books(&devices, "all delivered");
        }
        let mut files = journal(dir.path());
        files.push(dir.path().join("dict.redb"));
        let clean = random.bool();
        // The files of a store that is still open are those of one that was killed.
        let images: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
        drop(store);
        if !clean {
            for (file, image) in files.iter().zip(images) {
                std::fs::write(file, image).unwrap();
            }
        }
        if random.bool() {
            let file = &files[random.usize(0..files.len())];
            flip(file, &mut random);
        }
    }
}

fn flip(file: &Path, random: &mut fastrand::Rng) {
    let mut bytes = std::fs::read(file).unwrap();
    for _ in 0..random.u8(1..4) {
        let at = random.usize(0..bytes.len());
        bytes[at] ^= 1 << random.u8(0..8);
    }
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn bits_that_flip_in_the_journal_and_in_dictionaries_leave_the_books_balanced() {
    let seeds = std::env::var("BACKHAUL_DAMAGE_SEEDS").ok();
    let count: u64 = seeds.and_then(|text| text.parse().ok()).unwrap_or(6);
    let seed = std::env::var("BACKHAUL_SEED").ok();
    let first: u64 = seed
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    for seed in (0..count).map(|n| first.wrapping_add(n)) {
        println!("BACKHAUL_SEED={seed}");
        life(seed, 12);
    }
}
