//! Which rule files are accepted: the same as by `promtool check rules`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use rules::{FileOptions, parse};

use crate::program::promtool;

/// A file with one group of one rule, which has these lines.
fn rule(lines: &str) -> String {
    let lines = lines.replace('\n', "\n    ");
    format!("groups:\n- name: g\n  rules:\n  - {lines}\n")
}

#[expect(clippy::too_many_lines, reason = "a flat list")]
fn files() -> Vec<String> {
    let rules = [
        "alert: A\nexpr: a",
        "alert: A\nexpr: 5",
        "alert: A\nexpr: 1.5e3",
        "alert: true\nexpr: a",
        "alert: A B ü {}\nexpr: a",
        "alert: A\nexpr: ''",
        "alert: A\nexpr:",
        "alert: A",
        "alert:\nexpr: a",
        "alert: A\nrecord:\nexpr: a",
        "alert: A\nrecord: ''\nexpr: a",
        "alert: A\nexpr: a\nlabels:",
        "alert: A\nexpr: a\nlabels: {}",
        "alert: A\nexpr: a\nlabels: {a: 1, b: true, c: 1.10, d: null, e: ~, f: , g: 0x10, h: 2020-01-01, i: yes}",
        "alert: A\nexpr: a\nlabels: {'a.b c': x}",
        "alert: A\nexpr: a\nlabels: {'': x}",
        "alert: A\nexpr: a\nlabels: {__name__: x}",
        "alert: A\nexpr: a\nlabels: {a: [b]}",
        "alert: A\nexpr: a\nlabels: [a]",
        "alert: A\nexpr: a\nannotations: {a: {b: c}}",
        "alert: A\nexpr: a\nannotations: {'': c}",
        "alert: A\nexpr: a\nannotations: {__name__: c}",
        "alert: A\nexpr: a\nannotations: {a: x, a: y}",
        "alert: A\nexpr: a\nfor: 5m\nfor: 6m",
        "alert: A\nexpr: a\nfor: 0",
        "alert: A\nexpr: a\nfor: 0s",
        "alert: A\nexpr: a\nfor: ''",
        "alert: A\nexpr: a\nfor:",
        "alert: A\nexpr: a\nfor: 5",
        "alert: A\nexpr: a\nfor: -5m",
        "alert: A\nexpr: a\nfor: 1h30m5s10ms",
        "alert: A\nexpr: a\nfor: 1m1h",
        "alert: A\nexpr: a\nfor: 1.5h",
        "alert: A\nexpr: a\nfor: 300y",
        "alert: A\nexpr: a\nkeep_firing_for: 5m",
        "record: r\nexpr: a\nfor: 0s",
        "record: r\nexpr: a\nfor: 1s",
        "record: r\nexpr: a\nkeep_firing_for: 1s",
        "record: r\nexpr: a\nannotations: {}",
        "record: r\nexpr: a\nannotations: {a: b}",
        "record: r\nexpr: a\nlabels: {a: '{{ not parsed'}",
        "record: 'a b'\nexpr: a",
        "record: 'a{b}'\nexpr: a",
        "record: 5\nexpr: a",
        "record: r\nexpr: \"x\"",
        "record: r\nexpr: '\"text\"'",
        "record: r\nexpr: a[5m]",
        "record: r\nexpr: |\n  a\n  # comment\n  + b",
        "record: r\nexpr: sum(a",
        "record: r\nexpr: mad_over_time(a[5m])",
        "alert: A\nexpr: a\nunknown: 1",
        "alert: A\nexpr: a\nannotations: {a: '{{ $labels.x }} {{ .Value }} {{ $externalURL }}'}",
        "alert: A\nexpr: a\nannotations: {a: '{{ $unknown }}'}",
        "alert: A\nexpr: a\nannotations: {a: '{{ nofunc 1 }}'}",
        "alert: A\nexpr: a\nannotations: {a: '{{ if }}{{ end }}'}",
        "alert: A\nexpr: a\nannotations: {a: '{{ if 1 }}'}",
        "alert: A\nexpr: a\nannotations: {a: '{{ end }}'}",
        "alert: A\nexpr: a\nannotations: {a: '{{ template \"x\" }}'}",
        "alert: A\nexpr: a\nannotations: {a: '{{ .Labels'}",
        "alert: A\nexpr: a\nannotations: {a: '}} {{/* c */}} {{- \"x\" -}}'}",
        "alert: A\nexpr: a\nannotations: {a: '{{ `raw\\d` | printf \"%s\" }}'}",
        "alert: A\nexpr: a\nannotations: {a: '{{ \"open }}'}",
        "alert: A\nexpr: a\nannotations: {a: '{{ range $i, $v := .Labels }}{{ break }}{{ end }}'}",
        "alert: A\nexpr: a\nannotations: {a: '{{ break }}'}",
        "alert: A\nexpr: a\nannotations: {a: '{{ block \"b\" . }}x{{ end }}'}",
        "alert: A\nexpr: a\nannotations: {a: '{{ humanize 1 2 3 }}{{ 1 | 2 }}'}",
        "alert: A\nexpr: a\nannotations: {a: '{{ now }}'}",
        "alert: A\nexpr: a\nannotations: {a: '{{ tmpl \"x\" . }}'}",
        "alert: A\nexpr: a\nlabels: {a: '{{ $labels.b'}",
    ];
    let whole = [
        "",
        "# only a comment\n",
        "---\n",
        "groups:",
        "groups: []",
        "groups: {}",
        "groups: x",
        "group: []",
        "[]",
        "x",
        "groups:\n- name: a\n",
        "groups:\n- name: a\n  rules:\n",
        "groups:\n- name: a\n  rules: []\n- name: a\n",
        "groups:\n- rules: []\n",
        "groups:\n- name: ''\n",
        "groups:\n- name: 5\n",
        "groups:\n- name: a\n  interval: 0s\n  query_offset: 0s\n  limit: -1\n",
        "groups:\n- name: a\n  interval: x\n",
        "groups:\n- name: a\n  limit: x\n",
        "groups:\n- name: a\n  limit: 99999999999999999999\n",
        "groups:\n- name: a\n  labels: {'': x}\n",
        "groups:\n- name: a\n  labels: {__name__: x}\n",
        "groups:\n- name: a\n  labels: {a: x}\n  partial_response_strategy: warn\n",
        "groups:\n- &g\n  name: a\n  rules:\n  - {alert: A, expr: a, labels: &l {x: y}}\n  - {alert: B, expr: a, labels: *l}\n",
        "groups:\n- name: a\n  rules:\n  - {alert: A, expr: a, labels: &l {x: y}}\n  - {alert: B, expr: a, labels: {<<: *l, z: y}}\n",
        "groups:\n- name: a\n  name: b\n",
        "groups:\n  - name: a\n rules: []\n",
        "groups:\n- name: \"a\tb\"\n",
        "groups:\n\t- name: a\n",
        "%YAML 1.1\n---\ngroups: []\n",
        "groups:\n- name: a\n...\n",
    ];
    let rules = rules.iter().map(|lines| rule(lines));
    rules.chain(whole.iter().map(ToString::to_string)).collect()
}

/// Files that only promtool accepts.
fn stricter() -> Vec<String> {
    let with = "alert: A\nexpr: a\nannotations: {a: '{{ with 1 }}{{ else with 2 }}{{ end }}'}";
    let whole = [
        "groups:\n- name: a\n  limit: 1.5\n",
        "groups: []\n---\ngroups: x\n",
        "groups:\n- null\n",
        "groups:\n- name: a\n  rules: [null]\n",
    ];
    let whole = whole.iter().map(ToString::to_string);
    whole.chain([rule(with)]).collect()
}

fn is_accepted_by(promtool: &Path, text: &str) -> (bool, String) {
    let mut child = Command::new(promtool)
        .args(["check", "rules", "--lint", "none"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn files_are_accepted_and_refused_as_by_promtool() {
    let Some(promtool) = promtool() else { return };
    let mut different = Vec::new();
    let equal = files().into_iter().map(|text| (text, true));
    let stricter = stricter().into_iter().map(|text| (text, false));
    for (text, is_equal) in equal.chain(stricter) {
        let (is_accepted, theirs) = is_accepted_by(&promtool, &text);
        let ours = parse(&text, "f", &FileOptions::default());
        if (ours.is_ok() == is_accepted) != is_equal {
            different.push(format!("{text}\nours: {ours:?}\ntheirs: {theirs}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n----\n"));
}
