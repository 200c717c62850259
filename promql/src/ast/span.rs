//! Where something stands in a query.

use std::fmt;

/// A range of bytes of a query's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// First byte behind it.
    pub end: usize,
}

impl Span {
    /// From the start of one to the end of another.
    pub(crate) fn to(self, last: Self) -> Self {
        Self {
            start: self.start,
            end: last.end,
        }
    }

    /// The start as Prometheus prints it: line and column in bytes, both from 1.
    pub(crate) fn position(self, query: &str) -> Position {
        let before = query.as_bytes().get(..self.start).filter(|_| !query.is_empty());
        Position(before.map(|before| {
            let line_start = before
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            let breaks = before.iter().filter(|byte| **byte == b'\n').count();
            (breaks + 1, before.len() - line_start + 1)
        }))
    }
}

/// Line and column, or unknown in an empty query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position(Option<(usize, usize)>);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((line, column)) => write!(f, "{line}:{column}"),
            None => f.write_str("unknown position"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_bytes_from_one() {
        let position = |query: &str, start| Span { start, end: start }.position(query).to_string();
        assert_eq!(position("abc", 2), "1:3");
        assert_eq!(position("a\nbc", 2), "2:1");
        assert_eq!(position("ä\n\nx", 4), "3:1");
        assert_eq!(position("", 0), "unknown position");
    }
}
