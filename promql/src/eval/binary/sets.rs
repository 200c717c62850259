//! and, or, unless: series of one side, kept or dropped by what the other side has in the same match group.

use crate::ast::{Binary, BinaryOp};
use crate::error::EvalError;
use crate::eval::evaluator::Evaluator;
use crate::eval::grid::Grid;
use crate::eval::grouping::GroupIndex;
use crate::eval::rows::{Row, merge};

/// For each match group, at which times a side has any series.
struct Presence {
    steps: usize,
    groups: Vec<Vec<bool>>,
}

impl Presence {
    fn of(rows: &[Row], numbers: &[usize], groups: usize, grid: Grid) -> Self {
        let mut presence = Self {
            steps: grid.len(),
            groups: vec![Vec::new(); groups],
        };
        for (row, number) in rows.iter().zip(numbers) {
            let times = &mut presence.groups[*number];
            times.resize(presence.steps, false);
            for index in row.cells.indices() {
                times[index] = true;
            }
        }
        presence
    }

    fn has(&self, group: usize, index: usize) -> bool {
        self.groups[group].get(index).copied().unwrap_or(false)
    }
}

impl Evaluator<'_> {
    pub(super) fn set_operator(
        &mut self,
        binary: &Binary,
        mut left: Vec<Row>,
        mut right: Vec<Row>,
        grid: Grid,
    ) -> Result<Vec<Row>, EvalError> {
        let mut index = GroupIndex::default();
        let grouping = &binary.matching.labels;
        let left_numbers: Vec<usize> = left
            .iter()
            .map(|row| index.number(grouping, &row.labels))
            .collect();
        let right_numbers: Vec<usize> = right
            .iter()
            .map(|row| index.number(grouping, &row.labels))
            .collect();
        self.hold(index.len() as u64 * grid.len() as u64)?;
        if binary.op == BinaryOp::Or {
            let presence = Presence::of(&left, &left_numbers, index.len(), grid);
            keep(&mut right, &right_numbers, |group, step| {
                !presence.has(group, step)
            });
            left.append(&mut right);
            return merge(left);
        }
        let presence = Presence::of(&right, &right_numbers, index.len(), grid);
        let wanted = binary.op == BinaryOp::And;
        keep(&mut left, &left_numbers, |group, step| {
            presence.has(group, step) == wanted
        });
        Ok(left)
    }
}

/// Empties the cells that are not wanted, and drops rows that are left without any.
fn keep(rows: &mut Vec<Row>, numbers: &[usize], wanted: impl Fn(usize, usize) -> bool) {
    for (row, group) in rows.iter_mut().zip(numbers) {
        row.cells.retain(|step| wanted(*group, step));
    }
    rows.retain(|row| !row.cells.is_blank());
}
