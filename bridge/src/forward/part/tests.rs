//! Whatever comes in goes out once, in order of time within a series.

use std::collections::BTreeMap;

use proptest::prelude::*;
use store::Sample;
use wire::{Labels, Tenant, Timestamp};

use super::*;

pub(crate) fn series(tenant: &str, name: &str) -> Arc<Series> {
    let labels = Labels::new([("__name__", name), ("job", "node")]).unwrap();
    Arc::new(Series::new(Tenant::new(tenant).unwrap(), &labels))
}

pub(crate) fn rows(tenant: &str, names: &[&str], samples: &[(u32, i64, f64)]) -> Rows<Option<Arc<Series>>> {
    let of = |name: &&str| (!name.is_empty()).then(|| series(tenant, name));
    Rows {
        received: Timestamp::from_ms(0),
        series: names.iter().map(of).collect(),
        samples: samples
            .iter()
            .map(|(series, time_ms, value)| Sample {
                series: *series,
                time_ms: *time_ms,
                value: *value,
            })
            .collect(),
        histograms: Vec::new(),
    }
}

/// A part of one series each, with so many samples.
pub(crate) fn part(counts: &[(&str, usize)]) -> Part {
    let one = |(name, count): &(&str, usize)| SeriesSamples {
        series: series("t", name),
        floats: (0..*count).map(|n| (n as i64, n as f64)).collect(),
        histograms: Vec::new(),
    };
    Part(counts.iter().map(one).collect())
}

#[test]
fn what_is_left_is_counted_by_its_reason() {
    let mut gathered = Gathered::default();
    let samples = [
        (0, 5, 1.0),
        (0, 50, 2.0),
        (1, 50, 3.0),
        (2, 50, 4.0),
        (2, 60, 5.0),
        (0, 50, 9.0),
    ];
    gathered.add(rows("t", &["a", "", "c"], &samples), 10, true);
    let (shards, left) = gathered.shards(1, 100, false);
    let expected = Left {
        relabelled: 1,
        too_old: 1,
        same_timestamp: 1,
        histograms: 0,
    };
    assert_eq!(left, expected);
    let [part] = shards[0].as_slice() else {
        panic!("one part")
    };
    let found: Vec<_> = part.series().iter().map(|s| s.floats.clone()).collect();
    // The later one of the journal wins, as in the store.
    assert_eq!(found, [vec![(50, 9.0)], vec![(50, 4.0), (60, 5.0)]]);
}

#[test]
fn the_same_labels_of_two_lists_are_one_series_and_tenants_are_not() {
    let mut gathered = Gathered::default();
    gathered.add(rows("t", &["a"], &[(0, 2, 2.0)]), 0, true);
    gathered.add(rows("t", &["a"], &[(0, 1, 1.0)]), 0, true);
    gathered.add(rows("u", &["a"], &[(0, 1, 7.0)]), 0, true);
    let (shards, _) = gathered.shards(1, 100, true);
    let found: Vec<_> = shards[0]
        .iter()
        .map(|part| part.series()[0].floats.clone())
        .collect();
    assert_eq!(found, [vec![(1, 1.0), (2, 2.0)], vec![(1, 7.0)]]);
}

proptest! {
    #[test]
    fn every_sample_is_in_one_part(
        input in prop::collection::vec((0u32..6, 0i64..40), 0..300),
        shards in 1usize..5,
        most in 1usize..30,
        apart: bool,
    ) {
        let mut gathered = Gathered::default();
        let mut expected: BTreeMap<(usize, u32, i64), f64> = BTreeMap::new();
        let names = ["a", "b", "c", "d", "e", "f"];
        for (n, chunk) in input.chunks(7).enumerate() {
            let tenant = n % 2;
            let samples: Vec<_> = chunk.iter().map(|(s, t)| (*s, *t, (n * 1000) as f64 + *t as f64)).collect();
            for (s, t, v) in &samples {
                expected.insert((tenant, *s, *t), *v);
            }
            gathered.add(rows(["t", "u"][tenant], &names, &samples), i64::MIN, true);
        }
        let total = gathered.samples();
        prop_assert_eq!(total, input.len() as u64);
        let (shards, left) = gathered.shards(shards, most, apart);
        let mut found = BTreeMap::new();
        let mut last: BTreeMap<(usize, u32), i64> = BTreeMap::new();
        for part in shards.iter().flatten() {
            prop_assert!(part.samples() > 0 && part.samples() <= most as u64);
            let tenants: std::collections::BTreeSet<_> = part.series().iter().map(|s| s.series.tenant().clone()).collect();
            prop_assert!(!apart || tenants.len() == 1);
            for of in part.series() {
                let tenant = usize::from(of.series.tenant().as_str() == "u");
                let name = of.series.pairs().next().unwrap().1;
                let s = names.iter().position(|n| *n == name).unwrap() as u32;
                for (time, value) in &of.floats {
                    let before = last.insert((tenant, s), *time);
                    prop_assert!(before.is_none_or(|before| before < *time));
                    prop_assert_eq!(found.insert((tenant, s, *time), *value), None);
                }
            }
        }
        prop_assert_eq!(found.len() as u64 + left.same_timestamp, total);
        prop_assert_eq!(found, expected);
    }
}
