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
            .append(&[record(n)], &TableWrites::default(), Checkpoint::default)
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
        let checkpoint = || Checkpoint {
            tables: tables.clone(),
            ..Checkpoint::default()
        };
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
