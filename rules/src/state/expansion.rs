//! An alerting rule's templates, parsed once.

use crate::group::{Pairs, Rule};
use crate::template::{Query, Subject, Template, TemplateError};

/// Labels and annotations of a rule.
#[derive(Debug)]
pub(super) struct Expansion {
    labels: Vec<Named>,
    annotations: Vec<Named>,
}

type Named = (String, Result<Template, TemplateError>);

impl Expansion {
    pub(super) fn new(rule: &Rule) -> Self {
        let parsed = |pairs: &Pairs| -> Vec<Named> {
            let parse = |(name, text): &(String, String)| (name.clone(), Template::parse(&rule.name, text));
            pairs.iter().map(parse).collect()
        };
        match rule.alerting() {
            None => Self {
                labels: Vec::new(),
                annotations: Vec::new(),
            },
            Some(alerting) => Self {
                labels: parsed(&rule.labels),
                annotations: parsed(&alerting.annotations),
            },
        }
    }

    /// The labels that are the same for each alert.
    pub(super) fn fixed_labels<'r>(&self, rule: &'r Rule) -> impl Iterator<Item = (&'r str, &'r str)> {
        let is_fixed = |(_, template): &Named| template.as_ref().is_ok_and(Template::is_plain);
        let fixed: Vec<bool> = self.labels.iter().map(is_fixed).collect();
        let pairs = rule.labels.iter().zip(fixed);
        pairs
            .filter(|(_, is_fixed)| *is_fixed)
            .map(|((name, value), _)| (name.as_str(), value.as_str()))
    }

    pub(super) fn labels(&self, subject: &Subject<'_>, query: Query<'_>) -> Pairs {
        expand(&self.labels, subject, query)
    }

    pub(super) fn annotations(&self, subject: &Subject<'_>, query: Query<'_>) -> Pairs {
        expand(&self.annotations, subject, query)
    }
}

/// An error becomes text: it is better to have an alert without its description than none.
fn expand(named: &[Named], subject: &Subject<'_>, query: Query<'_>) -> Pairs {
    let text = |(name, template): &Named| {
        let expanded = match template {
            Ok(template) => template.expand(subject, query),
            Err(error) => Err(error.clone()),
        };
        let text = expanded.unwrap_or_else(|error| format!("<error expanding template: {error}>"));
        (name.clone(), text)
    };
    named.iter().map(text).collect()
}
