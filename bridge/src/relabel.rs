//! Relabelling as Prometheus does it (model/relabel, docs "relabel_config"): every action, regexes anchored and in
//! Go's syntax.
//!
//! A rule is checked when it is made, so that applying one cannot fail.

use regex::Regex;
use wire::Labels;

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Sets `target_label` to the replacement if the regex matches the sources.
    Replace,
    /// Drops series whose sources do not match.
    Keep,
    /// Drops series whose sources match.
    Drop,
    /// Drops series whose sources do not equal `target_label`.
    KeepEqual,
    /// Drops series whose sources equal `target_label`.
    DropEqual,
    /// Sets `target_label` to MD5 of the sources modulo `modulus`.
    HashMod,
    /// Copies labels whose name matches to the name that the replacement gives.
    LabelMap,
    /// Removes labels whose name matches.
    LabelDrop,
    /// Removes labels whose name does not match.
    LabelKeep,
    /// Sets `target_label` to the sources in lower case.
    Lowercase,
    /// Sets `target_label` to the sources in upper case.
    Uppercase,
}

/// A rule as a config file writes it; `None`: the key is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleText {
    /// `source_labels`.
    pub source_labels: Vec<String>,
    /// `separator`, `;` by default.
    pub separator: Option<String>,
    /// `regex`, `(.*)` by default.
    pub regex: Option<String>,
    /// `modulus`.
    pub modulus: Option<u64>,
    /// `target_label`.
    pub target_label: Option<String>,
    /// `replacement`, `$1` by default.
    pub replacement: Option<String>,
    /// `action`, `replace` by default; case does not matter.
    pub action: Option<String>,
}

/// Why a rule is none: the key and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct RuleError {
    /// The key, e.g. `regex`.
    pub key: &'static str,
    /// What is wrong.
    pub reason: String,
}

/// A checked rule.
#[derive(Debug, Clone)]
pub struct Rule {
    source_labels: Vec<String>,
    separator: String,
    regex: Regex,
    modulus: u64,
    target_label: String,
    replacement: String,
    action: Action,
    /// The regex is Prometheus's default and the replacement too: the sources are copied.
    copies: bool,
}

const ACTIONS: [(&str, Action); 11] = [
    ("replace", Action::Replace),
    ("keep", Action::Keep),
    ("drop", Action::Drop),
    ("keepequal", Action::KeepEqual),
    ("dropequal", Action::DropEqual),
    ("hashmod", Action::HashMod),
    ("labelmap", Action::LabelMap),
    ("labeldrop", Action::LabelDrop),
    ("labelkeep", Action::LabelKeep),
    ("lowercase", Action::Lowercase),
    ("uppercase", Action::Uppercase),
];

const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_REPLACEMENT: &str = "$1";

impl Rule {
    /// Checks a rule by Prometheus's own rules.
    pub fn new(text: RuleText) -> Result<Rule, RuleError> {
        let action = action_of(text.action.as_deref())?;
        check(action, &text)?;
        let pattern = text.regex.as_deref().unwrap_or(DEFAULT_REGEX);
        let regex = promql::compile_anchored(pattern).map_err(|error| RuleError {
            key: "regex",
            reason: error.to_string(),
        })?;
        let replacement = text.replacement.unwrap_or_else(|| DEFAULT_REPLACEMENT.to_owned());
        let target_label = text.target_label.unwrap_or_default();
        Ok(Rule {
            copies: pattern == DEFAULT_REGEX
                && replacement == DEFAULT_REPLACEMENT
                && !target_label.contains('$'),
            source_labels: text.source_labels,
            separator: text.separator.unwrap_or_else(|| ";".to_owned()),
            regex,
            modulus: text.modulus.unwrap_or(0),
            target_label,
            replacement,
            action,
        })
    }

    /// False: the series is dropped.
    fn apply(&self, set: &mut Set) -> bool {
        match self.action {
            Action::Drop => return !self.regex.is_match(&self.sources(set)),
            Action::Keep => return self.regex.is_match(&self.sources(set)),
            Action::DropEqual => return set.get(&self.target_label) != self.sources(set),
            Action::KeepEqual => return set.get(&self.target_label) == self.sources(set),
            Action::Replace => self.replace(set),
            Action::HashMod => {
                let hash = md5::compute(self.sources(set)).0;
                let [.., a, b, c, d, e, f, g, h] = hash;
                let value = u64::from_be_bytes([a, b, c, d, e, f, g, h]) % self.modulus.max(1);
                set.put(&self.target_label, value.to_string());
            }
            Action::Lowercase => set.put(&self.target_label, self.sources(set).to_lowercase()),
            Action::Uppercase => set.put(&self.target_label, self.sources(set).to_uppercase()),
            Action::LabelMap => self.map(set),
            Action::LabelDrop => set.0.retain(|(name, _)| !self.regex.is_match(name)),
            Action::LabelKeep => set.0.retain(|(name, _)| self.regex.is_match(name)),
        }
        true
    }

    fn sources(&self, set: &Set) -> String {
        let mut joined = String::new();
        for (i, name) in self.source_labels.iter().enumerate() {
            if i > 0 {
                joined.push_str(&self.separator);
            }
            joined.push_str(set.get(name));
        }
        joined
    }

    fn replace(&self, set: &mut Set) {
        let value = self.sources(set);
        if self.copies {
            set.put(&self.target_label, value);
            return;
        }
        let Some(captures) = self.regex.captures(&value) else {
            return;
        };
        let (mut target, mut new) = (String::new(), String::new());
        captures.expand(&self.target_label, &mut target);
        if !is_label_name(&target) {
            return;
        }
        captures.expand(&self.replacement, &mut new);
        set.put(&target, new);
    }

    fn map(&self, set: &mut Set) {
        let mapped: Vec<(String, String)> = set
            .0
            .iter()
            .filter_map(|(name, value)| {
                let captures = self.regex.captures(name)?;
                let mut new = String::new();
                captures.expand(&self.replacement, &mut new);
                Some((new, value.clone()))
            })
            .collect();
        for (name, value) in mapped {
            set.put(&name, value);
        }
    }
}

/// Labels under change, in no order; an empty value is no label.
struct Set(Vec<(String, String)>);

impl Set {
    fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, value)| value)
    }

    fn put(&mut self, name: &str, value: String) {
        match self.0.iter().position(|(n, _)| n == name) {
            Some(at) if value.is_empty() => drop(self.0.swap_remove(at)),
            Some(at) => self.0[at].1 = value,
            None if value.is_empty() || name.is_empty() => {}
            None => self.0.push((name.to_owned(), value)),
        }
    }
}

/// Applies rules in order; `None`: the series is dropped, or no label is left of it.
pub fn relabel(labels: &Labels, rules: &[Rule]) -> Option<Labels> {
    if rules.is_empty() {
        return Some(labels.clone()).filter(|set| !set.is_empty());
    }
    let pairs = labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned()));
    let mut set = Set(pairs.collect());
    if !rules.iter().all(|rule| rule.apply(&mut set)) {
        return None;
    }
    // Names are neither repeated nor empty: `put` sees to it.
    Labels::new(set.0).ok().filter(|set| !set.is_empty())
}

fn action_of(text: Option<&str>) -> Result<Action, RuleError> {
    let text = text.unwrap_or("replace").to_lowercase();
    let found = ACTIONS.iter().find(|(name, _)| *name == text);
    found.map(|(_, action)| *action).ok_or_else(|| RuleError {
        key: "action",
        reason: format!("{text:?} is none of {}", ACTIONS.map(|(name, _)| name).join(", ")),
    })
}

/// Prometheus's checks of a rule (relabel.Config.Validate).
fn check(action: Action, text: &RuleText) -> Result<(), RuleError> {
    let refuse = |key, reason: &str| {
        Err(RuleError {
            key,
            reason: reason.to_owned(),
        })
    };
    let target = text.target_label.as_deref().unwrap_or("");
    let replacement = text.replacement.as_deref().unwrap_or(DEFAULT_REPLACEMENT);
    let on_names = matches!(action, Action::LabelMap | Action::LabelDrop | Action::LabelKeep);
    let filters = matches!(action, Action::Keep | Action::Drop);
    if !on_names && !filters && target.is_empty() {
        return refuse("target_label", "this action needs one");
    }
    if matches!(action, Action::LabelDrop | Action::LabelKeep)
        && (!text.source_labels.is_empty()
            || text.target_label.is_some()
            || text.modulus.is_some()
            || text.separator.is_some()
            || text.replacement.is_some())
    {
        return refuse("action", "labeldrop and labelkeep take a regex and nothing else");
    }
    let exact = matches!(action, Action::DropEqual | Action::KeepEqual);
    if exact
        && (text.regex.is_some()
            || text.modulus.is_some()
            || text.separator.is_some()
            || text.replacement.is_some())
    {
        return refuse(
            "action",
            "keepequal and dropequal take source_labels and target_label only",
        );
    }
    let in_case = matches!(action, Action::Lowercase | Action::Uppercase);
    if in_case && replacement != DEFAULT_REPLACEMENT {
        return refuse("replacement", "lowercase and uppercase take none");
    }
    if (exact || in_case || action == Action::HashMod) && !is_label_name(target) {
        return refuse("target_label", "it is no label name");
    }
    if action == Action::Replace && !may_be_name(target) {
        return refuse(
            "target_label",
            "it is no label name, nor one with references such as ${1}",
        );
    }
    if action == Action::LabelMap && !may_be_name(replacement) {
        return refuse(
            "replacement",
            "it is no label name, nor one with references such as ${1}",
        );
    }
    match (action, text.modulus) {
        (Action::HashMod, None | Some(0)) => refuse("modulus", "hashmod needs one above 0"),
        _ => Ok(()),
    }
}

fn is_label_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(word) && name.starts_with(|c: char| !c.is_ascii_digit())
}

/// A label name in which `$name` and `${name}` may stand.
fn may_be_name(text: &str) -> bool {
    let mut rest = text;
    let mut first = true;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '$' => {
                let braced = rest.starts_with('{');
                let inner = rest.trim_start_matches('{');
                let end = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                let (name, after) = inner.split_at(end.unwrap_or(inner.len()));
                match (name.is_empty(), braced) {
                    (true, _) => return false,
                    (false, false) => rest = after,
                    (false, true) => match after.strip_prefix('}') {
                        Some(after) => rest = after,
                        None => return false,
                    },
                }
            }
            'a'..='z' | 'A'..='Z' | '_' => {}
            '0'..='9' if !first => {}
            _ => return false,
        }
        first = false;
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests;
