//! What an evaluation reads from and writes to.

use std::sync::Arc;
use std::time::Duration;

use promql::{Answer, EvalError, Histogram, Labels, Plan, SeriesSource, stale_nan};
use thiserror::Error;

/// A result of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Labels, metric name included.
    pub labels: Labels,
    /// Unix ms.
    pub time_ms: i64,
    /// The value.
    pub value: SampleValue,
}

/// A sample's value.
#[derive(Debug, Clone, PartialEq)]
pub enum SampleValue {
    /// A float; the stale marker ends a series.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

impl Sample {
    /// A float.
    pub fn float(labels: Labels, time_ms: i64, value: f64) -> Self {
        let value = SampleValue::Float(value);
        Self {
            labels,
            time_ms,
            value,
        }
    }

    /// The marker that ends a series.
    pub fn stale(labels: Labels, time_ms: i64) -> Self {
        Self::float(labels, time_ms, stale_nan())
    }
}

/// A sample that storage did not take, such as one of a time that has another value already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which of the samples, from 0.
    pub index: usize,
    /// Why, in one line.
    pub reason: String,
}

/// Nothing could be stored.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct AppendError(pub String);

/// Where rules read series and store their results: the bridge's store, a device's window, a test's memory.
pub trait Storage: SeriesSource {
    /// Evaluates an expression at a time (Unix ms), within the storage's own limits; usually
    /// [`promql::eval_instant`] on itself.
    ///
    /// # Errors
    /// Every variant of [`EvalError`].
    fn query(&self, plan: &Plan, at_ms: i64) -> Result<Answer, EvalError>;

    /// Stores results, of which later queries know; returns those that it did not take.
    ///
    /// # Errors
    /// Storage failed and took none.
    fn append(&mut self, samples: &[Sample]) -> Result<Vec<Refused>, AppendError>;

    /// A clock that only rises, to tell how long evaluations take.
    fn clock(&self) -> Duration;
}
