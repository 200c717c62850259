//! The HTTP API: Prometheus's query endpoints in its exact shapes, the fleet, health and metrics.
//!
//! Queries run on blocking threads, a bounded number at once, under a deadline; when a caller leaves, hyper drops the
//! handler's future and with it the guard that cancels the evaluation.

mod admin;
mod destinations;
mod envelope;
mod evaluate;
mod fleet;
mod fleet_store;
mod histogram;
mod json;
mod metadata;
mod notes;
mod params;
mod query;
mod series;
mod source;
mod status;
mod time;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use prometheus::Registry;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::forward::Destinations;
use crate::ingest::{Fleet, Orders};
use crate::metrics::Metrics;

pub use time::parse_time;

/// What handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) store: Arc<Store>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) orders: Orders,
    pub(crate) config: Arc<Config>,
    pub(crate) registry: Registry,
    pub(crate) metrics: Metrics,
    pub(crate) subscribed: watch::Receiver<bool>,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) destinations: Arc<Destinations>,
}

/// Answers requests until `shutdown`.
pub(crate) async fn serve(
    listener: TcpListener,
    app: App,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    // A connection that is kept alive would hold up the end for as long as its client likes.
    let stopped = shutdown.clone();
    let server = axum::serve(listener, router(app)).with_graceful_shutdown(shutdown.cancelled_owned());
    tokio::select! {
        ended = server => ended,
        () = async {
            stopped.cancelled().await;
            tokio::time::sleep(LINGER).await;
        } => Ok(()),
    }
}

/// How long answers under way may take after the shutdown began.
const LINGER: std::time::Duration = std::time::Duration::from_secs(5);

fn router(app: App) -> Router {
    let api = Router::new()
        .route("/query", get(query::instant).post(query::instant))
        .route("/query_range", get(query::range).post(query::range))
        .route("/series", get(series::series).post(series::series))
        .route("/labels", get(series::label_names).post(series::label_names))
        .route("/label/{name}/values", get(series::label_values))
        .route("/metadata", get(metadata::metadata))
        .route("/status/buildinfo", get(admin::build_info))
        .route("/status/tsdb", get(status::tsdb))
        .route("/admin/tsdb/snapshot", post(admin::snapshot).put(admin::snapshot))
        .route("/fleet/devices", get(fleet::devices))
        .route("/fleet/destinations", get(destinations::destinations))
        .route("/fleet/equation", get(fleet::equation))
        .route("/fleet/forget", post(fleet::forget))
        .route("/fleet/series", get(fleet_store::series))
        .route("/fleet/quarantine", get(fleet_store::quarantine))
        .route("/fleet/quarantine/release", post(fleet_store::release))
        .route("/fleet/quarantine/drop", post(fleet_store::drop_rows));
    Router::new()
        .nest("/api/v1", api)
        .route("/-/healthy", get(admin::healthy))
        .route("/-/ready", get(admin::ready))
        .route("/metrics", get(admin::metrics))
        .with_state(app)
}
