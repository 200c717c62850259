//! What is refused by looking at a query's text alone: trees that could be too deep.
//!
//! Each open bracket adds a level, and each operator in a row at the same level adds one more, because a chain such as
//! `1+1+1` leans to one side. Strings and comments do not count.

use crate::error::ParseError;

/// Deepest tree that a query may have.
pub const MAX_NESTING: usize = 250;

/// Words that are operators.
const WORD_OPERATORS: [&str; 4] = ["and", "or", "unless", "atan2"];

/// Refuses a query whose tree could be deeper than [`MAX_NESTING`].
pub(super) fn check(query: &str) -> Result<(), ParseError> {
    // Depth of the tree so far, and per open bracket the operators seen at its level.
    let mut levels: Vec<usize> = vec![0];
    let mut depth = 0;
    let mut rest = query;
    while let Some(c) = rest.chars().next() {
        let mut len = c.len_utf8();
        match c {
            '"' | '\'' | '`' => len = string_len(rest, c),
            '#' => len = rest.find('\n').unwrap_or(rest.len()),
            '(' | '{' | '[' => {
                levels.push(0);
                depth += 1;
            }
            ')' | '}' | ']' => {
                if levels.len() > 1 {
                    depth -= 1 + levels.pop().unwrap_or(0);
                }
                // A range or subquery wraps what stands before it.
                if c == ']' {
                    add_operator(&mut levels, &mut depth);
                }
            }
            ',' => {
                if let Some(level) = levels.last_mut() {
                    depth -= *level;
                    *level = 0;
                }
            }
            '+' | '-' | '*' | '/' | '%' | '^' | '=' | '!' | '<' | '>' => {
                add_operator(&mut levels, &mut depth)
            }
            c if c.is_ascii_alphanumeric() || c == '_' || c == ':' => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
                len = end.unwrap_or(rest.len());
                if WORD_OPERATORS
                    .iter()
                    .any(|word| rest[..len].eq_ignore_ascii_case(word))
                {
                    add_operator(&mut levels, &mut depth);
                }
            }
            _ => {}
        }
        if depth > MAX_NESTING {
            return Err(ParseError::TooDeep { limit: MAX_NESTING });
        }
        rest = &rest[len..];
    }
    Ok(())
}

fn add_operator(levels: &mut [usize], depth: &mut usize) {
    if let Some(level) = levels.last_mut() {
        *level += 1;
        *depth += 1;
    }
}

/// Bytes of the string literal at the start of `text`; an unterminated one runs to the end.
fn string_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}
