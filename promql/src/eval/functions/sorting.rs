//! sort, sort_desc, sort_by_label, sort_by_label_desc. They order instant answers; a range answer is sorted by labels.

use std::cmp::Ordering;

use crate::ast::{Call, Function};
use crate::error::EvalError;
use crate::eval::aggregate::{ascending, descending};
use crate::eval::evaluator::Evaluator;
use crate::eval::grid::Grid;
use crate::eval::rows::Row;

use super::argument;

impl Evaluator<'_> {
    pub(super) fn sort_by_value(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let mut rows = self.vector(argument(call, 0)?, grid)?;
        rows.iter_mut().for_each(|row| row.cells.drop_histograms());
        rows.retain(|row| !row.cells.is_blank());
        if grid.len() == 1 {
            let order = if call.function == Function::Sort {
                ascending
            } else {
                descending
            };
            let value = |row: &Row| row.cells.get(0).unwrap_or(f64::NAN);
            rows.sort_by(|a, b| order(value(a), value(b)));
        }
        Ok(rows)
    }

    pub(super) fn sort_by_label(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let names: Vec<String> = call
            .args
            .iter()
            .skip(1)
            .map(|name| self.text(name))
            .collect::<Result<_, _>>()?;
        let mut rows = self.vector(argument(call, 0)?, grid)?;
        if grid.len() == 1 {
            let by_names = |a: &Row, b: &Row| {
                names
                    .iter()
                    .map(|name| natural(a.labels.get(name), b.labels.get(name)))
                    .find(|order| order.is_ne())
                    .unwrap_or_else(|| a.labels.cmp(&b.labels))
            };
            rows.sort_by(|a, b| match call.function {
                Function::SortByLabel => by_names(a, b),
                _ => by_names(b, a),
            });
        }
        Ok(rows)
    }
}

/// Order of texts in which runs of digits compare as numbers: `cpu2` before `cpu10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    while !a.is_empty() && !b.is_empty() {
        let (part_a, rest_a) = split_run(a);
        let (part_b, rest_b) = split_run(b);
        let numeric = |s: &str| s.starts_with(|c: char| c.is_ascii_digit());
        let order = if numeric(part_a) && numeric(part_b) {
            let digits = |s: &str| s.trim_start_matches('0').len();
            digits(part_a)
                .cmp(&digits(part_b))
                .then_with(|| part_a.trim_start_matches('0').cmp(part_b.trim_start_matches('0')))
                .then_with(|| part_a.len().cmp(&part_b.len()))
        } else {
            part_a.cmp(part_b)
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    a.len().cmp(&b.len())
}

/// The leading run of digits or of anything else, and what follows.
fn split_run(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text
        .find(|c: char| c.is_ascii_digit() != digits)
        .unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_labels_sort_by_size() {
        let mut labels = ["cpu10", "cpu2", "", "cpu", "dev1", "cpu010"];
        labels.sort_by(|a, b| natural(a, b));
        assert_eq!(labels, ["", "cpu", "cpu2", "cpu10", "cpu010", "dev1"]);
    }
}
