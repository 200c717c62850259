//! Conditions of `if`, with the question whether they are true written out: gtmpl-ng takes a float of zero for true.

use super::literals::literal_at;

/// The function that asks; no identifier of PromQL's users, and not in Prometheus.
pub(super) const TRUTH: &str = "__truth";
/// What stands before a condition; a parenthesis stands behind it.
const BEFORE: &str = "__truth (";

/// The same template with all conditions that declare no variable as arguments of [`TRUTH`].
pub(super) fn explicit(template: &str) -> String {
    let mut out = String::with_capacity(template.len() + 16);
    let mut rest = template;
    while let Some(start) = rest.find("{{") {
        let (text, action) = rest.split_at(start + 2);
        out.push_str(text);
        let Some(condition) = condition_at(action) else {
            // Not skipped further: a brace may begin another action.
            rest = action;
            continue;
        };
        let (head, tail) = action.split_at(condition.start);
        let (condition, tail) = tail.split_at(condition.len());
        out.push_str(head);
        out.push_str(BEFORE);
        out.push_str(condition);
        out.push(')');
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// How many bytes [`explicit`] added to a line's beginning.
pub(super) fn added(before: &str) -> usize {
    let count = before.matches(BEFORE).count();
    let is_inside = before
        .rfind(BEFORE)
        .is_some_and(|at| !before[at..].contains("}}"));
    count * (BEFORE.len() + 1) - usize::from(is_inside)
}

/// Where an action's condition is, if it is one of `if` without a declaration.
fn condition_at(action: &str) -> Option<std::ops::Range<usize>> {
    let word = |text: &str, word: &str| -> Option<usize> {
        let start = text.len() - text.trim_start().len();
        let rest = text[start..].strip_prefix(word)?;
        let ends = rest.starts_with(|c: char| !c.is_alphanumeric() && c != '_');
        ends.then_some(start + word.len())
    };
    let trim = usize::from(action.starts_with("- "));
    let before_if = trim + word(&action[trim..], "else").unwrap_or(0);
    let start = before_if + word(&action[before_if..], "if")?;
    let mut at = start;
    while !action[at..].starts_with("}}") {
        if action[at..].starts_with(":=") || action[at..].starts_with("/*") {
            return None;
        }
        at += match literal_at(&action[at..]) {
            Some(literal) => literal.len(),
            None => action[at..].chars().next()?.len_utf8(),
        };
    }
    let body = &action[start..at];
    let body = body.strip_suffix(" -").unwrap_or(body);
    let skipped = body.len() - body.trim_start().len();
    let condition = body.trim();
    (!condition.is_empty()).then(|| start + skipped..start + skipped + condition.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_written_out() {
        for (text, wanted) in [
            (
                "a {{ if $x }}b{{ else if eq 1 2 -}} c{{ end }}",
                "a {{ if __truth ($x) }}b{{ else if __truth (eq 1 2) -}} c{{ end }}",
            ),
            ("{{- if(.x | not)}}", "{{- if__truth ((.x | not))}}"),
            ("{{ if eq \"}}\" `if` }}", "{{ if __truth (eq \"}}\" `if`) }}"),
            (
                "{{ if $x := 1 }}{{ iffy }}{{ if }}{{ if",
                "{{ if $x := 1 }}{{ iffy }}{{ if }}{{ if",
            ),
        ] {
            assert_eq!(explicit(text), wanted);
        }
        assert_eq!(added("{{ if __truth (a"), 9);
        assert_eq!(added("{{ if __truth (a) }}x{{ if __truth (b"), 19);
        assert_eq!(added("{{ if __truth (a) }}x{{ "), 10);
    }
}
