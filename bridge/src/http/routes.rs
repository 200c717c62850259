//! Which path is answered by what, and what is said of all others.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::{
    App, admin, alertmanager, compress, destinations, exemplars, expression, federate, fleet, fleet_store,
    guard, metadata, query, read, rules, series, status, targets,
};

/// All routes, and what stands before them.
pub(super) fn router(app: App) -> Router {
    // A router puts `Allow` on an answer outside of its own layers, so these are another one's.
    Router::new()
        .fallback_service(routes(app.clone()))
        .layer(map_response(guard::allow))
        .layer(from_fn(compress::compress))
        .layer(from_fn_with_state(app.clone(), guard::cors))
        .layer(from_fn_with_state(app, guard::authenticate))
}

fn routes(app: App) -> Router {
    Router::new()
        .nest("/api/v1", prometheus().merge(own()))
        .nest("/api/v2", alertmanager())
        .route("/federate", get(federate::federate))
        .route("/-/healthy", get(admin::healthy))
        .route("/-/ready", get(admin::ready))
        .route("/metrics", get(admin::metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .with_state(app)
}

/// What Prometheus has.
fn prometheus() -> Router<App> {
    Router::new()
        .route("/query", get(query::instant).post(query::instant))
        .route("/query_range", get(query::range).post(query::range))
        .route(
            "/query_exemplars",
            get(exemplars::exemplars).post(exemplars::exemplars),
        )
        .route(
            "/format_query",
            get(expression::format_query).post(expression::format_query),
        )
        .route(
            "/parse_query",
            get(expression::parse_query).post(expression::parse_query),
        )
        .route("/series", get(series::series).post(series::series))
        .route("/labels", get(series::label_names).post(series::label_names))
        .route("/label/{name}/values", get(series::label_values))
        .route("/metadata", get(metadata::metadata))
        .route("/targets", get(targets::targets))
        .route("/targets/metadata", get(metadata::of_targets))
        .route("/scrape_pools", get(targets::scrape_pools))
        .route("/rules", get(rules::rules))
        .route("/alerts", get(rules::alerts))
        .route("/alertmanagers", get(rules::alertmanagers))
        .route("/notifications", get(rules::notifications))
        .route("/status/buildinfo", get(admin::build_info))
        .route("/status/config", get(status::config))
        .route("/status/flags", get(status::flags))
        .route("/status/runtimeinfo", get(status::runtime_info))
        .route("/status/tsdb", get(status::tsdb))
        .route("/status/walreplay", get(status::wal_replay))
        .route(
            "/read",
            post(read::read).layer(DefaultBodyLimit::max(read::MAX_REQUEST)),
        )
        .route("/admin/tsdb/snapshot", post(admin::snapshot).put(admin::snapshot))
}

/// What Alertmanager has.
fn alertmanager() -> Router<App> {
    Router::new()
        .route("/alerts", get(alertmanager::get).post(alertmanager::post_alerts))
        .route("/alerts/groups", get(alertmanager::get))
        .route("/status", get(alertmanager::get))
        .route("/receivers", get(alertmanager::get))
        .route(
            "/silences",
            get(alertmanager::get).post(alertmanager::post_silence),
        )
        .route(
            "/silence/{id}",
            get(alertmanager::silence).delete(alertmanager::silence),
        )
}

/// What neither has.
fn own() -> Router<App> {
    Router::new()
        .route("/openapi.json", get(openapi))
        .route("/explain", get(query::explain).post(query::explain))
        .route("/fleet/devices", get(fleet::devices))
        .route("/fleet/destinations", get(destinations::destinations))
        .route("/fleet/equation", get(fleet::equation))
        .route("/fleet/forget", post(fleet::forget))
        .route("/fleet/series", get(fleet_store::series))
        .route("/fleet/quarantine", get(fleet_store::quarantine))
        .route("/fleet/quarantine/release", post(fleet_store::release))
        .route("/fleet/quarantine/drop", post(fleet_store::drop_rows))
}

/// GET `openapi.json`: this API for machines; a test compares it with the routes.
async fn openapi() -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (headers, include_str!("openapi.json")).into_response()
}

async fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "404 page not found\n")
}

async fn not_allowed() -> Response {
    plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n")
}

/// A text as Go's server writes it.
pub(super) fn plain(code: StatusCode, text: impl Into<String>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (code, headers, text.into()).into_response()
}
