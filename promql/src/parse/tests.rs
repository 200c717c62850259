//! Limits, and that any text is either parsed or refused.

use proptest::prelude::*;

use super::*;

#[test]
fn long_and_deep_queries_are_refused_before_the_grammar_sees_them() {
    let long = "a".repeat(MAX_QUERY_BYTES + 1);
    assert!(matches!(parse(&long), Err(ParseError::TooLong { .. })));
    let n = 20_000;
    for deep in [
        format!("{}1{}", "(".repeat(n), ")".repeat(n)),
        format!("{}1", "-".repeat(n)),
        format!("1{}", "+1".repeat(n)),
        format!("a{}", "[1m:]".repeat(10_000)),
        format!("a{}", " or a".repeat(10_000)),
        format!("{}a", "abs(".repeat(10_000)),
    ] {
        assert!(
            matches!(parse(&deep), Err(ParseError::TooDeep { .. })),
            "{}",
            &deep[..20]
        );
    }
}

#[test]
fn a_query_at_the_limit_parses_and_wide_ones_are_not_deep() {
    assert!(
        parse(&format!(
            "{}1{}",
            "(".repeat(MAX_NESTING),
            ")".repeat(MAX_NESTING)
        ))
        .is_ok()
    );
    assert!(parse(&format!("1{}", "+1".repeat(MAX_NESTING))).is_ok());
    let names: Vec<String> = (0..1000).map(|i| format!("l{i}!=\"+-(\"")).collect();
    assert!(parse(&format!("m{{{}}}", names.join(","))).is_ok());
}

fn fault(query: &str) -> String {
    match parse(query) {
        Ok(plan) => panic!("{query}: {plan:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn faults_are_told_in_prometheus_words() {
    for (query, words) in [
        ("", "unknown position: parse error: no expression found in input"),
        ("1 +", "1:4: parse error: unexpected end of input"),
        ("foo bar", "1:5: parse error: unexpected identifier \"bar\""),
        (
            "sum(\nfoo bar)",
            "2:5: parse error: unexpected identifier \"bar\" in aggregation",
        ),
        (
            "foo{a=\"b\" or c=\"d\"}",
            "1:11: parse error: unexpected identifier \"or\" in label matching, expected \",\" or \"}\"",
        ),
        ("foo[5m", "1:7: parse error: unclosed left bracket"),
        (
            "foo[]",
            "1:5: parse error: unexpected \"]\" in subquery selector, expected number or duration",
        ),
        ("foo[0]", "1:5: parse error: duration must be greater than 0"),
        (
            "foo[5m+1m]",
            "1:5: parse error: experimental duration expression is not enabled",
        ),
        (
            "limitk(2, foo)",
            "1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
        ),
        ("info(foo)", "1:1: parse error: function \"info\" is not enabled"),
        (
            "1 == 1",
            "1:3: parse error: comparisons between scalars must use BOOL modifier",
        ),
        (
            "rate(foo)",
            "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        (
            "rate(foo[5m],)",
            "1:13: parse error: trailing commas not allowed in function call args",
        ),
        ("\"a\\q\"", "1:1: parse error: unknown escape sequence U+0071 'q'"),
        (
            "{job=~\".*\"}",
            "1:1: parse error: vector selector must contain at least one non-empty matcher",
        ),
        (
            "foo{a=~\"(\"}",
            "1:5: parse error: error parsing regexp: missing closing ): `(`",
        ),
    ] {
        assert_eq!(fault(query), words, "{query}");
    }
}

#[test]
fn what_prometheus_3_5_does_not_know_is_refused() {
    for bad in [
        "start()",
        "max_of(1, 2)",
        "a + fill(0) b",
        "foo{a=~\"(?=b)\"}",
        "{a='\\377'}",
        "{}",
        "{a=~\"a",
        "{a=~\"\\q\"}",
    ] {
        assert!(matches!(parse(bad), Err(ParseError::Syntax { .. })), "{bad}");
    }
}

#[test]
fn queries_print_as_prometheus_prints_them() {
    for (query, printed) in [
        ("- - 1", "1"),
        ("-1 ^ 2", "-1 ^ 2"),
        ("+foo", "+foo"),
        ("foo offset 5m+3m", "foo offset 5m + 3m"),
        ("foo offset (100) + 2", "foo offset (100 + 2)"),
        (
            "foo[5m+1m] offset (5m*2) @ 5",
            "foo[5m + 1m] @ 5.000 offset (5m * 2)",
        ),
        (
            "foo{b='1', a=\"2\",}[90s] offset -1w",
            "foo{a=\"2\",b=\"1\"}[1m30s] offset -1w",
        ),
        ("{\"a b\",\"x y\"='\\xff'}", "fault"),
        ("sum by () (foo)", "sum(foo)"),
        ("sum(foo) without (\"a b\")", "sum without (\"a b\") (foo)"),
        ("a == bool on(b) group_left a", "a == bool on (b) group_left () a"),
        ("foo[5 m]", "foo[5s:]"),
        ("'\\xff'", "\"\\xff\""),
    ] {
        let got = parse_with(query, ParseOptions::ALL).map(|plan| plan.expr().to_string());
        assert_eq!(got.unwrap_or_else(|_| "fault".to_owned()), printed, "{query}");
    }
}

#[test]
fn patterns_are_read_as_go_reads_string_and_regex() {
    let pattern = |query: &str| parse_selector(query).unwrap()[0].clone();
    assert_eq!(pattern("up{a=~\"x\\\\.\\u0079\"}").value(), "x\\.y");
    assert_eq!(pattern("up{a =~ # why\n `\\d`}").value(), "\\d");
    assert!(pattern("up{a!~'\\\\Qa.b\\\\E'}").matches("axb"));
    let many: Vec<String> = (0..2000).map(|i| format!("l{i}=~\".{{999}}x\"")).collect();
    assert!(matches!(
        parse(&format!("m{{{}}}", many.join(","))),
        Err(ParseError::Syntax { .. })
    ));
}

#[test]
fn a_match_parameter_is_a_plain_selector() {
    let matchers = parse_selector("up{job=~\"n.*\"}").unwrap();
    assert_eq!(matchers[0].to_string(), "job=~\"n.*\"");
    assert_eq!(matchers[1].to_string(), "__name__=\"up\"");
    assert!(parse_selector("up offset 5m").is_err());
    assert!(parse_selector("rate(up[5m])").is_err());
    assert_eq!(parse_selector("{a=\"\"}"), Err(ParseError::EmptySelector));
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused_without_a_panic(query in "\\PC{0,60}") {
        let _ = parse_with(&query, ParseOptions::ALL);
    }

    #[test]
    fn pieces_of_promql_in_any_order_never_panic(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "sum", " by ", "(", ")", "a", "{", "}", "b=~\"c.*\"", "[5m]", "[5m:1m]", " offset ", "-", "5m", "@",
            " start()", " 1", "+", "==", " bool ", " on", ",", " group_left", "rate", "\"x\"", "0x1p", "1e999",
            " and ", "quantile", "topk", "NaN", "-Inf", "_", ":", "'", "`", "\\", "9999999999y", "#", "\n",
        ]), 0..24),
    ) {
        if let Ok(plan) = parse_with(&pieces.concat(), ParseOptions::ALL) {
            let _ = (crate::format(&plan), crate::parse_tree_json(&plan));
        }
    }
}
