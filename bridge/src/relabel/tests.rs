//! Cases as Prometheus's own documentation and behaviour have them, and arbitrary rules.

use proptest::prelude::*;

use super::*;

fn set(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied()).unwrap()
}

fn words(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// `action sources target regex replacement`, empty where a key is left out.
fn rule(action: &str, sources: &[&str], target: &str, regex: &str, replacement: &str) -> Rule {
    Rule::new(RuleText {
        source_labels: sources.iter().map(|s| (*s).to_owned()).collect(),
        target_label: words(target),
        regex: words(regex),
        replacement: words(replacement),
        action: words(action),
        ..RuleText::default()
    })
    .unwrap()
}

fn case(rules: &[Rule], expected: Option<&[(&str, &str)]>) {
    let input = set(&[("a", "foo"), ("b", "bar"), ("c", "baz")]);
    assert_eq!(relabel(&input, rules), expected.map(set), "{rules:?}");
}

#[test]
fn replace_expands_its_captures() {
    case(
        &[rule("", &["a"], "d", "f(.*)", "ch${1}-ch${1}")],
        Some(&[("a", "foo"), ("b", "bar"), ("c", "baz"), ("d", "choo-choo")]),
    );
    case(
        &[rule("replace", &["a", "b"], "a", "f(.*);(.*)r", "b${1}${2}m")],
        Some(&[("a", "boobam"), ("b", "bar"), ("c", "baz")]),
    );
    // Not anchored it would match.
    case(
        &[rule("", &["a"], "d", "o", "x")],
        Some(&[("a", "foo"), ("b", "bar"), ("c", "baz")]),
    );
    // An empty result removes the label.
    case(
        &[rule("", &["nothing"], "a", "", "")],
        Some(&[("b", "bar"), ("c", "baz")]),
    );
    case(
        &[rule("", &["a"], "${1}_x", "(f).*", "v")],
        Some(&[("a", "foo"), ("b", "bar"), ("c", "baz"), ("f_x", "v")]),
    );
}

#[test]
fn keep_and_drop_decide_on_the_whole_value() {
    let all: &[(&str, &str)] = &[("a", "foo"), ("b", "bar"), ("c", "baz")];
    case(&[rule("drop", &["a"], "", ".*o.*", "")], None);
    case(&[rule("drop", &["a"], "", "o", "")], Some(all));
    case(&[rule("keep", &["a"], "", "f.*", "")], Some(all));
    case(&[rule("keep", &["a", "b"], "", "foo;x", "")], None);
    case(&[rule("keepequal", &["a"], "b", "", "")], None);
    case(&[rule("dropequal", &["a"], "b", "", "")], Some(all));
    case(
        &[
            rule("", &["a"], "b", "", ""),
            rule("DropEqual", &["a"], "b", "", ""),
        ],
        None,
    );
}

#[test]
fn names_are_mapped_dropped_and_kept() {
    case(
        &[rule("labelmap", &[], "", "(b|c)", "bar_${1}")],
        Some(&[
            ("a", "foo"),
            ("b", "bar"),
            ("bar_b", "bar"),
            ("bar_c", "baz"),
            ("c", "baz"),
        ]),
    );
    case(&[rule("labeldrop", &[], "", "(b|c)", "")], Some(&[("a", "foo")]));
    case(
        &[rule("labelkeep", &[], "", "(b|c)", "")],
        Some(&[("b", "bar"), ("c", "baz")]),
    );
    case(&[rule("labeldrop", &[], "", ".*", "")], None);
}

#[test]
fn hashmod_is_md5_s_last_eight_bytes() {
    let rule = Rule::new(RuleText {
        source_labels: vec!["c".into()],
        target_label: Some("d".into()),
        modulus: Some(1000),
        action: Some("hashmod".into()),
        ..RuleText::default()
    })
    .unwrap();
    // Prometheus's own test has 976 for "baz" modulo 1000.
    case(
        &[rule],
        Some(&[("a", "foo"), ("b", "bar"), ("c", "baz"), ("d", "976")]),
    );
}

#[test]
fn case_is_changed() {
    case(
        &[
            rule("uppercase", &["a", "b"], "d", "", ""),
            rule("lowercase", &["d"], "e", "", ""),
        ],
        Some(&[
            ("a", "foo"),
            ("b", "bar"),
            ("c", "baz"),
            ("d", "FOO;BAR"),
            ("e", "foo;bar"),
        ]),
    );
}

#[test]
fn what_prometheus_refuses_is_refused_by_its_key() {
    let refused = |text: RuleText| Rule::new(text).unwrap_err().key;
    let text = |action: &str, target: &str| RuleText {
        action: words(action),
        target_label: words(target),
        ..RuleText::default()
    };
    assert_eq!(refused(text("rename", "x")), "action");
    assert_eq!(refused(text("replace", "")), "target_label");
    assert_eq!(refused(text("replace", "a-b")), "target_label");
    assert_eq!(refused(text("replace", "${1")), "target_label");
    assert_eq!(refused(text("lowercase", "${1}")), "target_label");
    assert_eq!(refused(text("hashmod", "x")), "modulus");
    assert_eq!(refused(text("labeldrop", "x")), "action");
    let regex = RuleText {
        regex: Some("(".into()),
        ..text("replace", "x")
    };
    assert_eq!(refused(regex), "regex");
}

proptest! {
    #[test]
    fn any_rule_gives_labels_or_an_error(
        action in prop::sample::select(ACTIONS.map(|(name, _)| name).to_vec()),
        target in "[a-z$\\{\\}0-9]{0,6}",
        regex in "[a-z().*|\\\\$]{0,8}",
        replacement in "[a-z$\\{\\}0-9]{0,6}",
        pairs in prop::collection::btree_map("[a-z]{1,3}", "[a-z]{0,3}", 0..5),
    ) {
        let labels = Labels::new(pairs).unwrap();
        let text = RuleText {
            source_labels: vec!["a".into(), "b".into()],
            regex: words(&regex),
            modulus: Some(7).filter(|_| action == "hashmod"),
            target_label: words(&target),
            replacement: words(&replacement),
            action: words(action),
            ..RuleText::default()
        };
        if let Ok(rule) = Rule::new(text) {
            let _ = relabel(&labels, &[rule]);
        }
    }
}
