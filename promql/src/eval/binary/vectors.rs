//! Arithmetic and comparison of two vectors.
//!
//! Series find each other once per query, not per step: both sides are grouped by match group, and each pair of rows
//! that share a group is combined cell by cell. What Prometheus checks per step (two series of the "one" side, two
//! results with the same labels) is checked per cell.

use std::collections::HashMap;

use crate::ast::{Binary, Cardinality, Grouping};
use crate::error::EvalError;
use crate::eval::evaluator::Evaluator;
use crate::eval::grid::Grid;
use crate::eval::grouping::{GroupIndex, group_labels};
use crate::eval::rows::{Cell, Column, Row};
use crate::labels::Labels;

use super::{cells, changes_quantity, changes_schema, noted, result_of};

/// Both sides by match group. `many` equals the left side unless `group_right` swaps them.
struct Sides {
    many: Vec<Row>,
    one: Vec<Row>,
    many_groups: Vec<Vec<usize>>,
    one_groups: Vec<Vec<usize>>,
}

impl Evaluator<'_> {
    pub(super) fn matched(
        &mut self,
        binary: &Binary,
        left: Vec<Row>,
        right: Vec<Row>,
        grid: Grid,
    ) -> Result<Vec<Row>, EvalError> {
        let swapped = binary.matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        let mut index = GroupIndex::default();
        let grouping = &binary.matching.labels;
        let many_numbers: Vec<usize> = many
            .iter()
            .map(|row| index.number(grouping, &row.labels))
            .collect();
        let one_numbers: Vec<usize> = one
            .iter()
            .map(|row| index.number(grouping, &row.labels))
            .collect();
        let sides = Sides {
            many_groups: by_group(&many_numbers, index.len()),
            one_groups: by_group(&one_numbers, index.len()),
            many,
            one,
        };
        sides.check_one_side(binary, grid, if swapped { "left" } else { "right" })?;
        let mut results = Results::new(binary, grid);
        for (many_rows, one_rows) in sides.many_groups.iter().zip(&sides.one_groups) {
            self.check_interrupt()?;
            let before = results.rows.len();
            results.combine_group(self, &sides, many_rows, one_rows)?;
            self.hold((results.rows.len() - before) as u64 * grid.len() as u64)?;
        }
        Ok(results.rows)
    }
}

/// Row indices of each group.
fn by_group(numbers: &[usize], groups: usize) -> Vec<Vec<usize>> {
    let mut members = vec![Vec::new(); groups];
    for (row, number) in numbers.iter().enumerate() {
        members[*number].push(row);
    }
    members
}

impl Sides {
    /// Refuses two series of the "one" side in a match group at the same time, where both sides have any series.
    fn check_one_side(&self, binary: &Binary, grid: Grid, side: &str) -> Result<(), EvalError> {
        for members in self.one_groups.iter().filter(|members| members.len() > 1) {
            for index in 0..grid.len() {
                let mut present = members
                    .iter()
                    .map(|row| &self.one[*row])
                    .filter(|row| row.cells.has(index));
                let (Some(first), Some(second)) = (present.next(), present.next()) else {
                    continue;
                };
                if !self.many.iter().any(|row| row.cells.has(index)) {
                    continue;
                }
                let group = match_labels(&binary.matching.labels, &first.labels);
                return Err(EvalError::Execution(format!(
                    "found duplicate series for the match group {group} on the {side} hand-side of the operation: \
                     [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                    second.labels, first.labels
                )));
            }
        }
        Ok(())
    }
}

/// The labels that name a match group in messages.
fn match_labels(grouping: &Grouping, labels: &Labels) -> Labels {
    group_labels(grouping, labels)
}

/// Result rows under construction.
struct Results<'b> {
    binary: &'b Binary,
    grid: Grid,
    rows: Vec<Row>,
    places: HashMap<Labels, usize>,
}

impl<'b> Results<'b> {
    fn new(binary: &'b Binary, grid: Grid) -> Self {
        Self {
            binary,
            grid,
            rows: Vec::new(),
            places: HashMap::new(),
        }
    }

    /// Combines each many row of a match group with each one row; at most one of these has a value at a time.
    fn combine_group(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        sides: &Sides,
        many_rows: &[usize],
        one_rows: &[usize],
    ) -> Result<(), EvalError> {
        let one_to_one = self.binary.matching.cardinality == Cardinality::OneToOne;
        // Times at which a one-to-one group already has its result; needed only if two rows could compete.
        let mut taken = (one_to_one && many_rows.len() > 1).then(|| vec![false; self.grid.len()]);
        for many in many_rows {
            for one in one_rows {
                self.combine(
                    evaluator,
                    &sides.many[*many],
                    &sides.one[*one],
                    taken.as_deref_mut(),
                )?;
            }
        }
        Ok(())
    }

    fn combine(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        many: &Row,
        one: &Row,
        mut taken: Option<&mut [bool]>,
    ) -> Result<(), EvalError> {
        let mut place = None;
        let histograms = many.cells.has_histograms() || one.cells.has_histograms();
        for index in many.cells.indices().filter(|index| one.cells.has(*index)) {
            let cell = if histograms {
                self.cell(evaluator, many, one, index)
            } else {
                self.float(many, one, index)
            };
            let Some(cell) = cell else { continue };
            if let Some(taken) = taken.as_deref_mut()
                && std::mem::replace(&mut taken[index], true)
            {
                return Err(self.ambiguous());
            }
            let place = *place.get_or_insert_with(|| self.place(evaluator, many, one));
            if self.rows[place].cells.has(index) {
                return Err(self.ambiguous());
            }
            self.rows[place].cells.set_cell(index, cell);
        }
        Ok(())
    }

    /// The operator's sides in the order they were written.
    fn in_order<T>(&self, many: T, one: T) -> (T, T) {
        let swapped = self.binary.matching.cardinality == Cardinality::OneToMany;
        if swapped { (one, many) } else { (many, one) }
    }

    fn float(&self, many: &Row, one: &Row, index: usize) -> Option<Cell> {
        let (left, right) = self.in_order(many.cells.get(index)?, one.cells.get(index)?);
        result_of(self.binary, left, right, left).map(Cell::Float)
    }

    fn cell(&self, evaluator: &mut Evaluator<'_>, many: &Row, one: &Row, index: usize) -> Option<Cell> {
        let (left, right) = self.in_order(many.cells.cell(index)?, one.cells.cell(index)?);
        noted(
            self.binary,
            cells::operate(self.binary, &left, &right, &left),
            evaluator.notes.at(self.binary.span),
        )
    }

    fn ambiguous(&self) -> EvalError {
        EvalError::Execution(
            match self.binary.matching.cardinality {
                Cardinality::OneToOne => {
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                }
                _ => "multiple matches for labels: grouping labels must ensure unique matches",
            }
            .to_owned(),
        )
    }

    /// The row for a pair's result; a new one for labels not seen yet.
    fn place(&mut self, evaluator: &Evaluator<'_>, many: &Row, one: &Row) -> usize {
        let labels = self.result_labels(many, one);
        let (labels, drop_name) = if changes_quantity(self.binary) {
            evaluator.nameless(&labels)
        } else {
            // A filter between vectors brings a name back whose removal was delayed, as in Prometheus 3.5.
            (labels, false)
        };
        let (rows, len) = (&mut self.rows, self.grid.len());
        *self.places.entry(labels).or_insert_with_key(|labels| {
            rows.push(Row {
                labels: labels.clone(),
                drop_name,
                cells: Column::empty(len),
            });
            rows.len() - 1
        })
    }

    /// The many side's labels, reduced to the match group for one-to-one, with what `group_x` copies from the one side.
    fn result_labels(&self, many: &Row, one: &Row) -> Labels {
        let matching = &self.binary.matching;
        let mut labels = many.labels.clone();
        if changes_schema(self.binary.op) {
            labels = labels.without_metadata();
        }
        if matching.cardinality == Cardinality::OneToOne {
            labels = match &matching.labels {
                Grouping::Only(names) => labels.filtered(|name| names.iter().any(|n| n == name)),
                Grouping::Without(names) if names.is_empty() => labels,
                Grouping::Without(names) => labels.filtered(|name| !names.iter().any(|n| n == name)),
            };
        }
        for name in &matching.include {
            labels = labels.with(name, one.labels.get(name));
        }
        labels
    }
}
