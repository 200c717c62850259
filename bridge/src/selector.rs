//! A PromQL selector as matchers of the store, where no query is to be evaluated.

use store::Matcher;

use crate::http::for_store;

/// Reads a selector, as `up{job=~"node|agent"}`.
///
/// # Errors
/// It is none; why.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, String> {
    let matchers = promql::parse_selector(text).map_err(|error| error.to_string())?;
    Ok(for_store(&matchers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_becomes_matchers_of_the_whole_value() {
        let found = parse_selector(r#"up{job=~"[a&&b]|b+", zone!="x"}"#).unwrap();
        assert_eq!(found.len(), 3);
        let passes = |name: &str, value| {
            let matcher = found.iter().find(|matcher| matcher.name == name);
            matcher.unwrap().matches(value)
        };
        assert!(passes("job", "bb") && passes("job", "&") && !passes("job", "ab"));
        assert!(passes("zone", "y") && !passes("zone", "x"));
        assert!(passes("__name__", "up") && !passes("__name__", "upper"));
        assert!(parse_selector("up{").is_err());
    }
}
