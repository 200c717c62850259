//! count_values: how many series have each value, the value as a label.

use std::collections::HashMap;

use crate::ast::{Aggregate, Grouping};
use crate::error::EvalError;
use crate::eval::evaluator::Evaluator;
use crate::eval::grid::Grid;
use crate::eval::grouping::group_labels;
use crate::eval::rows::{Cell, Column, Row};
use crate::float::format_value;
use crate::number::go_quote;

impl Evaluator<'_> {
    pub(super) fn count_values(&mut self, aggregate: &Aggregate, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let label = match &aggregate.param {
            Some(param) => self.bytes(param)?,
            None => &[],
        };
        let label = match std::str::from_utf8(label) {
            Ok(label) if !label.is_empty() => label.to_owned(),
            _ => {
                let label = go_quote(label);
                return Err(EvalError::Execution(format!("invalid label name {label}")));
            }
        };
        let mut grouping = aggregate.grouping.clone();
        if let Grouping::Only(names) = &mut grouping {
            names.push(label.clone());
        }
        let rows = self.rows_in_parts(&aggregate.expr, grid)?;
        let mut counted: Vec<Row> = Vec::new();
        let mut places = HashMap::new();
        for row in rows {
            self.check_interrupt()?;
            let before = counted.len();
            for (index, cell) in row.cells.cells() {
                let value = match cell {
                    Cell::Float(value) => format_value(value),
                    Cell::Histogram(histogram) => histogram.to_string(),
                };
                let labels = group_labels(&grouping, &row.labels.with(&label, &value));
                let place = *places.entry(labels).or_insert_with_key(|labels| {
                    let cells = Column::empty(grid.len());
                    counted.push(Row {
                        labels: labels.clone(),
                        // Also of rows whose name waits for its removal, as in Prometheus.
                        drop_name: false,
                        cells,
                    });
                    counted.len() - 1
                });
                let cells = &mut counted[place].cells;
                let count = cells.get(index).unwrap_or(0.0);
                cells.set(index, count + 1.0);
            }
            self.hold((counted.len() - before) as u64 * grid.len() as u64)?;
        }
        Ok(counted)
    }
}
