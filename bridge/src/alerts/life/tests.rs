//! The life of an alert under reports in any order.

use proptest::prelude::*;

use super::*;

const TIMES: Times = Times {
    min_firing_ms: 100,
    resend_delay_ms: 50,
    silent_after_ms: 1_000,
    hold_silent_ms: 10_000,
};

fn report(starts_ms: i64, ends_ms: i64) -> Report {
    Report {
        labels: Labels::new([("alertname", "Hot")]).unwrap(),
        annotations: Vec::new(),
        generator_url: String::new(),
        starts_ms,
        ends_ms,
    }
}

fn life(starts_ms: i64, ends_ms: i64, now_ms: i64) -> Life {
    Life::new("default", ("default.a", ""), report(starts_ms, ends_ms), now_ms)
}

const FIRING: Shown = Shown::Firing { ends_ms: None };

#[test]
fn an_interval_that_was_over_when_it_came_is_shown_firing_first() {
    let mut late = life(1_000, 2_000, 60_000);
    assert_eq!(late.shown(60_000, &TIMES, None), FIRING);
    assert!(late.is_due("a", FIRING, 60_000, &TIMES));
    late.accepted("a", true, late.change, 60_010);
    assert_eq!(late.shown(60_109, &TIMES, None), FIRING);
    let over = late.shown(60_110, &TIMES, None);
    assert_eq!(
        over,
        Shown::Resolved {
            ends_ms: 2_000,
            since_ms: 60_110
        }
    );
    assert_eq!(late.starts_ms, 1_000);
    assert!(late.is_due("a", over, 60_110, &TIMES));
}

#[test]
fn a_rule_may_keep_what_is_over_from_paging() {
    let mut quiet = life(1_000, 2_000, 60_000);
    quiet.labels.push(pair(LATE, "drop"));
    let shown = quiet.shown(60_000, &TIMES, None);
    assert_eq!(shown, Shown::Withheld { since_ms: 60_000 });
    assert!(!quiet.is_due("a", shown, 60_000, &TIMES));
    // One that fires when it comes is told.
    let mut fires = life(1_000, 0, 60_000);
    fires.labels.push(pair(LATE, "drop"));
    assert_eq!(fires.shown(60_000, &TIMES, None), FIRING);
}

#[test]
fn what_fires_again_before_its_end_was_shown_is_the_same_interval() {
    let mut flaps = life(1_000, 0, 1_000);
    flaps.accepted("a", true, 1, 1_010);
    assert_eq!(
        flaps.note(report(1_000, 1_050), 1_050, &TIMES, None),
        Noted::Ended
    );
    assert_eq!(
        flaps.note(report(1_080, 0), 1_080, &TIMES, None),
        Noted::Collapsed
    );
    assert_eq!((flaps.starts_ms, flaps.collapsed), (1_000, 1));
    // It is told again, as it may be that nobody took it before.
    assert!(flaps.is_due("a", FIRING, 1_081, &TIMES));
    flaps.accepted("a", true, flaps.change, 1_090);
    flaps.note(report(1_080, 1_100), 1_100, &TIMES, None);
    assert_eq!(flaps.shown(1_189, &TIMES, None), FIRING);
    assert!(matches!(
        flaps.shown(1_190, &TIMES, None),
        Shown::Resolved { ends_ms: 1_100, .. }
    ));
    // After that, it is a new one.
    assert_eq!(flaps.note(report(1_500, 0), 1_500, &TIMES, None), Noted::Raised);
    assert_eq!(flaps.starts_ms, 1_500);
}

#[test]
fn a_silent_device_neither_resolves_nor_repeats_an_alert_by_accident() {
    let mut held = life(1_000, 0, 1_000);
    assert_eq!(held.shown(5_000, &TIMES, Some(2_000)), FIRING);
    assert!(matches!(
        held.shown(12_000, &TIMES, Some(2_000)),
        Shown::Resolved { ends_ms: 12_000, .. }
    ));
    held.labels.push(pair(SILENT, "expire"));
    assert_eq!(held.shown(2_999, &TIMES, Some(2_000)), FIRING);
    assert!(matches!(
        held.shown(3_000, &TIMES, Some(2_000)),
        Shown::Resolved { ends_ms: 3_000, .. }
    ));
    // It is heard of again.
    assert_eq!(held.shown(3_500, &TIMES, None), FIRING);
}

#[test]
fn each_alertmanager_is_told_until_it_knows() {
    let mut alert = life(1_000, 0, 1_000);
    alert.accepted("a", true, 1, 1_000);
    assert!(!alert.is_due("a", FIRING, 1_049, &TIMES) && alert.is_due("a", FIRING, 1_050, &TIMES));
    assert!(alert.is_due("b", FIRING, 1_001, &TIMES));
    alert.note(report(1_000, 2_000), 2_000, &TIMES, None);
    let over = alert.shown(2_000, &TIMES, None);
    assert_eq!(
        over,
        Shown::Resolved {
            ends_ms: 2_000,
            since_ms: 2_000
        }
    );
    alert.accepted("a", false, 1, 2_001);
    assert!(!alert.is_due("a", over, 2_050, &TIMES) && alert.is_due("a", over, 2_051, &TIMES));
    let both = ["a".to_owned(), "b".to_owned()];
    let later = 2_000 + RESOLVED_RETENTION_MS;
    assert!(alert.is_done(over, later, &both[..1]) && !alert.is_done(over, later, &both));
    alert.accepted("b", false, 1, later);
    assert!(alert.is_done(over, later, &both));
}

proptest! {
    /// Reports of intervals one after the other, each a start and then an end, arrive repeated and in any order: what is
    /// known in the end is the newest interval, and its end if that came.
    #[test]
    fn the_newest_interval_wins_in_any_order(
        ends in proptest::collection::vec(any::<bool>(), 1..8),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let mut reports = Vec::new();
        for (n, ended) in ends.iter().enumerate() {
            let start = 1_000 * (n as i64 + 1);
            reports.push((start, 0));
            if *ended {
                reports.push((start, start + 500));
            }
        }
        let mut sent: Vec<(i64, i64)> = order.iter().map(|index| reports[index.index(reports.len())]).collect();
        sent.extend(&reports);
        sent.rotate_left(order.len() / 2);
        let now_ms = 100_000;
        let (starts_ms, ends_ms) = sent[0];
        let mut known = life(starts_ms, ends_ms, now_ms);
        for (starts_ms, ends_ms) in sent {
            known.note(report(starts_ms, ends_ms), now_ms, &TIMES, None);
        }
        let newest = 1_000 * ends.len() as i64;
        prop_assert_eq!(known.interval_ms, newest);
        prop_assert_eq!(known.ends_ms, if ends[ends.len() - 1] { newest + 500 } else { 0 });
    }
}
