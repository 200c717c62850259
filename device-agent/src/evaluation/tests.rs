//! The engine over scrapes that are made up, second by second, and over a real log.

use promql::{Hints, SeriesSource, parse_selector};
use proptest::prelude::*;
use wire::{BootId, Labels, SessionId, Timestamp};

use super::engine::Round;
use super::state_file::StateFile;
use super::window::Window;
use super::*;
use crate::input::{Moment, ScrapeRow, Slot, TargetId};
use crate::wal::{Storage, SyncPolicy, Wal, WalConfig};

const WALL: i64 = 1_700_000_000_000;

/// A device that is scraped every second.
struct Device {
    engine: Engine,
    now: Moment,
    bound: bool,
}

fn moment(ms: u64) -> Moment {
    Moment {
        wall: Timestamp::from_ms(WALL + ms.cast_signed()),
        mono_ms: ms,
    }
}

fn rules(text: &str, memory: usize) -> Rules {
    let text = format!("groups:\n- name: g\n  interval: 1s\n  rules:\n{text}");
    Rules {
        groups: ::rules::parse(&text, "rules.yml", &::rules::FileOptions::default()).unwrap(),
        interval_ms: 60_000,
        scrape_ms: 1000,
        memory,
        hash: 7,
    }
}

fn settings() -> EngineConfig {
    EngineConfig {
        device: wire::DeviceId::new("gw-1").unwrap(),
        external_labels: [("plant".to_owned(), "north".to_owned())].into(),
        warm_up: std::time::Duration::ZERO,
    }
}

fn engine(rules: &Rules, now: Moment) -> Engine {
    Engine::new(rules.clone(), settings(), now)
}

fn wal(dir: &std::path::Path, boot: BootId) -> Wal {
    let config = WalConfig {
        storage: Storage::Folder(dir.to_path_buf()),
        max_bytes: 1 << 20,
        max_age: std::time::Duration::from_secs(86_400),
        sync: SyncPolicy::Never,
    };
    Wal::open(config, SessionId::new(1), boot, moment(0)).unwrap()
}

fn scrape(at: Moment, values: &[f64], bind: bool) -> ScrapeRow {
    let labels = |n: usize| Labels::new([("__name__", "x"), ("job", "node"), ("n", &n.to_string())]).unwrap();
    let slots = || (0..values.len()).map(|n| (n, Slot::new(n as u32)));
    ScrapeRow {
        target: TargetId::new(0),
        time: at.wall,
        mono_ms: at.mono_ms,
        new_series: slots()
            .filter(|_| bind)
            .map(|(n, slot)| (slot, labels(n)))
            .collect(),
        values: slots().map(|(n, slot)| (slot, values[n])).collect(),
        metadata: Vec::new(),
        ended: false,
    }
}

impl Device {
    fn new(text: &str, memory: usize) -> Device {
        let now = moment(5000);
        Device {
            engine: engine(&rules(text, memory), now),
            now,
            bound: false,
        }
    }

    /// A second passes, with a scrape at its end.
    fn second(&mut self, values: &[f64]) -> Vec<Round> {
        self.now.mono_ms += 1000;
        self.now.wall = self.now.wall.plus(std::time::Duration::from_secs(1));
        let bind = !std::mem::replace(&mut self.bound, true);
        self.engine.take(&scrape(self.now, values, bind));
        self.engine.evaluate(self.now)
    }

    fn seconds(&mut self, count: usize, values: &[f64]) -> Vec<Round> {
        (0..count).flat_map(|_| self.second(values)).collect()
    }
}

/// Names of series in a row that are not stale, with their label sets on first sight.
fn series(rounds: &[Round]) -> Vec<String> {
    let rows = rounds.iter().filter_map(|round| round.row.as_ref());
    rows.flat_map(|row| &row.new_series)
        .map(|(_, labels)| {
            let pairs: Vec<String> = labels
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            pairs.join(",")
        })
        .collect()
}

const HOT: &str =
    "  - alert: Hot\n    expr: x > 5\n    for: 10s\n    annotations: {summary: 'x is {{ $value }}'}\n";

#[test]
fn an_alert_is_pending_then_fires_then_ends_and_results_are_series_of_the_device() {
    let text = format!("{HOT}  - record: x:sum\n    expr: sum(x)\n");
    let mut device = Device::new(&text, 1 << 20);
    let calm = device.seconds(3, &[1.0, 2.0]);
    assert!(
        calm.iter()
            .all(|round| round.failures.is_empty() && round.alerts.is_empty())
    );
    assert_eq!(
        series(&calm),
        ["__name__=x:sum,instance=gw-1,job=backhaul-agent,plant=north"]
    );
    let pending = device.seconds(10, &[1.0, 9.0]);
    assert!(pending.iter().all(|round| round.alerts.is_empty()));
    assert_eq!(device.engine.active(), (1, 0));
    assert!(series(&pending)[0].contains("__name__=ALERTS,alertname=Hot,alertstate=pending"));
    let firing = device.seconds(3, &[1.0, 9.0]);
    let alerts: Vec<_> = firing.iter().flat_map(|round| &round.alerts).collect();
    // Once; the next time after the resend delay.
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].labels["n"], "1");
    assert_eq!(alerts[0].labels["plant"], "north");
    assert_eq!(alerts[0].annotations["summary"], "x is 9");
    let starts = alerts[0].starts_ms.unwrap();
    assert!((WALL + 18_000..=WALL + 20_000).contains(&starts), "{starts}");
    let over = device.seconds(2, &[1.0, 2.0]);
    let told = device.engine.summary().unwrap();
    assert_eq!((told.hash, told.rules, told.failing, told.firing), (7, 2, 0, 0));
    let ended = over.iter().flat_map(|round| &round.alerts).next().unwrap();
    assert_eq!(ended.starts_ms, Some(starts));
    assert!(ended.ends_ms.unwrap() <= device.now.wall.ms());
    // The series of the alert end with stale markers, and their slots are used again.
    let stale = over
        .iter()
        .filter_map(|round| round.row.as_ref())
        .flat_map(|row| &row.values);
    assert_eq!(stale.filter(|(_, value)| promql::is_stale(*value)).count(), 2);
}

#[test]
fn a_jump_of_the_wall_clock_fires_nothing_ends_nothing_and_rates_go_on() {
    let text = format!("{HOT}  - alert: Rate\n    expr: rate(x[20s]) < 0.9\n");
    for jump_ms in [365 * 86_400_000i64, -40 * 60_000, 90_000] {
        let mut device = Device::new(&text, 1 << 20);
        for n in 0..20 {
            device.second(&[f64::from(n)]);
        }
        assert_eq!(device.engine.active(), (0, 1));
        device.now.wall = Timestamp::from_ms(device.now.wall.ms() + jump_ms);
        let mut after = Vec::new();
        for n in 20..40 {
            after.extend(device.second(&[f64::from(n)]));
        }
        let failures: Vec<_> = after.iter().flat_map(|round| &round.failures).collect();
        assert!(failures.is_empty(), "{failures:?}");
        assert!(after.iter().flat_map(|round| &round.alerts).all(|alert| {
            alert.ends_ms.unwrap() > device.now.wall.ms() && alert.labels["alertname"] == "Hot"
        }));
        assert_eq!(device.engine.active(), (0, 1), "{jump_ms}");
        // Rows are of the new time.
        let row = after.last().unwrap().row.as_ref().unwrap();
        assert!((device.now.wall.ms() - row.time.ms()).abs() < 2000);
    }
}

#[test]
fn an_alert_that_is_asserted_again_under_a_slewed_clock_starts_when_it_did() {
    for slew_ms in [-1, -8, 8] {
        let mut device = Device::new(HOT, 1 << 20);
        let mut starts = Vec::new();
        for _ in 0..200 {
            let rounds = device.second(&[9.0]);
            starts.extend(
                rounds
                    .iter()
                    .flat_map(|round| &round.alerts)
                    .map(|alert| alert.starts_ms),
            );
            device.now.wall = Timestamp::from_ms(device.now.wall.ms() + slew_ms);
        }
        assert!(starts.len() >= 3, "{starts:?}");
        assert!(starts.iter().all(|start| *start == starts[0]), "{starts:?}");
        let over = device.seconds(2, &[0.0]);
        let over = over.iter().flat_map(|round| &round.alerts).next().unwrap();
        let now_ms = device.now.wall.ms();
        assert!((now_ms - 2000..=now_ms).contains(&over.ends_ms.unwrap()));
        assert_eq!(over.starts_ms, starts[0]);
    }
}

#[test]
fn a_rule_whose_series_find_no_room_fails_and_its_alert_does_not_end() {
    let mut device = Device::new(HOT, 1200);
    device.seconds(15, &[9.0]);
    assert_eq!(device.engine.active(), (0, 1));
    // Three more series are more than the budget: none of them is taken for absent.
    device.bound = false;
    let rounds = device.seconds(3, &[9.0, 1.0, 1.0, 1.0]);
    let (_, reason) = &rounds[1].failures[0];
    assert!(reason.contains("rules_memory of 1200B is used up"), "{reason}");
    assert_eq!(device.engine.active(), (0, 1));
    assert!(device.engine.memory().0 <= 1200 && device.engine.memory().1 > 0);
}

#[test]
fn missed_evaluations_are_counted() {
    let mut device = Device::new(HOT, 1 << 20);
    device.seconds(2, &[1.0]);
    device.now.mono_ms += 60_000;
    device.now.wall = device.now.wall.plus(std::time::Duration::from_secs(60));
    let rounds = device.second(&[1.0]);
    assert_eq!(rounds.len(), 1);
    assert_eq!(rounds[0].missed, 60);
}

#[test]
fn a_restart_goes_on_from_the_state_and_the_log() {
    let text = format!("{HOT}  - alert: Many\n    expr: increase(x[5m]) > 100\n    for: 1m\n");
    let rules = rules(&text, 1 << 20);
    let dir = tempfile::tempdir().unwrap();
    let boot = BootId::new(7);
    let mut wal = wal(dir.path(), boot);
    let mut device = Device::new(&text, 1 << 20);
    for n in 0..200u32 {
        let bind = !device.bound;
        device.second(&[f64::from(n)]);
        wal.append(vec![scrape(device.now, &[f64::from(n)], bind)], true);
    }
    assert_eq!(device.engine.active(), (0, 2));
    let file = StateFile::in_folder(dir.path());
    file.write(device.engine.state()).unwrap();
    wal.close();

    // The same boot; then another one, half a minute later.
    for (boot, mono_ms) in [(boot, device.now.mono_ms + 2000), (BootId::new(8), 1000)] {
        let wall = device.now.wall.plus(std::time::Duration::from_secs(2));
        let now = Moment { wall, mono_ms };
        let mut device = Device {
            engine: engine(&rules, now),
            now,
            bound: false,
        };
        device.engine.load(&file.read(), now);
        device.engine.refill(dir.path(), boot, now);
        assert_eq!(device.engine.active(), (0, 2));
        for n in 202..210 {
            let rounds = device.second(&[f64::from(n)]);
            let mut ended = rounds.iter().flat_map(|round| &round.alerts);
            assert!(ended.all(|alert| alert.ends_ms.unwrap() > now.wall.ms()));
        }
        assert_eq!(device.engine.active(), (0, 2));
    }
}

#[test]
fn a_state_under_a_clock_that_was_ahead_is_not_of_the_future() {
    let mut device = Device::new(HOT, 1 << 20);
    device.seconds(5, &[9.0]);
    assert_eq!(device.engine.active(), (1, 0));
    let state = device.engine.state();
    // The clock's battery is empty: it is 1970 again.
    let now = Moment {
        wall: Timestamp::from_ms(60_000),
        mono_ms: 1000,
    };
    let mut device = Device {
        engine: engine(&rules(HOT, 1 << 20), now),
        now,
        bound: true,
    };
    device.engine.load(&state, now);
    device.engine.take(&scrape(now, &[9.0], true));
    // Some seconds of ten are served.
    device.seconds(4, &[9.0]);
    assert_eq!(device.engine.active(), (1, 0));
    device.seconds(4, &[9.0]);
    assert_eq!(device.engine.active(), (0, 1));
}

/// Rules with a second group, as a pushed file has it.
fn with_pushed(rules: &Rules, text: &str) -> Rules {
    let file = wire::message::RuleFile {
        name: "rules.yml".to_owned(),
        text: format!("groups:\n- name: g\n  interval: 1s\n  rules:\n{text}"),
    };
    rules.with_pushed(&[file]).unwrap()
}

#[test]
fn other_rules_leave_those_that_stay_as_they_were_and_find_series_that_nobody_read() {
    let own = rules(HOT, 1 << 20);
    let mut device = Device::new(HOT, 1 << 20);
    device.seconds(7, &[9.0]);
    assert_eq!(device.engine.active(), (1, 0));
    let more = with_pushed(
        &own,
        "  - record: y:sum\n    expr: sum(y)\n  - alert: Up\n    expr: x > 1\n    for: 5s\n",
    );
    let both = |n: usize| Labels::new([("__name__", if n == 0 { "x" } else { "y" })]).unwrap();
    // A series that no rule reads so far.
    let other = ScrapeRow {
        target: TargetId::new(1),
        new_series: (0..2).map(|n| (Slot::new(n as u32), both(n))).collect(),
        values: vec![(Slot::new(1), 4.0)],
        ..scrape(device.now, &[], false)
    };
    device.engine.take(&other);
    assert!(
        device
            .engine
            .change(more.clone(), settings(), device.now, None)
            .is_empty()
    );
    let rounds: Vec<Round> = (0..5)
        .flat_map(|_| {
            let value = ScrapeRow {
                time: device.now.wall,
                mono_ms: device.now.mono_ms + 900,
                new_series: Vec::new(),
                ..other.clone()
            };
            device.engine.take(&value);
            device.second(&[9.0])
        })
        .collect();
    // The alert that was pending for 6 s fires after 10; the new one waits for its own 5.
    assert_eq!(device.engine.active(), (1, 1));
    assert!(
        series(&rounds)
            .iter()
            .any(|labels| labels.starts_with("__name__=y:sum,"))
    );
    assert_eq!(device.engine.summary().unwrap().groups, 2);
    device.seconds(3, &[9.0]);
    assert_eq!(device.engine.active(), (0, 2));

    // The pushed group goes: its series end, the other one fires on.
    let ends = device.engine.change(own, settings(), device.now, None);
    assert_eq!(ends.len(), 1);
    assert!(ends[0].ended && ends[0].values.iter().all(|(_, value)| promql::is_stale(*value)));
    // y:sum, and ALERTS and ALERTS_FOR_STATE of the alert.
    assert_eq!(ends[0].values.len(), 3);
    assert_eq!(device.engine.active(), (0, 1));
    let rounds = device.seconds(70, &[9.0]);
    assert_eq!(rounds.iter().flat_map(|round| &round.failures).count(), 0);
    let starts: Vec<_> = rounds
        .iter()
        .flat_map(|round| &round.alerts)
        .map(|alert| alert.starts_ms)
        .collect();
    assert_eq!(starts.len(), 1, "asserted again after a minute, and no other");

    // Other labels of results end the series under the old ones.
    let renamed = EngineConfig {
        external_labels: [("plant".to_owned(), "south".to_owned())].into(),
        ..settings()
    };
    let ends = device
        .engine
        .change(rules(HOT, 1 << 20), renamed, device.now, None);
    assert_eq!((ends.len(), ends[0].ended, ends[0].values.len()), (1, false, 2));
    let after = device.seconds(2, &[9.0]);
    assert!(series(&after).iter().all(|labels| labels.contains("plant=south")));
    assert_eq!((series(&after).len(), device.engine.active()), (2, (0, 1)));
}

#[test]
fn new_rules_find_their_past_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let boot = BootId::new(7);
    let mut wal = wal(dir.path(), boot);
    let mut device = Device::new(HOT, 1 << 20);
    for n in 0..200u32 {
        let bind = !device.bound;
        device.second(&[f64::from(n)]);
        wal.append(vec![scrape(device.now, &[f64::from(n)], bind)], true);
    }
    let text = format!("{HOT}  - alert: Many\n    expr: increase(x[3m]) > 170\n");
    let log = Some((dir.path(), boot));
    device
        .engine
        .change(rules(&text, 1 << 20), settings(), device.now, log);
    device.second(&[200.0]);
    assert_eq!(device.engine.active(), (0, 2));
    wal.close();
}

#[test]
fn pushed_files_are_kept_apart_from_the_device_s_own_and_held_against_its_memory() {
    let own = rules(HOT, 19_000);
    let both = with_pushed(&own, HOT);
    assert_eq!((both.count(), both.hash), (2, own.hash));
    let keys = engine(&both, moment(0)).group_keys();
    assert_eq!(
        keys.into_iter().collect::<Vec<_>>(),
        ["bridge:rules.yml;g", "rules.yml;g"]
    );
    let file = |text: &str| wire::message::RuleFile {
        name: "r.yml".to_owned(),
        text: format!("groups:\n- name: g\n  rules:\n{text}"),
    };
    let refused = |text: &str| own.with_pushed(&[file(text)]).unwrap_err().to_string();
    let wrong = refused("  - {alert: A, expr: 'sum('}\n");
    assert!(
        wrong.starts_with("bridge:r.yml:4: group \"g\", rule 1"),
        "{wrong}"
    );
    assert!(refused("  - {record: r, expr: 'rate(a[1d])'}\n").contains("more than rules_memory of"));
    // Each would fit, but not both.
    let large = refused("  - {record: r, expr: 'rate(a[15m])'}\n");
    assert!(large.starts_with("all rules together need "), "{large}");
}

proptest! {
    /// Whatever comes in, a selection has what a plain list has, or says that something is missing.
    #[test]
    fn a_window_has_every_sample_of_its_time_or_says_so(
        steps in proptest::collection::vec((0usize..6, 0i64..40_000), 1..200),
        budget in 600usize..6000,
    ) {
        let group = rules("  - record: r\n    expr: sum_over_time(x[2m])\n", 1 << 20);
        let mut window = Window::new(group.readings(), budget);
        let matchers = parse_selector("x").unwrap();
        let mut plain: Vec<(usize, i64)> = Vec::new();
        let mut now_ms = 1_000_000;
        for (n, wait) in steps {
            now_ms += wait;
            let labels: promql::Labels = [("__name__", "x"), ("n", &n.to_string()[..])].into_iter().collect();
            if plain.iter().all(|&(known, at)| known != n || at < now_ms) {
                if let Some(place) = window.place(&labels, now_ms) {
                    window.push(place, now_ms, now_ms as f64);
                }
                plain.push((n, now_ms));
            }
            if wait % 7 == 0 {
                window.sweep(now_ms);
            }
            prop_assert!(window.bytes() <= budget);
            let hints = Hints { start_ms: now_ms - 119_999, end_ms: now_ms, max_samples: 1 << 20, newest_only: false };
            let Ok(found) = window.select(&matchers, &hints) else { continue };
            let mut times: Vec<i64> = found.iter().flat_map(|series| series.samples.times_ms().to_vec()).collect();
            let mut due: Vec<i64> = plain.iter().map(|&(_, at)| at).filter(|&at| at >= hints.start_ms).collect();
            times.sort_unstable();
            due.sort_unstable();
            prop_assert_eq!(times, due);
        }
    }
}
