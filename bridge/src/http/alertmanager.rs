//! Alertmanager's API, `/api/v2/…` (prometheus/alertmanager api/v2/openapi.yaml): alerts are taken in here, durable before
//! the answer; what else is asked goes to the first Alertmanager of the clusters that answers, so that amtool works here.
//!
//! Who may see some tenants only sees and silences alerts that carry the label `tenant` of the one it names.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use wire::dict::check_set;
use wire::{Labels, Tenant};

use super::App;
use super::envelope::ApiError;
use super::params::{access_of, tenant_of};
use crate::alerts::{ALERTS_PATH, Alertmanager, PostError, Report};
use crate::http_client::{Caller, ClientError, no_answer};
use crate::web::Access;
use wire::time::parse_rfc3339;

/// Bytes of an Alertmanager's answer that are handed on.
const MAX_ANSWER: usize = 32 << 20;

/// What an alert without an end is given, as Alertmanager's `resolve_timeout`; ms.
const RESOLVE_TIMEOUT_MS: i64 = 5 * 60_000;

/// The label that a tenant's alerts and silences carry.
const TENANT: &str = "tenant";

/// An alert as it is posted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Posted {
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    starts_at: Option<String>,
    #[serde(default)]
    ends_at: Option<String>,
    #[serde(default, rename = "generatorURL")]
    generator_url: String,
}

/// An answer that is no data, as Alertmanager writes it: a JSON string.
fn refuse(code: StatusCode, reason: impl Into<String>) -> Response {
    (code, Json(Value::String(reason.into()))).into_response()
}

/// What is wrong with the tenant of a request.
fn forbidden(error: &ApiError) -> Response {
    refuse(error.status(), error.message())
}

/// POST `alerts`.
pub(crate) async fn post_alerts(
    State(app): State<App>,
    headers: HeaderMap,
    axum::Extension(access): axum::Extension<Access>,
    body: Bytes,
) -> Response {
    let tenant = match tenant_of(&headers, &access) {
        Ok(tenant) => tenant,
        Err(error) => return forbidden(&error),
    };
    let (reports, faults) = match reports(&body, (app.config.clock)().ms()) {
        Ok(read) => read,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, format!("parsing alerts body: {error}")),
    };
    match app.alerts.post(tenant.to_string(), reports).await {
        Ok(()) if faults.is_empty() => StatusCode::OK.into_response(),
        Ok(()) => refuse(StatusCode::BAD_REQUEST, faults.join("; ")),
        Err(error @ PostError::Full(_)) => refuse(StatusCode::TOO_MANY_REQUESTS, error.to_string()),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// The alerts of a body, and what is wrong with the others.
pub(super) fn reports(body: &[u8], now_ms: i64) -> Result<(Vec<Report>, Vec<String>), serde_json::Error> {
    let posted: Vec<Posted> = serde_json::from_slice(body)?;
    let (mut reports, mut faults) = (Vec::new(), Vec::new());
    for alert in posted {
        match alert.report(now_ms) {
            Ok(report) => reports.push(report),
            Err(fault) => faults.push(fault),
        }
    }
    Ok((reports, faults))
}

/// A time that is given; Go's zero time means that it is not.
fn given(text: Option<String>) -> Result<Option<i64>, String> {
    match text.filter(|text| !text.is_empty() && !text.starts_with("0001-01-01T00:00:00")) {
        Some(text) => match parse_rfc3339(&text) {
            Some(ms) => Ok(Some(ms)),
            None => Err(format!("{text:?} is no time of RFC 3339")),
        },
        None => Ok(None),
    }
}

impl Posted {
    fn report(self, now_ms: i64) -> Result<Report, String> {
        let labels = Labels::new(&self.labels).map_err(|error| error.to_string())?;
        if labels.is_empty() {
            return Err("at least one label pair required".to_owned());
        }
        check_set(&labels).map_err(|error| format!("{labels}: {error}"))?;
        let annotations =
            Labels::new(&self.annotations).map_err(|error| format!("{labels}: annotations: {error}"))?;
        check_set(&annotations).map_err(|error| format!("{labels}: annotations: {error}"))?;
        let ends = given(self.ends_at)?;
        let starts_ms = given(self.starts_at)?.or(ends).unwrap_or(now_ms);
        let ends_ms = ends.unwrap_or(now_ms + RESOLVE_TIMEOUT_MS);
        if ends_ms < starts_ms {
            return Err(format!("{labels}: start time must be before end time"));
        }
        let annotations = annotations
            .iter()
            .map(|(name, value)| crate::alerts::pair(name, value));
        Ok(Report {
            annotations: annotations.collect(),
            generator_url: self.generator_url,
            starts_ms,
            ends_ms,
            labels,
        })
    }
}

/// What of the cluster a request may touch.
enum Scope {
    /// Everything.
    Site,
    /// What carries this tenant.
    Tenant(Tenant),
}

fn scope_of(headers: &HeaderMap, access: &Access) -> Result<Scope, Box<Response>> {
    let names_one = ["thanos-tenant", "x-scope-orgid"]
        .iter()
        .any(|name| headers.contains_key(*name));
    match access {
        Access::All if !names_one => Ok(Scope::Site),
        _ => tenant_of(headers, access)
            .map(Scope::Tenant)
            .map_err(|error| Box::new(forbidden(&error))),
    }
}

/// GET of what the cluster knows: `alerts`, `alerts/groups`, `silences`, `status`, `receivers`.
pub(crate) async fn get(State(app): State<App>, request: Request) -> Response {
    let access = access_of(request.extensions());
    let scope = match scope_of(request.headers(), &access) {
        Ok(scope) => scope,
        Err(response) => return *response,
    };
    // The router took the prefix off.
    let path = format!("/api/v2{}", request.uri().path());
    let mut query = request.uri().query().unwrap_or_default().to_owned();
    if let (Scope::Tenant(tenant), true) = (&scope, is_filtered(&path)) {
        let filter: String = form_urlencoded(&format!("{TENANT}=\"{tenant}\""));
        query = format!(
            "{query}{}filter={filter}",
            if query.is_empty() { "" } else { "&" }
        );
    }
    forward(&app, Method::GET, &path, &query, None).await
}

fn is_filtered(path: &str) -> bool {
    path.ends_with("/alerts") || path.ends_with("/groups") || path.ends_with("/silences")
}

/// The characters that a filter has, percent-encoded.
fn form_urlencoded(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() {
                (b as char).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

/// POST `silences`.
pub(crate) async fn post_silence(
    State(app): State<App>,
    headers: HeaderMap,
    axum::Extension(access): axum::Extension<Access>,
    body: Bytes,
) -> Response {
    let scope = match scope_of(&headers, &access) {
        Ok(scope) => scope,
        Err(response) => return *response,
    };
    let body = match scope {
        Scope::Site => body.to_vec(),
        Scope::Tenant(tenant) => {
            let Some(silence) = confined(&body, &tenant) else {
                return refuse(StatusCode::BAD_REQUEST, "parsing silence body: it is no JSON");
            };
            if let Some(id) = silence
                .get("id")
                .and_then(Value::as_str)
                .filter(|id| !id.is_empty())
                && let Err(response) = owned(&app, id, &tenant).await
            {
                return response;
            }
            silence.to_string().into_bytes()
        }
    };
    forward(&app, Method::POST, "/api/v2/silences", "", Some(body)).await
}

/// A body's silence, of alerts of the tenant only; `None`: it is no JSON.
pub(super) fn confined(body: &[u8], tenant: &Tenant) -> Option<Value> {
    let mut silence = serde_json::from_slice(body).ok()?;
    confine(&mut silence, tenant);
    Some(silence)
}

fn confine(silence: &mut Value, tenant: &Tenant) {
    let own =
        serde_json::json!({"name": TENANT, "value": tenant.as_str(), "isRegex": false, "isEqual": true});
    match silence.get_mut("matchers").and_then(Value::as_array_mut) {
        Some(matchers) => {
            matchers.retain(|matcher| *matcher != own);
            matchers.push(own);
        }
        None => {
            if let Some(silence) = silence.as_object_mut() {
                silence.insert("matchers".to_owned(), Value::Array(vec![own]));
            }
        }
    }
}

/// GET and DELETE `silence/{id}`.
pub(crate) async fn silence(State(app): State<App>, Path(id): Path<String>, request: Request) -> Response {
    let access = access_of(request.extensions());
    let scope = match scope_of(request.headers(), &access) {
        Ok(scope) => scope,
        Err(response) => return *response,
    };
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return refuse(StatusCode::BAD_REQUEST, format!("{id:?} is no silence's id"));
    }
    if let Scope::Tenant(tenant) = &scope
        && let Err(response) = owned(&app, &id, tenant).await
    {
        return response;
    }
    forward(
        &app,
        request.method().clone(),
        &format!("/api/v2/silence/{id}"),
        "",
        None,
    )
    .await
}

/// Refuses a silence that is not confined to a tenant.
async fn owned(app: &App, id: &str, tenant: &Tenant) -> Result<(), Response> {
    let path = format!("/api/v2/silence/{id}");
    let (code, _, body) = ask(app, Method::GET, &path, "", None).await?;
    let silence: Value = serde_json::from_slice(&body).unwrap_or_default();
    let own =
        serde_json::json!({"name": TENANT, "value": tenant.as_str(), "isRegex": false, "isEqual": true});
    let confined = silence
        .get("matchers")
        .and_then(Value::as_array)
        .is_some_and(|all| all.contains(&own));
    match code.is_success() && confined {
        true => Ok(()),
        false => Err(refuse(StatusCode::NOT_FOUND, format!("silence {id} not found"))),
    }
}

async fn forward(app: &App, method: Method, path: &str, query: &str, body: Option<Vec<u8>>) -> Response {
    match ask(app, method, path, query, body).await {
        Ok((code, kind, body)) => (code, [(header::CONTENT_TYPE, kind)], body).into_response(),
        Err(response) => response,
    }
}

type Answer = (StatusCode, String, Vec<u8>);

/// Asks the Alertmanagers one after the other until one answers.
async fn ask(
    app: &App,
    method: Method,
    path: &str,
    query: &str,
    body: Option<Vec<u8>>,
) -> Result<Answer, Response> {
    let all = app.alertmanagers.active();
    let mut last = None;
    for alertmanager in &all {
        match ask_one(alertmanager, &method, path, query, body.clone()).await {
            Ok(answer) if !answer.0.is_server_error() => return Ok(answer),
            Ok(answer) => last = Some(Ok(answer)),
            Err(error) => last = Some(Err(no_answer(&error))),
        }
    }
    match last {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(error)) => {
            let reason = format!("no Alertmanager answers; the last one: {error}");
            Err(refuse(StatusCode::BAD_GATEWAY, reason))
        }
        None => {
            let reason = "no Alertmanager is configured; name some in alerting.alertmanagers";
            Err(refuse(StatusCode::SERVICE_UNAVAILABLE, reason))
        }
    }
}

async fn ask_one(
    alertmanager: &Alertmanager,
    method: &Method,
    path: &str,
    query: &str,
    body: Option<Vec<u8>>,
) -> Result<Answer, ClientError> {
    let cluster = &alertmanager.cluster;
    let caller = Caller::new(&alertmanager.url, &cluster.access, cluster.timeout)?;
    let to = |url: &mut Url| {
        let prefix = url.path().strip_suffix(ALERTS_PATH).unwrap_or_default();
        let path = format!("{prefix}{path}");
        url.set_path(&path);
        url.set_query(Some(query).filter(|query| !query.is_empty()));
    };
    let mut request = caller.request(method.clone(), to).await?;
    if let Some(body) = body {
        request = request
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
    }
    let mut response = request.send().await?;
    let code = response.status();
    let kind = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or("application/json").to_owned();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            let text = b"\"the Alertmanager's answer is too large; ask for less by filter\"".to_vec();
            return Ok((StatusCode::BAD_GATEWAY, "application/json".to_owned(), text));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((code, kind, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(json: &str) -> Result<Report, String> {
        serde_json::from_str::<Posted>(json).unwrap().report(1_000_000)
    }

    #[test]
    fn an_alert_is_read_as_alertmanager_reads_it() {
        let plain = posted(r#"{"labels": {"alertname": "x", "empty": ""}}"#).unwrap();
        assert_eq!(
            (plain.labels.len(), plain.starts_ms, plain.ends_ms),
            (1, 1_000_000, 1_300_000)
        );
        let zero = posted(
            r#"{"labels": {"a": "b"}, "startsAt": "0001-01-01T00:00:00.000Z", "endsAt": "1970-01-01T00:00:05Z"}"#,
        );
        assert_eq!(zero.map(|r| (r.starts_ms, r.ends_ms)), Ok((5_000, 5_000)));
        for (json, words) in [
            (r#"{"labels": {}}"#, "at least one label"),
            (r#"{"labels": {"a": "b"}, "startsAt": "soon"}"#, "RFC 3339"),
            (
                r#"{"labels": {"a": "b"}, "startsAt": "2020-01-01T00:00:01Z", "endsAt": "2020-01-01T00:00:00Z"}"#,
                "before end",
            ),
        ] {
            let fault = posted(json).unwrap_err();
            assert!(fault.contains(words), "{fault}");
        }
    }

    #[test]
    fn a_silence_is_confined_to_its_tenant() {
        let tenant = Tenant::new("acme").unwrap();
        let own = serde_json::json!({"name": "tenant", "value": "acme", "isRegex": false, "isEqual": true});
        let mut silence = serde_json::json!({"matchers": [{"name": "a", "value": "b"}]});
        confine(&mut silence, &tenant);
        confine(&mut silence, &tenant);
        assert_eq!(
            silence["matchers"],
            serde_json::json!([{"name": "a", "value": "b"}, own])
        );
    }
}
