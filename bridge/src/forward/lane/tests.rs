//! Lanes against destinations that refuse, wait and come back.

use proptest::prelude::*;

use super::super::answer::Manners;
use super::super::part::tests::part;
use super::super::request::Protocol;
use super::*;

const BACKOFF: Backoff = Backoff {
    least: Duration::from_millis(30),
    most: Duration::from_secs(5),
};

fn manners() -> Manners {
    Manners {
        protocol: Protocol::V1,
        confirmed: false,
        retry_on_429: true,
    }
}

/// Runs a lane against a destination of 1.0: a request with a bad sample is refused whole. Gives the requests it took.
fn run(lane: &mut Lane, bad: &dyn Fn(&str, i64) -> bool) -> (u32, Vec<(String, i64)>) {
    let (mut requests, mut written) = (0, Vec::new());
    while let Some(part) = lane.current(&manners()) {
        requests += 1;
        let samples: Vec<(String, i64)> = part
            .series()
            .iter()
            .flat_map(|s| {
                let name = s.series.pairs().next().unwrap().1.to_owned();
                s.floats.iter().map(move |(time, _)| (name.clone(), *time))
            })
            .collect();
        let verdict = match samples.iter().any(|(name, time)| bad(name, *time)) {
            true => Verdict::Refused,
            false => {
                written.extend(samples.clone());
                Verdict::Written(samples.len() as u64)
            }
        };
        assert_eq!(lane.answered(&verdict, 0.0), Next::Send);
    }
    (requests, written)
}

#[test]
fn one_bad_series_costs_the_others_nothing() {
    let parts = vec![part(&[("a", 20), ("bad", 3), ("c", 10)]), part(&[("d", 5)])];
    let mut lane = Lane::new(parts, BACKOFF, Patience::default());
    let (requests, written) = run(&mut lane, &|name, _| name == "bad");
    assert_eq!(written.len(), 35);
    assert!(requests < 20, "{requests}");
    let (done, rest, patience) = lane.end();
    assert_eq!((done.sent, done.refused, rest.len()), (35, 3, 0));
    assert_eq!(patience, Patience::default());
}

#[test]
fn a_destination_that_refuses_everything_is_not_asked_for_each_sample() {
    let names: Vec<String> = (0..200).map(|n| format!("s{n}")).collect();
    let counts: Vec<(&str, usize)> = names.iter().map(|n| (n.as_str(), 10)).collect();
    let parts: Vec<Part> = (0..20).map(|_| part(&counts)).collect();
    let mut lane = Lane::new(parts, BACKOFF, Patience::default());
    let (requests, written) = run(&mut lane, &|_, _| true);
    assert!(written.is_empty() && requests < 1100, "{requests}");
    let (done, _, patience) = lane.end();
    assert_eq!((done.sent, done.refused), (0, 40_000));
    assert_eq!(patience, Patience(LEAST_TRIES));
    // Something good shows up: it is looked for as before.
    let mut lane = Lane::new(vec![part(&counts)], BACKOFF, patience);
    let (_, written) = run(&mut lane, &|name, _| name == "s199");
    assert_eq!(written.len(), 1990);
    assert_eq!(lane.end().2, Patience::default());
}

#[test]
fn waits_double_up_to_the_most_and_heed_the_destination() {
    let mut lane = Lane::new(vec![part(&[("a", 1)])], BACKOFF, Patience::default());
    let mut waits = Vec::new();
    for n in 0..10 {
        assert_eq!(lane.attempt(), n);
        assert!(lane.current(&manners()).is_some());
        let Next::Wait(wait) = lane.answered(&Verdict::Later(Duration::ZERO), 0.0) else {
            panic!("it does not wait")
        };
        waits.push(wait.as_millis());
    }
    assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1920, 3840, 5000, 5000]);
    let long = Duration::from_secs(60);
    assert_eq!(lane.answered(&Verdict::Later(long), 1.0), Next::Wait(long));
    lane.answered(&Verdict::Written(1), 0.0);
    assert!(lane.is_done() && lane.attempt() == 0);
}

#[test]
fn a_partial_write_is_final() {
    let mut lane = Lane::new(vec![part(&[("a", 10)])], BACKOFF, Patience::default());
    lane.answered(&Verdict::Written(7), 0.0);
    let (done, rest, _) = lane.end();
    assert_eq!((done.sent, done.refused, rest.len()), (7, 3, 0));
}

#[test]
fn what_is_not_answered_is_the_rest() {
    let parts = vec![part(&[("a", 10)]), part(&[("b", 5)])];
    let mut lane = Lane::new(parts, BACKOFF, Patience::default());
    lane.answered(&Verdict::Written(10), 0.0);
    lane.answered(&Verdict::Later(Duration::ZERO), 0.0);
    let (done, rest, _) = lane.end();
    assert_eq!((done.sent, rest.len(), rest[0].samples()), (10, 1, 5));
}

proptest! {
    #[test]
    fn sent_and_refused_add_up_and_order_holds(
        counts in prop::collection::vec(1usize..30, 1..12),
        bad in prop::collection::btree_set((0usize..12, 0i64..30), 0..20),
    ) {
        let names: Vec<String> = (0..counts.len()).map(|n| n.to_string()).collect();
        let counts: Vec<(&str, usize)> = names.iter().map(String::as_str).zip(counts).collect();
        let total: usize = counts.iter().map(|(_, n)| n).sum();
        let mut lane = Lane::new(vec![part(&counts)], BACKOFF, Patience::default());
        let is_bad = |name: &str, time: i64| bad.contains(&(name.parse().unwrap(), time));
        let (_, written) = run(&mut lane, &is_bad);
        let good: usize = counts.iter().map(|(name, n)| (0..*n as i64).filter(|t| !is_bad(name, *t)).count()).sum();
        let (done, _, _) = lane.end();
        prop_assert_eq!(done.sent as usize, good);
        prop_assert_eq!((done.sent + done.refused) as usize, total);
        for name in &names {
            let times: Vec<i64> = written.iter().filter(|(n, _)| n == name).map(|(_, t)| *t).collect();
            prop_assert!(times.windows(2).all(|w| w[0] < w[1]));
        }
    }
}
