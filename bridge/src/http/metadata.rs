//! `/api/v1/metadata` and `/api/v1/targets/metadata`: type, help and unit of metrics, as devices told them.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use promql::{EvalError, Matcher};
use store::{Matcher as StoreMatcher, Metadata, Store};
use wire::labels::METRIC_NAME;
use wire::{Labels, Tenant};

use super::App;
use super::envelope::{ApiError, ErrorKind, Success};
use super::evaluate::{blocking, evaluate};
use super::json;
use super::params::Params;
use super::targets::{self, Target};
use crate::admission::{Queue, Running};

/// What series of a family are called, beside its own name.
const SUFFIXES: [&str; 7] = ["", "_bucket", "_count", "_sum", "_total", "_created", "_info"];

/// GET `metadata`.
pub(crate) async fn metadata(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    let most =
        count(&params, "limit")?.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let each = count(&params, "limit_per_metric")?;
    let each = each
        .and_then(|each| usize::try_from(each).ok())
        .filter(|each| *each > 0);
    let (tenant, metric) = (params.tenant().clone(), named(&params));
    blocking(move || {
        let families = app.store.metadata(&tenant, metric.as_deref(), most);
        let data = |out: &mut Vec<u8>| {
            json::object(out, &families, |out, (family, told)| {
                json::text(out, family);
                out.push(b':');
                let told = told.iter().take(each.unwrap_or(usize::MAX));
                json::list(out, told, |out, told| {
                    out.push(b'{');
                    members(out, told);
                });
            });
        };
        Success::new(data, &[], &[])
    })
    .await
}

/// GET `targets/metadata`: of the families that a target has series of.
pub(crate) async fn of_targets(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    let limit = count(&params, "limit")?.and_then(|limit| usize::try_from(limit).ok());
    let matchers = match params.get("match_target") {
        "" => Vec::new(),
        text => promql::parse_selector(text).map_err(|error| ApiError::parameter("match_target", error))?,
    };
    let lookup = Lookup {
        tenant: params.tenant().clone(),
        metric: named(&params),
        matchers,
        limit: limit.unwrap_or(usize::MAX),
    };
    let shared = app.clone();
    evaluate(&shared, Queue::Api, shared.config.query_timeout, move |running| {
        let found = lookup.run(&app, running)?;
        let data = |out: &mut Vec<u8>| json::list(out, &found, |out, found| lookup.write(out, found));
        Ok(Success::new(data, &[], &[]))
    })
    .await
}

fn named(params: &Params) -> Option<String> {
    Some(params.get("metric").to_owned()).filter(|metric| !metric.is_empty())
}

/// A count as these two endpoints read it: any number is one.
fn count(params: &Params, name: &str) -> Result<Option<i64>, ApiError> {
    match params.get(name) {
        "" => Ok(None),
        text => match text.parse() {
            Ok(count) => Ok(Some(count)),
            Err(_) => Err(ApiError::new(
                ErrorKind::BadData,
                format!("{name} must be a number"),
            )),
        },
    }
}

struct Lookup {
    tenant: Tenant,
    metric: Option<String>,
    matchers: Vec<Matcher>,
    limit: usize,
}

/// One family of one target.
struct Found {
    target: Labels,
    family: String,
    told: Metadata,
}

impl Lookup {
    fn run(&self, app: &App, running: &Running) -> Result<Vec<Found>, EvalError> {
        let known = app
            .store
            .metadata(&self.tenant, self.metric.as_deref(), usize::MAX);
        let mut all = Vec::new();
        if known.is_empty() {
            return Ok(all);
        }
        for target in targets::active(app, &self.tenant, running)? {
            if running.interrupt.is_raised() || all.len() >= self.limit {
                break;
            }
            if !self.wants(&target) {
                continue;
            }
            let names = metric_names(&app.store, &self.tenant, &target);
            let has = |family: &str| {
                SUFFIXES
                    .iter()
                    .any(|suffix| names.contains(format!("{family}{suffix}").as_str()))
            };
            for (family, told) in known.iter().filter(|(family, _)| has(family)) {
                all.extend(told.last().map(|told| Found {
                    target: target.labels.clone(),
                    family: family.clone(),
                    told: told.clone(),
                }));
            }
        }
        all.truncate(self.limit);
        Ok(all)
    }

    fn wants(&self, target: &Target) -> bool {
        let value = |name: &str| target.labels.get(name).unwrap_or("").to_owned();
        self.matchers.iter().all(|m| m.matches(&value(m.name())))
    }

    fn write(&self, out: &mut Vec<u8>, found: &Found) {
        out.extend_from_slice(b"{\"target\":");
        json::labels(out, found.target.iter());
        if self.metric.is_none() {
            out.extend_from_slice(b",\"metric\":");
            json::text(out, &found.family);
        }
        out.push(b',');
        members(out, &found.told);
    }
}

/// Names of the metrics that have the target's labels.
fn metric_names(store: &Store, tenant: &Tenant, target: &Target) -> BTreeSet<Arc<str>> {
    let of_target: Vec<StoreMatcher> = target
        .labels
        .iter()
        .map(|(name, value)| StoreMatcher::equal(name, value))
        .collect();
    store
        .label_values(tenant, METRIC_NAME, &of_target)
        .into_iter()
        .collect()
}

/// The members of an object, and its end.
fn members(out: &mut Vec<u8>, told: &Metadata) {
    out.extend_from_slice(b"\"type\":");
    json::text(out, &told.kind);
    out.extend_from_slice(b",\"help\":");
    json::text(out, &told.help);
    out.extend_from_slice(b",\"unit\":");
    json::text(out, &told.unit);
    out.push(b'}');
}
