//! Rule files and unit tests of rules: any text is read or refused, and what a file says can be evaluated over nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rules::unit_test::{TestOptions, UnitTests};
use rules::{FileOptions, parse};

const TEST: &str = "tests: [{input_series: [{series: 'a{b=\"c\"}', values: '1 2 stale'}], \
                    promql_expr_test: [{expr: a, eval_time: 2m}]}]";

fuzz_target!(|body: &[u8]| {
    let Ok(text) = std::str::from_utf8(body) else { return };
    let options = FileOptions {
        extensions: true,
        promql: promql::ParseOptions::ALL,
    };
    let _ = UnitTests::parse(text, "fuzz");
    let Ok(groups) = parse(text, "fuzz", &options) else { return };
    for group in &groups {
        let _ = group.window(300_000, 0);
        let _ = group.next_at(1_700_000_000_000, 60_000);
    }
    let tests = UnitTests::parse(TEST, "fuzz").expect("a test of our own");
    let _ = tests.run(&groups, &TestOptions::default(), |_| true);
});
