//! Regexes of matchers: any pattern is translated or refused, compiled and matched in time, and what is looked up as a list
//! of texts is what the pattern itself matches.
//!
//! The pattern ends at the first zero byte; a value follows.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use promql::{MatchOp, Matcher, compile_anchored, compile_search};

/// For one pattern and value, on one core of a busy machine, with the sanitizer.
const MOST: Duration = Duration::from_secs(10);

fuzz_target!(|text: &str| {
    let began = Instant::now();
    let (pattern, value) = text.split_once('\0').unwrap_or((text, ""));
    let matcher = Matcher::new("l", MatchOp::Regex, pattern);
    let regex = compile_anchored(pattern);
    let _ = compile_search(pattern).map(|regex| regex.is_match(value));
    let (Ok(matcher), Ok(regex)) = (matcher, regex) else {
        return;
    };
    let opposite = Matcher::new("l", MatchOp::NotRegex, pattern).expect("as its opposite");
    let longer = format!("{value}x");
    for value in ["", "a", "node-1", "\n", pattern, value, longer.as_str()] {
        assert_eq!(
            matcher.matches(value),
            regex.is_match(value),
            "{pattern:?} {value:?}"
        );
        assert_ne!(matcher.matches(value), opposite.matches(value));
    }
    for text in matcher.alternatives().unwrap_or_default() {
        assert!(regex.is_match(text), "{pattern:?} {text:?}");
    }
    let took = began.elapsed();
    assert!(took < MOST, "{took:?}");
});
