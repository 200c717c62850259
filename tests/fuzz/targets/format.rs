//! Queries as text: what is parsed is printed, on one line and on several, and what is printed is parsed again and means
//! the same. Matchers are printed in order, so theirs does not count.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promql::{ParseOptions, Plan, format, parse_tree_json, parse_with};
use serde_json::Value;

fn tree(plan: &Plan) -> Value {
    let mut tree = serde_json::from_str(&parse_tree_json(plan)).expect("a tree is JSON");
    sort_matchers(&mut tree);
    tree
}

fn sort_matchers(node: &mut Value) {
    match node {
        Value::Object(fields) => {
            if let Some(Value::Array(matchers)) = fields.get_mut("matchers") {
                matchers.sort_by_key(Value::to_string);
            }
            fields.values_mut().for_each(sort_matchers);
        }
        Value::Array(nodes) => nodes.iter_mut().for_each(sort_matchers),
        _ => {}
    }
}

fuzz_target!(|text: &str| {
    let Ok(plan) = parse_with(text, ParseOptions::ALL) else {
        return;
    };
    for printed in [format(&plan), plan.expr().to_string()] {
        let again = parse_with(&printed, ParseOptions::ALL)
            .unwrap_or_else(|error| panic!("{text:?} is printed as {printed:?}: {error}"));
        assert_eq!(
            tree(&again),
            tree(&plan),
            "{text:?} is printed as {printed:?}"
        );
        assert_eq!(format(&again), format(&plan), "{text:?}");
    }
});
