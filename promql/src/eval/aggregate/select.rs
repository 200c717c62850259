//! topk, bottomk, limitk, limit_ratio: aggregations that keep some series of a group as they are.

use std::cmp::Ordering;

use super::Groups;
use crate::ast::{AggregateOp, Span};
use crate::error::EvalError;
use crate::eval::evaluator::Evaluator;
use crate::eval::grid::Grid;
use crate::eval::rows::{Column, Row};
use crate::float::format_value;

/// Keeps k members of each group at each time; k is checked. An instant answer is ordered by group and value.
pub(super) fn choose_k(
    op: AggregateOp,
    param: &[f64],
    rows: Vec<Row>,
    groups: &Groups,
    grid: Grid,
) -> Vec<Row> {
    let mut kept: Vec<Column> = rows.iter().map(|_| Column::empty(grid.len())).collect();
    let mut order = Vec::new();
    for members in groups.members() {
        for (index, k) in param.iter().enumerate() {
            let k = k.max(0.0) as usize;
            let mut present: Vec<(usize, f64)> = members
                .iter()
                .filter(|row| rows[**row].cells.has(index))
                .map(|row| (*row, rows[*row].cells.get(index).unwrap_or(f64::NAN)))
                .collect();
            match op {
                AggregateOp::Topk => present.sort_by(|a, b| descending(a.1, b.1)),
                AggregateOp::Bottomk => present.sort_by(|a, b| ascending(a.1, b.1)),
                _ => {}
            }
            present.truncate(k);
            for (row, cell) in present
                .iter()
                .filter_map(|(row, _)| Some((*row, rows[*row].cells.cell(index)?)))
            {
                kept[row].set_cell(index, cell);
            }
            if grid.len() == 1 {
                order.extend(present.iter().map(|(row, _)| *row));
            }
        }
    }
    if grid.len() > 1 {
        order = (0..rows.len()).collect();
    }
    let chosen = order.into_iter().map(|row| Row {
        cells: kept[row].clone(),
        ..rows[row].clone()
    });
    chosen.filter(|row| !row.cells.is_blank()).collect()
}

/// k must fit Go's int64.
pub(super) fn check_counts(param: &[f64]) -> Result<(), EvalError> {
    let refuse = |text: String| Err(EvalError::Execution(text));
    for k in param {
        if k.is_nan() {
            return refuse("Parameter value is NaN".to_owned());
        }
        if *k <= i64::MIN as f64 {
            return refuse(format!("Scalar value {} underflows int64", format_value(*k)));
        }
        if *k >= i64::MAX as f64 {
            return refuse(format!("Scalar value {} overflows int64", format_value(*k)));
        }
    }
    Ok(())
}

/// Greatest first, NaN last; equals keep their order.
pub(crate) fn descending(a: f64, b: f64) -> Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Least first, NaN last; equals keep their order.
pub(crate) fn ascending(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

impl Evaluator<'_> {
    /// Keeps a share of all series, chosen by a hash of their labels: `r` and `r - 1` keep complements.
    pub(super) fn limit_ratio(
        &mut self,
        param: &[f64],
        place: Span,
        mut rows: Vec<Row>,
    ) -> Result<Vec<Row>, EvalError> {
        let mut ratios = Vec::with_capacity(param.len());
        for ratio in param {
            if ratio.is_nan() {
                return Err(EvalError::Execution("Ratio value is NaN".to_owned()));
            }
            let capped = ratio.clamp(-1.0, 1.0);
            if capped != *ratio {
                self.notes.at(place).ratio_out_of_range(*ratio, capped);
            }
            ratios.push(capped);
        }
        for row in &mut rows {
            let position = row.labels.hash_position();
            row.cells.retain(|index| {
                let ratio = ratios[index];
                if ratio >= 0.0 {
                    position < ratio
                } else {
                    position >= 1.0 + ratio
                }
            });
        }
        rows.retain(|row| !row.cells.is_blank());
        Ok(rows)
    }
}
