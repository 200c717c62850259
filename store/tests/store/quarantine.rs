//! Rows ahead of the clock, rows older than what is kept.

use std::time::Duration;

use store::{Config, Matcher, Store};
use wire::{Seq, SeqSet, Timestamp};

use super::device::{Device, START, assert_equation, config, open_with, tenant};

/// When everything arrives, by the bridge's clock.
const ARRIVAL: i64 = START + 3_600_000;

/// The first time that is too far ahead then.
const FAR: i64 = ARRIVAL + 600_001;

fn seqs(all: &[u64]) -> SeqSet {
    all.iter().map(|n| Seq::new(*n)).collect()
}

fn times(store: &Store) -> Vec<i64> {
    let found = store
        .select(&tenant(), &[Matcher::equal("i", "0")], i64::MIN, i64::MAX, 1000)
        .unwrap();
    found
        .first()
        .map(|slice| slice.times_ms.to_vec())
        .unwrap_or_default()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

/// A store with a device whose rows are near, ahead, and further ahead; two of them in one delivery.
fn filled(dir: &std::path::Path, config: Config) -> (Store, Device) {
    let store = open_with(dir, config);
    let mut device = Device::new("gw-1", 1, 2);
    device.put_dictionary(&store);
    let near = device.record(FAR - 1, |i| i as f64);
    let ahead = device.record(FAR, |i| i as f64 + 0.5);
    let later = device.record(FAR + 3_600_000, |i| i as f64 + 0.25);
    let receipt = store.commit(vec![device.deliver(&[near, ahead])]).unwrap();
    assert_eq!(
        (
            receipt.sessions[0].stored_rows,
            receipt.sessions[0].quarantined_rows
        ),
        (2, 1)
    );
    store.commit(vec![device.deliver(&[later])]).unwrap();
    (store, device)
}

#[test]
fn rows_ahead_are_found_once_their_time_has_come() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, device) = filled(dir.path(), config());
    let expected = [
        (ARRIVAL, 0, vec![FAR - 1]),
        (ARRIVAL + 1, 1, vec![FAR - 1, FAR]),
        (ARRIVAL + 3_600_000, 0, vec![FAR - 1, FAR]),
        (ARRIVAL + 3_600_001, 1, vec![FAR - 1, FAR, FAR + 3_600_000]),
    ];
    for (now, released, found) in expected {
        let round = store.maintain(at(now));
        assert_eq!((round.released, round.failed), (released, vec![]));
        for _ in 0..2 {
            assert_eq!(times(&store), found);
            let ledger = store.device(&device.name).unwrap();
            assert_eq!(
                (ledger.stored, ledger.quarantined),
                (6, 6 - 2 * found.len() as u64)
            );
            assert_eq!(ledger.newest_sample, Some(at(*found.last().unwrap())));
            assert_equation(&store, &device.name);
            drop(store);
            store = open_with(dir.path(), config());
        }
    }
    assert_eq!(store.quarantined(), []);
}

#[test]
fn rows_still_ahead_after_the_quarantine_s_time_expire() {
    let dir = tempfile::tempdir().unwrap();
    let short = Config {
        quarantine_time: Duration::from_secs(3000),
        ..config()
    };
    let store = open_with(dir.path(), short.clone());
    let mut device = Device::new("gw-1", 1, 2);
    device.put_dictionary(&store);
    let come = device.record(FAR + 2_000_000, |i| i as f64);
    let ahead = device.record(FAR + 4_000_000, |i| i as f64);
    store.commit(vec![device.deliver(&[come, ahead])]).unwrap();
    assert_eq!(store.maintain(at(ARRIVAL + 3_000_000)).released, 0);
    assert_eq!(store.maintain(at(ARRIVAL + 3_000_001)).released, 1);
    drop(store);
    let store = open_with(dir.path(), short);
    assert_eq!(times(&store), [FAR + 2_000_000]);
    let ledger = store.device(&device.name).unwrap();
    let expired = ledger.removed["quarantine_expired"];
    assert_eq!((ledger.stored, ledger.quarantined, expired), (4, 0, 2));
    assert_equation(&store, &device.name);
}

#[test]
fn an_operator_releases_or_drops_a_device_s_rows() {
    for release in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (store, device) = filled(dir.path(), config());
        let now = at(ARRIVAL);
        let done = match release {
            true => store.release_quarantined(&device.name, now),
            false => store.drop_quarantined(&device.name, now),
        };
        assert_eq!(done.unwrap(), 2);
        drop(store);
        let store = open_with(dir.path(), config());
        assert_eq!(store.quarantined(), []);
        let ledger = store.device(&device.name).unwrap();
        assert_eq!(
            ledger.removed.get("deleted").copied().unwrap_or(0),
            if release { 0 } else { 4 }
        );
        assert_eq!(times(&store).len(), if release { 3 } else { 1 });
        assert_equation(&store, &device.name);
    }
}

#[test]
fn a_full_quarantine_drops_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let small = Config {
        quarantine_bytes: 200,
        ..config()
    };
    let store = open_with(dir.path(), small.clone());
    let mut device = Device::new("gw-1", 1, 2);
    device.put_dictionary(&store);
    for seq in 1..=2 {
        let record = device.record(FAR, |i| i as f64);
        let receipt = store.commit(vec![device.deliver(&[record])]).unwrap();
        let refused = match seq {
            1 => vec![],
            _ => vec![("quarantine_full", seqs(&[2]))],
        };
        assert_eq!(receipt.sessions[0].refused, refused);
    }
    drop(store);
    let store = open_with(dir.path(), small);
    let ledger = store.device(&device.name).unwrap();
    assert_eq!((ledger.generated, ledger.stored, ledger.quarantined), (4, 2, 2));
    assert_eq!(ledger.dropped["quarantine_full"], 2);
    let gaps: Vec<_> = ledger
        .gaps
        .iter()
        .map(|gap| (gap.first, gap.last, gap.samples, gap.reason))
        .collect();
    assert_eq!(gaps, [(2, 2, 2, "quarantine_full")]);
    assert_eq!(store.quarantined().len(), 1);
    assert_equation(&store, &device.name);
}

#[test]
fn a_forgotten_device_has_nothing_in_quarantine() {
    let dir = tempfile::tempdir().unwrap();
    let (store, device) = filled(dir.path(), config());
    let forget = store::Entry::Forget {
        device: device.name.clone(),
        received: at(ARRIVAL),
    };
    store.commit(vec![forget]).unwrap();
    assert_eq!(store.quarantined(), []);
    assert_eq!(store.maintain(at(i64::MAX / 2)).released, 0);
    drop(store);
    assert_eq!(open_with(dir.path(), config()).quarantined(), []);
}

#[test]
fn a_device_that_is_forgotten_in_the_commit_of_its_rows_has_none_in_quarantine() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), config());
    let mut device = Device::new("gw-1", 1, 2);
    device.put_dictionary(&store);
    let ahead = device.record(FAR, |i| i as f64);
    let forget = store::Entry::Forget {
        device: device.name.clone(),
        received: at(ARRIVAL),
    };
    store.commit(vec![forget, device.deliver(&[ahead])]).unwrap();
    assert_eq!(store.quarantined(), []);
    assert_eq!(store.maintain(at(i64::MAX / 2)).released, 0);
    assert!(store.ledger().is_empty());
}

#[test]
fn rows_older_than_the_retention_are_acked_and_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let hour = Config {
        retention_time: Duration::from_secs(3600),
        ..config()
    };
    let store = open_with(dir.path(), hour.clone());
    let mut device = Device::new("gw-1", 1, 2);
    device.put_dictionary(&store);
    let mut records: Vec<_> = (-3..2).map(|n| device.record(START + n, |i| i as f64)).collect();
    records.reverse();
    let receipt = store.commit(vec![device.deliver(&records)]).unwrap();
    let session = &receipt.sessions[0];
    assert_eq!(session.settled, seqs(&[1, 2, 3, 4, 5]));
    assert_eq!(session.refused, [("out_of_retention", seqs(&[1, 2, 3]))]);
    drop(store);
    let store = open_with(dir.path(), hour);
    let ledger = store.device(&device.name).unwrap();
    assert_eq!(
        (ledger.stored, ledger.dropped["out_of_retention"], ledger.pending),
        (4, 6, 0)
    );
    let gap = &ledger.gaps[0];
    assert_eq!((gap.first, gap.last, gap.samples), (1, 3, 6));
    assert_eq!((gap.from, gap.to), (Some(at(START - 3)), Some(at(START - 1))));
    assert_eq!(times(&store), [START, START + 1]);
    assert_equation(&store, &device.name);
}

#[test]
fn lists_of_series_beyond_a_cap_are_acked_and_dropped_whole() {
    for of_tenant in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let capped = Config {
            max_series_per_device: if of_tenant { 0 } else { 10 },
            max_series_per_tenant: if of_tenant { 10 } else { 0 },
            ..config()
        };
        let store = open_with(dir.path(), capped.clone());
        let mut device = Device::new("gw-1", 1, 8);
        device.put_dictionary(&store);
        let first = device.record(START, |i| i as f64);
        // Twice in one commit: it counts once.
        let second = device.record(START + 1, |i| i as f64);
        let both = vec![device.deliver(&[first]), device.deliver(&[second])];
        assert_eq!(store.commit(both).unwrap().sessions[0].stored_rows, 2);
        for i in 0..3 {
            device.add_series(super::device::labels(&[
                ("__name__", "more"),
                ("i", &i.to_string()),
            ]));
        }
        device.put_dictionary(&store);
        let more = device.record(START + 2, |i| i as f64);
        let receipt = store.commit(vec![device.deliver(&[more])]).unwrap();
        assert_eq!(receipt.sessions[0].refused, [("limit", seqs(&[3]))]);
        drop(store);
        let store = open_with(dir.path(), capped);
        let ledger = store.device(&device.name).unwrap();
        assert_eq!(
            (ledger.stored, ledger.dropped["limit"], ledger.gaps.len()),
            (16, 11, 1)
        );
        assert_eq!(times(&store), [START, START + 1]);
        assert_equation(&store, &device.name);
    }
}
