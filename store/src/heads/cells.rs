//! Values of rows as a batch brought them. The open rows of all parts of partitions that have series of the batch share
//! them until they are frozen, so a row that arrives costs no copy.

use std::sync::Arc;

/// Values of some series in some rows, series-major: that of a series in a row is at `series * rows + row`.
#[derive(Debug)]
pub(crate) struct Cells {
    values: Vec<f64>,
    rows: usize,
}

impl Cells {
    pub(crate) fn new(values: Vec<f64>, rows: usize) -> Self {
        Cells { values, rows }
    }

    /// The value of a series in a row, absent or not; `None` beyond the last.
    pub(crate) fn get(&self, series: usize, row: usize) -> Option<f64> {
        self.values.get(series * self.rows + row).copied()
    }

    /// Whether there are values of so many series.
    pub(crate) fn is_of(&self, series: usize) -> bool {
        self.values.len() == series * self.rows
    }
}

/// The values of a group's series in a row.
#[derive(Debug)]
pub(crate) struct RowCells {
    cells: Arc<Cells>,
    row: u32,
    /// Of the group's series among those of the cells; `None`: all, as they are.
    positions: Option<Arc<[u32]>>,
}

impl RowCells {
    /// A row of cells that have all of the series.
    pub(crate) fn shared(cells: Arc<Cells>, row: u32, positions: Arc<[u32]>) -> Self {
        RowCells {
            cells,
            row,
            positions: Some(positions),
        }
    }

    /// Values of its own, in the order of the group's series.
    pub(crate) fn alone(values: Vec<f64>) -> Self {
        RowCells {
            cells: Arc::new(Cells::new(values, 1)),
            row: 0,
            positions: None,
        }
    }

    /// What is behind it, for many look-ups.
    pub(crate) fn view(&self) -> RowView<'_> {
        RowView {
            values: &self.cells.values,
            rows: self.cells.rows,
            row: self.row as usize,
            positions: self.positions.as_deref(),
        }
    }

    /// The value of the series at a position in the group, absent or not.
    pub(crate) fn value(&self, position: usize) -> f64 {
        self.view().value(position)
    }
}

/// A row's values without its counters of owners.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowView<'a> {
    values: &'a [f64],
    rows: usize,
    row: usize,
    positions: Option<&'a [u32]>,
}

impl RowView<'_> {
    /// The value of the series at a position in the group, absent or not.
    #[inline]
    pub(crate) fn value(&self, position: usize) -> f64 {
        let series = self.positions.map_or(position, |at| at[position] as usize);
        self.values[series * self.rows + self.row]
    }
}
