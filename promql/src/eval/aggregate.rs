//! Aggregations: groups of series become one series each, or lose some of their members.

use crate::ast::{Aggregate, AggregateOp, Expr, Span};
use crate::error::EvalError;
use crate::labels::Labels;

use super::batches::Halt;
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

/// Rows of batches that wait until the k of each group are chosen among them, beside twice those chosen already.
const SURPLUS: usize = 64;

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
        rows_of_groups(self.labels, columns)
    }
}

fn rows_of_groups(labels: Vec<(Labels, bool)>, columns: impl IntoIterator<Item = Column>) -> Vec<Row> {
    let rows = labels.into_iter().zip(columns);
    rows.map(|((labels, drop_name), cells)| Row {
        labels,
        drop_name,
        cells,
    })
    .filter(|row| !row.cells.is_blank())
    .collect()
}

fn are_mixed(rows: &[Row]) -> bool {
    rows.iter().any(|row| row.cells.has_histograms())
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
        match aggregate.op {
            AggregateOp::Sum => self.fold::<fold::SumOf>(aggregate, grid),
            AggregateOp::Avg => self.fold::<fold::MeanOf>(aggregate, grid),
            AggregateOp::Count => self.fold::<fold::CountOf>(aggregate, grid),
            AggregateOp::Min => self.fold::<fold::MinOf>(aggregate, grid),
            AggregateOp::Max => self.fold::<fold::MaxOf>(aggregate, grid),
            AggregateOp::Group => self.fold::<fold::PresenceOf>(aggregate, grid),
            AggregateOp::Stddev => self.fold::<fold::DeviationOf>(aggregate, grid),
            AggregateOp::Stdvar => self.fold::<fold::VarianceOf>(aggregate, grid),
            AggregateOp::Quantile => self.quantile_of(aggregate, &param, place, grid),
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk => {
                self.chosen(aggregate, &param, grid)
            }
            AggregateOp::LimitRatio => {
                let rows = self.rows_in_parts(&aggregate.expr, grid)?;
                self.limit_ratio(&param, place, rows)
            }
            AggregateOp::CountValues => Ok(Vec::new()),
        }
    }

    fn quantile_of(
        &mut self,
        aggregate: &Aggregate,
        param: &[f64],
        place: Span,
        grid: Grid,
    ) -> Result<Vec<Row>, EvalError> {
        let mut rows = self.rows_in_parts(&aggregate.expr, grid)?;
        if are_mixed(&rows) {
            self.without_histograms(aggregate, &mut rows);
        }
        let groups = Groups::of(aggregate, &rows);
        self.hold(groups.labels.len() as u64 * grid.len() as u64)?;
        for q in param {
            self.notes.at(place).check_quantile(*q);
        }
        let members = groups.members();
        let mut columns = Vec::with_capacity(members.len());
        for members in members {
            self.check_interrupt()?;
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
            columns.push(cells);
        }
        Ok(groups.into_rows(columns))
    }

    /// The k of each group: of each batch, then of what is left.
    fn chosen(&mut self, aggregate: &Aggregate, param: &[f64], grid: Grid) -> Result<Vec<Row>, EvalError> {
        select::check_counts(param)?;
        let choose = |rows: Vec<Row>| {
            let groups = Groups::of(aggregate, &rows);
            select::choose_k(aggregate.op, param, rows, &groups, grid)
        };
        let before = self.held;
        let (mut kept, mut settled): (Vec<Row>, usize) = (Vec::new(), 0);
        let mut parts = 0;
        let outcome = self.in_parts(
            &aggregate.expr,
            grid,
            |batch, mut rows| {
                if are_mixed(&rows) {
                    batch.without_histograms(aggregate, &mut rows);
                }
                Ok(choose(rows))
            },
            |this, mut rows| {
                kept.append(&mut rows);
                parts += 1;
                if kept.len() > SURPLUS + 2 * settled {
                    kept = choose(std::mem::take(&mut kept));
                    settled = kept.len();
                }
                this.release_to(before);
                this.hold_rows(kept.len(), grid)
            },
        );
        match outcome {
            Ok(()) if parts < 2 => Ok(kept),
            Ok(()) => Ok(choose(kept)),
            Err(Halt::Failed(error)) => Err(error),
            Err(Halt::Unfit(rows)) => Ok(choose(rows)),
            Err(Halt::AllAtOnce) => {
                let mut rows = self.all_at_once(&aggregate.expr, grid)?;
                if are_mixed(&rows) {
                    self.without_histograms(aggregate, &mut rows);
                }
                Ok(choose(rows))
            }
        }
    }
}
