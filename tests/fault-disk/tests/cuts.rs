//! What a power cut leaves.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fault_disk::{Fault, FaultDisk, Operation};

fn disk(seed: u64) -> (tempfile::TempDir, FaultDisk) {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = FaultDisk::new(&dir.path().join("d"), seed).expect("a disk in it");
    (dir, disk)
}

#[test]
fn synced_bytes_stay_and_the_rest_may_or_may_not() {
    let mut seen = BTreeSet::new();
    for seed in 0..600 {
        let (dir, disk) = disk(seed);
        let path = dir.path().join("d/a");
        let file = disk.open(&path, true).unwrap();
        file.write_at(0, &[1; 2048]).unwrap();
        file.sync().unwrap();
        disk.sync_dir(&dir.path().join("d")).unwrap();
        file.write_at(512, &[2; 1024]).unwrap();
        file.write_at(2048, &[3; 512]).unwrap();
        disk.power_cut().unwrap();
        let bytes = fs::read(&path).unwrap();
        let sectors: Vec<u8> = bytes.chunks(512).map(|sector| sector[0]).collect();
        assert!(bytes.chunks(512).all(|s| s.iter().all(|b| *b == s[0])));
        assert_eq!((sectors[0], sectors[3]), (1, 1));
        assert!(file.write_at(0, &[4]).is_err());
        seen.insert(sectors);
    }
    assert_eq!(seen.len(), 8, "each of three sectors, new or old: {seen:?}");
}

#[test]
fn names_change_whole_or_not_at_all() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let (dir, disk) = disk(seed);
        let root = dir.path().join("d");
        let put = |name: &str, byte: u8| {
            let file = disk.open(&root.join(name), true).unwrap();
            file.write_at(0, &[byte]).unwrap();
            file.sync().unwrap();
        };
        put("a", 1);
        put("b", 2);
        disk.sync_dir(&root).unwrap();
        put("a.new", 3);
        disk.rename(&root.join("a.new"), &root.join("a")).unwrap();
        disk.remove(&root.join("b")).unwrap();
        disk.power_cut().unwrap();
        let read = |name: &str| fs::read(root.join(name)).ok().map(|bytes| bytes[0]);
        let found = (read("a"), read("a.new"), read("b"));
        assert!(matches!(found.0, Some(1 | 3)), "{found:?}");
        assert!(
            found.1.is_none() || found == (Some(1), Some(3), found.2),
            "{found:?}"
        );
        seen.insert(found);
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
}

#[test]
fn what_a_failed_sync_lost_does_not_come_back_with_the_next_one() {
    let mut lost = 0;
    for seed in 0..50 {
        let (dir, disk) = disk(seed);
        let path = dir.path().join("d/a");
        let file = disk.open(&path, true).unwrap();
        disk.sync_dir(&dir.path().join("d")).unwrap();
        file.write_at(0, &[1; 512]).unwrap();
        disk.fail(Fault {
            operation: Operation::Sync,
            after: 0,
            times: 1,
        });
        assert!(file.sync().is_err());
        file.sync().unwrap();
        disk.power_cut().unwrap();
        lost += u32::from(fs::read(&path).unwrap() == [0; 512]);
    }
    assert!((5..45).contains(&lost), "{lost}");
}

#[test]
fn a_full_disk_takes_what_fits() {
    let (dir, disk) = disk(1);
    let path: &Path = &dir.path().join("d/a");
    let file = disk.open(path, true).unwrap();
    disk.room(Some(700));
    file.write_at(0, &[1; 512]).unwrap();
    assert!(file.write_at(512, &[1; 512]).is_err());
    assert!(file.len().unwrap() <= 700);
    disk.heal();
    file.write_at(512, &[1; 512]).unwrap();
    disk.read_only(true);
    assert!(disk.remove(path).is_err());
    assert!(disk.strays().unwrap().is_empty());
}
