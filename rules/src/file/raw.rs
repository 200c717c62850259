//! A rule file as it is written: keys and texts with their lines, unchecked.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::yaml::{self, Span};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    pub(super) groups: Option<Vec<Spanned<RawGroup>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGroup {
    #[serde(default)]
    pub(super) name: String,
    pub(super) interval: Option<Span>,
    pub(super) query_offset: Option<Span>,
    pub(super) limit: Option<i64>,
    pub(super) labels: Option<BTreeMap<String, Option<String>>>,
    pub(super) wait_for: Option<Spanned<String>>,
    pub(super) rules: Option<Vec<Spanned<RawRule>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    pub(super) record: Option<Spanned<String>>,
    pub(super) alert: Option<Spanned<String>>,
    pub(super) expr: Option<Spanned<String>>,
    #[serde(rename = "for")]
    pub(super) hold: Option<Span>,
    pub(super) keep_firing_for: Option<Span>,
    pub(super) labels: Option<Texts>,
    pub(super) annotations: Option<Texts>,
}

/// Texts by name; one that is left out is empty.
pub(super) type Texts = BTreeMap<String, Spanned<Option<String>>>;

/// The file's groups, or a line (0 if unknown) and what is wrong there.
pub(super) fn read(text: &str) -> Result<Vec<Spanned<RawGroup>>, (u64, String)> {
    let is_blank = |line: &str| matches!(line.trim_start().chars().next(), None | Some('#'));
    if text
        .lines()
        .all(|line| is_blank(line) || line.trim_end() == "---")
    {
        return Ok(Vec::new());
    }
    let file: RawFile = yaml::read(text)?;
    Ok(file.groups.unwrap_or_default())
}
