use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use wire::Labels;

use super::*;
use crate::matcher::Matcher;

fn set(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied()).unwrap()
}

fn register(registry: &mut Registry, labels: &Labels) -> u32 {
    let registered = registry.register(std::iter::once((labels.len() as u32, labels.iter())));
    registered[0].1.series
}

#[test]
fn series_of_a_metric_are_neighbours() {
    let mut registry = Registry::default();
    let mut by_metric: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for device in 0..3000 {
        for metric in ["a", "b"] {
            let id = register(
                &mut registry,
                &set(&[("__name__", metric), ("d", &device.to_string())]),
            );
            by_metric.entry(metric.into()).or_default().push(id);
        }
    }
    for ids in by_metric.values() {
        assert!(ids.is_sorted());
        let jumps = ids.windows(2).filter(|w| w[1] != w[0] + 1).count();
        assert!(jumps <= 7, "{jumps}");
    }
    assert_eq!(registry.len(), 6000);
    assert_eq!(registry.find(&[Matcher::equal("__name__", "a")]).len(), 3000);
}

/// Series of few labels, so that they meet.
fn labels() -> impl Strategy<Value = Labels> {
    let value = || 0u8..4;
    (value(), value(), value()).prop_map(|(a, b, c)| {
        let text = |n: u8| match n {
            0 => String::new(),
            n => n.to_string(),
        };
        set(&[("__name__", &text(a)), ("x", &text(b)), ("y", &text(c))])
    })
}

proptest! {
    #[test]
    fn a_registry_is_a_map(steps in proptest::collection::vec((labels(), any::<bool>()), 1..200)) {
        let mut registry = Registry::default();
        let mut plain: BTreeMap<Labels, u32> = BTreeMap::new();
        let mut used = Vec::new();
        for (labels, drop) in steps {
            // What was in order once is to be so after a change.
            registry.add_values("x", &mut Values::default(), &Multiples(1));
            if drop {
                if let Some(id) = plain.remove(&labels) {
                    registry.remove(id);
                }
                prop_assert_eq!(registry.find_labels(labels.iter()), None);
                continue;
            }
            let id = register(&mut registry, &labels);
            match plain.get(&labels) {
                Some(known) => prop_assert_eq!(id, *known),
                None => {
                    prop_assert!(!used.contains(&id));
                    used.push(id);
                    plain.insert(labels, id);
                }
            }
        }
        check(&registry, &plain);
        // What an index would hold is read into the same.
        let mut sorted: Vec<(&u32, &Labels)> = plain.iter().map(|(labels, id)| (id, labels)).collect();
        sorted.sort_unstable_by_key(|(id, _)| **id);
        let mut loaded = Registry::default();
        let mut list = SeriesList::default();
        for (id, labels) in sorted {
            list.push(*id, labels.iter());
        }
        loaded.load(&list);
        check(&loaded, &plain);
        let highest = plain.values().max().copied();
        let id = register(&mut loaded, &set(&[("__name__", "new")]));
        prop_assert!(highest.is_none_or(|highest| id > highest));
    }
}

/// Series whose numbers are multiples of one count, and all in groups of such numbers.
struct Multiples(u32);

impl Counts for Multiples {
    fn series(&self, series: u32, _: Option<Place>) -> bool {
        series.is_multiple_of(self.0)
    }

    fn first_in(&self, group: u32) -> Known {
        match group.is_multiple_of(self.0) {
            true => Known::All,
            false => Known::None,
        }
    }
}

#[test]
fn values_are_found_by_groups_as_long_as_these_are_there() {
    let mut registry = Registry::default();
    let series = register(&mut registry, &set(&[("__name__", "m"), ("x", "1")]));
    let values = |registry: &Registry, divisor: u32| {
        let mut values = Values::default();
        registry.add_values("x", &mut values, &Multiples(divisor));
        values.into_texts().len()
    };
    let place = |group: u32| Place { group, position: 0 };
    registry.place_first(series, place(6));
    assert_eq!([2, 3, 4, 6].map(|n| values(&registry, n)), [1, 1, 0, 1]);
    // The series is elsewhere, and another group may have its number.
    registry.set_place(series, Some(place(5)));
    registry.forget_groups();
    assert_eq!([3, 5].map(|n| values(&registry, n)), [0, 1]);
}

/// Names, values and order of all series, and of those of some numbers.
fn check_texts(registry: &Registry, plain: &BTreeMap<Labels, u32>) {
    let ids: Vec<u32> = registry.all().iter().collect();
    let order = registry.order(&ids).into_iter();
    let in_order = order.map(|at| registry.labels(ids[at as usize]));
    assert!(in_order.eq(plain.keys().cloned()));
    for divisor in [1, 2, 3] {
        let counts = Multiples(divisor);
        let some: Vec<&Labels> = plain
            .iter()
            .filter(|(_, id)| id.is_multiple_of(divisor))
            .map(|(labels, _)| labels)
            .collect();
        let names: BTreeSet<String> = some
            .iter()
            .flat_map(|set| set.iter().map(|(name, _)| name.to_owned()))
            .collect();
        let (mut all, mut found) = (BTreeSet::new(), BTreeSet::new());
        registry.add_names(&mut all, &counts);
        registry.add_names_of(registry.all(), &mut found, &counts);
        assert_eq!((&all, &found), (&names, &names));
        let values: BTreeSet<&str> = some.iter().filter_map(|set| set.get("x")).collect();
        let (mut all, mut found) = (Values::default(), Values::default());
        for _ in 0..2 {
            registry.add_values("x", &mut all, &counts);
            registry.add_values_of(registry.all(), "x", &mut found, &counts);
        }
        for texts in [all.into_texts(), found.into_texts()] {
            assert!(texts.iter().map(|text| &**text).eq(values.iter().copied()));
        }
    }
}

#[test]
fn values_of_several_registries_are_merged_in_order() {
    let mut values = Values::default();
    for numbers in [[5, 1, 3], [2, 3, 9], [1, 0, 4]] {
        let mut registry = Registry::default();
        for number in numbers {
            register(
                &mut registry,
                &set(&[("__name__", "m"), ("x", &number.to_string())]),
            );
        }
        registry.add_values("x", &mut values, &Multiples(1));
    }
    let texts = values.into_texts();
    assert!(
        texts
            .iter()
            .map(|text| &**text)
            .eq(["0", "1", "2", "3", "4", "5", "9"])
    );
}

fn check(registry: &Registry, plain: &BTreeMap<Labels, u32>) {
    check_texts(registry, plain);
    assert_eq!(registry.len(), plain.len());
    for (labels, id) in plain {
        assert_eq!(registry.find_labels(labels.iter()), Some(*id));
        assert_eq!(registry.labels(*id), *labels);
    }
    for n in 1..4u8 {
        let matcher = Matcher::equal("x", n.to_string());
        let found: Vec<u32> = registry.find(&[matcher]).iter().collect();
        let mut expected: Vec<u32> = plain
            .iter()
            .filter(|(labels, _)| labels.get("x") == Some(&n.to_string()))
            .map(|(_, id)| *id)
            .collect();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
    let mut names: Vec<&str> = registry.names().collect();
    names.sort_unstable();
    let mut expected: Vec<&str> = plain
        .keys()
        .flat_map(|labels| labels.iter().map(|(name, _)| name))
        .collect();
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(names, expected);
}
