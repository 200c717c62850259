//! Kills, damaged files, refused folders, full disks.

use std::path::{Path, PathBuf};

use redb::{Database, TableDefinition};
use store::{CommitError, OpenError, Store};

use super::device::{Device, START, assert_equation, config, open, tenant};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &to),
            false => {
                std::fs::copy(&path, &to).unwrap();
            }
        }
    }
}

fn journal(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir.join("journal"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    files
}

/// A device with records in several journal files; returns the records too.
fn filled(dir: &Path) -> (Store, Device, Vec<super::device::Record>) {
    let store = open(dir);
    let mut device = Device::new("gw-1", 1, 400);
    device.put_dictionary(&store);
    let records: Vec<_> = (0..200)
        .map(|n| device.record(START + n * 1000, |i| ((i * 7919 + n as usize) as f64).sqrt()))
        .collect();
    for record in &records {
        store
            .commit(vec![device.deliver(std::slice::from_ref(record))])
            .unwrap();
        while store.prepare_journal().unwrap() {}
    }
    assert!(journal(dir).len() > 3, "{}", journal(dir).len());
    (store, device, records)
}

#[test]
fn a_folder_as_a_kill_leaves_it_holds_every_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (store, device, _) = filled(dir.path());
    let killed = tempfile::tempdir().unwrap();
    // The files of a store that is still open are those of one that was killed.
    copy(dir.path(), killed.path());
    std::fs::write(
        killed.path().join("journal/00000000000000999999.redb.new"),
        b"begun",
    )
    .unwrap();
    let mut last = store::Progress::default();
    let after = Store::open(killed.path(), config(), &mut |progress| last = progress).unwrap();
    assert_eq!(after.damage(), []);
    assert_eq!((last.files, last.samples), (last.files_total, 200 * 400));
    let read = |store: &Store| {
        store
            .select(&tenant(), &[], i64::MIN, i64::MAX, usize::MAX)
            .unwrap()
    };
    assert_eq!(read(&after), read(&store));
    assert_eq!(
        after.settled(&device.name, device.session),
        store.settled(&device.name, device.session)
    );
    assert_equation(&after, &device.name);
    assert!(
        !killed
            .path()
            .join("journal/00000000000000999999.redb.new")
            .exists()
    );
}

#[test]
fn what_a_damaged_newest_file_held_is_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, device, records) = filled(dir.path());
    drop(store);
    let newest = journal(dir.path()).pop().unwrap();
    std::fs::write(&newest, vec![7; 100_000]).unwrap();
    let store = Store::open(dir.path(), config(), &mut |_| {}).unwrap();
    assert_eq!(store.damage().len(), 1);
    assert!(
        store.damage()[0]
            .path
            .to_str()
            .unwrap()
            .ends_with(".redb.damaged")
    );
    let settled = store.settled(&device.name, device.session);
    assert!(!settled.is_empty() && settled.len() < 200);
    assert_equation(&store, &device.name);
    for record in &records {
        store
            .commit(vec![device.deliver(std::slice::from_ref(record))])
            .unwrap();
    }
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.read_back(&device.name).samples, 200 * 400);
    assert_equation(&store, &device.name);
}

#[test]
fn what_a_damaged_older_file_held_is_counted_as_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, device, _) = filled(dir.path());
    drop(store);
    let older = journal(dir.path()).swap_remove(1);
    let len = std::fs::metadata(&older).unwrap().len();
    std::fs::write(&older, vec![7; len as usize]).unwrap();
    for again in [false, true] {
        let store = Store::open(dir.path(), config(), &mut |_| {}).unwrap();
        assert_eq!(store.damage().len(), usize::from(!again));
        let ledger = store.device(&device.name).unwrap();
        assert!(ledger.removed["damaged"] > 0);
        assert_eq!(ledger.stored, 200 * 400);
        assert_equation(&store, &device.name);
    }
}

#[test]
fn flipped_bits_anywhere_never_stop_a_start_or_bring_wrong_values() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _, _) = filled(dir.path());
    let truth = store
        .select(&tenant(), &[], i64::MIN, i64::MAX, usize::MAX)
        .unwrap();
    drop(store);
    let files = journal(dir.path());
    for (n, victim) in (0..24).map(|n| (n, &files[n % files.len()])) {
        let flipped = tempfile::tempdir().unwrap();
        copy(dir.path(), flipped.path());
        let path = flipped.path().join("journal").join(victim.file_name().unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() / 24 * n + n * 977 % 4096;
        let at = at.min(bytes.len() - 1);
        bytes[at] ^= 1 << (n % 8);
        std::fs::write(&path, bytes).unwrap();
        let store = Store::open(flipped.path(), config(), &mut |_| {}).unwrap();
        let found = store
            .select(&tenant(), &[], i64::MIN, i64::MAX, usize::MAX)
            .unwrap();
        for slice in &found {
            let whole = truth.iter().find(|t| t.labels == slice.labels).unwrap();
            for (time, value) in slice.times_ms.iter().zip(&slice.values) {
                let at = whole.times_ms.binary_search(time).unwrap();
                assert_eq!(whole.values[at].to_bits(), value.to_bits());
            }
        }
    }
}

#[test]
fn a_newer_format_is_refused_by_name_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _, _) = filled(dir.path());
    drop(store);
    let newest = journal(dir.path()).pop().unwrap();
    let db = Database::open(&newest).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(TableDefinition::<&str, u64>::new("meta"))
        .unwrap()
        .insert("version", 9)
        .unwrap();
    txn.commit().unwrap();
    drop(db);
    let error = Store::open(dir.path(), config(), &mut |_| {}).unwrap_err();
    assert!(
        matches!(&error, OpenError::Newer { found: 9, known: 3, path } if *path == newest),
        "{error}"
    );
    assert!(newest.exists());
}

#[test]
fn a_folder_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = Store::open(dir.path(), config(), &mut |_| {}).unwrap_err();
    assert!(matches!(error, OpenError::Locked(_)), "{error}");
    drop(store);
    open(dir.path());
}

#[test]
fn a_commit_that_cannot_begin_its_file_has_no_effect_and_the_next_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut device, _) = filled(dir.path());
    let record = device.record(START + 900_000, |i| (i as f64).cbrt());
    let entry = device.deliver(&[record]);
    // Whatever number the next file would have, its place is taken.
    let blocked: Vec<PathBuf> = (1..400)
        .map(|n| dir.path().join(format!("journal/{n:020}.redb.new")))
        .collect();
    for path in &blocked {
        std::fs::create_dir(path).unwrap();
    }
    let mut failed = 0;
    let mut delivered = 0;
    for _ in 0..200 {
        let record = device.record(START + 1_000_000 + delivered * 1000, |i| {
            ((i as i64 + delivered) as f64).sqrt()
        });
        match store.commit(vec![device.deliver(std::slice::from_ref(&record))]) {
            Ok(_) => delivered += 1,
            Err(CommitError::Disk(_)) => {
                failed = record.seq;
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(failed > 0);
    assert!(
        !store
            .settled(&device.name, device.session)
            .contains(wire::Seq::new(failed))
    );
    for path in &blocked {
        std::fs::remove_dir(path).unwrap();
    }
    store.commit(vec![entry]).unwrap();
    assert_equation(&store, &device.name);
    drop(store);
    assert_equation(&open(dir.path()), &device.name);
}
