//! What all YAML files here have in common: errors with their line, durations.

use promql::parse_duration;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

/// A duration in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) i64);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        parse_duration(&text).map(Span).map_err(serde::de::Error::custom)
    }
}

/// A document, or a line (0 if unknown) and what is wrong there.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, (u64, String)> {
    serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        // The first line says it; position and excerpt come after it.
        let whole = error.without_snippet().to_string();
        let first = whole.lines().next().unwrap_or_default();
        let reason = first.split_once(" at line ").map_or(first, |(reason, _)| reason);
        (line, reason.to_owned())
    })
}
