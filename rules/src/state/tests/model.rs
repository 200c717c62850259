//! The state machine against a naive model: any sequence of values gives the same alerts and series.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// An alert as the naive model has it: nothing but the history of its series.
#[derive(Default)]
struct Naive {
    /// Whether the series was there, per minute.
    history: Vec<bool>,
}

impl Naive {
    /// State after the last minute, walked anew from the beginning: state, since when, when it fired, when it ended.
    fn outcome(&self, hold: i64, keep: i64) -> Option<(AlertState, i64, Option<i64>, Option<i64>)> {
        let mut now: Option<(AlertState, i64, Option<i64>, Option<i64>)> = None;
        let mut last_seen = 0;
        for (minute, is_there) in (0..).zip(&self.history) {
            now = match (now, is_there) {
                (None | Some((AlertState::Inactive, ..)), true) => match hold {
                    0 => Some((AlertState::Firing, minute, Some(minute), None)),
                    _ => Some((AlertState::Pending, minute, None, None)),
                },
                (Some((AlertState::Pending, since, ..)), true) if minute - since >= hold => {
                    Some((AlertState::Firing, since, Some(minute), None))
                }
                (Some((AlertState::Pending, ..)), false) => None,
                // The first minute without it counts as the beginning of the time that it is kept.
                (Some((AlertState::Firing, since, fired, _)), false) if minute - (last_seen + 1) >= keep => {
                    Some((AlertState::Inactive, since, fired, Some(minute)))
                }
                (Some((AlertState::Inactive, _, _, Some(ended))), false) if minute - ended > 15 => None,
                (other, _) => other,
            };
            if *is_there {
                last_seen = minute;
            }
        }
        now
    }
}

proptest! {
    #[test]
    fn alerts_are_those_of_a_naive_model(
        hold in 0_i64..4,
        keep in 0_i64..4,
        minutes in prop::collection::vec(prop::collection::vec(any::<bool>(), 3), 1..60),
        reload in 0_usize..60,
    ) {
        let rules = format!(
            "  rules:\n  - alert: A\n    expr: a > 0\n    for: {hold}m\n    keep_firing_for: {keep}m\n"
        );
        let mut state = GroupState::new(group(&rules), options());
        let mut memory = memory();
        let mut naive: BTreeMap<usize, Naive> = BTreeMap::new();
        for (minute, there) in (0_i64..).zip(&minutes) {
            for (series, is_there) in there.iter().enumerate() {
                naive.entry(series).or_default().history.push(*is_there);
                put(&mut memory, &format!("a{{i=\"{series}\"}}"), minute * MINUTE, f64::from(u8::from(*is_there)));
            }
            // A restart at once, and a reload, change nothing.
            if minute as usize == reload {
                let mut next = GroupState::new(group(&rules), options());
                next.load(&state.to_bytes(), (minute - 1) * MINUTE).unwrap();
                let mut reloaded = GroupState::new(group(&rules), options());
                reloaded.take_over(next);
                state = reloaded;
            }
            let evaluation = state.evaluate(minute * MINUTE, &mut memory);
            prop_assert!(evaluation.failures.is_empty());
            let got: Vec<_> = state.rules()[0].all_alerts().map(|alert| {
                let minutes = |ms: Option<i64>| ms.map(|ms| ms / MINUTE);
                let times = (alert.active_at_ms / MINUTE, minutes(alert.fired_at_ms), minutes(alert.resolved_at_ms));
                (alert.labels.get("i").to_owned(), alert.state, times)
            }).collect();
            let wanted: Vec<_> = naive.iter().filter_map(|(series, naive)| {
                let (state, since, fired, ended) = naive.outcome(hold, keep)?;
                Some((series.to_string(), state, (since, fired, ended)))
            }).collect();
            prop_assert_eq!(&got, &wanted, "minute {}", minute);
            let shown: Vec<_> = values(&memory, "ALERTS", minute * MINUTE);
            let active = wanted.iter().filter(|(_, state, _)| *state != AlertState::Inactive);
            let wanted: Vec<_> = active.map(|(series, state, _)| {
                let labels = format!(
                    "{{__name__=\"ALERTS\", alertname=\"A\", alertstate=\"{}\", i=\"{series}\"}}",
                    state.as_str()
                );
                (labels, 1.0)
            }).collect();
            let mut wanted = wanted;
            wanted.sort_by(|a, b| a.0.cmp(&b.0));
            prop_assert_eq!(shown, wanted);
        }
    }

    #[test]
    fn any_bytes_are_a_state_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..400) {
        let rules = "  rules:\n  - alert: A\n    expr: a\n";
        let mut state = GroupState::new(group(rules), options());
        let _ = state.load(&bytes, 0);
        // With a head that fits.
        let mut headed = b"BHRS\x01".to_vec();
        headed.extend_from_slice(&xxhash_rust::xxh64::xxh64(&bytes, 0).to_le_bytes());
        headed.extend_from_slice(&bytes);
        let _ = state.load(&headed, 0);
        let _ = state.load(&headed[..cut.min(headed.len())], 0);
    }
}
