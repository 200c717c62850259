//! `/api/v1/format_query` and `parse_query`: a query as the parser sees it.

use axum::extract::State;

use super::App;
use super::envelope::{ApiError, Success};
use super::json;
use super::params::Params;

/// GET or POST `format_query`: the query, spread over lines.
pub(crate) async fn format_query(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    let plan = parsed(&app, &params)?;
    Ok(Success::new(
        |out| json::text(out, &promql::format(&plan)),
        &[],
        &[],
    ))
}

/// GET or POST `parse_query`: its tree.
pub(crate) async fn parse_query(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    let plan = parsed(&app, &params)?;
    let tree = promql::parse_tree_json(&plan);
    Ok(Success::new(
        |out| out.extend_from_slice(tree.as_bytes()),
        &[],
        &[],
    ))
}

fn parsed(app: &App, params: &Params) -> Result<promql::Plan, ApiError> {
    promql::parse_with(params.get("query"), app.config.features.parse)
        .map_err(|error| ApiError::parameter("query", error))
}
