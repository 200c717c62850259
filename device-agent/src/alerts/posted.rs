//! One assertion of an alert, as a source makes it.

use std::collections::BTreeMap;

use wire::message::{Alert, Pair, VERSION};
use wire::{Labels, Timestamp, alert};

use crate::input::Moment;

/// How long an alert without an end lives, ms; Alertmanager's resolve_timeout.
const RESOLVE_TIMEOUT: i64 = 5 * 60_000;

/// How long before its end a source may assert an alert, ms: beyond, it would outlive its source by that.
const MAX_PATIENCE: i64 = 24 * 3_600_000;

/// An assertion within the limits of the wire.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Posted {
    pub(crate) labels: Labels,
    pub(crate) annotations: Labels,
    /// Where the alert came from.
    pub(crate) generator_url: String,
    pub(crate) starts_ms: i64,
    /// When it ends, or ended.
    pub(crate) ends_ms: i64,
}

/// An assertion as it comes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) generator_url: String,
    pub(crate) starts_ms: Option<i64>,
    pub(crate) ends_ms: Option<i64>,
}

/// Why an assertion is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PostedError {
    /// All labels are empty.
    #[error("at least one label pair required")]
    NoLabels,
    /// A name that no series can have.
    #[error("invalid label set: invalid name {0:?}")]
    Name(String),
    /// As Alertmanager has it.
    #[error("start time must be before end time")]
    Times,
    /// The wire's limits.
    #[error(transparent)]
    Limit(#[from] alert::AlertError),
}

impl Draft {
    /// The same with labels that it gets unless it has them.
    pub(crate) fn with_external(mut self, labels: &BTreeMap<String, String>) -> Draft {
        for (name, value) in labels {
            self.labels.entry(name.clone()).or_insert_with(|| value.clone());
        }
        self
    }

    /// Checks it; times that are not given are Alertmanager's: it starts when it ends or now, and ends after 5 minutes.
    pub(crate) fn check(self, now: Moment) -> Result<Posted, PostedError> {
        let given = |ms: Option<i64>| ms.filter(|&ms| ms > 0);
        let now_ms = now.wall.ms();
        let starts_ms = given(self.starts_ms).or(given(self.ends_ms)).unwrap_or(now_ms);
        let ends_ms = given(self.ends_ms).unwrap_or(now_ms.saturating_add(RESOLVE_TIMEOUT));
        if ends_ms < starts_ms {
            return Err(PostedError::Times);
        }
        let posted = Posted {
            labels: set(self.labels)?,
            annotations: set(self.annotations)?,
            generator_url: self.generator_url,
            starts_ms,
            ends_ms: ends_ms.min(now_ms.saturating_add(MAX_PATIENCE)),
        };
        if posted.labels.is_empty() {
            return Err(PostedError::NoLabels);
        }
        let record = Alert {
            seq: 1,
            ends_ms,
            ..posted.record(None)
        };
        alert::check(&record)?;
        Ok(posted)
    }
}

fn set(pairs: BTreeMap<String, String>) -> Result<Labels, PostedError> {
    if let Some(name) = pairs
        .keys()
        .find(|name| name.is_empty() || name.as_str() == "__name__")
    {
        return Err(PostedError::Name(name.clone()));
    }
    Labels::new(pairs).map_err(|error| PostedError::Name(error.to_string()))
}

impl Posted {
    /// Whether it says that the alert is over.
    pub(crate) fn is_resolved(&self, now: Timestamp) -> bool {
        self.ends_ms <= now.ms()
    }

    /// What the log is to hold of it; without an end it fires.
    pub(crate) fn record(&self, ends_ms: Option<i64>) -> Alert {
        let pairs = |set: &Labels| {
            let pair = |(name, value): (&str, &str)| Pair {
                name: name.to_owned(),
                value: value.to_owned(),
            };
            set.iter().map(pair).collect()
        };
        Alert {
            version: VERSION,
            labels: pairs(&self.labels),
            annotations: pairs(&self.annotations),
            generator_url: self.generator_url.clone(),
            starts_ms: self.starts_ms,
            ends_ms: ends_ms.unwrap_or(0),
            ..Alert::default()
        }
    }
}
