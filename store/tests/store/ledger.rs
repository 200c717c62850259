//! The equation through gaps, losses and unclean ends.

use super::device::{Device, START, assert_equation, open};

fn device_with(records: u64) -> (Device, Vec<super::device::Record>) {
    let mut device = Device::new("gw-1", 1, 4);
    let records = (0..records)
        .map(|n| {
            // Records of different sizes, so that a wrong share of a gap shows.
            let present = 1 + n as usize % 4;
            let values = (0..4).map(|i| (i < present).then_some(n as f64)).collect();
            device.sparse(START + n as i64 * 1000, values)
        })
        .collect();
    (device, records)
}

#[test]
fn a_gap_counts_what_of_it_was_never_stored() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (device, records) = device_with(10);
    device.put_dictionary(&store);
    // 4 and 5 were stored, but the device does not know.
    store
        .commit(vec![
            device.deliver(&records[3..5]),
            device.deliver(&records[7..]),
        ])
        .unwrap();
    store.commit(vec![device.gap(1, 7)]).unwrap();
    let ledger = store.device(&device.name).unwrap();
    assert_eq!(ledger.generated, device.total());
    assert_eq!(ledger.pending, 0);
    assert_eq!(ledger.gaps.len(), 1);
    assert_eq!(ledger.dropped["wal_bytes"], device.total() - ledger.stored);
    // A late copy of what the gap covers is redelivered.
    let receipt = store
        .commit(vec![device.deliver(&records[..3]), device.gap(1, 7)])
        .unwrap();
    assert_eq!(receipt.sessions[0].stored_rows, 0);
    drop(store);
    let store = open(dir.path());
    assert_eq!(
        store.device(&device.name).unwrap().dropped["wal_bytes"],
        ledger.dropped["wal_bytes"]
    );
    assert_equation(&store, &device.name);
}

#[test]
fn what_neither_side_has_any_more_is_lost_at_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (device, records) = device_with(12);
    device.put_dictionary(&store);
    // A store without history: the device's log starts at 6; some above are here already, and a gap is still listed.
    store.commit(vec![device.deliver(&records[8..10])]).unwrap();
    store.commit(vec![device.seen(6), device.gap(2, 3)]).unwrap();
    let ledger = store.device(&device.name).unwrap();
    assert_eq!(
        ledger.dropped["wal_bytes"],
        device.total_at(3) - device.total_at(1)
    );
    assert_eq!(
        ledger.dropped["lost_at_store"],
        device.total_at(5) - (device.total_at(3) - device.total_at(1))
    );
    assert_eq!(
        ledger.pending,
        device.total() - device.total_at(5) - (device.total_at(10) - device.total_at(8))
    );
    store.commit(vec![device.deliver(&records[5..])]).unwrap();
    assert_eq!(store.device(&device.name).unwrap().pending, 0);
    assert_equation(&store, &device.name);
    // Saying it again changes nothing.
    let receipt = store.commit(vec![device.seen(6)]).unwrap();
    assert_eq!(receipt.bytes, 0);
}

#[test]
fn a_wiped_store_and_an_empty_log_leave_one_gap() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (device, _) = device_with(9);
    store.commit(vec![device.seen(0)]).unwrap();
    let ledger = store.device(&device.name).unwrap();
    assert_eq!(ledger.dropped["lost_at_store"], device.total());
    assert_eq!((ledger.pending, ledger.gaps_total), (0, 1));
    assert_equation(&store, &device.name);
}

#[test]
fn records_above_the_last_intact_one_that_were_not_stored_never_existed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (device, records) = device_with(12);
    device.put_dictionary(&store);
    // Published from memory: 1-8 and 11. The log kept 1-6 when the power went.
    store
        .commit(vec![
            device.deliver(&records[..8]),
            device.deliver(&records[10..11]),
        ])
        .unwrap();
    store.commit(vec![device.state(1, 6, true)]).unwrap();
    let ledger = store.device(&device.name).unwrap();
    assert_eq!(ledger.generated, ledger.stored);
    assert_eq!(ledger.pending, 0);
    assert!(ledger.sessions[0].closed);
    // One more was on its way.
    store.commit(vec![device.deliver(&records[9..10])]).unwrap();
    assert_eq!(store.device(&device.name).unwrap().pending, 0);
    drop(store);
    let store = open(dir.path());
    assert_equation(&store, &device.name);
}

#[test]
fn a_device_s_sums_outlive_its_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (mut device, records) = device_with(5);
    device.put_dictionary(&store);
    store
        .commit(vec![device.deliver(&records), device.gap(1, 1)])
        .unwrap();
    let first = device.total();
    store
        .commit(vec![store::Entry::LetGo {
            device: device.name.clone(),
            received: wire::Timestamp::from_ms(START),
            session: device.session,
        }])
        .unwrap();
    device.restart(2);
    let record = device.record(START + 60_000, |i| i as f64);
    store.commit(vec![device.deliver(&[record])]).unwrap();
    let ledger = store.device(&device.name).unwrap();
    assert_eq!(ledger.generated, first + 4);
    assert_equation(&store, &device.name);
}
