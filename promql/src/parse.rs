//! Query text to [`Plan`]: limits first, then tokens, then a tree, then types.
//!
//! Parser and evaluator recurse over the tree, so a query is measured before it is parsed: its bytes, and an upper
//! bound on the depth of its tree.

use crate::ast::Plan;
use crate::error::ParseError;
use crate::matcher::{Matcher, PatternCache};

mod call;
mod check;
mod duration;
mod grouping;
mod guard;
mod lexer;
mod number;
mod parser;
mod selector;
mod text;
mod time;
mod token;

pub use guard::MAX_NESTING;
use parser::Parser;

/// Longest query text in bytes.
pub const MAX_QUERY_BYTES: usize = 64 * 1024;

/// Regexes that one query may have.
const MAX_PATTERNS: usize = 256;

/// What is said of a selector that would match every series.
const EMPTY_SELECTOR: &str = "vector selector must contain at least one non-empty matcher";

/// Which parts of the language are understood beyond the stable ones. The default is Prometheus's: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParseOptions {
    /// Experimental functions and aggregations (`promql-experimental-functions`).
    pub experimental_functions: bool,
    /// Arithmetic in ranges, steps and offsets (`promql-duration-expr`).
    pub duration_expressions: bool,
}

impl ParseOptions {
    /// Everything that Prometheus 3.5 has.
    pub const ALL: Self = Self {
        experimental_functions: true,
        duration_expressions: true,
    };
}

/// Parses and checks a query of the stable language.
///
/// # Errors
/// Too long, too deep, or not valid PromQL.
pub fn parse(query: &str) -> Result<Plan, ParseError> {
    parse_with(query, ParseOptions::default())
}

/// Parses and checks a query.
///
/// # Errors
/// Too long, too deep, or not valid PromQL.
pub fn parse_with(query: &str, options: ParseOptions) -> Result<Plan, ParseError> {
    plan(query, options, None)
}

/// The same, with patterns that are compiled already taken from a cache.
///
/// # Errors
/// Too long, too deep, or not valid PromQL.
pub fn parse_cached(query: &str, options: ParseOptions, cache: &PatternCache) -> Result<Plan, ParseError> {
    plan(query, options, Some(cache))
}

fn plan(query: &str, options: ParseOptions, cache: Option<&PatternCache>) -> Result<Plan, ParseError> {
    measure(query)?;
    let mut parser = Parser::new(query, options).with_cache(cache);
    let parsed = parser.query();
    let mut expr = settle(parser, parsed)?;
    check::check(&mut expr, query).map_err(|(span, message)| ParseError::Syntax {
        position: span.position(query).to_string(),
        message,
    })?;
    Ok(Plan {
        expr,
        query: query.into(),
    })
}

/// Parses a series selector, such as a `match[]` parameter.
///
/// # Errors
/// As [`parse`], for anything but a plain instant selector, and [`ParseError::EmptySelector`].
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    selector_of(text, None)
}

/// The same, with patterns that are compiled already taken from a cache.
///
/// # Errors
/// As [`parse_selector`].
pub fn parse_selector_cached(text: &str, cache: &PatternCache) -> Result<Vec<Matcher>, ParseError> {
    selector_of(text, Some(cache))
}

fn selector_of(text: &str, cache: Option<&PatternCache>) -> Result<Vec<Matcher>, ParseError> {
    measure(text)?;
    let mut parser = Parser::new(text, ParseOptions::default()).with_cache(cache);
    let parsed = parser.only_selector();
    let matchers = settle(parser, parsed)?.matchers;
    if matchers.iter().all(|matcher| matcher.matches("")) {
        return Err(ParseError::EmptySelector);
    }
    Ok(matchers)
}

fn measure(query: &str) -> Result<(), ParseError> {
    if query.len() > MAX_QUERY_BYTES {
        return Err(ParseError::TooLong {
            bytes: query.len(),
            limit: MAX_QUERY_BYTES,
        });
    }
    guard::check(query)
}

/// What was parsed, unless there was a fault.
fn settle<T>(parser: Parser<'_>, parsed: parser::Parsed<T>) -> Result<T, ParseError> {
    match (parsed, parser.into_fault()) {
        (Ok(parsed), None) => Ok(parsed),
        (_, Some(fault)) => Err(fault),
        // Who stops has reported why.
        (Err(parser::Stop), None) => Err(ParseError::Syntax {
            position: "unknown position".to_owned(),
            message: "unexpected error".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests;
