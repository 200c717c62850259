use promql::{Hints, MatchOp, Matcher, SeriesSource, is_stale, parse};

use super::*;
use crate::file::{FileOptions, parse as parse_file};
use crate::storage::Storage;
use crate::unit_test::memory::Memory;

mod model;

const MINUTE: i64 = 60_000;

fn group(rules: &str) -> Group {
    let text = format!("groups:\n- name: g\n{rules}");
    parse_file(&text, "f.yml", &FileOptions::default())
        .unwrap()
        .remove(0)
}

fn options() -> Options {
    Options {
        restore: false,
        external_url: "http://ours".to_owned(),
        ..Options::default()
    }
}

fn memory() -> Memory {
    Memory::new(promql::Options::default())
}

fn put(memory: &mut Memory, series: &str, time_ms: i64, value: f64) {
    memory
        .push(&Sample::float(labels(series), time_ms, value))
        .unwrap();
}

fn labels(series: &str) -> Labels {
    let matchers = promql::parse_selector(series).unwrap();
    matchers.iter().map(|m| (m.name(), m.value())).collect()
}

/// Values of all series of a name that have one at a time, by their labels; stale ones are not among them.
fn values(memory: &Memory, query: &str, at_ms: i64) -> Vec<(String, f64)> {
    let answer = memory.query(&parse(query).unwrap(), at_ms).unwrap();
    let promql::QueryValue::Vector(samples) = answer.value else {
        panic!("not a vector")
    };
    let mut values: Vec<(String, f64)> = samples
        .into_iter()
        .map(|sample| (sample.labels.to_string(), sample.value))
        .collect();
    values.sort_by(|a, b| a.0.cmp(&b.0));
    values
}

/// All samples of a series.
fn raw(memory: &Memory, name: &str) -> Vec<(i64, f64)> {
    let matcher = Matcher::new("__name__", MatchOp::Equal, name).unwrap();
    let hints = Hints {
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        max_samples: u64::MAX,
        newest_only: false,
    };
    let series = memory.select(&[matcher], &hints).unwrap();
    let samples = series.iter().flat_map(|series| {
        let times = series.samples.times_ms().iter().copied();
        times.zip(series.samples.values().iter().copied())
    });
    samples.collect()
}

const DOWN: &str = "  rules:\n  - alert: Down\n    expr: up == 0\n    for: 2m\n    labels: {severity: page}\n    \
                    annotations: {summary: '{{ $labels.job }} is {{ $value }}'}\n";

#[test]
fn an_alert_is_pending_then_fires_then_ends() {
    let mut state = GroupState::new(group(DOWN), options());
    let mut memory = memory();
    for minute in 0..=4 {
        let value = if minute < 4 { 0.0 } else { 1.0 };
        put(&mut memory, "up{job=\"a\"}", minute * MINUTE, value);
        state.evaluate(minute * MINUTE, &mut memory);
        let alerts: Vec<&Alert> = state.rules()[0].alerts().collect();
        match minute {
            0 | 1 => assert_eq!(alerts[0].state, AlertState::Pending),
            2 | 3 => {
                assert_eq!(alerts[0].state, AlertState::Firing);
                assert_eq!(alerts[0].fired_at_ms, Some(2 * MINUTE));
                let summary = vec![("summary".to_owned(), "a is 0".to_owned())];
                assert_eq!(alerts[0].annotations, summary);
            }
            _ => assert!(alerts.is_empty()),
        }
    }
    assert_eq!(state.rules()[0].state(), AlertState::Inactive);
    assert_eq!(
        values(&memory, "ALERTS", 2 * MINUTE),
        [(
            "{__name__=\"ALERTS\", alertname=\"Down\", alertstate=\"firing\", job=\"a\", severity=\"page\"}"
                .to_owned(),
            1.0
        )]
    );
    assert_eq!(values(&memory, "ALERTS_FOR_STATE", 3 * MINUTE)[0].1, 0.0);
    assert_eq!(values(&memory, "ALERTS", 4 * MINUTE), []);
    let last = *raw(&memory, "ALERTS_FOR_STATE").last().unwrap();
    assert!(last.0 == 4 * MINUTE && is_stale(last.1));
}

#[test]
fn what_is_due_is_sent_again_and_its_end_for_15_minutes() {
    let mut state = GroupState::new(group(DOWN), options());
    let mut memory = memory();
    let mut sent = Vec::new();
    for minute in 0..=25 {
        put(
            &mut memory,
            "up{job=\"a\"}",
            minute * MINUTE,
            f64::from(u8::from(minute >= 5)),
        );
        state.evaluate(minute * MINUTE, &mut memory);
        let due = state.due(minute * MINUTE);
        sent.extend(due.into_iter().map(|alert| (minute, alert)));
    }
    let first = &sent[0];
    assert_eq!(first.0, 2);
    assert_eq!(
        (first.1.starts_at_ms, first.1.ends_at_ms),
        (2 * MINUTE, 6 * MINUTE)
    );
    assert_eq!(
        first.1.generator_url,
        "http://ours/graph?g0.expr=up+%3D%3D+0&g0.tab=1"
    );
    let ended: Vec<_> = sent.iter().filter(|(_, alert)| alert.is_resolved).collect();
    assert_eq!((ended[0].0, ended[0].1.ends_at_ms), (5, 5 * MINUTE));
    assert!(ended.iter().all(|(minute, _)| *minute <= 20));
    // The delay is one minute, and what was sent exactly one minute ago waits.
    let minutes: Vec<i64> = sent.iter().map(|(minute, _)| *minute).collect();
    assert_eq!(minutes, [2, 4, 5, 7, 9, 11, 13, 15, 17, 19]);
}

#[test]
fn an_alert_keeps_firing_for_a_while() {
    let rules = "  rules:\n  - alert: Hot\n    expr: t > 5\n    keep_firing_for: 3m\n";
    let mut state = GroupState::new(group(rules), options());
    let mut memory = memory();
    let mut firing = Vec::new();
    for minute in 0..10 {
        put(
            &mut memory,
            "t",
            minute * MINUTE,
            if minute == 0 || minute == 2 { 9.0 } else { 1.0 },
        );
        state.evaluate(minute * MINUTE, &mut memory);
        firing.push(state.rules()[0].alerts().count());
    }
    assert_eq!(firing, [1, 1, 1, 1, 1, 1, 0, 0, 0, 0]);
    assert_eq!(state.rules()[0].all_alerts().count(), 1);
}

#[test]
fn rules_see_the_results_of_earlier_ones_and_failures_stop_nobody() {
    let rules = "  limit: 2\n  query_offset: 1m\n  rules:\n  - record: a:sum\n    expr: sum(a)\n    labels: {x: y}\n  \
                 - record: bad\n    expr: a\n  - record: dup\n    expr: 'a'\n    labels: {i: ''}\n  \
                 - record: b\n    expr: a:sum * 2\n  - alert: Text\n    expr: '\"x\"'\n  - record: s\n    expr: 1 + 1\n";
    let mut state = GroupState::new(group(rules), options());
    let mut memory = memory();
    for i in 0..3 {
        put(&mut memory, &format!("a{{i=\"{i}\"}}"), 0, f64::from(i));
    }
    let evaluation = state.evaluate(MINUTE, &mut memory);
    assert_eq!(evaluation.samples, 3);
    let failures: Vec<_> = evaluation
        .failures
        .iter()
        .map(|(i, e)| (*i, e.as_str()))
        .collect();
    assert_eq!(
        failures,
        [
            (1, "exceeded limit of 2 with 3 series"),
            (
                2,
                "vector contains metrics with the same labelset after applying rule labels"
            ),
            (4, "rule result is not a vector or scalar"),
        ]
    );
    assert_eq!(raw(&memory, "b"), [(0, 6.0)]);
    assert_eq!(values(&memory, "s", 0), [("{__name__=\"s\"}".to_owned(), 2.0)]);
    assert_eq!(state.rules()[1].health(), Health::Bad);
    assert_eq!(state.rules()[3].health(), Health::Good);
}

#[test]
fn a_failing_limit_clears_alerts() {
    let rules = "  limit: 1\n  rules:\n  - alert: A\n    expr: a > 0\n";
    let mut state = GroupState::new(group(rules), options());
    let mut memory = memory();
    put(&mut memory, "a{i=\"1\"}", 0, 1.0);
    state.evaluate(0, &mut memory);
    assert_eq!(state.due(0).len(), 1);
    put(&mut memory, "a{i=\"2\"}", MINUTE, 1.0);
    let evaluation = state.evaluate(MINUTE, &mut memory);
    assert_eq!(
        evaluation.failures,
        [(0, "exceeded limit of 1 with 2 alerts".to_owned())]
    );
    assert_eq!(state.rules()[0].all_alerts().count(), 0);
    assert_eq!(state.due(10 * MINUTE), []);
}

#[test]
fn state_is_restored_from_its_series_as_prometheus_does() {
    let rules =
        "  rules:\n  - alert: Slow\n    expr: up == 0\n    for: 1h\n    labels: {t: '{{ $value }}', s: x}\n";
    // Last seen, value of ALERTS_FOR_STATE in minutes, and the first time wanted, in minutes, at a restart at 100.
    for (seen, since, wanted) in [
        (90, 80, 90.0),         // pending for 10 of 60 minutes; 10 minutes were away
        (90, 20, 20.0),         // was firing
        (90, 35, 100.0 - 50.0), // 5 minutes were left: 10 of grace
        (30, 0, 99.0),          // too long ago
    ] {
        let mut memory = memory();
        put(
            &mut memory,
            "ALERTS_FOR_STATE{alertname=\"Slow\",job=\"a\",s=\"x\",t=\"0\"}",
            seen * MINUTE,
            (since * 60) as f64,
        );
        let mut state = GroupState::new(
            group(rules),
            Options {
                restore: true,
                ..options()
            },
        );
        for minute in [99, 100] {
            put(&mut memory, "up{job=\"a\"}", minute * MINUTE, 0.0);
            state.evaluate(minute * MINUTE, &mut memory);
            assert_eq!(values(&memory, "ALERTS", minute * MINUTE), []);
        }
        let alert = state.rules()[0].alerts().next().unwrap();
        assert_eq!(
            alert.active_at_ms as f64 / MINUTE as f64,
            wanted,
            "seen {seen}, since {since}"
        );
        state.evaluate(101 * MINUTE, &mut memory);
        assert_eq!(values(&memory, "ALERTS", 101 * MINUTE).len(), 1);
    }
}

#[test]
fn a_reload_carries_state_and_ends_what_is_gone() {
    let before = "  rules:\n  - record: x\n    expr: a\n  - record: y\n    expr: a\n  - alert: A\n    expr: a\n    for: 2m\n";
    let after = "  rules:\n  - alert: A\n    expr: a\n    for: 2m\n  - record: x\n    expr: a\n";
    let mut memory = memory();
    let mut state = GroupState::new(group(before), options());
    put(&mut memory, "a", 0, 1.0);
    state.evaluate(0, &mut memory);
    let mut next = GroupState::new(
        group(after),
        Options {
            restore: true,
            ..options()
        },
    );
    next.take_over(state);
    put(&mut memory, "a", 2 * MINUTE, 1.0);
    next.evaluate(2 * MINUTE, &mut memory);
    assert_eq!(next.rules()[0].state(), AlertState::Firing);
    assert_eq!(values(&memory, "{__name__=~\"x|y\"}", 2 * MINUTE).len(), 1);
    assert!(
        raw(&memory, "y")
            .last()
            .is_some_and(|(time, value)| *time == 2 * MINUTE && is_stale(*value))
    );
    let markers = next.retire(3 * MINUTE);
    assert_eq!(markers.len(), 3);
}

#[test]
fn state_survives_as_bytes() {
    let rules = "  rules:\n  - alert: A\n    expr: a\n    for: 5m\n  - alert: F\n    expr: a\n  - record: x\n    expr: a\n";
    let mut memory = memory();
    let mut state = GroupState::new(group(rules), options());
    for minute in 0..3 {
        put(&mut memory, "a", minute * MINUTE, 1.0);
        state.evaluate(minute * MINUTE, &mut memory);
        state.due(minute * MINUTE);
    }
    let bytes = state.to_bytes();
    let load = |now: i64| {
        let mut loaded = GroupState::new(
            group(rules),
            Options {
                restore: true,
                ..options()
            },
        );
        loaded.load(&bytes, now).map(|()| loaded)
    };
    // At once: nothing changed.
    let same = load(2 * MINUTE).unwrap();
    assert_eq!(same.to_bytes(), bytes);
    assert!(same.is_restored());
    // Ten minutes later: pending for two minutes still, firing as before.
    let later = load(12 * MINUTE).unwrap();
    assert_eq!(
        later.rules()[0].alerts().next().unwrap().active_at_ms,
        10 * MINUTE
    );
    let firing = later.rules()[1].alerts().next().unwrap();
    assert_eq!((firing.state, firing.fired_at_ms), (AlertState::Firing, Some(0)));
    // After more than an hour the pending one begins anew.
    let late = load(200 * MINUTE).unwrap();
    assert_eq!(late.rules()[0].all_alerts().count(), 0);
    assert_eq!(late.rules()[1].all_alerts().count(), 1);
    // What is damaged, later or another's is refused.
    for cut in 0..bytes.len() {
        let mut loaded = GroupState::new(group(rules), options());
        assert!(loaded.load(&bytes[..cut], 0).is_err(), "{cut}");
        let mut flipped = bytes.clone();
        flipped[cut] ^= 1;
        assert!(loaded.load(&flipped, 0).is_err(), "{cut}");
    }
    let mut newer = bytes.clone();
    newer[4] = 2;
    let mut other = GroupState::new(group(rules), options());
    assert_eq!(other.load(&newer, 0), Err(StateError::Version { found: 2 }));
    let mut renamed = group(rules);
    renamed.name = "h".to_owned();
    let mut renamed = GroupState::new(renamed, options());
    assert_eq!(
        renamed.load(&bytes, 0),
        Err(StateError::OtherGroup("f.yml;g".to_owned()))
    );
}

#[test]
fn templates_ask_queries_at_the_rules_time() {
    let rules = "  rules:\n  - alert: A\n    expr: a\n    annotations:\n      q: '{{ with query \"sum(b)\" }}{{ . | first | value }}{{ end }}'\n      \
                 n: '{{ range query \"b\" | sortByLabel \"i\" }}{{ .Labels.i }}={{ .Value }};{{ end }}'\n      \
                 e: '{{ query \"sum(\" }}'\n";
    let mut memory = memory();
    put(&mut memory, "a", 0, 1.0);
    put(&mut memory, "b{i=\"2\"}", 0, 2.0);
    put(&mut memory, "b{i=\"1\"}", 0, 1.5);
    let mut state = GroupState::new(group(rules), options());
    state.evaluate(0, &mut memory);
    let alert = state.rules()[0].alerts().next().unwrap();
    assert_eq!(alert.annotations[1].1, "1=1.5;2=2;");
    assert_eq!(alert.annotations[2].1, "3.5");
    assert!(
        alert.annotations[0]
            .1
            .starts_with("<error expanding template: error executing template __alert_A: ")
    );
}
