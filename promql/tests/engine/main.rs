//! The engine through its public API: limits, interrupts, name removal, and a range answer against instant ones.

use proptest::prelude::*;

mod batches;
mod random;

use random::{data, exact_value, long_windows, query, value};

use promql::{
    Answer, EvalError, Hints, Interrupt, Labels, Matcher, Options, ParseOptions, Plan, QueryValue, Samples,
    Series, SeriesSource, SourceError, eval_instant, eval_range, parse_with, stale_nan,
};

/// Series in memory that keep to the sample limit, as storage does.
#[derive(Debug)]
struct Memory(Vec<Series>);

impl Memory {
    /// Series of these names, all with the label job="x".
    fn named(names: &[&str], points: &[(i64, f64)]) -> Self {
        let series = names.iter().map(|name| Series {
            labels: [("__name__", *name), ("job", "x")].into_iter().collect(),
            samples: samples(points),
        });
        Self(series.collect())
    }
}

fn samples(points: &[(i64, f64)]) -> Samples {
    let (times, values) = points.iter().copied().unzip();
    Samples::from_floats(times, values).expect("ascending")
}

impl SeriesSource for Memory {
    fn select(&self, matchers: &[Matcher], hints: &Hints) -> Result<Vec<Series>, SourceError> {
        let matching = self
            .0
            .iter()
            .filter(|s| matchers.iter().all(|m| m.matches_labels(&s.labels)));
        let selected: Vec<Series> = matching.cloned().collect();
        let loaded: u64 = selected.iter().map(|s| s.samples.len() as u64).sum();
        if loaded > hints.max_samples {
            Err(SourceError::TooManySamples)
        } else {
            Ok(selected)
        }
    }
}

fn two_counters() -> Memory {
    let points: Vec<(i64, f64)> = (0..20).map(|i| (i * 15_000, i as f64)).collect();
    Memory::named(&["a_total", "b_total"], &points)
}

fn plan(query: &str) -> Plan {
    parse_with(query, ParseOptions::ALL).unwrap_or_else(|error| panic!("{query}: {error}"))
}

fn instant(query: &str, options: &Options<'_>) -> Result<Answer, EvalError> {
    eval_instant(&plan(query), 60_000, &two_counters(), options)
}

fn labels_of(answer: &Answer) -> Vec<String> {
    match &answer.value {
        QueryValue::Vector(samples) => samples.iter().map(|s| s.labels.to_string()).collect(),
        other => panic!("not a vector: {other:?}"),
    }
}

#[test]
fn names_go_at_once_by_default_and_at_the_end_on_request() {
    let delayed = Options {
        delayed_name_removal: true,
        ..Options::default()
    };
    let query = "label_replace(rate(a_total[1m]), \"was\", \"$1\", \"__name__\", \"(.*)\")";
    assert_eq!(
        labels_of(&instant(query, &Options::default()).unwrap()),
        ["{job=\"x\"}"]
    );
    assert_eq!(
        labels_of(&instant(query, &delayed).unwrap()),
        ["{job=\"x\", was=\"a_total\"}"]
    );
}

#[test]
fn series_that_become_equal_without_their_names_are_an_error_in_both_modes() {
    let delayed = Options {
        delayed_name_removal: true,
        ..Options::default()
    };
    for options in [Options::default(), delayed] {
        for query in [
            "rate({job=\"x\"}[1m])",
            "-{job=\"x\"}",
            "{job=\"x\"} * 2",
            "abs({job=\"x\"})",
        ] {
            let error = instant(query, &options).unwrap_err();
            assert_eq!(
                error.to_string(),
                "vector cannot contain metrics with the same labelset",
                "{query}"
            );
            assert_eq!(error.error_type(), "execution");
        }
    }
}

#[test]
fn a_query_over_its_sample_limit_is_refused_wherever_the_samples_come_from() {
    let tight = Options {
        max_samples: 30,
        ..Options::default()
    };
    for query in [
        "rate({job=\"x\"}[1m])",
        "sum_over_time(vector(1)[1h:1m])",
        "count_over_time(vector(1)[100y:1s])",
    ] {
        assert_eq!(instant(query, &tight), Err(EvalError::TooManySamples), "{query}");
    }
    let range = eval_range(&plan("vector(1)"), 0, 1_000_000, 1, &two_counters(), &tight);
    assert_eq!(range, Err(EvalError::TooManySamples));
    assert!(eval_instant(&plan("a_total"), 60_000, &two_counters(), &tight).is_ok());
}

#[test]
fn an_interrupt_ends_the_evaluation_with_its_reason() {
    let interrupt = Interrupt::default();
    let options = Options {
        interrupt: Some(&interrupt),
        ..Options::default()
    };
    assert!(instant("a_total", &options).is_ok());
    interrupt.time_out();
    assert_eq!(instant("a_total", &options), Err(EvalError::Timeout));
    interrupt.cancel();
    assert_eq!(instant("1", &options).unwrap_err().error_type(), "canceled");
}

#[test]
fn range_queries_refuse_what_has_no_grid() {
    let bad = |query: &str, start, end, step| {
        eval_range(
            &plan(query),
            start,
            end,
            step,
            &two_counters(),
            &Options::default(),
        )
        .unwrap_err()
        .error_type()
    };
    assert_eq!(bad("a_total[5m]", 0, 1, 1), "bad_data");
    assert_eq!(bad("\"text\"", 0, 1, 1), "bad_data");
    assert_eq!(bad("a_total", 1, 0, 1), "bad_data");
    assert_eq!(bad("a_total", 0, 1, 0), "bad_data");
}

#[test]
fn a_range_selector_answers_its_window_without_stale_markers() {
    let memory = Memory::named(&["m"], &[(0, 1.0), (1, 2.0), (2, stale_nan()), (3, 4.0)]);
    let answer = eval_instant(&plan("m[3ms]"), 3, &memory, &Options::default()).unwrap();
    let QueryValue::Matrix(series) = answer.value else {
        panic!("not a matrix")
    };
    assert_eq!(series[0].samples, samples(&[(1, 2.0), (3, 4.0)]));
    assert_eq!(
        series[0].labels,
        [("__name__", "m"), ("job", "x")].into_iter().collect::<Labels>()
    );
}

#[test]
fn the_deepest_query_fits_a_small_stack() {
    // A test thread has 2 MiB, as a worker of a runtime has.
    for query in [
        format!("{}a_total{}", "(".repeat(249), ")".repeat(249)),
        format!("{}a_total{}", "abs(".repeat(249), ")".repeat(249)),
        format!("a_total{}", " + a_total".repeat(249)),
        format!("{}a_total{}", "sum(".repeat(249), ")".repeat(249)),
        format!("{}a_total", "-".repeat(249)),
        format!(
            "{}a_total{}",
            "max_over_time(".repeat(120),
            "[1m:1m])".repeat(120)
        ),
    ] {
        assert!(
            eval_instant(&plan(&query), 0, &two_counters(), &Options::default()).is_ok(),
            "{}",
            &query[..30]
        );
    }
}

#[test]
fn times_at_the_ends_of_the_scale_do_not_overflow() {
    let extremes = [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX];
    for query in [
        "a_total offset 290y",
        "rate(a_total[290y])",
        "sum_over_time(a_total[200y:100y] offset -290y)",
        "time()",
    ] {
        for time in extremes {
            let _ = eval_instant(&plan(query), time, &two_counters(), &Options::default());
        }
        let _ = eval_range(
            &plan(query),
            i64::MIN,
            i64::MAX,
            i64::MAX / 2,
            &two_counters(),
            &Options::default(),
        );
    }
}

type Points = Vec<(String, i64, u64)>;

/// Series, times and bits of values, sorted; every NaN the same, since operations may pick either operand's.
fn points(value: &QueryValue, only_ms: Option<i64>) -> Points {
    let bits = |value: f64| {
        if value.is_nan() {
            f64::NAN.to_bits()
        } else {
            value.to_bits()
        }
    };
    let mut points: Points = match value {
        QueryValue::Vector(samples) => samples
            .iter()
            .map(|s| (s.labels.to_string(), s.time_ms, bits(s.value)))
            .collect(),
        QueryValue::Matrix(series) => series
            .iter()
            .flat_map(|s| {
                let both = s.samples.times_ms().iter().zip(s.samples.values());
                both.map(|(time, value)| (s.labels.to_string(), *time, bits(*value)))
                    .collect::<Vec<_>>()
            })
            .collect(),
        other => panic!("not a vector: {other:?}"),
    };
    points.retain(|(_, time, _)| only_ms.is_none_or(|only| *time == only));
    points.sort();
    points
}

/// Compares a range answer with an instant one at each of its steps.
fn compare_at_each_step(
    memory: &Memory,
    query: &str,
    step_ms: i64,
    delayed: bool,
) -> Result<(), TestCaseError> {
    let options = Options {
        delayed_name_removal: delayed,
        ..Options::default()
    };
    // `@ end()` means the query's end, which differs between the two.
    let Some(plan) = parse_with(query, ParseOptions::ALL)
        .ok()
        .filter(|_| !query.contains("end()"))
    else {
        return Ok(());
    };
    let (start, end) = (-30_000, 700_000);
    let range = eval_range(&plan, start, end, step_ms, memory, &options);
    for time in (start..=end).step_by(step_ms as usize) {
        match (eval_instant(&plan, time, memory, &options), &range) {
            (Ok(instant), Ok(range)) => {
                let (instant, step) = (points(&instant.value, None), points(&range.value, Some(time)));
                prop_assert_eq!(instant, step, "{} at {}", query, time);
            }
            (Err(error), Ok(_)) => prop_assert!(false, "{query} fails only as an instant query: {error}"),
            (_, Err(_)) => {}
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_range_answer_has_at_each_step_what_an_instant_query_gives(
        memory in data(value()),
        query in query(),
        delayed in any::<bool>(),
    ) {
        compare_at_each_step(&memory, &query, 70_000, delayed)?;
    }

    #[test]
    fn so_it_has_where_windows_overlap_and_kernels_remember(
        memory in data(exact_value()),
        query in long_windows(),
    ) {
        compare_at_each_step(&memory, &query, 10_000, false)?;
    }

    #[test]
    fn any_query_on_any_data_gives_an_answer_or_an_error(
        memory in data(value()),
        query in query(),
        time in -1_000..700_000_i64,
    ) {
        if let Ok(plan) = parse_with(&query, ParseOptions::ALL) {
            let _ = eval_instant(&plan, time, &memory, &Options::default());
        }
    }
}

#[test]
fn notes_say_where_in_the_query_they_belong() {
    let warnings = |query: &str| instant(query, &Options::default()).unwrap().warnings;
    let quantile = |got: &str, place: &str| {
        format!("PromQL warning: quantile value should be between 0 and 1, got {got} ({place})")
    };
    assert_eq!(
        warnings("sum(quantile(2, vector(1)))\n  + quantile(3, vector(2))"),
        [quantile("2", "1:14"), quantile("3", "2:14")]
    );
    // The same text once, at its last place.
    assert_eq!(
        warnings("quantile(2, vector(1)) + quantile(2, vector(2))"),
        [quantile("2", "1:35")]
    );
    let gauge = Memory::named(&["g"], &[(0, 1.0), (15_000, 2.0), (30_000, 3.0)]);
    let infos = |query: &str| {
        let answer = eval_instant(&plan(query), 30_000, &gauge, &Options::default());
        answer.unwrap().infos
    };
    let words =
        "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"g\"";
    assert_eq!(infos("1 + rate(g[5m])"), [format!("{words} (1:10)")]);
    // Of a subquery Prometheus does not know the place.
    assert_eq!(infos("1 + rate(g[5m:15s])"), [format!("{words} (1:1)")]);
}

#[test]
fn the_end_of_a_query_need_not_be_on_its_grid() {
    let gauge = Memory::named(&["g"], &[(0, 1.0), (15_000, 2.0), (30_000, 3.0)]);
    let options = Options::default();
    let answer = eval_range(&plan("g @ end()"), 0, 30_000, 20_000, &gauge, &options).unwrap();
    let QueryValue::Matrix(series) = answer.value else {
        panic!("{:?}", answer.value)
    };
    assert_eq!(series[0].samples.values(), [3.0, 3.0]);
}
