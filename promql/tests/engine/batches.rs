//! Sources that give series in batches: answers depend neither on the batches but for rounding, nor on threads at all.

use proptest::prelude::*;

use promql::{
    Answer, Batches, EvalError, Hints, Matcher, MemoryBudget, MemoryPool, Options, OverBudget, ParseOptions,
    Plan, QueryValue, Series, SeriesSource, SourceError, eval_instant, eval_range, parse_with,
};

use super::random::{data, exact_value, query, value};
use super::{Memory, points, samples};

/// Series in memory that come a few at a time.
#[derive(Debug)]
struct Batched<'m> {
    memory: &'m Memory,
    size: usize,
}

struct Parts {
    series: Vec<Series>,
    size: usize,
}

impl SeriesSource for Batched<'_> {
    fn select(&self, matchers: &[Matcher], hints: &Hints) -> Result<Vec<Series>, SourceError> {
        self.memory.select(matchers, hints)
    }

    fn batches(
        &self,
        matchers: &[Matcher],
        hints: &Hints,
    ) -> Result<Option<Box<dyn Batches + '_>>, SourceError> {
        let everything = Hints {
            max_samples: u64::MAX,
            ..*hints
        };
        Ok(Some(Box::new(Parts {
            series: self.select(matchers, &everything)?,
            size: self.size,
        })))
    }
}

impl Batches for Parts {
    fn count(&self) -> usize {
        self.series.len().div_ceil(self.size)
    }

    fn read(&self, batch: usize, max_samples: u64) -> Result<Vec<Series>, SourceError> {
        let series: Vec<Series> = self
            .series
            .iter()
            .skip(batch * self.size)
            .take(self.size)
            .cloned()
            .collect();
        let samples: u64 = series.iter().map(|s| s.samples.len() as u64).sum();
        match samples > max_samples {
            true => Err(SourceError::TooManySamples),
            false => Ok(series),
        }
    }
}

fn evaluate(
    plan: &Plan,
    is_range: bool,
    source: &dyn SeriesSource,
    (threads, delayed): (usize, bool),
) -> Result<Answer, EvalError> {
    let options = Options {
        threads,
        delayed_name_removal: delayed,
        ..Options::default()
    };
    match is_range {
        true => eval_range(plan, 0, 600_000, 50_000, source, &options),
        false => eval_instant(plan, 300_000, source, &options),
    }
}

/// As it would be printed, bit for bit, order and notes included.
fn exactly(outcome: &Result<Answer, EvalError>) -> String {
    format!("{outcome:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    #[test]
    fn answers_do_not_depend_on_the_number_of_threads(
        memory in data(value()),
        query in query(),
        size in 1_usize..4,
        is_range in any::<bool>(),
        delayed in any::<bool>(),
    ) {
        let Ok(plan) = parse_with(&query, ParseOptions::ALL) else { return Ok(()) };
        let source = Batched { memory: &memory, size };
        let alone = exactly(&evaluate(&plan, is_range, &source, (0, delayed)));
        for threads in [2, 5] {
            let together = exactly(&evaluate(&plan, is_range, &source, (threads, delayed)));
            prop_assert_eq!(&together, &alone, "{} in {} threads", query, threads);
        }
    }

    #[test]
    fn batches_give_what_all_series_at_once_do(
        memory in data(exact_value()),
        query in query(),
        size in 1_usize..4,
        is_range in any::<bool>(),
        delayed in any::<bool>(),
    ) {
        // Deviations are rounded, and ties of topk are in the order of series.
        let differs = ["stddev", "topk", "stdvar", "^", "atan2", "/", "avg", "mad", "deriv", "rate"];
        let plan = parse_with(&query, ParseOptions::ALL).ok();
        let Some(plan) = plan.filter(|_| !differs.iter().any(|word| query.contains(word))) else {
            return Ok(());
        };
        let batched = evaluate(&plan, is_range, &Batched { memory: &memory, size }, (3, delayed));
        let whole = evaluate(&plan, is_range, &memory, (0, delayed));
        match (batched, whole) {
            (Ok(batched), Ok(whole)) => {
                prop_assert_eq!(points(&batched.value, None), points(&whole.value, None), "{}", query);
            }
            (batched, whole) => {
                prop_assert_eq!(batched.map_err(|e| e.to_string()), whole.map_err(|e| e.to_string()), "{}", query);
            }
        }
    }
}

fn many(count: usize) -> Memory {
    let series = (0..count).map(|i| Series {
        labels: [
            ("__name__", "m"),
            ("i", i.to_string().as_str()),
            ("half", if i % 2 == 0 { "a" } else { "b" }),
        ]
        .into_iter()
        .collect(),
        samples: samples(&[(0, 1.0 / (i + 1) as f64), (15_000, i as f64 * 0.1)]),
    });
    Memory(series.collect())
}

fn sum(query: &str, memory: &Memory, options: &Options<'_>) -> Result<QueryValue, EvalError> {
    let plan = parse_with(query, ParseOptions::ALL).expect("a query of this test");
    let source = Batched { memory, size: 10 };
    eval_instant(&plan, 20_000, &source, options).map(|answer| answer.value)
}

#[test]
fn an_aggregation_holds_its_groups_and_a_batch() {
    let memory = many(1000);
    let few = Options {
        max_samples: 150,
        threads: 2,
        ..Options::default()
    };
    assert!(sum("sum by (half) (rate(m[1m]))", &memory, &few).is_ok());
    assert!(sum("topk(3, m)", &memory, &few).is_ok());
    for holds_all in ["quantile(0.5, m)", "rate(m[1m])", "sum by (i) (m)"] {
        assert_eq!(
            sum(holds_all, &memory, &few),
            Err(EvalError::TooManySamples),
            "{holds_all}"
        );
    }
}

#[test]
fn an_interrupt_ends_all_threads() {
    let memory = many(1000);
    let interrupt = promql::Interrupt::default();
    interrupt.cancel();
    let options = Options {
        threads: 4,
        interrupt: Some(&interrupt),
        ..Options::default()
    };
    assert_eq!(sum("sum(m)", &memory, &options), Err(EvalError::Canceled));
}

/// A source whose batches fail from one on.
struct Failing(usize);

impl SeriesSource for Failing {
    fn select(&self, _: &[Matcher], _: &Hints) -> Result<Vec<Series>, SourceError> {
        Err(SourceError::Storage("asked for everything".to_owned()))
    }

    fn batches(&self, _: &[Matcher], _: &Hints) -> Result<Option<Box<dyn Batches + '_>>, SourceError> {
        Ok(Some(Box::new(FailingBatches(self.0))))
    }
}

struct FailingBatches(usize);

impl Batches for FailingBatches {
    fn count(&self) -> usize {
        100
    }

    fn read(&self, batch: usize, _: u64) -> Result<Vec<Series>, SourceError> {
        match batch < self.0 {
            true => Ok(Vec::new()),
            false => Err(SourceError::Storage(format!("batch {batch}"))),
        }
    }
}

#[test]
fn of_several_faults_the_first_is_told() {
    let plan = parse_with("sum(m)", ParseOptions::ALL).unwrap();
    for threads in [0, 2, 8] {
        let options = Options {
            threads,
            ..Options::default()
        };
        for first in [0, 1, 50] {
            let outcome = eval_instant(&plan, 0, &Failing(first), &options);
            assert_eq!(outcome, Err(EvalError::Storage(format!("batch {first}"))));
        }
    }
}

#[test]
fn bytes_are_counted_refused_and_given_back() {
    let memory = many(1000);
    let pool = MemoryPool::new(1 << 20);
    let with = |limit: u64, query: &str| {
        let budget = MemoryBudget::new(limit, pool.clone());
        let options = Options {
            threads: 3,
            memory: Some(&budget),
            ..Options::default()
        };
        let outcome = sum(query, &memory, &options).map(|_| budget.most());
        drop(budget);
        assert_eq!(pool.held(), 0, "{query}");
        outcome
    };
    // A few batches of 10 series, however many series there are.
    let held = with(1 << 20, "sum by (half) (rate(m[1m]))").unwrap();
    assert!((1..30_000).contains(&held), "{held}");
    let all = with(1 << 20, "rate(m[1m])").unwrap();
    assert!(all > 200_000, "{all}");
    let refused = with(100_000, "rate(m[1m])").unwrap_err();
    assert_eq!(
        refused,
        EvalError::OverBudget(OverBudget::Query { limit: 100_000 })
    );
    assert_eq!(refused.error_type(), "execution");
    let other = MemoryBudget::new(1 << 20, pool.clone());
    other.take(1_000_000).unwrap();
    let budget = MemoryBudget::new(1 << 20, pool.clone());
    let options = Options {
        memory: Some(&budget),
        ..Options::default()
    };
    let refused = sum("rate(m[1m])", &memory, &options);
    assert_eq!(
        refused,
        Err(EvalError::OverBudget(OverBudget::All { limit: 1 << 20 }))
    );
}
