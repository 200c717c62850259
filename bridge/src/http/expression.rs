//! `/api/v1/format_query` and `parse_query`: a query as the parser sees it.

use super::envelope::{ApiError, Success};
use super::json;
use super::params::Params;

/// GET or POST `format_query`: the query, spread over lines.
pub(crate) async fn format_query(params: Params) -> Result<Success, ApiError> {
    let plan = parsed(&params)?;
    Ok(Success::new(
        |out| json::text(out, &promql::format(&plan)),
        &[],
        &[],
    ))
}

/// GET or POST `parse_query`: its tree.
pub(crate) async fn parse_query(params: Params) -> Result<Success, ApiError> {
    let plan = parsed(&params)?;
    let tree = promql::parse_tree_json(&plan);
    Ok(Success::new(
        |out| out.extend_from_slice(tree.as_bytes()),
        &[],
        &[],
    ))
}

fn parsed(params: &Params) -> Result<promql::Plan, ApiError> {
    promql::parse(params.get("query")).map_err(|error| ApiError::parameter("query", error))
}
