//! Query text to [`Plan`]: limits first, then the grammar, then `lower()` into our own tree.
//!
//! The grammar crate recurses over its input and its tree, so a query is measured before it is parsed: its bytes, and
//! an upper bound on the depth of its tree. The crate's types stay inside `lower`.

use crate::ast::{Expr, Plan};
use crate::error::ParseError;
use crate::matcher::Matcher;

mod guard;
mod lower;
mod patterns;

pub use guard::MAX_NESTING;

/// Longest query text in bytes.
pub const MAX_QUERY_BYTES: usize = 64 * 1024;

/// Parses and checks a query.
///
/// # Errors
/// Too long, too deep, or not valid PromQL.
pub fn parse(query: &str) -> Result<Plan, ParseError> {
    if query.len() > MAX_QUERY_BYTES {
        return Err(ParseError::TooLong {
            bytes: query.len(),
            limit: MAX_QUERY_BYTES,
        });
    }
    guard::check(query)?;
    lower::lower(&patterns::hide(query)?).map(Plan)
}

/// Parses a series selector, such as a `match[]` parameter.
///
/// # Errors
/// As [`parse`], and for anything but a plain instant selector.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    match parse(text)?.0 {
        Expr::Selector(s) if s.offset_ms == 0 && s.at.is_none() => Ok(s.matchers),
        _ => Err(ParseError::Syntax("expected a series selector".to_owned())),
    }
}

#[cfg(test)]
mod tests;
