//! Errors by what the caller does with them: each maps to one errorType of Prometheus's HTTP API.

use thiserror::Error;

use crate::memory::OverBudget;

/// Why a query text was refused (errorType `bad_data`).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// The text is longer than the limit, both in bytes.
    #[error("query of {bytes} bytes is longer than the limit of {limit}")]
    TooLong {
        /// Length of the query.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Brackets and operators nest deeper than the limit.
    #[error("query nests deeper than the limit of {limit}")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// Not valid PromQL, or PromQL of a version later than the one implemented; in Prometheus's words.
    #[error("{position}: parse error: {message}")]
    Syntax {
        /// Line and column, such as `1:6`.
        position: String,
        /// What is wrong.
        message: String,
    },
    /// A series selector that every series would match.
    #[error("match[] must contain at least one non-empty matcher")]
    EmptySelector,
}

/// Why a selection failed in storage.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SourceError {
    /// More samples than [`Hints::max_samples`](crate::Hints::max_samples).
    #[error("too many samples")]
    TooManySamples,
    /// More memory than the query is given.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// Storage saw the query's interrupt and stopped.
    #[error("interrupted")]
    Interrupted,
    /// Storage failed; the text is for a log and the user.
    #[error("{0}")]
    Storage(String),
}

/// Why an evaluation gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EvalError {
    /// The query is well-formed but cannot be answered on this data (errorType `execution`).
    #[error("{0}")]
    Execution(String),
    /// The query would hold more samples than allowed (errorType `execution`).
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// The query would hold more memory than allowed (errorType `execution`).
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// The deadline passed (errorType `timeout`).
    #[error("query timed out in expression evaluation")]
    Timeout,
    /// The caller went away (errorType `canceled`).
    #[error("query was canceled in expression evaluation")]
    Canceled,
    /// The parameters make no sense: a step that is not positive, an end before the start (errorType `bad_data`).
    #[error("{0}")]
    BadRange(String),
    /// Storage failed (errorType `internal`).
    #[error("{0}")]
    Storage(String),
}

impl EvalError {
    /// The `errorType` of Prometheus's HTTP API.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Execution(_) | Self::TooManySamples | Self::OverBudget(_) => "execution",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::BadRange(_) => "bad_data",
            Self::Storage(_) => "internal",
        }
    }
}
