//! Runs a script: every eval as it stands, instant ones also as a range and with times fixed by `@`.

use std::path::Path;

use promql::{ParseOptions, parse_with};

use crate::check;
use crate::engine::Engine;
use crate::outcome::{Got, Outcome, Points};
use crate::pinned::{other_times, pinned};
use crate::script::{self, Command, Eval, Item, When};

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

/// Runs one script; an error means that the script itself could not be read.
pub(crate) fn run_file(path: &Path, prefix: &str, engine: &mut Engine) -> Result<FileResult, String> {
    let context = |error: String| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| context(error.to_string()))?;
    let commands = script::read(&text);
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let mut result = FileResult {
        name: format!("{prefix}{file}"),
        passed: 0,
        failures: Vec::new(),
    };
    engine.clear();
    // After a load that failed, no answer counts until everything is cleared.
    let mut loaded = Ok(());
    for command in &commands {
        match command {
            Command::Clear => {
                engine.clear();
                loaded = Ok(());
            }
            Command::Unreadable {
                line,
                why,
                is_eval: true,
            } => {
                result.failures.push(format!("line {line}: {why}"));
            }
            // What was not loaded shows in the evals that need it.
            Command::Unreadable { .. } => {}
            Command::Load { step_ms, series } => {
                loaded = loaded.and_then(|()| engine.load(*step_ms, series));
            }
            Command::Eval(eval) => match loaded
                .clone()
                .and_then(|()| run_eval(eval, engine))
                .and_then(|()| engine.take_difference().map_or(Ok(()), Err))
            {
                Ok(()) => result.passed += 1,
                Err(why) => result
                    .failures
                    .push(format!("line {}: {}: {why}", eval.line, eval.expr)),
            },
        }
    }
    Ok(result)
}

fn run_eval(eval: &Eval, engine: &mut Engine) -> Result<(), String> {
    let When::Instant { at } = eval.when else {
        return match finish(eval, engine.evaluate(&eval.expr, eval.when))? {
            Some(outcome) => check::value(eval, &outcome.got),
            None => Ok(()),
        };
    };
    run_instant(eval, &eval.expr, at, engine)?;
    // What does not parse was meant to fail.
    let plan = parse_with(&eval.expr, ParseOptions::ALL).ok();
    let Some(pinned) = plan.and_then(|plan| pinned(&plan, at)) else {
        return Ok(());
    };
    let eval = &eval.anywhere();
    for time_ms in other_times(at) {
        run_instant(eval, &pinned, time_ms, engine)
            .map_err(|why| format!("as {pinned}, evaluated at {time_ms} ms: {why}"))?;
    }
    Ok(())
}

/// Checks failure and annotations; `None` if the eval failed as expected.
fn finish(eval: &Eval, outcome: Result<Outcome, String>) -> Result<Option<Outcome>, String> {
    match (outcome, &eval.fail) {
        (Err(error), Some(wanted)) if wanted.accepts(&error) => Ok(None),
        (Err(error), Some(wanted)) => Err(format!("expected failure {wanted:?}, got: {error}")),
        (Err(error), None) => Err(error),
        (Ok(outcome), Some(_)) => Err(format!("expected a failure, got {:?}", outcome.got)),
        (Ok(outcome), None) => {
            check::annotations(eval, &outcome)?;
            Ok(Some(outcome))
        }
    }
}

fn run_instant(eval: &Eval, query: &str, time_ms: i64, engine: &mut Engine) -> Result<(), String> {
    let outcome = engine.evaluate(query, When::Instant { at: time_ms });
    let Some(outcome) = finish(eval, outcome)? else {
        return Ok(());
    };
    let got = match outcome.got {
        // A window's samples have times of their own.
        Got::Series(series) if eval.samples.is_none() => Got::Series(at_time_of(eval, series)),
        got => got,
    };
    check::value(eval, &got)?;
    if eval.ordered || eval.samples.is_some() || matches!(got, Got::Text(_)) {
        return Ok(());
    }
    let around = When::Range {
        start: time_ms - MINUTE_MS,
        end: time_ms + MINUTE_MS,
        step: MINUTE_MS,
    };
    let in_range = |why: String| format!("as a range: {why}");
    let range = engine.evaluate(query, around).map_err(in_range)?;
    check::annotations(eval, &range).map_err(in_range)?;
    let middle = middle_step(range.got, time_ms);
    let point = middle.first().and_then(|(_, points)| points.first());
    if let (Got::Scalar(_), Some((_, Item::Float(value)))) = (&got, point) {
        return check::value(eval, &Got::Scalar(*value)).map_err(in_range);
    }
    check::series(eval, &at_time_of(eval, middle)).map_err(in_range)
}

/// The points of a range answer at one time.
fn middle_step(got: Got, time_ms: i64) -> Vec<Points> {
    let Got::Series(mut series) = got else {
        return Vec::new();
    };
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
