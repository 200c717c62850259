//! `/metrics`, `/-/healthy` and `/-/ready`, for a broker in a process of its own.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves until `shutdown`.
pub(crate) async fn serve(listener: TcpListener, registry: Registry, shutdown: CancellationToken) {
    let routes = Router::new()
        .route("/metrics", get(move || std::future::ready(metrics(&registry))))
        .route("/-/healthy", get(|| std::future::ready("Broker is Healthy.\n")))
        .route("/-/ready", get(|| std::future::ready("Broker is Ready.\n")));
    let served = axum::serve(listener, routes)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "HTTP ended");
    }
}

fn metrics(registry: &Registry) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
