//! Aggregations: groups of series become one series each, or lose some of their members.

use crate::ast::{Aggregate, AggregateOp, Expr, Span};
use crate::error::EvalError;
use crate::labels::Labels;

use super::evaluator::Evaluator;
use super::grid::Grid;
use super::grouping::{GroupIndex, group_labels};
use super::quantile::{quantile, sorted};
use super::rows::{Column, Row};

mod count_values;
mod fold;
mod histograms;
mod select;

pub(super) use select::{ascending, descending};

/// Which group each row belongs to, and the groups' labels.
struct Groups {
    of_row: Vec<usize>,
    labels: Vec<(Labels, bool)>,
}

impl Groups {
    fn of(aggregate: &Aggregate, rows: &[Row]) -> Self {
        let mut index = GroupIndex::default();
        let mut groups = Self {
            of_row: Vec::with_capacity(rows.len()),
            labels: Vec::new(),
        };
        for row in rows {
            let number = index.number(&aggregate.grouping, &row.labels);
            if number == groups.labels.len() {
                groups
                    .labels
                    .push((group_labels(&aggregate.grouping, &row.labels), row.drop_name));
            }
            groups.of_row.push(number);
        }
        groups
    }

    /// Indices of the rows of each group.
    fn members(&self) -> Vec<Vec<usize>> {
        let mut members = vec![Vec::new(); self.labels.len()];
        for (row, group) in self.of_row.iter().enumerate() {
            members[*group].push(row);
        }
        members
    }

    /// A row per group.
    fn into_rows(self, columns: Vec<Column>) -> Vec<Row> {
        let rows = self.labels.into_iter().zip(columns);
        rows.map(|((labels, drop_name), cells)| Row {
            labels,
            drop_name,
            cells,
        })
        .filter(|row| !row.cells.is_blank())
        .collect()
    }
}

impl Evaluator<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate, grid: Grid) -> Result<Vec<Row>, EvalError> {
        if aggregate.op == AggregateOp::CountValues {
            return self.count_values(aggregate, grid);
        }
        let param = match &aggregate.param {
            Some(param) => self.scalar(param, grid)?,
            None => Vec::new(),
        };
        let place = aggregate.param.as_ref().map_or_else(Span::default, Expr::span);
        let mut rows = self.vector(&aggregate.expr, grid)?;
        let mixed = rows.iter().any(|row| row.cells.has_histograms());
        if mixed && matches!(aggregate.op, AggregateOp::Sum | AggregateOp::Avg) {
            return self.fold_histograms(aggregate, &rows, grid);
        }
        if mixed {
            self.without_histograms(aggregate, &mut rows);
        }
        let groups = Groups::of(aggregate, &rows);
        self.hold(groups.labels.len() as u64 * grid.len() as u64)?;
        match aggregate.op {
            AggregateOp::Sum => Ok(fold::fold::<fold::SumOf>(rows, groups, grid)),
            AggregateOp::Avg => Ok(fold::fold::<fold::MeanOf>(rows, groups, grid)),
            AggregateOp::Count => Ok(fold::fold::<fold::CountOf>(rows, groups, grid)),
            AggregateOp::Min => Ok(fold::fold::<fold::MinOf>(rows, groups, grid)),
            AggregateOp::Max => Ok(fold::fold::<fold::MaxOf>(rows, groups, grid)),
            AggregateOp::Group => Ok(fold::fold::<fold::PresenceOf>(rows, groups, grid)),
            AggregateOp::Stddev => Ok(fold::fold::<fold::DeviationOf>(rows, groups, grid)),
            AggregateOp::Stdvar => Ok(fold::fold::<fold::VarianceOf>(rows, groups, grid)),
            AggregateOp::Quantile => Ok(self.quantile_of(&param, place, &rows, groups, grid)),
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk => {
                select::choose_k(aggregate.op, &param, rows, &groups, grid)
            }
            AggregateOp::LimitRatio => self.limit_ratio(&param, place, rows),
            AggregateOp::CountValues => Ok(Vec::new()),
        }
    }

    fn quantile_of(
        &mut self,
        param: &[f64],
        place: Span,
        rows: &[Row],
        groups: Groups,
        grid: Grid,
    ) -> Vec<Row> {
        for q in param {
            self.notes.at(place).check_quantile(*q);
        }
        let members = groups.members();
        let columns = members.iter().map(|members| {
            let mut cells = Column::empty(grid.len());
            for (index, q) in param.iter().enumerate() {
                let values: Vec<f64> = members
                    .iter()
                    .filter_map(|row| rows[*row].cells.get(index))
                    .collect();
                if !values.is_empty() {
                    cells.set(index, quantile(*q, &sorted(values)));
                }
            }
            cells
        });
        let columns = columns.collect();
        groups.into_rows(columns)
    }
}
