//! absent and absent_over_time: a series where there is none, labelled by the selector's equalities.

use crate::ast::{Call, Expr};
use crate::error::EvalError;
use crate::eval::evaluator::Evaluator;
use crate::eval::grid::Grid;
use crate::eval::rows::{Column, Row};
use crate::labels::{Labels, METRIC_NAME};
use crate::matcher::{MatchOp, Matcher};

use super::argument;

/// Labels that the missing series would surely have.
fn expected_labels(expr: &Expr) -> Labels {
    let matchers = match expr.unwrapped() {
        Expr::Selector(selector) => &selector.matchers,
        Expr::Matrix(matrix) => &matrix.selector.matchers,
        _ => return Labels::default(),
    };
    let certain = |matcher: &&Matcher| {
        let same_name = matchers
            .iter()
            .filter(|other| other.name() == matcher.name())
            .count();
        matcher.op() == MatchOp::Equal && matcher.name() != METRIC_NAME && same_name == 1
    };
    matchers
        .iter()
        .filter(certain)
        .map(|matcher| (matcher.name(), matcher.value()))
        .collect()
}

/// A row with 1 wherever nothing was seen.
fn row_where_absent(expr: &Expr, seen: &[bool]) -> Vec<Row> {
    let mut cells = Column::empty(seen.len());
    for (index, _) in seen.iter().enumerate().filter(|(_, seen)| !**seen) {
        cells.set(index, 1.0);
    }
    if cells.is_blank() {
        return Vec::new();
    }
    vec![Row {
        labels: expected_labels(expr),
        drop_name: false,
        cells,
    }]
}

impl Evaluator<'_> {
    pub(super) fn absent(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let argument = argument(call, 0)?;
        let mut seen = vec![false; grid.len()];
        for row in self.vector(argument, grid)? {
            row.cells.indices().for_each(|index| seen[index] = true);
        }
        Ok(row_where_absent(argument, &seen))
    }

    pub(super) fn absent_over_time(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let argument = argument(call, 0)?;
        let ranges = self.ranges(argument, grid)?;
        let mut seen = vec![false; grid.len()];
        for input in &ranges.series {
            ranges.each_window(&input.samples, grid, |window| {
                seen[window.index] |= !(window.times.is_empty() && window.histograms.is_empty())
            });
        }
        Ok(row_where_absent(argument, &seen))
    }
}
