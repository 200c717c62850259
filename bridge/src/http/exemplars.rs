//! `/api/v1/query_exemplars`. No device sends exemplars, so there are none; parameters are checked as Prometheus checks
//! them.

use axum::extract::State;

use super::App;
use super::envelope::{ApiError, ErrorKind, Success};
use super::params::Params;
use super::rules::fixed;
use super::time::{MAX_MS, MIN_MS};

/// GET or POST `query_exemplars`.
pub(crate) async fn exemplars(State(app): State<App>, params: Params) -> Result<Success, ApiError> {
    let bad = |reason: String| ApiError::new(ErrorKind::BadData, reason);
    let start = params.time_or("start", MIN_MS)?;
    let end = params.time_or("end", MAX_MS)?;
    if end < start {
        return Err(bad("end timestamp must not be before start timestamp".to_owned()));
    }
    promql::parse_with(params.get("query"), app.config.features.parse)
        .map_err(|error| bad(error.to_string()))?;
    Ok(fixed(b"[]"))
}
