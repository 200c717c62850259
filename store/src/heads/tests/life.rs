//! When windows are due, and what is left when devices have gone.

use super::*;

const MINUTE: i64 = 60_000;

fn whole(window: u8, place: u8) -> RowOf {
    (window, place, [1; SERIES])
}

/// Rows of the first windows, applied at a time each.
fn applied(budgets: HeadLimits, rows: &[(u8, i64)]) -> World {
    let mut world = World::new();
    world.heads = Heads::new(rings(), budgets);
    for (n, (window, received_ms)) in rows.iter().enumerate() {
        let batch = world.batch(0, &[whole(*window, n as u8)]);
        let arrival = Arrival {
            number: n as u64 + 1,
            file: 1,
            received_ms: *received_ms,
            ring: 1,
            replayed: false,
        };
        world
            .heads
            .apply((0, &name(0)), batch, &[true], Some(&world.dict), arrival);
    }
    world
}

fn unbounded() -> HeadLimits {
    HeadLimits {
        head_bytes: usize::MAX,
        late_bytes: usize::MAX,
        own_rows: 1,
    }
}

/// Places of the windows that are due, each once.
fn due(world: &World, now_ms: i64, wanted: u64) -> Vec<i64> {
    let targets = world.heads.due(now_ms, wanted);
    let mut windows: Vec<i64> = targets
        .iter()
        .map(|target| (target.window.start_ms() - START) / WINDOW_MS)
        .collect();
    windows.dedup();
    windows
}

#[test]
fn a_window_is_due_when_it_is_over_and_quiet_or_has_waited() {
    let end = START + WINDOW_MS;
    let world = applied(unbounded(), &[(0, end - MINUTE), (0, end + 9 * MINUTE)]);
    assert!(due(&world, end + 10 * MINUTE - 1, 0).is_empty());
    assert_eq!(due(&world, end + 10 * MINUTE, 0), [0]);
    // Rows keep coming: it waits, but not for ever.
    let world = applied(unbounded(), &[(0, end - MINUTE), (0, end + 24 * MINUTE + 30_000)]);
    assert!(due(&world, end + 25 * MINUTE - 1, 0).is_empty());
    assert_eq!(due(&world, end + 25 * MINUTE, 0), [0]);
}

#[test]
fn late_rows_wait_for_more_of_them() {
    let came = START + 30 * WINDOW_MS;
    let world = applied(unbounded(), &[(0, came), (1, came + MINUTE)]);
    assert!(due(&world, came + 15 * MINUTE - 1, 0).is_empty());
    assert_eq!(due(&world, came + 15 * MINUTE, 0), [0]);
    assert_eq!(due(&world, came + 16 * MINUTE, 0), [0, 1]);
    // The journal wants to be freed up to a number.
    assert_eq!(due(&world, came + 2 * MINUTE, 2), [0]);
    assert_eq!(world.heads.oldest_number(), Some(1));
}

#[test]
fn under_pressure_the_largest_go_first() {
    let now = START + 30 * MINUTE;
    let rows: Vec<(u8, i64)> = (0..30).map(|n| (u8::from(n % 5 == 0), now)).collect();
    let world = applied(unbounded(), &rows);
    let usage = world.heads.usage();
    assert!(due(&world, now, 0).is_empty());
    assert_eq!(usage.late_bytes, 0);
    for (bytes, expected) in [
        (usage.head_bytes, &[][..]),
        (usage.head_bytes - 1, &[0][..]),
        (0, &[0, 1]),
    ] {
        let budgets = HeadLimits {
            head_bytes: bytes,
            ..unbounded()
        };
        let world = applied(budgets, &rows);
        let mut windows = due(&world, now, 0);
        windows.sort_unstable();
        windows.dedup();
        assert_eq!(windows, expected);
    }
    // Late rows have a budget of their own.
    let budgets = HeadLimits {
        late_bytes: 0,
        ..unbounded()
    };
    let late = START + 90 * MINUTE;
    let world = applied(budgets, &[(0, late), (1, late)]);
    assert_eq!(due(&world, late, 0), [0]);
}

#[test]
fn devices_that_come_and_go_leave_nothing() {
    let mut world = World::new();
    for device in 0..20u32 {
        let rows: Vec<RowOf> = (0..40).map(|place| whole(0, place)).collect();
        let batch = world.batch(0, &rows);
        let number = world.journal.len() as u64 + 1;
        let group = &batch.groups[0];
        assert_eq!(
            world.heads.new_series(&name(device), &group.series, &world.dict),
            SERIES
        );
        world.apply(number, device, &batch, false);
        assert_eq!(
            world.heads.new_series(&name(device), &group.series, &world.dict),
            0
        );
        assert!(world.heads.knows(&name(device), &batch, 1));
        assert_eq!(world.heads.active_of(&tenant(), device), SERIES);
        world.journal.push((number, device, batch));
    }
    assert_eq!(world.heads.active(&tenant()), 20 * SERIES);
    world.seal(0, false);
    // Layouts are idle after an hour of no use, as the batches' arrival tells.
    world.heads.sweep(START + WINDOW_MS / 2);
    assert_eq!(world.heads.active(&tenant()), 20 * SERIES);
    world.sweep();
    assert_eq!(world.heads.active(&tenant()), 0);
    assert_eq!(world.heads.usage().series, 20 * SERIES);
    assert_eq!(world.heads.read_back(&name(3), 3).samples, 40 * SERIES as u64);
    world.references = (0..20).map(|_| Reference::default()).collect();
    world.retire(0);
    world.sweep();
    assert_eq!(world.heads.usage().series, 0);
    assert!(world.kept.iter().all(|kept| kept.series.is_empty()));
    assert!(world.heads.label_names(&tenant(), &[], None).is_empty());
    let batch = world.journal[0].2.clone();
    assert!(!world.heads.knows(&name(0), &batch, 1));
    world.apply(100, 0, &batch, false);
    assert_eq!(world.heads.read_back(&name(0), 0).samples, 40 * SERIES as u64);
}

#[test]
fn the_bridge_s_series_of_a_device_stand_together_however_many_devices_there_are() {
    let heads = heads();
    let tenant = Tenant::new("t").unwrap();
    let groups = || -> usize {
        let heads = (0..PARTITIONS).map(|partition| {
            let partition = heads.read(partition);
            partition
                .tenants
                .get(&tenant)
                .map_or(0, |head| head.groups().count())
        });
        heads.sum()
    };
    let append = |device: usize, series: usize, time: i64| {
        let id = format!("d{device}");
        let set = |n: usize| {
            let name = format!("backhaul_device_{n}");
            Labels::new([("__name__", name.as_str()), ("device_id", &id)]).unwrap()
        };
        let row: Vec<(Labels, f64)> = (0..series).map(|n| (set(n), n as f64)).collect();
        heads.append_own(&tenant, Timestamp::from_ms(START + time), &row);
    };
    (0..500).for_each(|device| append(device, 10, 0));
    assert!(groups() <= 500 * PARTITIONS, "{} groups", groups());
    // A list that changes each time does not leave a group each time.
    let before = groups();
    (2..=10).for_each(|series| append(0, series, series as i64));
    assert!(
        groups() - before <= 10 + 4 * PARTITIONS,
        "{} more groups",
        groups() - before
    );
}
