//! `/api/v1/query` and `/api/v1/query_range`, and `/api/v1/explain`, which evaluates as they do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use promql::{Answer, EvalError, Options, Plan, QueryValue, SeriesSource, Trace};
use wire::Tenant;

use super::App;
use super::envelope::{ApiError, ErrorKind, Success};
use super::evaluate::evaluate;
use super::explain::Explained;
use super::json;
use super::notes;
use super::params::Params;
use super::source::TenantSource;
use super::stats::Stats;
use super::time::{parse_duration, parse_duration_ms};
use crate::admission::{Queue, Running};

/// Most points of a series in a range answer.
const MAX_POINTS: i64 = 11_000;

/// When to evaluate, Unix ms.
#[derive(Debug, Clone, Copy)]
enum Times {
    At(i64),
    Range { start: i64, end: i64, step: i64 },
}

impl Times {
    fn range(params: &Params) -> Result<Self, ApiError> {
        let (start, end, step) = range_of(params)?;
        Ok(Times::Range { start, end, step })
    }
}

/// A query, ready to be evaluated.
struct Job {
    app: App,
    tenant: Tenant,
    plan: Plan,
    times: Times,
    lookback_ms: i64,
    limit: Option<usize>,
    stats: Option<Stats>,
    /// Counts what each node does; the plan is the answer.
    trace: Option<Trace>,
}

/// GET or POST `query`.
pub(crate) async fn instant(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    let limit = params.limit()?;
    let at = params.time_or("time", (app.config.clock)().ms())?;
    let timeout = timeout(&app, &params)?;
    run(app, &params, Times::At(at), timeout, limit, None).await
}

/// GET or POST `explain`: with a start as `query_range`, else as `query`.
pub(crate) async fn explain(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    let times = match params.get("start") {
        "" => Times::At(params.time_or("time", (app.config.clock)().ms())?),
        _ => Times::range(&params)?,
    };
    let timeout = timeout(&app, &params)?;
    run(app, &params, times, timeout, None, Some(Trace::default())).await
}

/// GET or POST `query_range`.
pub(crate) async fn range(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    let limit = params.limit()?;
    let times = Times::range(&params)?;
    let timeout = timeout(&app, &params)?;
    run(app, &params, times, timeout, limit, None).await
}

/// Start, end (Unix ms) and step (ms) of a range, in order and of not too many points.
pub(super) fn range_of(params: &Params) -> Result<(i64, i64, i64), ApiError> {
    let (start, end) = (params.time("start")?, params.time("end")?);
    if end < start {
        return Err(ApiError::parameter(
            "end",
            "end timestamp must not be before start time",
        ));
    }
    let step = parse_duration_ms(params.get("step")).map_err(|reason| ApiError::parameter("step", reason))?;
    if step <= 0 {
        let reason = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::parameter("step", reason));
    }
    if end.saturating_sub(start) / step > MAX_POINTS {
        let reason = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query \
                      resolution (?step=XX)";
        return Err(ApiError::new(ErrorKind::BadData, reason));
    }
    Ok((start, end, step))
}

fn timeout(app: &App, params: &Params) -> Result<Duration, ApiError> {
    let asked = params.optional("timeout", parse_duration)?;
    Ok(asked.map_or(app.config.query_timeout, |t| t.min(app.config.query_timeout)))
}

async fn run(
    app: App,
    params: &Params,
    times: Times,
    timeout: Duration,
    limit: Option<usize>,
    trace: Option<Trace>,
) -> Result<Success, ApiError> {
    let lookback_ms = match params.get("lookback_delta") {
        "" => i64::try_from(app.config.lookback_delta.as_millis()).unwrap_or(i64::MAX),
        text => parse_duration_ms(text).map_err(|reason| {
            ApiError::new(
                ErrorKind::BadData,
                format!("error parsing lookback delta duration: {reason}"),
            )
        })?,
    };
    let parsing = Instant::now();
    let parse = app.config.features.parse;
    let plan = promql::parse_cached(params.get("query"), parse, &app.patterns);
    let plan = plan.map_err(|e| ApiError::parameter("query", e))?;
    plan.check_durations()
        .map_err(|e| ApiError::parameter("query", e))?;
    // Any value asks for them, and all values for the same ones.
    let stats = (!params.get("stats").is_empty()).then(|| Stats::new(parsing.elapsed()));
    let job = Job {
        app: app.clone(),
        tenant: params.tenant().clone(),
        plan,
        times,
        lookback_ms,
        limit,
        stats,
        trace,
    };
    evaluate(&app, Queue::Api, timeout, move |running| job.answer(running)).await
}

impl Job {
    /// Evaluates and writes the answer, all on the blocking thread.
    fn answer(self, running: &Running) -> Result<Success, EvalError> {
        let store = Arc::clone(&self.app.store);
        let source = TenantSource::new(&store, &self.tenant, running);
        let began = Instant::now();
        let mut answer = self.evaluate(&source, running)?;
        let evaluated = began.elapsed();
        let loaded = source.loaded();
        let read = source.into_read();
        let found = notes::of(&self.app, &self.tenant, &read, self.lookback_ms);
        answer.warnings.extend(found.warnings);
        answer.infos.extend(found.infos);
        if self.limit.is_some_and(|limit| truncate(&mut answer.value, limit)) {
            answer.warnings.push("results truncated due to limit".to_owned());
        }
        if let Some(trace) = &self.trace {
            let explained = Explained {
                plan: trace.explain(&self.plan),
                samples: loaded,
                peak_bytes: running.memory.most(),
                seconds: evaluated.as_secs_f64(),
            };
            let data = |out: &mut Vec<u8>| explained.write(out);
            return Ok(Success::new(data, &answer.warnings, &answer.infos));
        }
        let data = |out: &mut Vec<u8>| {
            json::result(out, &answer.value);
            if let Some(stats) = &self.stats {
                // The last byte ends the object that the statistics are a member of.
                out.pop();
                stats.write(out, began, evaluated, loaded);
                out.push(b'}');
            }
        };
        Ok(Success::new(data, &answer.warnings, &answer.infos))
    }

    fn evaluate(&self, source: &dyn SeriesSource, running: &Running) -> Result<Answer, EvalError> {
        let options = Options {
            lookback_ms: self.lookback_ms,
            max_samples: self.app.config.query_max_samples,
            delayed_name_removal: self.app.config.features.delayed_name_removal,
            threads: self.app.config.query_threads,
            memory: Some(&running.memory),
            trace: self.trace.as_ref(),
            interrupt: Some(&running.interrupt),
            ..Options::default()
        };
        match self.times {
            Times::At(at) => promql::eval_instant(&self.plan, at, source, &options),
            Times::Range { start, end, step } => {
                promql::eval_range(&self.plan, start, end, step, source, &options)
            }
        }
    }
}

/// Cuts an answer to so many series; says whether it was longer.
fn truncate(value: &mut QueryValue, limit: usize) -> bool {
    let (len, cut) = match value {
        QueryValue::Vector(vector) => (vector.len(), {
            vector.truncate(limit);
            vector.len()
        }),
        QueryValue::Matrix(matrix) => (matrix.len(), {
            matrix.truncate(limit);
            matrix.len()
        }),
        QueryValue::Scalar { .. } | QueryValue::Text { .. } => (0, 0),
    };
    cut < len
}
