//! What is allowed in rule files but hardly meant.

use crate::group::{Group, Pairs};

/// A metric or alert that several rules of one file give with the same labels, as `promtool check rules` finds them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duplicate<'g> {
    /// The metric's or alert's name.
    pub name: &'g str,
    /// Labels of rule and group.
    pub labels: &'g Pairs,
}

/// What is there more than once, in order of names and labels, each once.
pub fn duplicates(groups: &[Group]) -> Vec<Duplicate<'_>> {
    let rules = groups.iter().flat_map(|group| &group.rules);
    let mut all: Vec<Duplicate<'_>> = rules
        .map(|rule| Duplicate {
            name: &rule.name,
            labels: &rule.labels,
        })
        .collect();
    all.sort();
    let repeated = all.chunk_by(|a, b| a == b).filter(|equal| equal.len() > 1);
    repeated.filter_map(|equal| equal.first().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use crate::file::{FileOptions, parse};

    #[test]
    fn duplicates_are_found_across_groups() {
        let text = "groups:\n- name: a\n  labels: {x: '1'}\n  rules:\n  - {record: m, expr: a}\n  - {record: n, expr: a}\n\
                    - name: b\n  rules:\n  - {record: m, expr: b, labels: {x: '1'}}\n  - {record: m, expr: b}\n  - {record: m, expr: c, labels: {x: '1'}}\n";
        let groups = parse(text, "f", &FileOptions::default()).unwrap();
        let found = super::duplicates(&groups);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name, found[0].labels.len()), ("m", 1));
    }
}
