//! `/federate`: the newest sample of each selected series in the text format, as another Prometheus scrapes it.
//!
//! What is older than the lookback, stale, nameless or a native histogram (which the text format cannot carry) is left
//! out. The configuration's external labels are added to series that lack them, and an empty `instance` to those without one,
//! so that the scraping server does not put its own there.

use std::collections::BTreeMap;
use std::fmt::Write;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use promql::{EvalError, Hints, Labels, METRIC_NAME, Matcher, SeriesSource, is_stale};
use wire::Tenant;

use super::App;
use super::envelope::{ApiError, ErrorKind};
use super::evaluate::evaluate;
use super::exposition::{Names, label_value};
use super::params::Params;
use super::routes::plain;
use super::source::{TenantSource, eval_error};
use crate::admission::{Queue, Running};

/// Bytes of a series with its newest sample, roughly.
const SERIES_BYTES: u64 = 512;

/// The label that tells targets apart.
const INSTANCE: &str = "instance";

/// GET `federate`. Errors are plain texts.
pub(crate) async fn federate(
    State(app): State<App>,
    headers: HeaderMap,
    params: Result<Params, ApiError>,
) -> Response {
    let params = match params {
        Ok(params) => params,
        Err(error) => return refused(&error),
    };
    let selectors = match params.selectors(&app.patterns) {
        Ok(selectors) => selectors,
        Err(reason) => return plain(StatusCode::BAD_REQUEST, format!("{reason}\n")),
    };
    let names = Names::asked_for(&headers);
    let job = Job {
        app: app.clone(),
        tenant: params.tenant().clone(),
        selectors,
        names,
    };
    let answer = evaluate(&app, Queue::Api, app.config.query_timeout, move |running| {
        job.run(running)
    })
    .await;
    match answer {
        Ok(text) => ([(header::CONTENT_TYPE, names.content_type())], text).into_response(),
        Err(error) => refused(&error),
    }
}

fn refused(error: &ApiError) -> Response {
    let code = match error.kind() {
        ErrorKind::BadData => StatusCode::BAD_REQUEST,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::Timeout | ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    plain(code, format!("{}\n", error.message()))
}

struct Job {
    app: App,
    tenant: Tenant,
    selectors: Vec<Vec<Matcher>>,
    names: Names,
}

/// A series, and time (ms) and value of its newest sample.
type Newest = (Labels, (i64, f64));

impl Job {
    fn run(&self, running: &Running) -> Result<String, EvalError> {
        let newest = self.newest(running)?;
        let mut out = String::new();
        let mut family = None;
        for (labels, (time_ms, value)) in &newest {
            let name = labels.get(METRIC_NAME);
            if name.is_empty() {
                continue;
            }
            if family != Some(name) {
                family = Some(name);
                let _ = writeln!(out, "# TYPE {} untyped", self.names.metric(name));
            }
            self.line(&mut out, name, labels, *value);
            let _ = writeln!(out, " {time_ms}");
        }
        Ok(out)
    }

    /// Newest samples by labels; those of a metric stand together, as its name sorts before any other label but such that
    /// begin with an upper-case letter or a digit.
    fn newest(&self, running: &Running) -> Result<Vec<Newest>, EvalError> {
        let now_ms = (self.app.config.clock)().ms();
        let lookback_ms = i64::try_from(self.app.config.lookback_delta.as_millis()).unwrap_or(i64::MAX);
        let hints = Hints {
            start_ms: now_ms.saturating_sub(lookback_ms).saturating_add(1),
            end_ms: now_ms,
            max_samples: self.app.config.query_max_samples,
            newest_only: true,
        };
        let source = TenantSource::new(&self.app.store, &self.tenant, running);
        let mut newest = BTreeMap::new();
        for matchers in &self.selectors {
            let found = source.select(matchers, &hints).map_err(eval_error)?;
            running.memory.take(found.len() as u64 * SERIES_BYTES)?;
            for series in found {
                let samples = &series.samples;
                let last = samples
                    .times_ms()
                    .last()
                    .copied()
                    .zip(samples.values().last().copied());
                let histogram = samples.histogram_times_ms().last();
                if let Some((time_ms, value)) = last
                    && !is_stale(value)
                    && histogram.is_none_or(|of_histogram| *of_histogram < time_ms)
                {
                    newest.insert(series.labels, (time_ms, value));
                }
            }
        }
        let mut newest: Vec<_> = newest.into_iter().collect();
        newest.sort_by(|(a, _), (b, _)| (a.get(METRIC_NAME), a).cmp(&(b.get(METRIC_NAME), b)));
        Ok(newest)
    }

    fn line(&self, out: &mut String, name: &str, labels: &Labels, value: f64) {
        let own = labels.iter().filter(|(label, _)| *label != METRIC_NAME);
        let external = &self.app.config.external_labels;
        let instance = external.get(INSTANCE).is_none().then_some((INSTANCE, ""));
        let mut added: Vec<(&str, &str)> = external.iter().chain(instance).collect();
        added.retain(|(label, _)| labels.get(label).is_empty());
        added.sort_unstable();
        self.names.begin(out, name);
        for (i, (label, text)) in own.chain(added).enumerate() {
            let comma = if i > 0 || self.names.is_inside(name) {
                ","
            } else {
                ""
            };
            let _ = write!(
                out,
                "{comma}{}=\"{}\"",
                self.names.label(label),
                label_value(text)
            );
        }
        let _ = write!(out, "}} {}", promql::format_general(value));
    }
}
