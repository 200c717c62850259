//! Each record takes effect exactly once.

use store::{CommitError, Entry, Matcher, RefusedReason};
use wire::batch::Encoding;
use wire::{Seq, SeqSet, Timestamp};

use super::device::{Device, START, assert_equation, config, open, open_with, tenant};

fn seqs(list: &[u64]) -> SeqSet {
    list.iter().map(|n| Seq::new(*n)).collect()
}

#[test]
fn a_row_delivered_twice_in_one_commit_and_again_after_a_restart_is_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut device = Device::new("gw-1", 1, 3);
    let first = device.record(START, |i| i as f64);
    let second = device.record(START + 1000, |i| i as f64 + 0.5);
    let store = open(dir.path());
    device.put_dictionary(&store);
    let receipt = store
        .commit(vec![
            device.deliver(std::slice::from_ref(&first)),
            device.deliver(&[first.clone(), second.clone()]),
        ])
        .unwrap();
    assert_eq!(receipt.sessions[0].stored_rows, 2);
    assert_eq!(receipt.sessions[0].stored_samples, 6);
    assert_eq!(receipt.sessions[0].redelivered_rows, 1);
    assert_eq!(receipt.sessions[0].newly_settled, seqs(&[1, 2]));
    drop(store);

    let store = open(dir.path());
    let receipt = store.commit(vec![device.deliver(&[first, second])]).unwrap();
    assert_eq!(receipt.sessions[0].stored_rows, 0);
    assert_eq!(receipt.sessions[0].settled, seqs(&[1, 2]));
    assert!(receipt.sessions[0].newly_settled.is_empty());
    assert_eq!(store.read_back(&device.name).samples, 6);
    assert_eq!(store.settled(&device.name, device.session), seqs(&[1, 2]));
    assert_equation(&store, &device.name);
}

#[test]
fn keyed_batches_come_back_after_a_restart_and_across_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut device = Device::new("gw-1", 1, 400);
    let store = open(dir.path());
    device.put_dictionary(&store);
    let noise = |n: u64| move |i: usize| ((i as u64 * 7919 + n) as f64).sqrt();
    let first = device.record(START, noise(0));
    let (entry, key) = device.define(std::slice::from_ref(&first), 1);
    store.commit(vec![entry]).unwrap();
    assert_eq!(
        store.key(&device.name, device.session, key.id()).as_deref(),
        Some(&*key)
    );
    for n in 1..200 {
        let record = device.record(START + n as i64 * 1000, noise(n));
        store.commit(vec![device.keyed(&[record], &key)]).unwrap();
    }
    let before = store
        .select(&tenant(), &[], i64::MIN, i64::MAX, usize::MAX)
        .unwrap();
    drop(store);
    let files = std::fs::read_dir(dir.path().join("journal")).unwrap().count();
    assert!(files > 2, "{files} files");

    let store = open(dir.path());
    let after = store
        .select(&tenant(), &[], i64::MIN, i64::MAX, usize::MAX)
        .unwrap();
    assert_eq!(after.len(), 400);
    assert_eq!(before, after);
    assert_eq!(
        store.key(&device.name, device.session, key.id()).as_deref(),
        Some(&*key)
    );
    assert_equation(&store, &device.name);
}

#[test]
fn a_batch_whose_key_is_gone_from_the_store_is_journaled_so_that_it_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut device = Device::new("gw-1", 1, 5);
    let store = open(dir.path());
    device.put_dictionary(&store);
    let mut old = None;
    for n in 1..=4 {
        let record = device.record(START + i64::from(n) * 1000, |i| i as f64 * 1.25);
        let (entry, key) = device.define(&[record], n);
        store.commit(vec![entry]).unwrap();
        old.get_or_insert(key);
    }
    let late = device.record(START + 9000, |i| i as f64 * 2.5);
    let entry = device.keyed(&[late], &old.unwrap());
    assert!(matches!(&entry, Entry::Batch(batch) if batch.keyed.is_some()));
    store.commit(vec![entry]).unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.read_back(&device.name).samples, 25);
    assert_equation(&store, &device.name);
}

#[test]
fn a_key_defined_by_rows_that_were_settled_already_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut device = Device::new("gw-1", 1, 5);
    let store = open(dir.path());
    device.put_dictionary(&store);
    let record = device.record(START, |i| i as f64);
    store
        .commit(vec![device.deliver(std::slice::from_ref(&record))])
        .unwrap();
    let (entry, key) = device.define(std::slice::from_ref(&record), 1);
    store.commit(vec![entry]).unwrap();
    let next = device.record(START + 1000, |i| i as f64);
    store.commit(vec![device.keyed(&[next], &key)]).unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.read_back(&device.name).samples, 10);
    assert_equation(&store, &device.name);
}

#[test]
fn a_batch_without_its_dictionary_is_an_error_and_has_no_effect() {
    let dir = tempfile::tempdir().unwrap();
    let mut device = Device::new("gw-1", 1, 2);
    let store = open(dir.path());
    let record = device.record(START, |i| i as f64);
    let error = store.commit(vec![device.deliver(&[record])]).unwrap_err();
    assert!(matches!(error, CommitError::UnknownDictionary { .. }));
    assert!(store.ledger().is_empty());
}

#[test]
fn refused_records_settle_count_and_rest_as_dead_letters_within_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let mut device = Device::new("gw-1", 1, 2);
    let few = store::Config {
        dead_letters: 3,
        ..config()
    };
    let store = open_with(dir.path(), few.clone());
    device.put_dictionary(&store);
    for n in 0..5u8 {
        let record = device.record(START + i64::from(n), |i| i as f64);
        let entry = Entry::Refused {
            device: device.name.clone(),
            received: Timestamp::from_ms(START),
            session: device.session,
            seqs: seqs(&[record.seq]),
            samples: record.samples(),
            reason: RefusedReason::Malformed,
            payload: vec![n; 10].into(),
        };
        let receipt = store.commit(vec![entry.clone(), entry]).unwrap();
        assert_eq!(receipt.sessions[0].refused, [("malformed", seqs(&[record.seq]))]);
    }
    let record = device.record(START + 9, |i| i as f64);
    store.commit(vec![device.deliver(&[record])]).unwrap();
    drop(store);
    let store = open_with(dir.path(), few);
    let letters = store.dead_letters();
    assert_eq!(
        letters.iter().map(|l| l.payload[0]).collect::<Vec<_>>(),
        [2, 3, 4]
    );
    let ledger = store.device(&device.name).unwrap();
    assert_eq!(
        (ledger.generated, ledger.stored, ledger.dropped["malformed"]),
        (12, 2, 10)
    );
    assert_equation(&store, &device.name);
}

#[test]
fn rows_of_a_session_that_was_let_go_are_acked_and_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let mut device = Device::new("gw-1", 1, 2);
    let store = open(dir.path());
    device.put_dictionary(&store);
    let record = device.record(START, |i| i as f64);
    let again = device.deliver(&[record]);
    store.commit(vec![again.clone()]).unwrap();
    let let_go = Entry::LetGo {
        device: device.name.clone(),
        received: Timestamp::from_ms(START + 3_600_000),
        session: device.session,
    };
    assert!(store.commit(vec![let_go]).unwrap().sessions[0].forgotten);
    drop(store);
    let store = open(dir.path());
    let receipt = store.commit(vec![again]).unwrap();
    assert!(receipt.sessions[0].forgotten);
    assert_eq!(receipt.sessions[0].settled, seqs(&[1]));
    assert_eq!(receipt.sessions[0].stored_rows, 0);
    let now = Timestamp::from_ms(START + 3_600_000);
    assert!(store.forgotten(&device.name, device.session, now));
    assert!(!store.forgotten(
        &device.name,
        device.session,
        Timestamp::from_ms(START + 9 * 86_400_000)
    ));
    let ledger = store.device(&device.name).unwrap();
    assert_eq!(
        (ledger.generated, ledger.stored, ledger.sessions.len()),
        (2, 2, 0)
    );
    assert_equation(&store, &device.name);
}

#[test]
fn forgotten_devices_begin_anew_and_their_samples_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let names: Vec<String> = (1..=100).map(|n| format!("gw-{n}")).collect();
    let mut devices: Vec<Device> = names.iter().map(|name| Device::new(name, 1, 2)).collect();
    for device in &mut devices {
        device.put_dictionary(&store);
        let first = device.record(START, |i| i as f64);
        store.commit(vec![device.deliver(&[first])]).unwrap();
        let forget = Entry::Forget {
            device: device.name.clone(),
            received: Timestamp::from_ms(START),
        };
        store.commit(vec![forget]).unwrap();
        device.restart(2);
        let second = device.record(START + 1000, |i| i as f64);
        store.commit(vec![device.deliver(&[second])]).unwrap();
    }
    drop(store);
    let store = open(dir.path());
    for device in &devices {
        assert_eq!(store.device(&device.name).unwrap().stored, 2);
    }
    let found = store
        .select(&tenant(), &[Matcher::equal("i", "1")], i64::MIN, i64::MAX, 1000)
        .unwrap();
    assert_eq!(found.len(), devices.len());
    for slice in found {
        assert_eq!(*slice.times_ms, [START, START + 1000], "{}", slice.labels);
    }
}

#[test]
fn an_alert_s_record_settles_once_and_holds_no_samples() {
    let dir = tempfile::tempdir().unwrap();
    let mut device = Device::new("gw-1", 1, 2);
    let store = open(dir.path());
    device.put_dictionary(&store);
    let record = device.record(START, |i| i as f64);
    device.sparse(START, Vec::new());
    let alert = Entry::Alert {
        device: device.name.clone(),
        received: Timestamp::from_ms(START),
        alert: wire::message::Alert {
            version: 1,
            session: device.session.get(),
            seq: 2,
            total: device.total(),
            ..wire::message::Alert::default()
        },
    };
    store
        .commit(vec![device.deliver(&[record]), alert.clone(), alert])
        .unwrap();
    drop(store);
    let store = open(dir.path());
    let ledger = store.device(&device.name).unwrap();
    assert_eq!(
        (ledger.alerts, ledger.pending, ledger.sessions[0].intervals),
        (1, 0, 1)
    );
    assert_eq!(store.settled(&device.name, device.session), seqs(&[1, 2]));
}

#[test]
fn the_payload_in_the_journal_is_the_one_received() {
    let dir = tempfile::tempdir().unwrap();
    let mut device = Device::new("gw-1", 1, 300);
    let store = open(dir.path());
    device.put_dictionary(&store);
    let record = device.record(START, |i| (i as f64).sqrt());
    let entry = device.entry(&[record], Encoding::SelfContained);
    let len = entry.payload.len() as u64;
    let receipt = store.commit(vec![Entry::Batch(entry)]).unwrap();
    assert!(
        receipt.bytes >= len && receipt.bytes < len + 60,
        "{} for {len}",
        receipt.bytes
    );
}
