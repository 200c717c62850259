//! The envelope of every `/api/v1` answer, and errors as Prometheus words and codes them.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::json;
use crate::admission::NotAdmitted;

/// Prometheus's errorType.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// The request is wrong.
    BadData,
    /// The query cannot be answered on this data.
    Execution,
    /// The caller left.
    Canceled,
    /// The deadline passed.
    Timeout,
    /// The store failed.
    Internal,
    /// No such thing.
    NotFound,
    /// Not for this principal; Prometheus has no word for it.
    Forbidden,
    /// Not ready, or too busy.
    Unavailable,
}

impl ErrorKind {
    /// As Prometheus spells it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            ErrorKind::BadData => "bad_data",
            ErrorKind::Execution => "execution",
            ErrorKind::Canceled => "canceled",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Internal => "internal",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Forbidden => "forbidden",
            ErrorKind::Unavailable => "unavailable",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            ErrorKind::BadData => StatusCode::BAD_REQUEST,
            ErrorKind::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            // Prometheus's own number, which no standard has.
            ErrorKind::Canceled => StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT),
            ErrorKind::Timeout | ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        }
    }
}

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    kind: ErrorKind,
    message: String,
}

impl ApiError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        ApiError {
            kind,
            message: message.into(),
        }
    }

    /// What kind of error it is.
    pub(crate) fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Its status in Prometheus's API.
    pub(crate) fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// What is wrong, for a person.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// `invalid parameter "<name>": <reason>`.
    pub(crate) fn parameter(name: &str, reason: impl std::fmt::Display) -> Self {
        ApiError::new(
            ErrorKind::BadData,
            format!("invalid parameter {name:?}: {reason}"),
        )
    }
}

impl From<promql::EvalError> for ApiError {
    fn from(error: promql::EvalError) -> Self {
        let kind = match error {
            promql::EvalError::Execution(_)
            | promql::EvalError::TooManySamples
            | promql::EvalError::OverBudget(_) => ErrorKind::Execution,
            promql::EvalError::Timeout => ErrorKind::Timeout,
            promql::EvalError::Canceled => ErrorKind::Canceled,
            // Times are checked before: it is the expression that has no values at each of them.
            promql::EvalError::BadRange(reason) => return ApiError::parameter("query", reason),
            promql::EvalError::Storage(_) => ErrorKind::Internal,
        };
        ApiError::new(kind, error.to_string())
    }
}

impl From<NotAdmitted> for ApiError {
    fn from(error: NotAdmitted) -> Self {
        let kind = match error {
            NotAdmitted::TimedOut => ErrorKind::Timeout,
            NotAdmitted::TooMany(_) => ErrorKind::Unavailable,
        };
        ApiError::new(kind, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = Vec::with_capacity(96 + self.message.len());
        body.extend_from_slice(b"{\"status\":\"error\",\"errorType\":\"");
        body.extend_from_slice(self.kind.word().as_bytes());
        body.extend_from_slice(b"\",\"error\":");
        json::text(&mut body, &self.message);
        body.push(b'}');
        json_response(self.kind.status(), body)
    }
}

/// Most warnings, and most infos, that an answer lists.
const MAX_NOTES: usize = 10;

/// A successful answer: `data` is a whole JSON value.
pub(crate) struct Success {
    body: Vec<u8>,
}

impl Success {
    /// Writes `data` and the notes; a list without entries is left out.
    pub(crate) fn new(data: impl FnOnce(&mut Vec<u8>), warnings: &[String], infos: &[String]) -> Self {
        let mut body = b"{\"status\":\"success\",\"data\":".to_vec();
        data(&mut body);
        notes(&mut body, "warnings", warnings);
        notes(&mut body, "infos", infos);
        body.push(b'}');
        Success { body }
    }
}

fn notes(body: &mut Vec<u8>, name: &str, entries: &[String]) {
    if entries.is_empty() {
        return;
    }
    body.extend_from_slice(format!(",\"{name}\":").as_bytes());
    let more = entries.len().saturating_sub(MAX_NOTES);
    let kind = name.trim_end_matches('s');
    let note = (more > 0).then(|| format!("{more} more {kind} annotations omitted"));
    let shown = entries
        .iter()
        .take(MAX_NOTES)
        .map(String::as_str)
        .chain(note.as_deref());
    json::list(body, shown, json::text);
}

impl IntoResponse for Success {
    fn into_response(self) -> Response {
        json_response(StatusCode::OK, self.body)
    }
}

fn json_response(status: StatusCode, body: Vec<u8>) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        Body::from(body),
    )
        .into_response()
}
