use super::*;
use crate::group::WaitFor;

fn read(text: &str) -> Result<Vec<Group>, Vec<String>> {
    parse(text, "r.yml", &FileOptions::default())
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

const FILE: &str = r#"
groups:
  - name: node
    interval: 30s
    query_offset: 10s
    limit: 5
    labels: {team: a, zone: x}
    rules:
      - record: job:up:sum
        expr: sum by (job) (up)
        labels: {zone: ""}
      - alert: Down
        expr: |
          up == 0
        for: 5m
        keep_firing_for: 1h30m
        labels: {severity: 1, team: b}
        annotations:
          summary: "{{ $labels.instance }} is down"
  - name: empty
"#;

#[test]
fn a_file_is_read_as_it_is_meant() {
    let groups = read(FILE).unwrap();
    assert_eq!(groups.len(), 2);
    let group = &groups[0];
    assert_eq!(group.key(), "r.yml;node");
    assert_eq!(
        (group.interval_ms, group.query_offset_ms),
        (Some(30_000), Some(10_000))
    );
    assert_eq!((group.limit, group.wait_for), (Some(5), None));
    let pairs = |pairs: &[(&str, &str)]| -> Pairs2 {
        pairs
            .iter()
            .map(|(n, v)| (n.to_string(), v.to_string()))
            .collect()
    };
    assert_eq!(group.rules[0].labels, pairs(&[("team", "a"), ("zone", "")]));
    assert_eq!(group.rules[0].query(), "sum by (job) (up)");
    assert_eq!(
        group.rules[1].labels,
        pairs(&[("severity", "1"), ("team", "b"), ("zone", "x")])
    );
    let alerting = group.rules[1].alerting().unwrap();
    assert_eq!(
        (alerting.for_ms, alerting.keep_firing_for_ms),
        (300_000, 5_400_000)
    );
    assert_eq!(group.rules[1].query(), "up == 0");
}

type Pairs2 = crate::group::Pairs;

#[test]
fn blank_files_have_no_groups() {
    for text in ["", "# nothing\n", "---\n", "groups:\n", "groups: []"] {
        assert_eq!(read(text).unwrap(), [], "{text:?}");
    }
}

#[test]
fn all_wrong_rules_are_named_with_their_lines() {
    let text = r#"groups:
- name: a
  rules:
  - record: x
    alert: y
    expr: up
  - expr: up
  - record: "sum{}"
    for: 1m
    annotations: {a: b}
  - alert: Z
    expr: sum(
    labels: {__name__: x}
    annotations:
      good: "{{ $labels.x }}"
      bad: "{{ $nothing }}"
- name: a
- name: ""
  labels: {"": x}
"#;
    let errors = read(text).unwrap_err();
    let wanted = [
        "r.yml:4: group \"a\", rule 1, \"y\": only one of 'record' and 'alert' must be set",
        "r.yml:7: group \"a\", rule 2, \"\": one of 'record' or 'alert' must be set",
        "r.yml:8: group \"a\", rule 3, \"sum{}\": field 'expr' must be set in rule",
        "r.yml:8: group \"a\", rule 3, \"sum{}\": invalid field 'annotations' in recording rule",
        "r.yml:8: group \"a\", rule 3, \"sum{}\": invalid field 'for' in recording rule",
        "r.yml:8: group \"a\", rule 3, \"sum{}\": braces present in the recording rule name; should it be in expr?: sum{}",
        "r.yml:12: group \"a\", rule 4, \"Z\": could not parse expression: 1:5: parse error: unclosed left parenthesis",
        "r.yml:13: group \"a\", rule 4, \"Z\": invalid label name: __name__",
    ];
    for (error, wanted) in errors.iter().zip(wanted) {
        assert_eq!(error, wanted);
    }
    assert!(
        errors[8].starts_with("r.yml:16: group \"a\", rule 4, \"Z\": annotation \"bad\": "),
        "{errors:#?}"
    );
    assert_eq!(
        errors[9],
        "r.yml:17: group \"a\": groupname: \"a\" is repeated in the same file"
    );
    assert_eq!(errors[10], "r.yml:18: group \"\": Groupname must not be empty");
    assert_eq!(errors[11], "r.yml:18: group \"\": invalid label name: ");
}

#[test]
fn unknown_keys_and_bad_yaml_name_their_line() {
    let cases = [
        (
            "groups:\n- name: a\n  intervall: 1m\n",
            "r.yml:3: unknown field `intervall`",
        ),
        (
            "groups:\n- name: a\n  rules:\n  - alert: b\n    expression: up\n",
            "r.yml:5: unknown field `expression`",
        ),
        ("groups:\n- name: a\n  interval: 5\n", "r.yml:3: "),
        ("groups: 5\n", "r.yml:1: "),
        ("groups:\n- name: [\n", "r.yml:"),
    ];
    for (text, wanted) in cases {
        let errors = read(text).unwrap_err();
        assert!(errors[0].starts_with(wanted), "{text}: {errors:?}");
    }
}

#[test]
fn wait_for_is_an_extension() {
    let text = |value: &str| format!("groups:\n- name: a\n  wait_for: {value}\n");
    let options = FileOptions {
        extensions: true,
        ..FileOptions::default()
    };
    let wait = |value: &str| parse(&text(value), "r.yml", &options).map(|groups| groups[0].wait_for);
    assert_eq!(wait("95%"), Ok(Some(WaitFor::Share(0.95))));
    assert_eq!(wait("2m"), Ok(Some(WaitFor::Time(120_000))));
    for bad in ["0%", "101%", "x", "5", "NaN%"] {
        let errors = wait(bad).unwrap_err();
        assert!(
            errors[0]
                .to_string()
                .starts_with("r.yml:3: group \"a\": wait_for: "),
            "{errors:?}"
        );
    }
    assert!(read(&text("95%")).unwrap_err()[0].contains("not a key of Prometheus"));
}

const PIECES: [&str; 30] = [
    "groups:",
    "\n",
    "- ",
    "  ",
    "    ",
    "name: ",
    "a",
    "rules:",
    "record: ",
    "alert: ",
    "expr: ",
    "up",
    "for: ",
    "5m",
    "labels: ",
    "{",
    "}",
    "[",
    "]",
    "annotations: ",
    "&x ",
    "*x",
    "<<: ",
    "|\n",
    "limit: ",
    "99999999999999999999",
    "\"",
    "'",
    "{{ $labels.x }}",
    "!!binary ",
];

proptest::proptest! {
    #[test]
    fn any_text_is_a_rule_file_or_refused(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        pieces in proptest::collection::vec(0_usize..PIECES.len(), 0..60),
    ) {
        let pieced: String = pieces.iter().map(|piece| PIECES[*piece]).collect();
        for text in [String::from_utf8_lossy(&bytes).into_owned(), pieced] {
            let _ = parse(&text, "f", &FileOptions::default());
            let _ = crate::unit_test::UnitTests::parse(&text, "f");
        }
    }
}

#[test]
fn aliases_that_multiply_are_refused() {
    let mut text = "groups:\n- name: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (from, to) in ('a'..'j').zip('b'..='j') {
        text.push_str(&format!(
            "- name: &{to} [*{from}, *{from}, *{from}, *{from}, *{from}, *{from}, *{from}, *{from}]\n"
        ));
    }
    assert!(read(&text).is_err());
}
