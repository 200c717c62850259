//! Sums by hand, and that no histogram from outside can break the arithmetic.

use proptest::prelude::*;

use super::*;
use crate::histogram::CUSTOM_SCHEMA;

fn histogram(schema: i32, zero: (f64, f64), positive: &[(i32, f64)]) -> Histogram {
    let positive = Buckets::new(positive.to_vec());
    let count = zero.1 + positive.total();
    Histogram {
        schema,
        zero_threshold: zero.0,
        zero_count: zero.1,
        count,
        positive,
        ..Histogram::default()
    }
}

#[test]
fn sums_meet_at_the_coarser_schema() {
    let fine = histogram(1, (0.0, 0.0), &[(1, 1.0), (2, 2.0), (3, 4.0)]);
    let coarse = histogram(0, (0.0, 0.0), &[(1, 10.0)]);
    let sum = fine.plus(&coarse).unwrap();
    assert_eq!(sum.schema, 0);
    assert_eq!(sum.positive, Buckets::new(vec![(1, 13.0), (2, 4.0)]));
    assert_eq!(sum.minus(&coarse).unwrap().positive, fine.at_schema(0).positive);
}

#[test]
fn a_zero_bucket_swallows_what_it_would_cut() {
    let narrow = histogram(0, (0.1, 1.0), &[(-1, 2.0), (0, 3.0), (2, 4.0)]);
    // 0.6 lies in bucket 0, (0.5, 1]: the common zero bucket ends at 1.
    let wide = histogram(0, (0.6, 10.0), &[(2, 1.0)]);
    let sum = narrow.plus(&wide).unwrap();
    assert_eq!((sum.zero_threshold, sum.zero_count), (1.0, 16.0));
    assert_eq!(sum.positive, Buckets::new(vec![(2, 5.0)]));
}

#[test]
fn a_reset_shows_in_a_single_bucket() {
    let before = histogram(0, (0.0, 0.0), &[(0, 2.0), (1, 1.0)]);
    let after = histogram(0, (0.0, 0.0), &[(0, 1.0), (1, 5.0)]);
    assert!(after.is_reset_after(&before));
    assert!(!before.plus(&after).unwrap().is_reset_after(&before));
}

/// Histograms that nobody checked.
fn any_histogram() -> impl Strategy<Value = Histogram> {
    let number = prop_oneof![
        6 => -100.0..100.0,
        1 => Just(0.0),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => any::<f64>(),
    ];
    let index = prop_oneof![8 => -20..20_i32, 1 => any::<i32>(), 1 => Just(i32::MIN), 1 => Just(i32::MAX)];
    let schema =
        prop_oneof![8 => -4..=8_i32, 4 => Just(CUSTOM_SCHEMA), 1 => any::<i32>(), 1 => Just(i32::MIN)];
    let buckets = prop::collection::vec((index, number.clone()), 0..12);
    let bounds = prop::collection::vec(number.clone(), 0..5);
    (
        schema,
        [number.clone(), number.clone(), number.clone(), number],
        buckets.clone(),
        buckets,
        bounds,
    )
        .prop_map(
            |(schema, [zero_threshold, zero_count, count, sum], positive, negative, bounds)| Histogram {
                counter_reset: CounterReset::Unknown,
                schema,
                zero_threshold,
                zero_count,
                count,
                sum,
                positive: Buckets::new(positive),
                negative: Buckets::new(negative),
                custom_bounds: bounds.into(),
            },
        )
}

proptest! {
    #[test]
    fn unchecked_histograms_neither_panic_nor_hang(left in any_histogram(), right in any_histogram(), factor in any::<f64>()) {
        let _ = (left.plus(&right), left.minus(&right), left.is_reset_after(&right), left == right);
        let _ = (left.times(factor), left.divided_by(factor), left.to_string(), left.buckets(), left.at_schema(0));
    }

    #[test]
    fn a_difference_undoes_a_sum(
        left in prop::collection::vec((-20..20_i32, 1..100_u32), 0..12),
        right in prop::collection::vec((-20..20_i32, 1..100_u32), 0..12),
    ) {
        let histogram = |buckets: Vec<(i32, u32)>| {
            let buckets: Vec<(i32, f64)> = buckets.into_iter().map(|(i, n)| (i, f64::from(n))).collect();
            histogram(3, (0.0, 0.0), &buckets)
        };
        let (left, right) = (histogram(left), histogram(right));
        let sum = left.plus(&right).unwrap();
        prop_assert!(!sum.is_reset_after(&left));
        prop_assert_eq!(sum.minus(&right).unwrap(), left);
    }
}
