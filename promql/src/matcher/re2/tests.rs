//! Go's meaning of patterns, each as Go's documentation of `regexp/syntax` states it.

use proptest::prelude::*;

use super::*;

fn matches(pattern: &str, text: &str) -> bool {
    compile_anchored(pattern)
        .unwrap_or_else(|e| panic!("{pattern}: {e}"))
        .is_match(text)
}

#[test]
fn brackets_hold_plain_members_where_the_regex_crate_has_set_operations() {
    for c in ["a", "&", "b"] {
        assert!(matches("[a&&b]", c));
    }
    assert!(matches("[[a]b]", "[b]"));
    assert!(matches("[[a]b]", "ab]"));
    assert!(matches("[+--]", ","));
    assert!(matches("[]a]", "]"));
    assert!(matches("[^]a]", "b"));
    assert!(matches("[a-]", "-"));
    assert!(matches("[~~]", "~"));
    assert!(matches("[[:alpha:]_]+", "ab_"));
    assert!(matches("[^[:alpha:]]", "1"));
    assert!(matches("[\\d\\-x]+", "1-x"));
}

#[test]
fn perl_classes_are_ascii() {
    assert!(!matches("\\d", "٣"));
    assert!(!matches("\\w", "é"));
    assert!(matches("\\W", "é"));
    assert!(!matches("\\s", "\u{b}"));
    assert!(matches("\\bab\\b", "ab"));
}

#[test]
fn a_dot_matches_a_newline_and_a_pattern_the_whole_value() {
    assert!(matches("a.b", "a\nb"));
    assert!(!matches("(?-s)a.b", "a\nb"));
    assert!(!matches("a", "ab"));
    assert!(matches("a|bc", "bc"));
    assert!(!matches("a|bc", "abc"));
    assert!(matches("", ""));
}

#[test]
fn quotes_and_braces_are_read_as_go_reads_them() {
    assert!(matches("\\Qa.b\\E+", "a.bb"));
    assert!(!matches("\\Qa.b\\E", "axb"));
    assert!(matches("a{,2}", "a{,2}"));
    assert!(matches("a{b}", "a{b}"));
    assert!(matches("a{2,3}?", "aaa"));
    assert!(matches("\\x{41}\\x42\\103\\_", "ABC_"));
    assert!(matches("\\p{Greek}\\pL\\P{Lu}\\p{^Lu}", "αbcd"));
}

#[test]
fn a_refusal_says_what_go_says() {
    for (pattern, words) in [
        ("(a", "missing closing ): `(a`"),
        ("a)(b", "unexpected ): `a)(b`"),
        ("xa*?{2}?b", "invalid nested repetition operator: `*?{2}?`"),
        ("a|*?", "missing argument to repetition operator: `*?`"),
        ("ab{2,1}c", "invalid repeat count: `{2,1}`"),
        ("a[b-", "missing closing ]: `[b-`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("[[:foo:]x]", "invalid character class range: `[:foo:]`"),
        ("\\pXy", "invalid character class range: `\\pX`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        ("\\x{110000}", "invalid escape sequence: `\\x{110000`"),
        ("(?i=a)", "invalid or unsupported Perl syntax: `(?i=`"),
        ("(?P<a b>c)", "invalid named capture: `(?P<a b>`"),
    ] {
        let error = compile_anchored(pattern).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), format!("error parsing regexp: {words}"));
    }
    assert!(matches("((a{10}b*){10}){10}|(?)c|a\\Q\\E*|(?P<1>d)", "aaa"));
}

#[test]
fn what_go_refuses_is_refused() {
    for bad in [
        "a**",
        "a{2}{3}",
        "*a",
        "(?i)*",
        "a{1001}",
        "a{3,2}",
        "\\1",
        "\\Z",
        "\\C",
        "(?=a)",
        "(?x)a",
        "(a",
        "a)",
        "[a",
        "[b-a]",
        "[a--b]",
        "\\",
        "\\pX",
        "\\p{greek}",
        "[[:nope:]]",
        "(?P<1a>a)",
        // In a group around the pattern, these would be closed and opened again.
        "a)(b",
        "a))((b",
        "(a{100}){11}",
        "(a{2}|b{10}){101}",
        "(?u)a",
        "\\x{110000}",
    ] {
        assert!(compile_anchored(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_text_is_translated_or_refused_without_a_panic(pattern in "\\PC{0,40}", text in "\\PC{0,10}") {
        if let Ok(regex) = compile_anchored(&pattern) {
            regex.is_match(&text);
        }
    }

    #[test]
    fn plain_alternatives_match_what_the_engine_matches(
        pattern in "[ab|.\\\\+]{0,12}",
        text in "[ab|.+]{0,4}",
    ) {
        if let Some(texts) = plain_alternatives(&pattern) {
            let regex = compile_anchored(&pattern).expect("plain texts are a valid pattern");
            prop_assert_eq!(texts.contains(&text), regex.is_match(&text), "{} on {}", pattern, text);
        }
    }

    #[test]
    fn patterns_of_syntax_characters_never_panic(pattern in "[a\\[\\]\\\\(){}*+?|^$.:<>PQEpx0-9,&~-]{0,24}") {
        let _ = compile_anchored(&pattern);
    }

    #[test]
    fn an_escaped_text_matches_itself_and_nothing_else(text in "\\PC{0,20}", other in "\\PC{0,20}") {
        let quoted: String = text
            .chars()
            .map(|c| if c.is_ascii_punctuation() { format!("\\{c}") } else { c.to_string() })
            .collect();
        let regex = compile_anchored(&quoted).expect("escaped punctuation is valid");
        prop_assert!(regex.is_match(&text));
        prop_assert_eq!(regex.is_match(&other), other == text);
    }
}
