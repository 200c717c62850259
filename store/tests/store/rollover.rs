//! Journal files whose checkpoint was written ahead, while devices come, go on and go.

use std::collections::HashSet;
use std::sync::Arc;

use store::{Entry, NewDictionary, RefusedReason, Store};
use wire::batch::KeyId;
use wire::{Seq, SeqSet, Timestamp};

use super::device::{Device, START, assert_equation, open_with};

const DEVICES: usize = 400;

fn config() -> store::Config {
    store::Config {
        journal_file_bytes: 60_000,
        dead_letters: 20,
        ..super::device::config()
    }
}

/// All that a checkpoint has, as text.
fn known(store: &Store, devices: &[Device]) -> String {
    let key = |device: &Device| {
        let keys = (1..4).filter_map(|n| store.key(&device.name, device.session, KeyId::new(n)?));
        keys.map(|key| format!("{key:?}")).collect::<Vec<_>>()
    };
    let keys: Vec<_> = devices.iter().map(key).collect();
    format!(
        "{:#?}\n{keys:#?}\n{:#?}\n{:#?}",
        store.ledger(),
        store.dead_letters(),
        store.quarantined()
    )
}

/// What a device does that changes its rows of a checkpoint.
fn entry(device: &mut Device, random: &mut fastrand::Rng, session: u64) -> Vec<Entry> {
    let (name, received) = (device.name.clone(), Timestamp::from_ms(START));
    let ahead = i64::from(random.u8(0..10) == 0) * 7_200_000;
    let time = START + ahead + random.i64(0..3_000_000);
    match random.u8(0..24) {
        0 => {
            let gone = device.session;
            let sent = device.record(time, |i| i as f64);
            let last = device.deliver(&[sent]);
            device.restart(session);
            vec![
                last,
                Entry::LetGo {
                    device: name,
                    received,
                    session: gone,
                },
            ]
        }
        1 => {
            device.restart(session);
            vec![Entry::Forget {
                device: name,
                received,
            }]
        }
        2 => {
            let record = device.record(time, |i| i as f64);
            let mut seqs = SeqSet::new();
            seqs.insert(Seq::new(record.seq));
            vec![Entry::Refused {
                device: name,
                received,
                session: device.session,
                seqs,
                samples: record.samples(),
                reason: RefusedReason::Malformed,
                payload: vec![7; random.usize(1..300)].into(),
            }]
        }
        3..=8 => {
            let record = device.record(time, |i| (i as f64).sqrt());
            vec![device.define(&[record], random.u32(1..4)).0]
        }
        _ => {
            let record = device.record(time, |i| i as f64);
            vec![device.deliver(&[record])]
        }
    }
}

/// Says how many files were begun.
fn round(seed: u64) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut store = open_with(dir.path(), config());
    let mut devices: Vec<Device> = (0..DEVICES)
        .map(|n| Device::new(&format!("d-{n}"), 1, 3))
        .collect();
    let new = |device: &Device| NewDictionary {
        device: device.name.clone(),
        dictionary: Arc::new(device.dictionary()),
        outline: None,
    };
    store.put_dictionaries(devices.iter().map(new).collect()).unwrap();
    let (mut begun, mut steps, mut forgotten) = (0, 0, HashSet::new());
    for n in 0..600 {
        let some = random.usize(1..12);
        let entries: Vec<Entry> = (0..some)
            .flat_map(|_| entry(&mut devices[random.usize(0..DEVICES)], &mut random, n + 2))
            .collect();
        for entry in &entries {
            if let Entry::Forget { device, .. } = entry {
                forgotten.insert(device.clone());
            }
        }
        let files = store.usage().journal_files;
        store.commit(entries).unwrap();
        let began = store.usage().journal_files > files;
        begun += usize::from(began);
        if random.bool() {
            steps += usize::from(store.prepare_journal().unwrap());
        }
        if began && random.bool() {
            // The newest file alone says what is known.
            let before = known(&store, &devices);
            drop(store);
            store = open_with(dir.path(), config());
            assert!(known(&store, &devices) == before, "BACKHAUL_SEED={seed}");
        }
    }
    assert!(steps > begun, "{steps} steps for {begun} files");
    store.maintain(Timestamp::from_ms(START + 7_200_000));
    // What was stored of a device before it was forgotten is in no ledger.
    let all = devices.iter().map(|device| &device.name);
    all.filter(|name| !forgotten.contains(*name) && store.device(name).is_some())
        .for_each(|name| assert_equation(&store, name));
    begun
}

#[test]
fn a_checkpoint_that_was_written_ahead_is_the_ledger_of_the_moment() {
    let seed =
        std::env::var("BACKHAUL_SEED").map_or_else(|_| fastrand::u64(..1 << 48), |s| s.parse().unwrap());
    println!("BACKHAUL_SEED={seed}");
    let begun: usize = (seed..seed + 4).map(round).sum();
    assert!(begun > 4, "{begun} files");
}
