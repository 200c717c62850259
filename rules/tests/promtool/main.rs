//! Unit-test files in the real `promtool test rules` and here: what fails, and in which words.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]
#![expect(clippy::print_stdout, reason = "why nothing is compared")]

mod accepted;
mod program;
mod random;

use std::path::{Path, PathBuf};
use std::process::Command;

use rules::unit_test::{TestOptions, UnitTests};
use rules::{FileOptions, Group, parse};

use crate::program::promtool;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promtool/files")
}

/// What fails here.
fn ours(name: &str) -> Vec<String> {
    ours_in(&folder(), name)
}

fn ours_in(folder: &Path, name: &str) -> Vec<String> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let tests = UnitTests::parse(&read(name), name).unwrap();
    let files = tests.rule_files.iter().filter(|file| !file.contains('*'));
    let groups: Vec<Group> = files
        .flat_map(|file| parse(&read(file), file, &FileOptions::default()).unwrap())
        .collect();
    tests.run(&groups, &TestOptions::default(), |_| true)
}

/// What fails in promtool, without its first lines.
fn theirs(promtool: &Path, name: &str) -> String {
    theirs_in(promtool, &folder(), name)
}

fn theirs_in(promtool: &Path, folder: &Path, name: &str) -> String {
    let output = Command::new(promtool)
        .args(["test", "rules", name])
        .current_dir(folder)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let lines = text.lines();
    let lines = lines.filter(|line| !line.starts_with("  FAILED:") && !line.starts_with("  WARNING:"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first line that differs.
fn assert_same(name: &str, ours: &str, theirs: &str) {
    for (n, (our, their)) in ours.lines().zip(theirs.lines()).enumerate() {
        assert_eq!(our, their, "{name}: line {n} of what failed (ours, theirs)");
    }
    assert_eq!(
        ours.lines().count(),
        theirs.lines().count(),
        "{name}:\n{ours}\n---\n{theirs}"
    );
}

#[test]
fn a_simulated_day_passes_here_and_in_promtool() {
    assert_eq!(ours("day.test.yml"), Vec::<String>::new());
    if let Some(promtool) = promtool() {
        assert_eq!(theirs(&promtool, "day.test.yml"), "");
    }
}

#[test]
fn wrong_expectations_fail_here_and_in_promtool_in_the_same_words() {
    let ours = ours("wrong.test.yml");
    assert!(ours.len() > 10);
    if let Some(promtool) = promtool() {
        assert_same(
            "wrong.test.yml",
            &ours.join("\n"),
            &theirs(&promtool, "wrong.test.yml"),
        );
    }
}

#[test]
fn templates_expand_as_in_prometheus() {
    let ours = ours("templates.test.yml");
    assert_eq!(ours.len(), 3);
    if let Some(promtool) = promtool() {
        assert_same(
            "templates.test.yml",
            &ours.join("\n"),
            &theirs(&promtool, "templates.test.yml"),
        );
    }
}
