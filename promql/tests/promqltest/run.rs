//! Runs a script: every eval as it stands, instant ones also as a range and with times fixed by `@`.

use std::path::Path;

use promql::{
    Answer, EvalError, Options, ParseOptions, Plan, QueryValue, eval_instant, eval_range, parse_with,
};

use crate::check::{self, Points};
use crate::pinned::{other_times, pinned};
use crate::script::{self, Command, Eval, Item, When};
use crate::storage::Storage;

const MINUTE_MS: i64 = 60_000;

/// Passes and failures of one script.
pub(crate) struct FileResult {
    pub(crate) name: String,
    pub(crate) passed: usize,
    pub(crate) failures: Vec<String>,
}

impl FileResult {
    pub(crate) fn total(&self) -> usize {
        self.passed + self.failures.len()
    }
}

/// Upstream's harness runs with delayed name removal.
fn options() -> Options<'static> {
    Options {
        delayed_name_removal: true,
        ..Options::default()
    }
}

/// Runs one script; an error means that the script itself could not be read.
pub(crate) fn run_file(path: &Path, prefix: &str) -> Result<FileResult, String> {
    let context = |error: String| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| context(error.to_string()))?;
    let commands = script::parse(&text);
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let mut result = FileResult {
        name: format!("{prefix}{file}"),
        passed: 0,
        failures: Vec::new(),
    };
    let mut storage = Storage::default();
    for command in &commands {
        match command {
            Command::Clear => storage = Storage::default(),
            Command::Unreadable {
                line,
                why,
                is_eval: true,
            } => {
                result.failures.push(format!("line {line}: {why}"));
            }
            // What was not loaded shows in the evals that need it.
            Command::Unreadable { .. } => {}
            Command::Load { step_ms, series } => storage.load(*step_ms, series),
            Command::Eval(eval) => match run_eval(eval, &storage) {
                Ok(()) => result.passed += 1,
                Err(why) => result
                    .failures
                    .push(format!("line {}: {}: {why}", eval.line, eval.expr)),
            },
        }
    }
    Ok(result)
}

fn run_eval(eval: &Eval, storage: &Storage) -> Result<(), String> {
    let plan = match parse_with(&eval.expr, ParseOptions::ALL) {
        Ok(plan) => plan,
        Err(error) => return expect_failure(eval, &error.to_string()),
    };
    match eval.when {
        When::Range { start, end, step } => {
            finish(eval, eval_range(&plan, start, end, step, storage, &options()))?
                .map_or(Ok(()), |answer| check::value(eval, &answer.value))
        }
        When::Instant { at } => {
            run_instant(eval, &plan, at, storage)?;
            let Some(pinned) = pinned(&plan, at)? else {
                return Ok(());
            };
            for time_ms in other_times(at) {
                run_instant(eval, &pinned, time_ms, storage)
                    .map_err(|why| format!("pinned, evaluated at {time_ms} ms: {why}"))?;
            }
            Ok(())
        }
    }
}

fn expect_failure(eval: &Eval, error: &str) -> Result<(), String> {
    match &eval.fail {
        Some(wanted) if wanted.accepts(error) => Ok(()),
        Some(wanted) => Err(format!("expected failure {wanted:?}, got: {error}")),
        None => Err(error.to_owned()),
    }
}

/// Checks failure and annotations; `None` if the eval failed as expected.
fn finish(eval: &Eval, outcome: Result<Answer, EvalError>) -> Result<Option<Answer>, String> {
    let answer = match outcome {
        Err(error) => return expect_failure(eval, &error.to_string()).map(|()| None),
        Ok(answer) => answer,
    };
    if eval.fail.is_some() {
        return Err(format!("expected a failure, got {:?}", answer.value));
    }
    check::annotations(eval, &answer)?;
    Ok(Some(answer))
}

fn run_instant(eval: &Eval, plan: &Plan, time_ms: i64, storage: &Storage) -> Result<(), String> {
    let Some(answer) = finish(eval, eval_instant(plan, time_ms, storage, &options()))? else {
        return Ok(());
    };
    let relabelled = at_eval_time(eval, &answer.value);
    check::value(eval, &relabelled)?;
    if eval.ordered || eval.samples.is_some() || matches!(answer.value, QueryValue::Text { .. }) {
        return Ok(());
    }
    let (start, end) = (time_ms - MINUTE_MS, time_ms + MINUTE_MS);
    let range = eval_range(plan, start, end, MINUTE_MS, storage, &options())
        .map_err(|e| format!("as a range: {e}"))?;
    check::annotations(eval, &range).map_err(|why| format!("as a range: {why}"))?;
    let middle = middle_step(&range.value, time_ms);
    let in_range = |why: String| format!("as a range: {why}");
    let point = middle.first().and_then(|(_, points)| points.first());
    if let (QueryValue::Scalar { .. }, Some((_, Item::Float(value)))) = (&answer.value, point) {
        return check::value(
            eval,
            &QueryValue::Scalar {
                time_ms,
                value: *value,
            },
        )
        .map_err(in_range);
    }
    check::series(eval, &at_time_of(eval, middle)).map_err(in_range)
}

/// The points of a range answer at one time.
fn middle_step(value: &QueryValue, time_ms: i64) -> Vec<Points> {
    let mut series = check::as_series(value);
    for (_, points) in &mut series {
        points.retain(|(time, _)| *time == time_ms);
    }
    series.retain(|(_, points)| !points.is_empty());
    series
}

/// Points under the time that the script names, for queries evaluated at another one.
fn at_time_of(eval: &Eval, mut series: Vec<Points>) -> Vec<Points> {
    if let When::Instant { at } = eval.when {
        series
            .iter_mut()
            .flat_map(|(_, points)| points)
            .for_each(|(time, _)| *time = at);
    }
    series
}

/// A vector under the time that the script names.
fn at_eval_time(eval: &Eval, value: &QueryValue) -> QueryValue {
    let mut value = value.clone();
    if let (When::Instant { at }, QueryValue::Vector(samples)) = (eval.when, &mut value) {
        samples.iter_mut().for_each(|sample| sample.time_ms = at);
    }
    value
}
