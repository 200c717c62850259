//! Health, metrics, and who this is.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus::{Encoder, TextEncoder};

use super::App;
use super::envelope::Success;
use super::json;

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
