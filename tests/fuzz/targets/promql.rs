//! Queries: any text is refused or evaluated, in time and within the budgets, over series of every kind.
//!
//! The first four bytes say how: modes, the start, the number of steps and their length; the text follows.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use promql::notation::{Item, parse_series};
use promql::{
    Batches, EvalError, Hints, Interrupt, Matcher, MemoryBudget, MemoryPool, Options, ParseOptions, Samples,
    Series, SeriesSource, SourceError, eval_instant, eval_range, parse_with,
};

/// One sample each 15 s, in the notation of promtool's tests.
const SERIES: [&str; 16] = [
    "c_total{job=\"a\", instance=\"1\"} 0+3x20 0+7x20 _x3 200+1x30",
    "c_total{job=\"a\", instance=\"2\"} 5+1.5x70",
    "c_total{job=\"b\", instance=\"1\"} 1 2 stale 4 5 _x25 9+1x30",
    "g{job=\"a\", instance=\"1\"} 1 -2 NaN Inf -Inf 0 1e308 -1e308 5e-324 3.7+0.1x60",
    "g{job=\"b\", instance=\"1\", zone=\"x\"} -3+0.25x70",
    "g{job=\"b\", instance=\"3\"} 1e300x70",
    "h_bucket{job=\"a\", le=\"0.5\"} 0+1x70",
    "h_bucket{job=\"a\", le=\"2\"} 0+3x70",
    "h_bucket{job=\"a\", le=\"+Inf\"} 0+4x70",
    "h_bucket{job=\"b\", le=\"nonsense\"} 0+1x70",
    "nh{job=\"a\"} {{schema:1 count:9 sum:10 buckets:[3 0 6] offset:-2}}x70",
    "nh{job=\"b\"} {{schema:-4 count:5 sum:-3 z_bucket:2 z_bucket_w:0.1 n_buckets:[1 2]}}x70",
    "nh{job=\"c\"} {{schema:-53 custom_values:[1 5 10] count:6 sum:9 buckets:[1 2 3]}}x70",
    "mix{job=\"a\"} 1 2 {{schema:8 count:2 sum:3 buckets:[1 1]}}x20 7+1x20",
    "info{job=\"a\", instance=\"1\", version=\"1.2\"} 1x70",
    "one 1x70",
];

const STEP_MS: i64 = 15_000;

/// What a query may hold, bytes.
const BUDGET: u64 = 32 << 20;

/// How long an evaluation goes on after it is interrupted at most; on one core of a busy machine, with the sanitizer.
const GRACE: Duration = Duration::from_secs(5);

/// When it is interrupted.
const TIMEOUT: Duration = Duration::from_millis(500);

static MEMORY: LazyLock<Memory> = LazyLock::new(|| Memory(SERIES.iter().map(|line| series(line)).collect()));

fn series(line: &str) -> Series {
    let (labels, items) = parse_series(line).expect("a series of our own");
    let (mut floats, mut histograms) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for (time_ms, item) in (0..).step_by(STEP_MS as usize).zip(items) {
        match item {
            Item::Absent => {}
            Item::Float(value) => {
                floats.0.push(time_ms);
                floats.1.push(value);
            }
            Item::Histogram(histogram) => {
                histograms.0.push(time_ms);
                histograms.1.push(histogram);
            }
        }
    }
    let samples = Samples::from_floats(floats.0, floats.1)
        .and_then(|samples| samples.with_histograms(histograms.0, histograms.1))
        .expect("ascending times");
    Series { labels, samples }
}

struct Memory(Vec<Series>);

impl Memory {
    /// Whole series: storage may give more than the hints ask for.
    fn matching(&self, matchers: &[Matcher]) -> Vec<Series> {
        let matches = |series: &&Series| matchers.iter().all(|m| m.matches_labels(&series.labels));
        self.0.iter().filter(matches).cloned().collect()
    }
}

impl SeriesSource for Memory {
    fn select(&self, matchers: &[Matcher], hints: &Hints) -> Result<Vec<Series>, SourceError> {
        let found = self.matching(matchers);
        let samples: usize = found.iter().map(|series| series.samples.len()).sum();
        match samples as u64 > hints.max_samples {
            true => Err(SourceError::TooManySamples),
            false => Ok(found),
        }
    }

    fn batches(&self, matchers: &[Matcher], _: &Hints) -> Result<Option<Box<dyn Batches + '_>>, SourceError> {
        Ok(Some(Box::new(Pairs(self.matching(matchers)))))
    }
}

/// Two series a batch.
struct Pairs(Vec<Series>);

impl Batches for Pairs {
    fn count(&self) -> usize {
        self.0.len().div_ceil(2)
    }

    fn read(&self, batch: usize, _: u64) -> Result<Vec<Series>, SourceError> {
        Ok(self.0.iter().skip(2 * batch).take(2).cloned().collect())
    }
}

/// Evaluates; an interrupt ends it soon.
fn evaluate(plan: &promql::Plan, [modes, start, steps, length]: [u8; 4]) -> Result<(), EvalError> {
    let interrupt = Arc::new(Interrupt::default());
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let raised = Arc::clone(&interrupt);
    let watch = std::thread::spawn(move || {
        if ended.recv_timeout(TIMEOUT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            raised.time_out();
        }
    });
    let memory = MemoryBudget::new(BUDGET, MemoryPool::new(BUDGET));
    let options = Options {
        max_samples: 1_000_000,
        delayed_name_removal: modes & 1 != 0,
        memory: Some(&memory),
        interrupt: Some(&interrupt),
        ..Options::default()
    };
    let start_ms = i64::from(start) * 5_003;
    let began = Instant::now();
    let answer = match modes & 2 {
        0 => eval_instant(plan, start_ms, &*MEMORY, &options),
        _ => {
            let step_ms = 1 + i64::from(length) * 977;
            eval_range(
                plan,
                start_ms,
                start_ms + i64::from(steps) * step_ms,
                step_ms,
                &*MEMORY,
                &options,
            )
        }
    };
    let took = began.elapsed();
    drop(done);
    watch.join().expect("the watch does not panic");
    assert!(took < TIMEOUT + GRACE, "{took:?}");
    assert!(memory.most() <= BUDGET);
    answer.map(|_| ())
}

fuzz_target!(|body: &[u8]| {
    let Some((how, text)) = body.split_first_chunk::<4>() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let options = match how[0] & 4 {
        0 => ParseOptions::ALL,
        _ => ParseOptions::default(),
    };
    let Ok(plan) = parse_with(text, options) else {
        return;
    };
    if let Err(EvalError::Storage(error)) = evaluate(&plan, *how) {
        panic!("storage of our own fails: {error}");
    }
});
