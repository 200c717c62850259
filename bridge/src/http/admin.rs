//! Health, metrics, and who this is.

use std::path::Path;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus::{Encoder, TextEncoder};

use super::App;
use super::envelope::{ApiError, ErrorKind, Success};
use super::evaluate::blocking;
use super::params::Params;
use super::{json, time};
use crate::alerts;

/// `/-/healthy`: the process answers.
pub(crate) async fn healthy() -> &'static str {
    "backhaul is Healthy.\n"
}

/// `/-/ready`: the store is open (it was before the listener answered) and devices are heard.
pub(crate) async fn ready(State(app): State<App>) -> (StatusCode, &'static str) {
    if *app.subscribed.borrow() {
        (StatusCode::OK, "backhaul is Ready.\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "backhaul is not subscribed at its broker.\n",
        )
    }
}

/// `/metrics`: everything in the registry, in the text format.
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    let mut body = Vec::new();
    match TextEncoder::new().encode(&app.registry.gather(), &mut body) {
        Ok(()) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// POST `/api/v1/admin/tsdb/snapshot`: a copy of store and alerts in a folder of its own, while everything goes on.
pub(crate) async fn snapshot(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    params.for_site()?;
    if !app.config.admin_api {
        return Err(ApiError::new(ErrorKind::Unavailable, "admin APIs disabled"));
    }
    if params.get("skip_head") == "true" {
        let reason =
            "what is in memory is part of every snapshot: the devices' ledger would not fit without it";
        return Err(ApiError::parameter("skip_head", reason));
    }
    let random = getrandom::u64().map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))?;
    let name = format!("{}-{random:016x}", time::compact((app.config.clock)()));
    let taken = name.clone();
    let outcome = blocking(move || {
        let beside = &mut |folder: &Path, end| app.alerts.copy(folder.join(alerts::FILE), end);
        app.store.snapshot(&taken, beside)
    });
    let outcome = outcome.await?;
    outcome.map_err(|error| ApiError::new(ErrorKind::Internal, format!("create snapshot: {error}")))?;
    Ok(Success::new(
        |out| json::labels(out, std::iter::once(("name", name.as_str()))),
        &[],
        &[],
    ))
}

/// `/api/v1/status/buildinfo`. It has no `features`: Grafana would take them for another product's ruler.
pub(crate) async fn build_info() -> Success {
    let fields = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("revision", ""),
        ("branch", ""),
        ("buildUser", ""),
        ("buildDate", ""),
        ("goVersion", ""),
    ];
    Success::new(|out| json::labels(out, fields.into_iter()), &[], &[])
}
