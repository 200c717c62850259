//! The core against a real store: what it answers to each kind of message.

mod bench;
mod pushes;

use proptest::prelude::*;
use store::Unpassed;
use wire::message::{Alert, Gap, SessionState, VERSION};
use wire::topic::Up;

use self::bench::{Bench, Rig, SESSION, ranges};
use crate::ingest::Gate;

#[test]
fn a_batch_is_acked_once_it_is_committed_and_not_before() {
    let mut bench = Bench::new();
    let mut rig = Rig::connect(&mut bench, "gw-1");
    bench.send(&rig, Up::Dict, rig.dictionary());
    let batch = rig.batch(1..=3);
    bench.send(&rig, Up::Batch, batch);
    assert!(bench.acks(&rig).is_empty());
    bench.pass_ms(1000);
    assert_eq!(bench.store.settled(&rig.name, SESSION).len(), 0);
    bench.commit();
    bench.pass_ms(3000);
    let acks = bench.acks(&rig);
    assert_eq!(acks.len(), 1);
    assert_eq!(ranges(&acks[0].sessions[0].settled), [(1, 3)]);
    assert_eq!(acks[0].answers, 0);
    let ledger = bench.store.device(&rig.name).unwrap();
    assert_eq!((ledger.stored, ledger.redelivered), (6, 0));
}

#[test]
fn a_duplicate_is_acked_again_and_stored_once() {
    let mut bench = Bench::new();
    let mut rig = Rig::connect(&mut bench, "gw-1");
    bench.send(&rig, Up::Dict, rig.dictionary());
    let batch = rig.batch(1..=2);
    for _ in 0..3 {
        bench.send(&rig, Up::Batch, batch.clone());
        bench.pass_ms(1000);
        bench.commit();
    }
    bench.pass_ms(5000);
    let acks = bench.acks(&rig);
    assert!(!acks.is_empty());
    assert!(
        acks.iter()
            .all(|ack| ranges(&ack.sessions[0].settled) == [(1, 2)])
    );
    let stored = bench.store.device(&rig.name).unwrap().stored;
    assert_eq!((stored, bench.metrics.redelivered_rows.get()), (4, 4));
}

#[test]
fn a_batch_without_its_dictionary_is_wanting_and_not_journaled() {
    let mut bench = Bench::new();
    let mut rig = Rig::connect(&mut bench, "gw-1");
    let batch = rig.batch(1..=2);
    bench.send(&rig, Up::Batch, batch.clone());
    bench.settle();
    let acks = bench.acks(&rig);
    let wanting = &acks[0].sessions[0].wanting[0];
    assert_eq!(
        (wanting.dict.to_vec(), ranges(&wanting.ranges)),
        (rig.hash(), vec![(1, 2)])
    );
    assert_eq!(bench.store.settled(&rig.name, SESSION).len(), 0);

    bench.send(&rig, Up::Dict, rig.dictionary());
    bench.send(&rig, Up::Batch, batch);
    bench.settle();
    assert_eq!(ranges(&bench.acks(&rig)[0].sessions[0].settled), [(1, 2)]);
}

#[test]
fn a_keyed_batch_needs_its_key_and_may_follow_it_in_the_same_commit() {
    let mut bench = Bench::new();
    let mut rig = Rig::connect(&mut bench, "gw-1");
    bench.send(&rig, Up::Dict, rig.dictionary());
    let (defining, keyed) = rig.key_and_keyed();
    bench.send(&rig, Up::Batch, keyed.clone());
    bench.settle();
    let acks = bench.acks(&rig);
    assert!(acks[0].sessions[0].wanting[0].dict.is_empty());

    bench.send(&rig, Up::Batch, defining);
    bench.send(&rig, Up::Batch, keyed);
    bench.settle();
    assert_eq!(ranges(&bench.acks(&rig)[0].sessions[0].settled), [(1, 2)]);
}

#[test]
fn a_keyed_batch_that_names_a_dictionary_of_its_own_is_read_with_that_one() {
    let mut bench = Bench::new();
    let mut rig = Rig::connect(&mut bench, "gw-1");
    bench.send(&rig, Up::Dict, rig.dictionary());
    let (defining, keyed) = rig.key_and_keyed_of_a_longer_dictionary();
    bench.send(&rig, Up::Batch, defining);
    bench.settle();
    bench.acks(&rig);
    bench.send(&rig, Up::Batch, keyed.clone());
    bench.settle();
    let acks = bench.acks(&rig);
    assert_eq!(acks[0].sessions[0].wanting[0].dict.to_vec(), rig.hash());
    assert_eq!(bench.store.settled(&rig.name, SESSION).len(), 1);

    bench.send(&rig, Up::Dict, rig.dictionary());
    bench.send(&rig, Up::Batch, keyed);
    bench.settle();
    let acks = bench.acks(&rig);
    assert_eq!(ranges(&acks[0].sessions[0].settled), [(2, 2)]);
    assert!(acks[0].sessions[0].refused.is_empty());
    assert_eq!(bench.store.device(&rig.name).unwrap().stored, 2 + 3);
}

#[test]
fn a_failed_commit_acks_nothing_and_takes_along_what_rests_on_it() {
    let mut bench = Bench::new();
    let mut rig = Rig::connect(&mut bench, "gw-1");
    bench.send(&rig, Up::Dict, rig.dictionary());
    let (defining, keyed) = rig.key_and_keyed();
    bench.send(&rig, Up::Batch, defining);
    bench.pass_ms(1000);
    bench.send(&rig, Up::Batch, keyed);
    bench.fail_commit();
    bench.settle();
    let acks = bench.acks(&rig);
    assert!(acks.iter().all(|ack| ack.sessions.is_empty()), "credit at most");
    assert!(bench.store.settled(&rig.name, SESSION).is_empty());
}

#[test]
fn a_batch_of_a_later_version_is_held_and_blocks_nobody() {
    let mut bench = Bench::new();
    let mut rig = Rig::connect(&mut bench, "gw-1");
    bench.send(&rig, Up::Dict, rig.dictionary());
    let newer = rig.newer_batch(1..=2);
    bench.send(&rig, Up::Batch, newer);
    let batch = rig.batch(3..=4);
    bench.send(&rig, Up::Batch, batch);
    bench.settle();
    let acks = bench.acks(&rig);
    let sessions: Vec<_> = acks.iter().flat_map(|ack| &ack.sessions).collect();
    assert!(sessions.iter().any(|s| ranges(&s.held) == [(1, 2)]));
    assert!(sessions.iter().any(|s| ranges(&s.settled) == [(3, 4)]));
}

#[test]
fn a_malformed_batch_with_readable_seqs_is_refused_into_the_dead_letters() {
    let mut bench = Bench::new();
    let mut rig = Rig::connect(&mut bench, "gw-1");
    bench.send(&rig, Up::Dict, rig.dictionary());
    let broken = rig.broken_batch(1..=2);
    bench.send(&rig, Up::Batch, broken);
    bench.settle();
    let acks = bench.acks(&rig);
    let refused = &acks[0].sessions[0].refused[0];
    assert_eq!(
        (refused.reason.as_str(), ranges(&refused.ranges)),
        ("malformed", vec![(1, 2)])
    );
    assert_eq!(bench.store.dead_letters().len(), 1);
}

#[test]
fn every_state_is_answered_in_full_with_what_is_really_settled() {
    let mut bench = Bench::new();
    let mut rig = Rig::connect(&mut bench, "gw-1");
    bench.send(&rig, Up::Dict, rig.dictionary());
    let batch = rig.batch(4..=5);
    bench.send(&rig, Up::Batch, batch);
    let gap = Gap {
        session: SESSION.get(),
        first: 1,
        last: 3,
        samples: 6,
        reason: "wal_bytes".into(),
        ..Gap::default()
    };
    let mut state = rig.state();
    state.gaps = vec![gap];
    state.sessions = vec![SessionState {
        session: SESSION.get(),
        oldest: 4,
        total_before: 6,
        last: 5,
        total: 10,
        ..SessionState::default()
    }];
    bench.send(&rig, Up::State, wire::state::encode(&state));
    bench.settle();
    let full: Vec<_> = bench
        .acks(&rig)
        .into_iter()
        .filter(|ack| ack.answers == state.number)
        .collect();
    assert_eq!(full.len(), 1);
    assert_eq!(ranges(&full[0].sessions[0].settled), [(1, 5)]);
    let ledger = bench.store.device(&rig.name).unwrap();
    assert_eq!((ledger.generated, ledger.stored, ledger.pending), (10, 4, 0));
    assert_eq!(ledger.dropped.get("wal_bytes"), Some(&6));
}

#[test]
fn a_store_that_lost_its_data_answers_so_that_the_device_sends_it_again() {
    let mut bench = Bench::new();
    let rig = Rig::connect(&mut bench, "gw-1");
    let mut state = rig.state();
    // The device believes 1..=9 acked: it lists no unacked record.
    state.sessions = vec![SessionState {
        session: SESSION.get(),
        oldest: 1,
        last: 9,
        total: 18,
        ..SessionState::default()
    }];
    bench.send(&rig, Up::State, wire::state::encode(&state));
    bench.settle();
    let acks = bench.acks(&rig);
    let full = acks.iter().find(|ack| ack.answers == state.number).unwrap();
    assert_eq!(full.sessions[0].session, SESSION.get());
    assert!(full.sessions[0].settled.is_empty());
}

#[test]
fn the_will_of_an_earlier_connection_is_ignored() {
    let mut bench = Bench::new();
    let old = Rig::connect(&mut bench, "gw-1");
    let new = Rig::reconnect(&mut bench, "gw-1", 2);
    bench.send(&old, Up::State, old.will());
    assert!(bench.fleet.get(&new.name).connected);
    bench.send(&new, Up::State, new.will());
    assert!(!bench.fleet.get(&new.name).connected);
    assert_eq!(bench.core.pool.outstanding(), 0);
}

#[test]
fn lanes_beyond_the_budget_wait_their_turn_and_are_served_when_it_frees() {
    let mut bench = Bench::with_budget(4 * 65_536);
    let rigs: Vec<Rig> = (0..6)
        .map(|n| Rig::connect(&mut bench, &format!("gw-{n}")))
        .collect();
    let credit = |bench: &mut Bench, rig: &Rig| bench.last_credit(rig);
    let granted: Vec<u64> = rigs.iter().map(|rig| credit(&mut bench, rig)).collect();
    assert!(granted.contains(&0), "six devices do not fit: {granted:?}");
    assert!(granted.iter().all(|g| *g == 0 || *g >= 65_536), "{granted:?}");
    assert!(bench.core.pool.outstanding() <= 4 * 65_536);
    let waiting = granted.iter().position(|g| *g == 0).unwrap();
    for rig in &rigs[..waiting] {
        bench.send(rig, Up::State, rig.will());
    }
    bench.settle();
    assert!(credit(&mut bench, &rigs[waiting]) >= 65_536);
}

#[test]
fn a_lane_s_credit_rises_with_what_it_sends() {
    let mut bench = Bench::with_budget(4 * 65_536);
    let mut rig = Rig::connect(&mut bench, "gw-1");
    let before = bench.last_credit(&rig);
    bench.send(&rig, Up::Dict, rig.dictionary());
    for n in 0..2_000 {
        let batch = rig.batch(n * 2 + 1..=n * 2 + 2);
        bench.send(&rig, Up::Batch, batch);
        bench.commit();
    }
    bench.settle();
    let sent = rig.sent(&bench);
    let after = bench.last_credit(&rig);
    assert!(
        after >= sent + 32_768 && after > before,
        "sent {sent}, granted {after}"
    );
}

#[test]
fn three_thousand_devices_share_the_default_s_least_and_a_busy_one_still_gets_more() {
    let mut bench = Bench::new();
    let mut rigs: Vec<Rig> = (0..3000).map(|n| Rig::new(&format!("gw-{n}"), 1)).collect();
    for rig in &rigs {
        bench.send(rig, Up::State, wire::state::encode(&rig.state()));
    }
    bench.settle();
    let short = rigs.iter().filter(|rig| bench.announced(rig) < 65_536).count();
    assert_eq!(short, 0, "devices without credit for a largest message");
    assert!(bench.core.pool.outstanding() <= 256 << 20);

    let mut busy = rigs.remove(2999);
    bench.send(&busy, Up::Dict, busy.dictionary());
    let (mut next, mut furthest) = (1, 0);
    while furthest < 4 * 65_536 {
        assert!(busy.sent(&bench) < 1 << 20, "ahead by {furthest} at most");
        let batch = busy.noise(next..=next + 999);
        next += 1000;
        assert!(
            busy.sent(&bench) + batch.len() as u64 <= bench.announced(&busy),
            "it never waits"
        );
        bench.send(&busy, Up::Batch, batch);
        bench.commit();
        furthest = furthest.max(bench.announced(&busy) - busy.sent(&bench));
    }
    let late = Rig::connect(&mut bench, "gw-late");
    assert!(bench.last_credit(&late) >= 65_536);
}

#[test]
fn a_device_that_used_up_what_it_was_told_of_is_told_more_at_once() {
    let mut bench = Bench::new();
    let rig = Rig::connect(&mut bench, "gw-1");
    let told = bench.last_credit(&rig);
    for _ in 0..3 {
        bench.send(&rig, Up::Batch, vec![0xff; told as usize / 3]);
    }
    assert!(bench.announced(&rig) > told, "without a commit and without delay");
}

#[test]
fn a_state_gives_back_credit_for_what_was_lost_under_way() {
    let mut bench = Bench::new();
    let rig = Rig::connect(&mut bench, "gw-1");
    let (granted, outstanding) = (bench.last_credit(&rig), bench.core.pool.outstanding());
    let mut state = rig.state();
    state.number = 2;
    state.fresh_bytes = 10_000;
    bench.send(&rig, Up::State, wire::state::encode(&state));
    assert_eq!(bench.last_credit(&rig), granted + 10_000);
    assert_eq!(bench.core.pool.outstanding(), outstanding);
}

#[test]
fn a_full_store_grants_nothing_and_still_answers() {
    let mut bench = Bench::new();
    bench.core.set_pressure(store::Pressure::All);
    let rig = Rig::connect(&mut bench, "gw-1");
    assert_eq!(bench.last_credit(&rig), 0);
    assert_eq!(bench.core.pool.outstanding(), 0);
    bench.core.set_pressure(store::Pressure::None);
    assert!(bench.last_credit(&rig) >= 65_536);
}

#[test]
fn credit_outlives_the_loss_of_the_broker_s_connection_and_is_charged_once() {
    let mut bench = Bench::new();
    let mut rig = Rig::connect(&mut bench, "gw-1");
    let (granted, outstanding) = (bench.last_credit(&rig), bench.core.pool.outstanding());
    bench.send(&rig, Up::Dict, rig.dictionary());
    let batch = rig.batch(1..=1);
    bench.send(&rig, Up::Batch, batch);
    bench.core.offline();
    assert_eq!(bench.core.pool.outstanding(), 0);
    bench.settle();
    // The broker hands the kept state to the bridge that subscribed again.
    bench.send(&rig, Up::State, wire::state::encode(&rig.state()));
    bench.settle();
    assert_eq!(bench.last_credit(&rig), granted + rig.sent(&bench));
    assert_eq!(bench.core.pool.outstanding(), outstanding);
}

/// What a device is told of its records since the last look.
fn told(bench: &mut Bench, rig: &Rig) -> Vec<(u64, u64)> {
    let acks = bench.acks(rig);
    let sessions = acks.iter().flat_map(|ack| &ack.sessions);
    sessions.flat_map(|session| ranges(&session.settled)).collect()
}

fn ask(bench: &mut Bench, rig: &Rig, number: u32) {
    let mut state = rig.state();
    state.number = number;
    state.sessions = vec![SessionState {
        session: SESSION.get(),
        oldest: 1,
        last: 2,
        total: 4,
        ..SessionState::default()
    }];
    bench.send(rig, Up::State, wire::state::encode(&state));
    bench.settle();
}

#[test]
fn acks_and_credit_wait_until_the_destination_has_passed_their_commit() {
    let mut bench = Bench::new();
    let mut rig = Rig::connect(&mut bench, "gw-1");
    let dictionary = rig.dictionary();
    bench.send(&rig, Up::Dict, dictionary);
    bench.settle();
    bench
        .core
        .ack_after(Gate::new(bench.store.next_number(), Vec::new()));
    let outstanding = bench.core.pool.outstanding();
    let batch = rig.batch(1..=2);
    bench.send(&rig, Up::Batch, batch.clone());
    bench.settle();
    let number = bench.store.next_number();
    assert_eq!(bench.store.settled(&rig.name, SESSION).len(), 2);
    assert_eq!(told(&mut bench, &rig), []);
    assert!(bench.core.pool.outstanding() >= outstanding);
    // Neither a full answer tells it, nor the ack of the same batch that came again.
    ask(&mut bench, &rig, 2);
    bench.send(&rig, Up::Batch, batch);
    bench.settle();
    assert_eq!(told(&mut bench, &rig), []);

    bench.passed(number - 1);
    bench.settle();
    assert_eq!(told(&mut bench, &rig), []);
    bench.passed(bench.store.next_number());
    bench.settle();
    assert_eq!(told(&mut bench, &rig), [(1, 2)]);
    ask(&mut bench, &rig, 3);
    assert_eq!(told(&mut bench, &rig), [(1, 2)]);
}

#[test]
fn what_a_bridge_finds_in_its_journal_waits_for_the_destination_too() {
    let mut bench = Bench::new();
    let mut rig = Rig::connect(&mut bench, "gw-1");
    let dictionary = rig.dictionary();
    bench.send(&rig, Up::Dict, dictionary);
    let batch = rig.batch(1..=2);
    bench.send(&rig, Up::Batch, batch);
    bench.settle();
    assert_eq!(told(&mut bench, &rig), [(1, 2)]);
    let journaled = Unpassed::since(&bench.store, 0).unwrap();
    bench.core.ack_after(Gate::new(0, journaled));
    ask(&mut bench, &rig, 2);
    assert_eq!(told(&mut bench, &rig), []);
    bench.passed(bench.store.next_number());
    ask(&mut bench, &rig, 3);
    assert_eq!(told(&mut bench, &rig), [(1, 2)]);
}

#[test]
fn an_alert_is_committed_and_acked_at_once() {
    let mut bench = Bench::new();
    let rig = Rig::connect(&mut bench, "gw-1");
    bench.send(&rig, Up::Alert, rig.alert(1));
    bench.commit();
    bench.pass_ms(3000);
    assert_eq!(ranges(&bench.acks(&rig)[0].sessions[0].settled), [(1, 1)]);
    assert_eq!(bench.store.device(&rig.name).unwrap().alerts, 1);
}

#[test]
fn an_alert_that_cannot_be_read_is_refused_or_held_by_its_seq() {
    let mut bench = Bench::new();
    let rig = Rig::connect(&mut bench, "gw-1");
    let alert = wire::alert::decode(&rig.alert(1)).unwrap();
    let twice = Alert {
        labels: [alert.labels.clone(), alert.labels.clone()].concat(),
        ..alert.clone()
    };
    let newer = Alert {
        version: VERSION + 1,
        seq: 2,
        ..alert
    };
    for unreadable in [&twice, &newer] {
        bench.send(&rig, Up::Alert, wire::alert::encode(unreadable));
    }
    bench.settle();
    let acks = bench.acks(&rig);
    let sessions: Vec<_> = acks.iter().flat_map(|ack| &ack.sessions).collect();
    let refused: Vec<_> = sessions.iter().flat_map(|s| &s.refused).collect();
    assert_eq!(
        (refused[0].reason.as_str(), ranges(&refused[0].ranges)),
        ("malformed", vec![(1, 1)])
    );
    assert!(sessions.iter().any(|s| ranges(&s.held) == [(2, 2)]));
    assert_eq!(bench.store.device(&rig.name).unwrap().alerts, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_payloads_harm_nobody_and_the_budget_holds(
        messages in proptest::collection::vec(
            (0usize..6, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..200)), 1..40),
    ) {
        let mut bench = Bench::with_budget(3 * 65_536);
        let rig = Rig::connect(&mut bench, "gw-1");
        let mut healthy = Rig::connect(&mut bench, "gw-2");
        for (channel, plausible, bytes) in messages {
            let payload = if plausible { [&[0, 8, 1][..], &bytes].concat() } else { bytes };
            bench.send(&rig, Up::ALL[channel], payload);
            prop_assert!(bench.core.pool.outstanding() <= 3 * 65_536);
        }
        bench.settle();
        // A healthy device is served as before.
        let dictionary = healthy.dictionary();
        bench.send(&healthy, Up::Dict, dictionary);
        let batch = healthy.batch(1..=1);
        bench.send(&healthy, Up::Batch, batch);
        bench.settle();
        prop_assert_eq!(bench.store.settled(&healthy.name, SESSION).len(), 1);
    }
}
