//! The agent's own HTTP: /metrics, /-/healthy, /-/ready, and Alertmanager's API as far as it goes here.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::agent::Status;
use crate::alerts::{AlertApi, api, listing};

/// How long open connections may hold up the end.
const LINGER: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct App {
    registry: Registry,
    status: watch::Receiver<Status>,
}

/// Answers until `shutdown`.
///
/// # Errors
/// The listener failed.
pub(crate) async fn serve(
    listener: TcpListener,
    registry: Registry,
    status: watch::Receiver<Status>,
    alerts: AlertApi,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(|| async { "backhaul-agent is healthy.\n" }))
        .route("/-/ready", get(ready))
        .with_state(App { registry, status });
    let alerts = Router::new()
        .route("/api/v2/alerts", post(api::post_alerts).get(listing::alerts))
        .route("/api/v2/status", get(api::status))
        .with_state(alerts);
    let service = router
        .merge(alerts)
        .into_make_service_with_connect_info::<SocketAddr>();
    let stopped = shutdown.clone();
    let server = axum::serve(listener, service).with_graceful_shutdown(shutdown.cancelled_owned());
    tokio::select! {
        ended = server => ended,
        () = async {
            stopped.cancelled().await;
            tokio::time::sleep(LINGER).await;
        } => Ok(()),
    }
}

async fn metrics(State(app): State<App>) -> Response {
    let mut page = Vec::new();
    match TextEncoder::new().encode(&app.registry.gather(), &mut page) {
        Ok(()) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Ready as soon as rows are logged: being offline is no fault of an agent. The text says which it is.
async fn ready(State(app): State<App>) -> &'static str {
    match app.status.borrow().connected {
        true => "backhaul-agent is ready and connected.\n",
        false => "backhaul-agent is ready; no bridge answers, scrapes are logged.\n",
    }
}
