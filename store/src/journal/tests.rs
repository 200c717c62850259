//! The chain on a real folder.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::disk::SystemDisk;
use crate::record::{BatchRecord, What};

const SMALL: Limits = Limits {
    file_bytes: 10_000,
    cache: 1 << 20,
};

fn record(n: u64) -> Record {
    Record {
        received_ms: n as i64,
        what: Some(What::Batch(BatchRecord {
            payload: vec![n as u8; 3000].into(),
            ..BatchRecord::default()
        })),
        ..Record::default()
    }
}

fn journal(dir: &Path) -> Journal {
    Journal::new(Arc::new(SystemDisk), dir.to_owned(), None, 1, SMALL)
}

fn numbers(file: &JournalFile, from: u64, end: u64) -> Vec<u64> {
    let mut found = Vec::new();
    file.each_value(from, end, |number, _| {
        found.push(number);
        true
    })
    .unwrap();
    found
}

#[test]
fn values_are_read_while_others_are_written_and_after_their_file_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path());
    let mut read = Vec::new();
    for n in 1..=20 {
        journal
            .append(&[record(n)], &TableWrites::default(), |_| {
                (1, CheckpointRows::default())
            })
            .unwrap();
        let (file, end) = journal.file_of(n).unwrap().unwrap();
        read.extend(numbers(&file, n, end));
    }
    assert_eq!(read, (1..=20).collect::<Vec<u64>>());
    assert!(journal.files() > 3);
    let (first, end) = journal.file_of(1).unwrap().unwrap();
    assert_eq!(journal.oldest(), 1);
    assert_eq!(journal.free(end - 1).unwrap(), 0);
    assert_eq!(journal.free(end).unwrap(), 1);
    assert_eq!(journal.oldest(), end);
    assert!(!first.path().exists());
    assert_eq!(numbers(&first, 0, end), (1..end).collect::<Vec<u64>>());
    let (next, _) = journal.file_of(1).unwrap().unwrap();
    assert_eq!(next.first(), end);
    journal.free(u64::MAX).unwrap();
    assert_eq!(journal.files(), 1);
}

#[test]
fn rows_of_the_other_tables_go_into_the_next_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path());
    let mut tables = Tables::default();
    for n in 1..=20u64 {
        let row = |n: u64| Some(Bytes::copy_from_slice(&n.to_le_bytes()));
        let changes = TableWrites {
            letters: vec![(n, row(n)), (n.saturating_sub(2), None)],
            quarantine: vec![(n, row(n))],
            cursors: vec![("mimir".to_owned(), row(n))],
            rings: vec![(n as u32 / 7, row(n))],
            ..TableWrites::default()
        };
        let checkpoint = |_: Option<&Stale>| (1, rows(&tables));
        journal.append(&[record(n)], &changes, checkpoint).unwrap();
        tables.apply(changes);
    }
    let (newest, _) = journal.file_of(20).unwrap().unwrap();
    let found = newest.checkpoint().unwrap().tables;
    assert_eq!(found.letters, tables.letters);
    assert_eq!(found.letters.keys().copied().collect::<Vec<u64>>(), [19, 20]);
    assert_eq!(found.quarantine, tables.quarantine);
    assert_eq!(found.cursors, tables.cursors);
    assert_eq!(found.rings, tables.rings);
    assert_eq!(found.rings.len(), 3);
}

/// All rows of the tables.
fn rows(tables: &Tables) -> CheckpointRows {
    let mut rows = CheckpointRows::default();
    for (number, row) in &tables.letters {
        rows.put(RowKey::Letter(*number), Some(row.clone()));
    }
    for (number, row) in &tables.quarantine {
        rows.put(RowKey::Quarantine(*number), Some(row.clone()));
    }
    rows.put_cursors_and_rings(tables);
    rows
}

/// A journal whose newest file is full.
fn full(dir: &Path) -> (Journal, u64) {
    let mut journal = journal(dir);
    let mut n = 0;
    while !journal.wants_next() {
        n += 1;
        append(&mut journal, n, |_| (1, CheckpointRows::default()));
    }
    (journal, n)
}

fn append(journal: &mut Journal, n: u64, checkpoint: impl FnOnce(Option<&Stale>) -> (u32, CheckpointRows)) {
    journal
        .append(&[record(n)], &TableWrites::default(), checkpoint)
        .unwrap();
}

/// A row that says how often it was written.
fn version(n: u8) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(&[n]))
}

/// Writes rows ahead until the file is ready; what `between` does comes after each portion.
fn sweep(journal: &mut Journal, mut between: impl FnMut(&mut Journal)) -> usize {
    let mut written = 0;
    while let Some((file, rows)) = journal.take_next(|_| version(1)) {
        if rows.bytes() > 0 {
            file.write(&rows).unwrap();
            written += rows.bytes() / 65;
        }
        assert!(journal.put_next(file).is_none());
        between(journal);
    }
    written
}

#[test]
fn a_file_that_was_written_ahead_is_begun_with_what_is_stale() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, n) = full(dir.path());
    let all = (0..1000).map(RowKey::Device).collect();
    let file = journal.next_file()().unwrap();
    journal.write_ahead(file, Stale::new(all));
    assert!(!journal.wants_next());
    // Of a sweep's rows 0 to 255 change while the others are written, and two of them again at the end.
    let mut portions = 0;
    let written = sweep(&mut journal, |journal| {
        portions += 1;
        if portions == 2 {
            (0..256).for_each(|device| journal.changed(RowKey::Device(device)));
        }
    });
    // They are few: the commit that begins the file is to write them.
    assert_eq!((written, portions), (1000, 5));
    journal.changed(RowKey::Device(999));
    let before = journal.files();
    append(&mut journal, n + 1, |stale| {
        let mut rows = CheckpointRows::default();
        for row in stale.unwrap().rows() {
            let gone = row == RowKey::Device(7);
            rows.put(row, version(2).filter(|_| !gone));
        }
        (1001, rows)
    });
    assert_eq!(journal.files(), before + 1);
    let newest = journal.file_of(n + 1).unwrap().unwrap().0;
    assert_eq!(newest.first(), n + 1);
    assert_eq!(numbers(&newest, 0, n + 2), [n + 1]);
    let found = newest.checkpoint().unwrap();
    assert_eq!(found.next_device, 1001);
    let as_of = |device: u32| if device < 256 || device == 999 { 2 } else { 1 };
    let whole: Vec<(u32, Vec<u8>)> = (0..1000)
        .filter(|device| *device != 7)
        .map(|device| (device, vec![as_of(device)]))
        .collect();
    assert_eq!(found.devices, whole);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), before + 1);
}

#[test]
fn rows_that_change_again_and_again_are_left_to_the_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = full(dir.path());
    let file = journal.next_file()().unwrap();
    journal.write_ahead(file, Stale::new((0..1000).map(RowKey::Device).collect()));
    let written = sweep(&mut journal, |journal| {
        (0..1000).for_each(|device| journal.changed(RowKey::Device(device)));
    });
    assert_eq!(written, 3 * 1000);
}

#[test]
fn a_file_far_over_its_size_does_not_wait_for_the_one_that_is_written_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, mut n) = full(dir.path());
    let file = journal.next_file()().unwrap();
    journal.write_ahead(file, Stale::new([RowKey::Device(1)].into()));
    let (file, _) = journal.take_next(|_| version(1)).unwrap();
    let before = journal.files();
    while journal.files() == before {
        n += 1;
        append(&mut journal, n, |stale| {
            assert!(stale.is_none());
            (1, CheckpointRows::default())
        });
    }
    let late = journal.put_next(file).unwrap();
    late.discard();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), before + 1);
}
