use super::*;
use crate::file::{FileOptions, parse};

fn run(rules: &str, tests: &str) -> Vec<String> {
    let groups = parse(rules, "r.yml", &FileOptions::default()).unwrap();
    let tests = UnitTests::parse(tests, "t.yml").unwrap();
    tests.run(&groups, &TestOptions::default(), |_| true)
}

const RULES: &str =
    "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: a > time()\n  - record: b\n    expr: a + time()\n";

#[test]
fn tests_may_start_at_another_time() {
    for start in ["2021-01-01T00:00:00Z", "1609459200"] {
        let tests = format!(
            "evaluation_interval: 1m\ntests:\n- start_timestamp: {start}\n  input_series:\n  - {{series: a, values: '1 2 3'}}\n  \
             promql_expr_test:\n  - {{expr: b, eval_time: 1m, exp_samples: [{{labels: b, value: 1609459262}}]}}\n  \
             alert_rule_test:\n  - {{eval_time: 1m, alertname: A, exp_alerts: []}}\n"
        );
        assert_eq!(run(RULES, &tests), Vec::<String>::new());
    }
}

#[test]
fn failing_rules_end_a_test_but_not_the_others() {
    let rules = "groups:\n- name: g\n  rules:\n  - record: b\n    expr: a + on() c\n";
    let tests = "tests:\n- input_series: [{series: a, values: 1 1}, {series: 'c{x=\"1\"}', values: 1}, {series: 'c{x=\"2\"}', values: 1}]\n  \
                 promql_expr_test: [{expr: wrong, eval_time: 5m, exp_samples: [{value: 1}]}]\n\
                 - promql_expr_test: [{expr: 1 + 1, exp_samples: [{value: 3}]}]\n";
    let failures = run(rules, tests);
    assert_eq!(failures.len(), 2);
    assert!(
        failures[0].starts_with("    rule: b, time: 0s, err: found duplicate series"),
        "{failures:?}"
    );
    assert!(
        failures[1].ends_with("exp: {} 3E+00\n        got: {} 2E+00"),
        "{failures:?}"
    );
}

#[test]
fn groups_are_ordered_and_tests_selected() {
    let rules = "groups:\n- name: later\n  rules:\n  - record: y\n    expr: x\n- name: first\n  rules:\n  - record: x\n    expr: 1\n";
    let tests = |order: &str| {
        format!(
            "group_eval_order: {order}\ntests:\n- name: one\n  promql_expr_test: [{{expr: count(y), exp_samples: [{{value: 1}}]}}]\n"
        )
    };
    assert_eq!(run(rules, &tests("[first, later]")), Vec::<String>::new());
    assert_eq!(run(rules, &tests("[later, first]")).len(), 1);
    let groups = parse(rules, "r.yml", &FileOptions::default()).unwrap();
    let tests = UnitTests::parse(&tests("[later, first]"), "t.yml").unwrap();
    assert_eq!(
        tests
            .run(&groups, &TestOptions::default(), |name| name != "one")
            .len(),
        0
    );
}

#[test]
fn what_is_wrong_with_a_file_is_told() {
    let cases = [
        ("tests:\n- intervall: 1m\n", "t.yml:2: unknown field `intervall`"),
        (
            "group_eval_order: [a, b, a]\n",
            "group name repeated in evaluation order: a",
        ),
        (
            "tests:\n- start_timestamp: noon\n",
            "t.yml:0: start_timestamp: cannot parse \"noon\"",
        ),
        ("tests: 5\n", "t.yml:1: "),
    ];
    for (text, wanted) in cases {
        let error = UnitTests::parse(text, "t.yml").unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{error}");
    }
    let unnamed = "tests:\n- name: n\n  alert_rule_test: [{eval_time: 1m}]\n- input_series: [{series: 'a{', values: 1}]\n";
    let failures = run(RULES, unnamed);
    assert_eq!(
        failures[0],
        "an item under alert_rule_test misses required attribute alertname at eval_time 1m (in TestGroup n)"
    );
    assert_eq!(failures.len(), 2);
}
