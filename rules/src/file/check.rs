//! What Prometheus checks of a rule file, in its words.

use std::collections::{BTreeMap, BTreeSet};

use promql::{METRIC_NAME, Plan, parse_duration, parse_with};
use serde_saphyr::Spanned;

use super::raw::{RawGroup, RawRule, Texts};
use super::{FileOptions, RuleError};
use crate::group::{Action, Alerting, Group, Rule, WaitFor};
use crate::template;

/// A file on its way; collects what is wrong.
pub(super) struct Check<'f> {
    file: &'f str,
    options: &'f FileOptions,
    errors: Vec<RuleError>,
}

/// A rule's place.
struct Place<'p> {
    group: &'p str,
    rule: usize,
    name: &'p str,
    line: u64,
}

impl<'f> Check<'f> {
    pub(super) fn new(file: &'f str, options: &'f FileOptions) -> Self {
        let errors = Vec::new();
        Self {
            file,
            options,
            errors,
        }
    }

    pub(super) fn groups(mut self, raw: Vec<Spanned<RawGroup>>) -> Result<Vec<Group>, Vec<RuleError>> {
        let mut names = BTreeSet::new();
        let mut groups = Vec::with_capacity(raw.len());
        for Spanned {
            value: group,
            defined,
            ..
        } in raw
        {
            let line = defined.line();
            if group.name.is_empty() {
                self.group_error(line, &group.name, "Groupname must not be empty".to_owned());
            }
            if !names.insert(group.name.clone()) {
                let reason = format!("groupname: {:?} is repeated in the same file", group.name);
                self.group_error(line, &group.name, reason);
            }
            groups.push(self.group(group, line));
        }
        match self.errors.is_empty() {
            true => Ok(groups),
            false => Err(self.errors),
        }
    }

    fn group_error(&mut self, line: u64, group: &str, reason: String) {
        self.errors.push(RuleError::Group {
            file: self.file.to_owned(),
            line,
            group: group.to_owned(),
            reason,
        });
    }

    fn rule_error(&mut self, place: &Place<'_>, line: Option<u64>, reason: String) {
        self.errors.push(RuleError::Rule {
            file: self.file.to_owned(),
            line: line.unwrap_or(place.line),
            group: place.group.to_owned(),
            rule: place.rule,
            name: place.name.to_owned(),
            reason,
        });
    }

    fn group(&mut self, raw: RawGroup, line: u64) -> Group {
        let labels = raw.labels.unwrap_or_default().into_iter();
        let labels: BTreeMap<String, String> = labels
            .map(|(name, value)| (name, value.unwrap_or_default()))
            .collect();
        for name in labels.keys().filter(|name| !is_label(name)) {
            self.group_error(line, &raw.name, format!("invalid label name: {name}"));
        }
        let wait_for = raw
            .wait_for
            .and_then(|text| match self.wait_for(text.value.trim()) {
                Ok(wait_for) => Some(wait_for),
                Err(reason) => {
                    self.group_error(text.defined.line(), &raw.name, reason);
                    None
                }
            });
        let mut rules = Vec::new();
        for (index, rule) in raw.rules.unwrap_or_default().into_iter().enumerate() {
            let line = rule.defined.line();
            rules.extend(self.rule(rule.value, &raw.name, index + 1, line, &labels));
        }
        Group {
            file: self.file.to_owned(),
            interval_ms: raw.interval.map(|span| span.0).filter(|ms| *ms > 0),
            query_offset_ms: raw.query_offset.map(|span| span.0),
            limit: raw
                .limit
                .and_then(|limit| usize::try_from(limit).ok())
                .filter(|limit| *limit > 0),
            name: raw.name,
            wait_for,
            rules,
        }
    }

    fn wait_for(&self, text: &str) -> Result<WaitFor, String> {
        if !self.options.extensions {
            return Err(
                "wait_for is not a key of Prometheus; only the bridge's rule files have it".to_owned(),
            );
        }
        let share = text
            .strip_suffix('%')
            .and_then(|number| number.trim().parse::<f64>().ok());
        match (share, parse_duration(text)) {
            (Some(percent), _) if percent > 0.0 && percent <= 100.0 => Ok(WaitFor::Share(percent / 100.0)),
            (None, Ok(ms)) => Ok(WaitFor::Time(ms)),
            _ => Err(format!(
                "wait_for: {text:?} is neither a share of the devices, such as 95%, nor a duration, such as 2m"
            )),
        }
    }

    /// The rule, or `None` where it is wrong.
    fn rule(
        &mut self,
        raw: RawRule,
        group: &str,
        rule: usize,
        line: u64,
        group_labels: &BTreeMap<String, String>,
    ) -> Option<Rule> {
        let given = |text: &Option<Spanned<String>>| text.clone().filter(|text| !text.value.is_empty());
        let (record, alert) = (given(&raw.record), given(&raw.alert));
        let name = alert
            .as_ref()
            .or(record.as_ref())
            .map_or(String::new(), |name| name.value.clone());
        let place = Place {
            group,
            rule,
            name: &name,
            line,
        };
        let before = self.errors.len();
        match (&record, &alert) {
            (Some(record), Some(_)) => {
                let reason = "only one of 'record' and 'alert' must be set".to_owned();
                self.rule_error(&place, Some(record.defined.line()), reason);
            }
            (None, None) => {
                self.rule_error(&place, None, "one of 'record' or 'alert' must be set".to_owned())
            }
            _ => {}
        }
        let expr = self.expression(&place, given(&raw.expr));
        if let Some(record) = &record {
            self.recording(&place, &raw, record);
        }
        self.names(&place, &raw);
        if alert.is_some() {
            self.templates(&place, &raw);
        }
        let expr = expr.filter(|_| self.errors.len() == before)?;
        let mut labels = group_labels.clone();
        labels.extend(texts(raw.labels));
        let action = match alert {
            None => Action::Record,
            Some(_) => Action::Alert(Alerting {
                for_ms: raw.hold.map_or(0, |span| span.0),
                keep_firing_for_ms: raw.keep_firing_for.map_or(0, |span| span.0),
                annotations: texts(raw.annotations).collect(),
            }),
        };
        Some(Rule {
            expr,
            labels: labels.into_iter().collect(),
            action,
            name,
        })
    }

    fn expression(&mut self, place: &Place<'_>, text: Option<Spanned<String>>) -> Option<Plan> {
        let Some(text) = text else {
            self.rule_error(place, None, "field 'expr' must be set in rule".to_owned());
            return None;
        };
        match parse_with(&text.value, self.options.promql) {
            Ok(plan) => Some(plan),
            Err(error) => {
                let reason = format!("could not parse expression: {error}");
                self.rule_error(place, Some(text.defined.line()), reason);
                None
            }
        }
    }

    /// What only a recording rule must heed.
    fn recording(&mut self, place: &Place<'_>, raw: &RawRule, record: &Spanned<String>) {
        let line = Some(record.defined.line());
        let unfit = [
            (
                raw.annotations.as_ref().is_some_and(|map| !map.is_empty()),
                "annotations",
            ),
            (raw.hold.is_some_and(|span| span.0 != 0), "for"),
            (
                raw.keep_firing_for.is_some_and(|span| span.0 != 0),
                "keep_firing_for",
            ),
        ];
        for (_, field) in unfit.into_iter().filter(|(is_set, _)| *is_set) {
            self.rule_error(place, line, format!("invalid field '{field}' in recording rule"));
        }
        if record.value.contains(['{', '}']) {
            let name = &record.value;
            let reason = format!("braces present in the recording rule name; should it be in expr?: {name}");
            self.rule_error(place, line, reason);
        }
    }

    fn names(&mut self, place: &Place<'_>, raw: &RawRule) {
        for (name, value) in raw.labels.iter().flatten().filter(|(name, _)| !is_label(name)) {
            let line = Some(value.defined.line());
            self.rule_error(place, line, format!("invalid label name: {name}"));
        }
        for (name, value) in raw
            .annotations
            .iter()
            .flatten()
            .filter(|(name, _)| name.is_empty())
        {
            let line = Some(value.defined.line());
            self.rule_error(place, line, format!("invalid annotation name: {name}"));
        }
    }

    fn templates(&mut self, place: &Place<'_>, raw: &RawRule) {
        let labels = raw.labels.iter().flatten().map(|pair| ("label", pair));
        let annotations = raw.annotations.iter().flatten().map(|pair| ("annotation", pair));
        for (kind, (name, text)) in labels.chain(annotations) {
            if let Err(error) =
                template::Template::parse(place.name, text.value.as_deref().unwrap_or_default())
            {
                let line = Some(text.defined.line());
                self.rule_error(place, line, format!("{kind} {name:?}: {error}"));
            }
        }
    }
}

fn texts(map: Option<Texts>) -> impl Iterator<Item = (String, String)> {
    let map = map.into_iter().flatten();
    map.map(|(name, text)| (name, text.value.unwrap_or_default()))
}

fn is_label(name: &str) -> bool {
    !name.is_empty() && name != METRIC_NAME
}
