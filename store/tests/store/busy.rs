//! Commits while windows are sealed and merged all the time by another thread, as a bridge does it; many rows of one time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use store::{Config, Hashrings, Store};
use wire::Timestamp;

use super::device::{Device, START, assert_equation, open_with, tenant};

const HOUR: i64 = 3_600_000;

fn config() -> Config {
    Config {
        hashrings: Hashrings::of_partitions(4),
        journal_file_bytes: 64 << 10,
        head_bytes: 64 << 10,
        late_bytes: 32 << 10,
        ..Config::default()
    }
}

type Samples = BTreeMap<(String, usize, i64), u64>;

fn found(store: &Store) -> Samples {
    let mut samples = Samples::new();
    for slice in store
        .select(&tenant(), &[], i64::MIN, i64::MAX, usize::MAX)
        .unwrap()
    {
        let id = slice.labels.get("device_id").unwrap().to_owned();
        let series: usize = slice.labels.get("i").unwrap().parse().unwrap();
        for (time, value) in slice.times_ms.iter().zip(&slice.values) {
            samples.insert((id.clone(), series, *time), value.to_bits());
        }
    }
    samples
}

/// Rows of several hours by turns, some ahead of their time, in batches of any size, to a store that is at it.
fn round(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), config());
    let mut devices: Vec<Device> = [3, 9, 30]
        .into_iter()
        .enumerate()
        .map(|(n, series)| Device::new(&format!("d-{n}"), 1, series))
        .collect();
    devices.iter().for_each(|device| device.put_dictionary(&store));
    let mut all = Samples::new();
    let (mut step, ended) = (0, AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = fastrand::Rng::with_seed(seed);
            while !ended.load(Ordering::Relaxed) {
                let now = START + HOUR + random.i64(0..2) * 1_000_000;
                assert_eq!(
                    store.maintain(Timestamp::from_ms(now)).failed,
                    Vec::<String>::new()
                );
            }
        });
        for _ in 0..150 {
            let device = random.usize(0..3);
            let rows: Vec<_> = (0..random.usize(1..40))
                .map(|_| {
                    step += 1;
                    let hours = step % [1, 4, 26][device];
                    let ahead = if random.u8(0..10) == 0 { HOUR } else { 0 };
                    // One in three is of a time that many have.
                    let fine = if random.u8(0..3) == 0 { 0 } else { step * 50 };
                    let time = START + HOUR - hours * HOUR + ahead + fine;
                    devices[device].record(time, |series| (step * 31 + series as i64) as f64)
                })
                .collect();
            for row in &rows {
                for (series, value) in row.values.iter().enumerate() {
                    all.insert(
                        (format!("d-{device}"), series, row.time),
                        value.unwrap().to_bits(),
                    );
                }
            }
            store.commit(vec![devices[device].deliver(&rows)]).unwrap();
        }
        ended.store(true, Ordering::Relaxed);
    });
    store.maintain(Timestamp::from_ms(START + 4 * HOUR));
    let check = |store: &Store| {
        assert!(found(store) == all, "BACKHAUL_SEED={seed}");
        devices
            .iter()
            .for_each(|device| assert_equation(store, &device.name));
    };
    check(&store);
    drop(store);
    check(&open_with(dir.path(), config()));
}

#[test]
fn seals_and_merges_beside_commits_change_nothing_that_is_found() {
    let seed =
        std::env::var("BACKHAUL_SEED").map_or_else(|_| fastrand::u64(..1 << 48), |s| s.parse().unwrap());
    for seed in seed..seed + 4 {
        println!("BACKHAUL_SEED={seed}");
        round(seed);
    }
}
