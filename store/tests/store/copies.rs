//! Checks, dumps and snapshots.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use store::{Config, Matcher, Report, SnapshotError, Store, Wanted, check, dump};
use wire::Timestamp;

use super::device::{Device, START, assert_equation, config, open_with, tenant};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const DAWN: i64 = START / DAY * DAY;

/// Blocks of some hours, late ones among them, rows that are in the journal alone, and rows ahead of their time.
fn fill(dir: &Path) -> (Store, Vec<Device>) {
    let store = open_with(dir, config());
    let mut devices: Vec<Device> = (0..3)
        .map(|n| Device::new(&format!("gw-{n}"), n + 1, 20))
        .collect();
    for device in &devices {
        device.put_dictionary(&store);
    }
    for hour in [0, 1, 2, 1, 3] {
        for device in &mut devices {
            let rows: Vec<_> = (0..30)
                .map(|n| {
                    device.record(DAWN + hour * HOUR + n * 60_000 + device.last() as i64, |i| {
                        i as f64 / 7.0
                    })
                })
                .collect();
            store.commit(vec![device.deliver(&rows)]).unwrap();
        }
        if hour < 3 {
            store.maintain(Timestamp::from_ms(START + 10 * HOUR));
        }
    }
    let ahead = devices[0].record(START + 30 * DAY, |i| i as f64);
    store.commit(vec![devices[0].deliver(&[ahead])]).unwrap();
    (store, devices)
}

fn looked_over(dir: &Path) -> Report {
    check(dir, &mut |_| {}).unwrap()
}

/// Every file with its bytes.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(content(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            all.insert(path, bytes);
        }
    }
    all
}

/// A folder as a kill leaves it.
fn killed(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for (path, bytes) in content(from) {
        let path = to.path().join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    to
}

#[test]
fn a_sound_folder_is_said_to_be_and_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, devices) = fill(dir.path());
    let stored: u64 = devices
        .iter()
        .map(|device| store.device(&device.name).unwrap().stored)
        .sum();
    assert!(check(dir.path(), &mut |_| {}).is_err(), "it is served");
    let killed = killed(dir.path());
    drop(store);
    for dir in [dir.path(), killed.path()] {
        let before = content(dir);
        let report = looked_over(dir);
        assert_eq!(report.damage, []);
        assert_eq!((report.devices, report.dictionaries), (3, 3));
        assert!(report.blocks >= 9 && report.journal_files > 0, "{report:?}");
        assert_eq!(
            report.samples + 20,
            stored,
            "all but those in quarantine: {report:?}"
        );
        assert!(content(dir) == before, "something changed");
    }
    let empty = tempfile::tempdir().unwrap();
    let error = check(empty.path(), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("no journal"), "{error}");
    assert_eq!(content(empty.path()), BTreeMap::new());
}

#[test]
fn what_is_damaged_is_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(fill(dir.path()));
    let files: Vec<PathBuf> = content(dir.path()).into_keys().collect();
    let is_block = |path: &PathBuf| path.to_str().unwrap().contains("acme-");
    let first = |name: &str| files.iter().find(|path| path.ends_with(name)).unwrap().clone();
    let block = files.iter().find(|path| is_block(path)).unwrap().clone();
    let journal = files
        .iter()
        .rfind(|path| path.parent().unwrap().ends_with("journal"))
        .unwrap();
    for path in [
        &block,
        &first("index.redb"),
        &first("index.copy.redb"),
        &first("dict.redb"),
        journal,
    ] {
        let sound = std::fs::read(path).unwrap();
        // All of it but the header, where redb knows what to do about a byte.
        let mut bad = sound.clone();
        for byte in bad.iter_mut().skip(4096).step_by(97) {
            *byte ^= 0x55;
        }
        std::fs::write(path, &bad).unwrap();
        let before = content(dir.path());
        let report = looked_over(dir.path());
        let name = path.file_name().unwrap().to_str().unwrap();
        let is_named = report.damage.iter().any(|damage| {
            damage
                .path
                .to_str()
                .unwrap()
                .contains(name.trim_end_matches(".redb"))
        });
        assert!(is_named, "{name}: {:?}", report.damage);
        assert!(content(dir.path()) == before, "{name}: something changed");
        std::fs::write(path, &sound).unwrap();
    }
    let aside = dir.path().join("aside");
    std::fs::rename(&block, &aside).unwrap();
    let report = looked_over(dir.path());
    assert!(
        report.damage.iter().any(|damage| damage.path == block),
        "{:?}",
        report.damage
    );
    std::fs::rename(&aside, &block).unwrap();
    std::fs::write(block.with_extension("redb.new"), b"begun").unwrap();
    let report = looked_over(dir.path());
    assert_eq!(report.damage, []);
    assert_eq!(report.leftovers, [block.with_extension("redb.new")]);
    std::fs::remove_file(block.with_extension("redb.new")).unwrap();
    assert_eq!(looked_over(dir.path()).leftovers, [] as [PathBuf; 0]);
}

fn dumped(dir: &Path, matchers: Vec<Matcher>, (start_ms, end_ms): (i64, i64)) -> (String, store::Dumped) {
    let wanted = Wanted {
        tenant: tenant(),
        matchers,
        start_ms,
        end_ms,
    };
    let mut out = Vec::new();
    let dumped = dump(dir, &wanted, &mut out, &mut |_| {}, &mut |_, _| {}).unwrap();
    (String::from_utf8(out).unwrap(), dumped)
}

#[test]
fn a_dump_has_every_sample_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = fill(dir.path());
    let expected: Vec<String> = store
        .select(&tenant(), &[], i64::MIN, i64::MAX, usize::MAX)
        .unwrap()
        .iter()
        .flat_map(|slice| {
            let labels = slice.labels.to_string().replace(", ", ",");
            let samples = slice.times_ms.iter().zip(&slice.values);
            samples
                .map(move |(time, value)| format!("{labels} {value:?} {}.{:03}", time / 1000, time % 1000))
                .collect::<Vec<_>>()
        })
        .collect();
    drop(store);
    let (text, counts) = dumped(dir.path(), Vec::new(), (i64::MIN, i64::MAX));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.last(), Some(&"# EOF"));
    assert_eq!(lines[..lines.len() - 1], expected);
    assert_eq!((counts.samples, counts.series), (expected.len() as u64, 60));
    let one = vec![Matcher::equal("device_id", "gw-1"), Matcher::equal("i", "3")];
    let (text, counts) = dumped(dir.path(), one, (DAWN + HOUR, DAWN + 2 * HOUR - 1));
    assert_eq!((counts.samples, counts.series), (60, 1), "{text}");
}

#[test]
fn a_snapshot_that_is_taken_under_load_and_seals_is_a_store_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(
        dir.path(),
        Config {
            // Windows are sealed all the time.
            head_bytes: 50_000,
            ..config()
        },
    );
    let mut device = Device::new("gw-1", 1, 20);
    device.put_dictionary(&store);
    let (ended, taken) = (AtomicBool::new(false), AtomicU64::new(0));
    let done = AtomicU64::new(0);
    let mut marks = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut now = START + 2 * HOUR;
            while !ended.load(Ordering::Relaxed) {
                let round = store.maintain(Timestamp::from_ms(now));
                assert_eq!((round.failed, round.damage), (vec![], vec![]));
                now += 60_000;
            }
        });
        let writer = scope.spawn(|| {
            while taken.load(Ordering::Relaxed) < 4 || device.last() < 3000 {
                let rows: Vec<_> = (0..10)
                    .map(|_| device.record(DAWN + device.last() as i64 * 15_000, |i| (i as f64).sqrt()))
                    .collect();
                store.commit(vec![device.deliver(&rows)]).unwrap();
                done.store(device.last(), Ordering::Relaxed);
            }
        });
        while done.load(Ordering::Relaxed) == 0 && !writer.is_finished() {
            std::thread::yield_now();
        }
        for n in 0..4 {
            let before = done.load(Ordering::Relaxed);
            store.snapshot(&format!("s-{n}"), &mut |_, _| Ok(())).unwrap();
            marks.push((before, done.load(Ordering::Relaxed) + 10));
            taken.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        writer.join().unwrap();
        ended.store(true, Ordering::Relaxed);
    });
    for (n, (at_least, at_most)) in marks.into_iter().enumerate() {
        let snapshot = dir.path().join(format!("snapshots/s-{n}"));
        assert_eq!(looked_over(&snapshot).damage, []);
        // While the store that it was taken of is still served.
        let restored = open_with(&snapshot, config());
        let rows = restored.settled(&device.name, device.session).len();
        assert!(
            (at_least..=at_most).contains(&rows),
            "{at_least} <= {rows} <= {at_most}"
        );
        assert_equation(&restored, &device.name);
        let name = device.name.clone();
        assert_eq!(restored.device(&name).unwrap().stored, 20 * rows);
        restored.maintain(Timestamp::from_ms(START + 100 * DAY));
        assert_equation(&restored, &device.name);
    }
    assert_equation(&store, &device.name);
    drop(store);
    assert_eq!(looked_over(dir.path()).damage, []);
}

#[test]
fn a_snapshot_has_a_name_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = fill(dir.path());
    store.snapshot("a", &mut |_, _| Ok(())).unwrap();
    for name in ["a", "", "../b", "b.new"] {
        assert!(
            matches!(
                store.snapshot(name, &mut |_, _| Ok(())),
                Err(SnapshotError::Name(_))
            ),
            "{name}"
        );
    }
    // As a kill in the midst of one leaves it.
    std::fs::create_dir_all(dir.path().join("snapshots/c.new/journal")).unwrap();
    store.snapshot("d", &mut |_, _| Ok(())).unwrap();
    drop(store);
    let store = open_with(
        dir.path(),
        Config {
            min_free_disk: u64::MAX / 2,
            ..config()
        },
    );
    let error = store.snapshot("e", &mut |_, _| Ok(())).unwrap_err().to_string();
    assert!(error.contains("are to stay free"), "{error}");
    let left: Vec<_> = std::fs::read_dir(dir.path().join("snapshots")).unwrap().collect();
    assert_eq!(left.len(), 2);
}
