//! `backhaul check rules` and `backhaul test rules` beside the real promtool: exit codes and output.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]
#![expect(clippy::print_stdout, reason = "why nothing is compared")]

#[path = "../../rules/tests/promtool/program.rs"]
mod program;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const GOOD: &str =
    "groups:\n- name: g\n  rules:\n  - {record: a:sum, expr: sum(a)}\n  - {alert: A, expr: a > 1, for: 5m}\n";
const DUPLICATES: &str = "groups:\n- name: g\n  rules:\n  - {record: m, expr: a, labels: {x: '1', b: c}}\n  \
                          - {record: m, expr: b, labels: {x: '1', b: c}}\n  - {alert: A, expr: a}\n  - {alert: A, expr: b}\n";
const BAD: &str = "groups:\n- name: g\n  rules:\n  - record: m\n    expr: sum(a\n  - alert: A\n    expr: a\n    \
                   annotations: {s: '{{ $x }}'}\n";
const PASSING: &str = "rule_files: ['good*.yml']\ntests:\n- name: one\n  input_series: [{series: a, values: '1+1x10'}]\n  \
                       promql_expr_test: [{expr: 'a:sum', eval_time: 5m, exp_samples: [{labels: 'a:sum', value: 6}]}]\n";
const FAILING: &str = "rule_files: [good.yml, none.yml]\ntests:\n- name: one\n  input_series: [{series: a, values: '1+1x10'}]\n  \
                       alert_rule_test: [{eval_time: 9m, alertname: A}]\n- name: two\n  \
                       promql_expr_test: [{expr: vector(1)}]\n";

/// Exit code, stdout, stderr.
type Outcome = (Option<i32>, String, String);

fn run(program: &Path, args: &[&str], folder: &Path, input: &str) -> Outcome {
    let mut child = Command::new(program)
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who does not read it may have ended by now.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn rules_are_checked_and_tested_as_by_promtool() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("good.yml", GOOD),
        ("duplicates.yml", DUPLICATES),
        ("bad.yml", BAD),
        ("passing.yml", PASSING),
        ("failing.yml", FAILING),
    ];
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let cases: [(&[&str], i32); 12] = [
        (&["check", "rules", "good.yml", "good.yml"], 0),
        (&["check", "rules", "duplicates.yml"], 0),
        (
            &["check", "rules", "--lint-fatal", "duplicates.yml", "good.yml"],
            3,
        ),
        (
            &[
                "check",
                "rules",
                "--lint",
                "none",
                "--lint-fatal",
                "duplicates.yml",
            ],
            0,
        ),
        (&["check", "rules"], 0),
        (&["check", "rules", "bad.yml", "good.yml"], 1),
        (&["check", "rules", "absent.yml"], 1),
        (&["test", "rules", "passing.yml"], 0),
        (&["test", "rules", "failing.yml", "passing.yml"], 1),
        (&["test", "rules", "--run", "nothing", "failing.yml"], 0),
        (&["test", "rules", "--run", "x", "--run", "tw", "failing.yml"], 1),
        (&["test", "rules", "bad.yml", "absent.yml"], 1),
    ];
    let ours = Path::new(env!("CARGO_BIN_EXE_backhaul"));
    let promtool = program::promtool();
    for (args, code) in cases {
        let our = run(ours, args, folder.path(), GOOD);
        assert_eq!(our.0, Some(code), "{args:?}: {our:?}");
        let Some(promtool) = &promtool else { continue };
        let their = run(promtool, args, folder.path(), GOOD);
        assert_eq!(our.0, their.0, "{args:?}");
        // promtool looks for all files before it begins.
        if args.contains(&"absent.yml") {
            continue;
        }
        assert_eq!(our.1, their.1, "{args:?}: {}\n---\n{}", our.2, their.2);
        // Places of errors are written otherwise.
        if !args.contains(&"bad.yml") {
            assert_eq!(our.2, their.2, "{args:?}");
        }
    }
}

#[test]
fn errors_name_file_line_group_and_rule() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.yml"), BAD).unwrap();
    let extended = "groups:\n- name: g\n  wait_for: 95%\n";
    let ours = Path::new(env!("CARGO_BIN_EXE_backhaul"));
    let (_, _, told) = run(ours, &["check", "rules", "bad.yml"], folder.path(), "");
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "  FAILED:");
    assert_eq!(
        lines[1],
        "bad.yml:5: group \"g\", rule 1, \"m\": could not parse expression: 1:6: parse error: unclosed left parenthesis"
    );
    assert!(
        lines[2].starts_with("bad.yml:8: group \"g\", rule 2, \"A\": annotation \"s\": "),
        "{told}"
    );
    let checked = |args: &[&str]| run(ours, args, folder.path(), extended).0;
    assert_eq!(checked(&["check", "rules"]), Some(1));
    assert_eq!(checked(&["check", "rules", "--extensions"]), Some(0));
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn the_ready_rules_pass_their_tests_here_and_in_promtool() {
    let folder = repository().join("deploy/rules");
    let ours = Path::new(env!("CARGO_BIN_EXE_backhaul"));
    let promtool = program::promtool();
    let cases: [&[&str]; 2] = [
        &["check", "rules", "--lint=all", "--lint-fatal", "fleet.yml"],
        &["test", "rules", "fleet.test.yml"],
    ];
    for args in cases {
        let our = run(ours, args, &folder, "");
        assert_eq!(our.0, Some(0), "{args:?}: {our:?}");
        if let Some(promtool) = &promtool {
            assert_eq!(our, run(promtool, args, &folder, ""), "{args:?}");
        }
    }
}

#[test]
fn each_ready_alert_says_what_to_do_and_is_tested() {
    let read = |name: &str| std::fs::read_to_string(repository().join(name)).unwrap();
    let file = "deploy/rules/fleet.yml";
    let groups = rules::parse(&read(file), file, &rules::FileOptions::default()).unwrap();
    let tests = read("deploy/rules/fleet.test.yml");
    let mut named = std::collections::BTreeSet::new();
    for rule in groups.iter().flat_map(|group| &group.rules) {
        let Some(alerting) = rule.alerting() else { continue };
        let name = &rule.name;
        let annotation = |key: &str| {
            let found = alerting.annotations.iter().find(|(name, _)| name == key);
            found.unwrap_or_else(|| panic!("{name} has no {key}")).1.clone()
        };
        assert!(rule.labels.iter().any(|(label, _)| label == "severity"), "{name}");
        assert!(!annotation("summary").is_empty() && !annotation("description").is_empty());
        let page = annotation("runbook_url");
        assert!(read(&page).contains(&format!("`{name}`")), "{page}: {name}");
        named.insert(repository().join(page));
        let fires = format!("    alertname: {name}\n    exp_alerts:\n    - exp_labels:");
        assert!(tests.contains(&fires), "fleet.test.yml: {name} fires nowhere");
    }
    let pages = std::fs::read_dir(repository().join("docs/runbooks")).unwrap();
    let pages: std::collections::BTreeSet<_> = pages.map(|page| page.unwrap().path()).collect();
    assert_eq!(named, pages);
}
