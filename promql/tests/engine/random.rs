//! Random data and queries.

use proptest::prelude::*;

use promql::{Labels, Series, stale_nan};

use super::{Memory, samples};

/// Values whose sums are exact in any order.
pub(crate) fn exact_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        12 => (-40..40_i32).prop_map(|i| f64::from(i) / 4.0),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(stale_nan()),
    ]
}

/// Values that arithmetic treats specially, and ordinary ones.
pub(crate) fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => -100.0..100.0,
        4 => (0_i32..20).prop_map(f64::from),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
        1 => Just(stale_nan()),
        1 => Just(-0.0),
        1 => Just(f64::MAX),
    ]
}

pub(crate) fn data(value: impl Strategy<Value = f64>) -> impl Strategy<Value = Memory> {
    let names = prop::sample::select(vec!["a", "b"]);
    let points = prop::collection::btree_map(0_i64..60, value, 0..25);
    let one = (names, "[xy]", "[12]", points);
    prop::collection::vec(one, 0..8).prop_map(|all| {
        let mut series: Vec<Series> = Vec::new();
        for (name, job, instance, points) in all {
            let labels: Labels = [
                ("__name__", name),
                ("job", job.as_str()),
                ("instance", instance.as_str()),
            ]
            .into_iter()
            .collect();
            if !series.iter().any(|s| s.labels == labels) {
                let points: Vec<(i64, f64)> = points.into_iter().map(|(t, v)| (t * 10_000, v)).collect();
                series.push(Series {
                    labels,
                    samples: samples(&points),
                });
            }
        }
        Memory(series)
    })
}

fn range_function() -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(vec![
        "rate",
        "increase",
        "delta",
        "irate",
        "idelta",
        "deriv",
        "sum_over_time",
        "avg_over_time",
        "min_over_time",
        "max_over_time",
        "count_over_time",
        "last_over_time",
        "stddev_over_time",
        "changes",
        "resets",
        "present_over_time",
        "mad_over_time",
        "absent_over_time",
        "quantile_over_time",
    ])
}

/// A call of a range function; one of them takes a number first.
fn over(function: &str, range: &str) -> String {
    let number = if function == "quantile_over_time" {
        "0.7, "
    } else {
        ""
    };
    format!("{function}({number}{range})")
}

/// Range functions over windows of several steps.
pub(crate) fn long_windows() -> impl Strategy<Value = String> {
    let range = prop::sample::select(vec![
        "a[1m]",
        "b[200s] offset 20s",
        "{job=\"x\"}[95s]",
        "a[2m] @ 300",
        "(a + 1)[1m:10s]",
        "a[150s:20s] offset 1m",
    ]);
    (range_function(), range).prop_map(|(function, range)| over(function, range))
}

/// Vector expressions of many kinds.
pub(crate) fn query() -> impl Strategy<Value = String> {
    let selector = prop::sample::select(vec![
        "a",
        "b",
        "{__name__=~\"a|b\"}",
        "a{job=\"x\"}",
        "a offset 40s",
        "b @ 200",
        "a @ end() offset -1m",
        "vector(3)",
    ]);
    let range = prop::sample::select(vec![
        "a[1m]",
        "b[100s] offset 20s",
        "{job=\"x\"}[45s]",
        "a[2m] @ 300",
    ]);
    let leaf = prop_oneof![
        selector.prop_map(str::to_owned),
        (range_function(), range).prop_map(|(function, range)| over(function, range)),
    ];
    let aggregate = prop::sample::select(vec![
        "sum", "avg", "min", "max", "count", "group", "stddev", "topk", "quantile",
    ]);
    let grouping = prop::sample::select(vec!["", " by (job)", " without (job)", " by (__name__)"]);
    let operator = prop::sample::select(vec![
        "+",
        "-",
        "*",
        "/",
        "%",
        "^",
        "atan2",
        "==",
        "!=",
        ">",
        "<= bool",
        "and",
        "or",
        "unless",
        "> on(job)",
        "+ ignoring(job)",
        "* on(job, instance) group_left",
        "or on(job)",
        "and ignoring(instance)",
    ]);
    let function = prop::sample::select(vec![
        "abs",
        "ceil",
        "sgn",
        "-",
        "sort",
        "absent",
        "timestamp",
        "minute",
        "sqrt",
    ]);
    leaf.prop_recursive(3, 12, 2, move |inner| {
        prop_oneof![
            (aggregate.clone(), grouping.clone(), inner.clone()).prop_map(|(op, by, inner)| match op {
                "topk" => format!("topk{by} (2, {inner})"),
                "quantile" => format!("quantile{by} (0.4, {inner})"),
                op => format!("{op}{by} ({inner})"),
            }),
            (inner.clone(), operator.clone(), inner.clone())
                .prop_map(|(l, op, r)| format!("({l}) {op} ({r})")),
            (function.clone(), inner.clone()).prop_map(|(function, inner)| format!("{function}({inner})")),
            (range_function(), inner.clone())
                .prop_map(|(function, inner)| over(function, &format!("({inner})[1m:20s]"))),
            inner.prop_map(|inner| format!("({inner}) * 2 > 1")),
        ]
    })
}
