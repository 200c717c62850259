//! Configurations that are pushed, and how long alerts were on their way.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use wire::message::{ConfigState, SessionState, State};
use wire::topic::Up;

use super::bench::{Bench, Rig, SESSION};
use crate::device_rules::{DeviceRuleEntry, DeviceRuleFiles, DeviceRules, Watch};

/// What is wanted with one rule file of this expression for all devices of the bench's tenant.
fn wanting(dir: &Path, expr: &str) -> DeviceRules {
    let file = dir.join("r.yml");
    let text = format!("groups: [{{name: g, rules: [{{alert: A, expr: '{expr}'}}]}}]");
    std::fs::write(&file, text).unwrap();
    let tenant = wire::Tenant::new("acme").unwrap();
    let entry = DeviceRuleEntry::new(tenant, &["*".to_owned()], vec![file]).unwrap();
    let files = DeviceRuleFiles {
        entries: vec![entry],
        folder: dir.to_owned(),
    };
    Watch::start(watch::channel(files).1).unwrap().1
}

fn tells(bench: &mut Bench, rig: &Rig, config: Option<ConfigState>) -> usize {
    let before = bench.pushed.len();
    let state = State {
        config,
        ..rig.state()
    };
    bench.send(rig, Up::State, wire::state::encode(&state));
    bench.settle();
    bench.pushed.len() - before
}

#[test]
fn a_device_with_another_configuration_than_is_wanted_is_pushed_that() {
    let dir = tempfile::tempdir().unwrap();
    let first = wanting(dir.path(), "up == 0");
    let mut bench = Bench::new();
    let rig = Rig::connect(&mut bench, "gw-1");
    let hash = first.of(&rig.name).hash;
    let (sender, wanted) = watch::channel(Arc::new(first));
    bench.core.push_wanted(wanted);
    // One that says nothing of configurations knows none.
    assert_eq!(tells(&mut bench, &rig, None), 0);
    assert_eq!(tells(&mut bench, &rig, Some(ConfigState::default())), 1);
    assert_eq!(bench.pushed, [(rig.name.clone(), hash)]);
    // It takes a moment to check it; then it was lost, and is pushed again.
    assert_eq!(tells(&mut bench, &rig, Some(ConfigState::default())), 0);
    bench.pass_ms(60_000);
    assert_eq!(bench.pushed.len(), 2);
    let has = |hash: u64| ConfigState {
        hash,
        ..ConfigState::default()
    };
    assert_eq!(tells(&mut bench, &rig, Some(has(hash))), 0);

    let second = wanting(dir.path(), "up == 1");
    let other = second.of(&rig.name).hash;
    sender.send_replace(Arc::new(second));
    bench.wanted_changed();
    assert_eq!(bench.pushed.last(), Some(&(rig.name.clone(), other)));
    let refuses = ConfigState {
        hash,
        refused: other,
        reason: "it is too hot".to_owned(),
    };
    bench.pass_ms(60_000);
    assert_eq!(tells(&mut bench, &rig, Some(refuses.clone())), 0);
    let seen = bench.store.device(&rig.name).unwrap().seen;
    assert_eq!(seen.config, Some(refuses));

    // What it had is wanted again: that is pushed, so that it is not told as refused any longer.
    sender.send_replace(Arc::new(wanting(dir.path(), "up == 0")));
    bench.wanted_changed();
    assert_eq!(bench.pushed.last(), Some(&(rig.name.clone(), hash)));
}

#[test]
fn an_alert_is_timed_by_the_clocks_that_do_not_jump() {
    let mut bench = Bench::new();
    let rig = Rig::connect(&mut bench, "gw-1");
    let state = State {
        mono_ms: 100_000,
        sessions: vec![SessionState {
            session: SESSION.get(),
            boot: 7,
            ..SessionState::default()
        }],
        ..rig.state()
    };
    bench.send(&rig, Up::State, wire::state::encode(&state));
    bench.settle();
    let delays = |bench: &Bench| {
        let delays = bench.fleet.get(&rig.name).alert_delays;
        (delays.last_ms, delays.longest_ms)
    };
    assert_eq!(delays(&bench), (None, 0));
    // Logged a minute before the state, which was 10 s ago.
    bench.send(&rig, Up::Alert, rig.alert_of(1, 7, 40_000));
    bench.settle();
    assert_eq!(delays(&bench), (Some(70_000), 70_000));
    bench.send(&rig, Up::Alert, rig.alert_of(2, 7, 119_500));
    bench.settle();
    assert_eq!(delays(&bench), (Some(500), 70_000));
    // It comes again, and is no other.
    bench.send(&rig, Up::Alert, rig.alert_of(1, 7, 40_000));
    bench.settle();
    assert_eq!(delays(&bench), (Some(500), 70_000));
    // Of an earlier boot: by its own times.
    bench.send(&rig, Up::Alert, rig.alert_of(3, 6, 40_000));
    bench.settle();
    assert_eq!(delays(&bench).0, Some(40_000));
    assert_eq!(bench.metrics.alert_delay_seconds.get_sample_count(), 3);
}
