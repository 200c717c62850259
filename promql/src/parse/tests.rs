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

#[test]
fn what_prometheus_3_5_does_not_know_is_refused() {
    for bad in [
        "{a=\"b\" or c=\"d\"}",
        "start()",
        "max_of(1, 2)",
        "a + fill(0) b",
        "foo{a=~\"(?=b)\"}",
        "1 +",
        "label_replace(a, \"b\", \"\\xff\", \"\", \"\")",
        "{a='\\377'}",
        "{job=~\".*\"}",
        "{}",
        "{a=~\"a",
        "{a=~\"\\q\"}",
    ] {
        assert!(matches!(parse(bad), Err(ParseError::Syntax(_))), "{bad}");
    }
}

#[test]
fn patterns_are_read_as_go_reads_string_and_regex() {
    let pattern = |query: &str| parse_selector(query).unwrap()[1].clone();
    assert_eq!(pattern("up{a=~\"x\\\\.\\u0079\"}").value(), "x\\.y");
    assert_eq!(pattern("up{a =~ # why\n `\\d`}").value(), "\\d");
    // The grammar crate's own engine would refuse this one.
    assert!(pattern("up{a!~'\\\\Qa.b\\\\E'}").matches("axb"));
    // And would take much memory for these.
    let many: Vec<String> = (0..2000).map(|i| format!("l{i}=~\".{{999}}x\"")).collect();
    assert!(matches!(
        parse(&format!("m{{{}}}", many.join(","))),
        Err(ParseError::Syntax(_))
    ));
}

#[test]
fn a_match_parameter_is_a_plain_selector() {
    let matchers = parse_selector("up{job=~\"n.*\"}").unwrap();
    assert_eq!(matchers[0].to_string(), "__name__=\"up\"");
    assert_eq!(matchers[1].to_string(), "job=~\"n.*\"");
    assert!(parse_selector("up offset 5m").is_err());
    assert!(parse_selector("rate(up[5m])").is_err());
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused_without_a_panic(query in "\\PC{0,60}") {
        let _ = parse(&query);
    }

    #[test]
    fn pieces_of_promql_in_any_order_never_panic(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "sum", " by ", "(", ")", "a", "{", "}", "b=~\"c.*\"", "[5m]", "[5m:1m]", " offset ", "-", "5m", "@",
            " start()", " 1", "+", "==", " bool ", " on", ",", " group_left", "rate", "\"x\"", "0x1p", "1e999",
            " and ", "quantile", "topk", "NaN", "-Inf", "_", ":", "'", "`", "\\", "9999999999y", "#", "\n",
        ]), 0..24),
    ) {
        let _ = parse(&pieces.concat());
    }
}
