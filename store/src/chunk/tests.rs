use proptest::prelude::*;

use super::*;

fn round_trip(values: &[f64]) -> usize {
    let mut bytes = Vec::new();
    let mut mode = 0;
    Encoder::default().encode(values, &mut mode, &mut bytes);
    let mut found = Vec::new();
    decode(&bytes, values.len(), &mut found).unwrap();
    let bits = |list: &[f64]| list.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&found), bits(values));
    bytes.len()
}

/// Series as exporters make them, and hostile ones.
fn series() -> impl Strategy<Value = Vec<f64>> {
    let len = 0usize..300;
    prop_oneof![
        proptest::collection::vec(any::<u64>().prop_map(f64::from_bits), len.clone()),
        (
            any::<i32>(),
            proptest::collection::vec(-5i64..2000, len.clone()),
            1i64..5000
        )
            .prop_map(|(start, steps, scale)| {
                let mut n = i64::from(start);
                steps
                    .into_iter()
                    .map(|step| {
                        n += step;
                        (n * scale) as f64
                    })
                    .collect()
            }),
        (proptest::collection::vec(0u32..100_000, len.clone()), 0i32..12).prop_map(|(list, digits)| list
            .into_iter()
            .map(|n| f64::from(n) / 10f64.powi(digits))
            .collect()),
        (proptest::collection::vec(prop_oneof![9 => Just(0u8), 1 => any::<u8>()], len.clone()))
            .prop_map(|list| list.into_iter().map(f64::from).collect()),
        proptest::collection::vec(
            prop_oneof![
                Just(0.0),
                Just(-0.0),
                Just(f64::NAN),
                Just(f64::from_bits(0x7ff0_0000_0000_0002)),
                Just(f64::INFINITY),
                Just(2e15),
                Just(-1.999_999e15),
                Just(1.0)
            ],
            len
        ),
    ]
}

proptest! {
    #[test]
    fn values_survive_bit_for_bit(values in series()) {
        round_trip(&values);
    }

    #[test]
    fn arbitrary_bytes_are_an_error_or_as_many_values_as_asked_for(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        mode in 0u8..32,
        kind in 0u8..16,
        with_rests in any::<bool>(),
        count in 0usize..400,
    ) {
        let mut shaped = vec![if with_rests { mode | 64 } else { mode }, kind];
        shaped.extend_from_slice(&bytes);
        for bytes in [bytes, shaped] {
            let mut out = Vec::new();
            if decode(&bytes, count, &mut out).is_ok() {
                prop_assert_eq!(out.len(), count);
            }
            prop_assert!(out.len() <= count);
        }
    }

    #[test]
    fn packed_integers_survive(list in proptest::collection::vec(prop_oneof![4 => -50i64..50, 1 => any::<i64>()], 0..400)) {
        let mut bytes = Vec::new();
        let mut plans = pack::Plans::default();
        plans.make(Some(&list));
        plans.put(&list, &mut bytes);
        prop_assert!(bytes.len() <= plans.bytes());
        prop_assert!(bytes.len() <= list.len() * 20 + 20);
        let mut reader = Reader::new(&bytes);
        let mut found = Vec::new();
        pack::each(&mut reader, list.len(), |some| found.extend_from_slice(some)).unwrap();
        prop_assert!(reader.is_empty());
        prop_assert_eq!(found, list);
    }
}

#[test]
fn what_does_not_change_or_changes_steadily_takes_a_few_bytes() {
    assert_eq!(round_trip(&[7.0; 120]), 3);
    assert_eq!(round_trip(&[std::f64::consts::PI; 120]), 10);
    let line: Vec<f64> = (0..120).map(|n| f64::from(n) * 15.0).collect();
    assert_eq!(round_trip(&line), 4);
    let pages: Vec<f64> = (0..32)
        .map(|n| f64::from((n * n) % 17) * 4096.0 + 8_589_934_592.0)
        .collect();
    assert!(round_trip(&pages) <= 32);
}

#[test]
fn what_was_divided_twice_takes_little_more_than_what_was_divided_once() {
    let twice: Vec<f64> = (0..120)
        .map(|n| f64::from(n * n * 7919 % 100_003) / 1000.0 / 1000.0)
        .collect();
    let once: Vec<f64> = (0..120)
        .map(|n| f64::from(n * n * 7919 % 100_003) / 1_000_000.0)
        .collect();
    assert_eq!(decimal::fit(&twice, [0, 0], &mut Vec::new()), RAW);
    assert!(round_trip(&twice) < round_trip(&once) + 60);
}
