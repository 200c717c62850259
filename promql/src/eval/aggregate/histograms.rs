//! Aggregations where native histograms are among the series.

use std::sync::Arc;

use super::Groups;
use super::fold::{Accumulator, MeanOf, SumOf};
use crate::ast::{Aggregate, AggregateOp};
use crate::error::EvalError;
use crate::eval::evaluator::Evaluator;
use crate::eval::grid::Grid;
use crate::eval::rows::{Cell, Column, Row};
use crate::histogram::{Histogram, LayoutError};

/// A group at one time, as sum and avg see it.
#[derive(Clone, Default)]
enum State {
    #[default]
    Nothing,
    Floats(SumOf, MeanOf),
    Histograms(Histogram, f64),
    /// Floats and histograms.
    Mixed,
    /// The row that does not fit.
    Misfit(LayoutError, usize),
}

impl State {
    fn add(self, row: usize, cell: &Cell) -> Self {
        match (self, cell) {
            (Self::Nothing, Cell::Float(value)) => {
                let (mut sum, mut mean) = (SumOf::default(), MeanOf::default());
                sum.add(*value);
                mean.add(*value);
                Self::Floats(sum, mean)
            }
            (Self::Nothing, Cell::Histogram(histogram)) => Self::Histograms(Histogram::clone(histogram), 1.0),
            (Self::Floats(mut sum, mut mean), Cell::Float(value)) => {
                sum.add(*value);
                mean.add(*value);
                Self::Floats(sum, mean)
            }
            (Self::Histograms(sum, count), Cell::Histogram(histogram)) => match sum.plus(histogram) {
                Ok(sum) => Self::Histograms(sum, count + 1.0),
                Err(error) => Self::Misfit(error, row),
            },
            (misfit @ Self::Misfit(..), Cell::Histogram(_)) => misfit,
            _ => Self::Mixed,
        }
    }
}

impl Evaluator<'_> {
    /// sum and avg: of floats or of histograms that fit, not of a mixture.
    pub(super) fn fold_histograms(
        &mut self,
        aggregate: &Aggregate,
        rows: &[Row],
        grid: Grid,
    ) -> Result<Vec<Row>, EvalError> {
        let groups = Groups::of(aggregate, rows);
        self.hold(groups.labels.len() as u64 * grid.len() as u64)?;
        let mut columns = Vec::with_capacity(groups.labels.len());
        for members in groups.members() {
            self.check_interrupt()?;
            let mut cells = Column::empty(grid.len());
            for index in 0..grid.len() {
                let present = members
                    .iter()
                    .filter_map(|row| Some((*row, rows[*row].cells.cell(index)?)));
                let state = present.fold(State::default(), |state, (row, cell)| state.add(row, &cell));
                if let Some(cell) = self.finished(aggregate, state, rows) {
                    cells.set_cell(index, cell);
                }
            }
            columns.push(cells);
        }
        Ok(groups.into_rows(columns))
    }

    fn finished(&mut self, aggregate: &Aggregate, state: State, rows: &[Row]) -> Option<Cell> {
        let (op, place) = (aggregate.op, aggregate.expr.span());
        match state {
            State::Nothing => None,
            State::Floats(sum, mean) => {
                let value = if op == AggregateOp::Sum {
                    sum.finish()
                } else {
                    mean.finish()
                };
                value.map(Cell::Float)
            }
            State::Histograms(sum, count) => {
                let result = if op == AggregateOp::Sum {
                    sum
                } else {
                    sum.divided_by(count)
                };
                Some(Cell::Histogram(Arc::new(result)))
            }
            State::Mixed => {
                self.notes.at(place).mixed_aggregation();
                None
            }
            State::Misfit(error, row) => {
                let metric = rows[row].labels.metric_name();
                self.notes.at(place).histogram_layouts(error, metric);
                None
            }
        }
    }

    /// Other operators count histograms as present, keep them as they are, or leave them out.
    pub(super) fn without_histograms(&mut self, aggregate: &Aggregate, rows: &mut Vec<Row>) {
        match aggregate.op {
            AggregateOp::Count | AggregateOp::Group => {
                let present = |_, _| Some(Cell::Float(1.0));
                rows.iter_mut().for_each(|row| row.cells.update_cells(present));
            }
            AggregateOp::Limitk | AggregateOp::LimitRatio | AggregateOp::CountValues => {}
            _ => {
                let place = match aggregate.op {
                    AggregateOp::Topk | AggregateOp::Bottomk => aggregate.span,
                    _ => aggregate.expr.span(),
                };
                self.notes.at(place).ignored_in_aggregation(aggregate.op.name());
                rows.iter_mut().for_each(|row| row.cells.drop_histograms());
                rows.retain(|row| !row.cells.is_blank());
            }
        }
    }
}
