//! A PromQL selector as matchers of the store, where no query is to be evaluated.

use promql::MatchOp;
use regex::Regex;
use store::{Matcher, Test};

/// Reads a selector, as `up{job=~"node|agent"}`.
///
/// # Errors
/// It is none; why.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, String> {
    let matchers = promql::parse_selector(text).map_err(|error| error.to_string())?;
    matchers
        .iter()
        .map(|matcher| {
            let value = matcher.value().to_owned();
            // For the whole value, and a dot for any character, as in Prometheus.
            let regex = || Regex::new(&format!("^(?s:{value})$")).map_err(|error| error.to_string());
            let test = match matcher.op() {
                MatchOp::Equal => Test::Equal(value),
                MatchOp::NotEqual => Test::NotEqual(value),
                MatchOp::Regex => Test::Regex(regex()?),
                MatchOp::NotRegex => Test::NotRegex(regex()?),
            };
            Ok(Matcher {
                name: matcher.name().to_owned(),
                test,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_becomes_matchers_of_the_whole_value() {
        let found = parse_selector(r#"up{job=~"a|b", zone!="x"}"#).unwrap();
        assert_eq!(found.len(), 3);
        let of = |name: &str| found.iter().find(|matcher| matcher.name == name).unwrap();
        let Test::Regex(job) = &of("job").test else {
            panic!("{found:?}")
        };
        assert!(job.is_match("b") && !job.is_match("ab"));
        assert!(matches!(&of("zone").test, Test::NotEqual(value) if value == "x"));
        assert!(matches!(&of("__name__").test, Test::Equal(value) if value == "up"));
        assert!(parse_selector("up{").is_err());
    }
}
