//! Instant vectors over a grid: one row per series, one cell per time.
//!
//! A cell without a value holds the stale marker. That is unambiguous: selectors never let a stale marker through as a
//! value, and arithmetic cannot make one, because it quietens every NaN it touches.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use crate::error::EvalError;
use crate::histogram::Histogram;
use crate::labels::Labels;
use crate::series::{STALE_NAN_BITS, is_stale};

/// What a cell holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Float(f64),
    Histogram(Arc<Histogram>),
}

/// The values of one series, a cell per time of the grid. Histograms have a column of their own, made when the first
/// one comes; a cell that holds one is empty in the column of floats.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    floats: Vec<f64>,
    histograms: Option<Vec<Option<Arc<Histogram>>>>,
}

/// The value of an empty cell.
fn absent() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

impl Column {
    /// A column of `len` cells, all empty.
    pub(crate) fn empty(len: usize) -> Self {
        Self {
            floats: vec![absent(); len],
            histograms: None,
        }
    }

    /// A column of values, none of them the stale marker.
    pub(crate) fn full(values: Vec<f64>) -> Self {
        Self {
            floats: values,
            histograms: None,
        }
    }

    /// The float in a cell.
    pub(crate) fn get(&self, index: usize) -> Option<f64> {
        let value = self.floats[index];
        (!is_stale(value)).then_some(value)
    }

    /// The histogram in a cell.
    pub(crate) fn histogram(&self, index: usize) -> Option<&Arc<Histogram>> {
        self.histograms.as_ref()?[index].as_ref()
    }

    pub(crate) fn cell(&self, index: usize) -> Option<Cell> {
        let float = self.get(index).map(Cell::Float);
        float.or_else(|| self.histogram(index).cloned().map(Cell::Histogram))
    }

    pub(crate) fn has(&self, index: usize) -> bool {
        !is_stale(self.floats[index]) || self.histogram(index).is_some()
    }

    /// The floats, for whoever writes many; none of them may become the stale marker.
    pub(crate) fn floats_mut(&mut self) -> &mut [f64] {
        &mut self.floats
    }

    pub(crate) fn set(&mut self, index: usize, value: f64) {
        self.floats[index] = value;
    }

    pub(crate) fn set_histogram(&mut self, index: usize, histogram: Arc<Histogram>) {
        let len = self.floats.len();
        self.histograms.get_or_insert_with(|| vec![None; len])[index] = Some(histogram);
        self.floats[index] = absent();
    }

    pub(crate) fn set_cell(&mut self, index: usize, cell: Cell) {
        match cell {
            Cell::Float(value) => {
                self.clear(index);
                self.set(index, value);
            }
            Cell::Histogram(histogram) => self.set_histogram(index, histogram),
        }
    }

    pub(crate) fn clear(&mut self, index: usize) {
        self.floats[index] = absent();
        if let Some(histograms) = &mut self.histograms {
            histograms[index] = None;
        }
    }

    /// Cells that hold a float, with their index.
    pub(crate) fn present(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.floats
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, value)| !is_stale(*value))
    }

    /// The floats and which cells they are of, if those follow one another and there is nothing else.
    pub(crate) fn into_run(mut self) -> Result<(Range<usize>, Vec<f64>), Self> {
        let is_float = |value: &f64| !is_stale(*value);
        let from = self.floats.iter().position(is_float).unwrap_or(0);
        let until = self.floats.iter().rposition(is_float).map_or(0, |last| last + 1);
        let is_run = self.floats[from..until].iter().all(is_float);
        if self.has_histograms() || !is_run {
            return Err(self);
        }
        self.floats.truncate(until);
        self.floats.drain(..from);
        Ok((from..until, self.floats))
    }

    /// Cells that hold anything, with their index.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (usize, Cell)> + '_ {
        (0..self.floats.len()).filter_map(|index| Some((index, self.cell(index)?)))
    }

    /// Indices of cells that hold anything.
    pub(crate) fn indices(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.floats.len()).filter(|index| self.has(*index))
    }

    pub(crate) fn is_blank(&self) -> bool {
        self.floats.iter().all(|value| is_stale(*value)) && !self.has_histograms()
    }

    /// Whether any cell holds a histogram.
    pub(crate) fn has_histograms(&self) -> bool {
        self.histograms
            .as_ref()
            .is_some_and(|histograms| histograms.iter().any(Option::is_some))
    }

    pub(crate) fn drop_histograms(&mut self) {
        self.histograms = None;
    }

    /// Replaces each float; `None` empties the cell.
    pub(crate) fn update(&mut self, mut change: impl FnMut(usize, f64) -> Option<f64>) {
        for (index, value) in self
            .floats
            .iter_mut()
            .enumerate()
            .filter(|(_, value)| !is_stale(**value))
        {
            *value = change(index, *value).unwrap_or_else(absent);
        }
    }

    /// Replaces what each cell holds; `None` empties it.
    pub(crate) fn update_cells(&mut self, mut change: impl FnMut(usize, Cell) -> Option<Cell>) {
        for index in 0..self.floats.len() {
            if let Some(cell) = self.cell(index) {
                match change(index, cell) {
                    Some(cell) => self.set_cell(index, cell),
                    None => self.clear(index),
                }
            }
        }
    }

    /// Empties the cells that are not wanted.
    pub(crate) fn retain(&mut self, wanted: impl Fn(usize) -> bool) {
        for index in 0..self.floats.len() {
            if !wanted(index) {
                self.clear(index);
            }
        }
    }

    /// One cell repeated over `len` cells.
    pub(crate) fn repeated(&self, len: usize) -> Self {
        let histograms = self
            .histograms
            .as_ref()
            .map(|histograms| vec![histograms[0].clone(); len]);
        Self {
            floats: vec![self.floats[0]; len],
            histograms,
        }
    }
}

/// One series of an instant vector.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) labels: Labels,
    /// The metric name goes at the end of the query (delayed name removal).
    pub(crate) drop_name: bool,
    pub(crate) cells: Column,
}

/// Two series of one vector have the same labels.
pub(crate) fn duplicate_labels() -> EvalError {
    EvalError::Execution("vector cannot contain metrics with the same labelset".to_owned())
}

/// Refuses rows of which two have equal labels.
pub(crate) fn reject_duplicates(rows: &[Row]) -> Result<(), EvalError> {
    let mut seen = std::collections::HashSet::with_capacity(rows.len());
    if rows.iter().all(|row| seen.insert(&row.labels)) {
        Ok(())
    } else {
        Err(duplicate_labels())
    }
}

/// Makes one row of rows with equal labels (and equal fate of their names); refuses two values at the same time.
pub(crate) fn merge(rows: Vec<Row>) -> Result<Vec<Row>, EvalError> {
    let mut merged: Vec<Row> = Vec::with_capacity(rows.len());
    let mut places: HashMap<(Labels, bool), usize> = HashMap::with_capacity(rows.len());
    for row in rows {
        match places.entry((row.labels.clone(), row.drop_name)) {
            Entry::Vacant(place) => {
                place.insert(merged.len());
                merged.push(row);
            }
            Entry::Occupied(place) => {
                let target = &mut merged[*place.get()].cells;
                for (index, cell) in row.cells.cells() {
                    if target.has(index) {
                        return Err(duplicate_labels());
                    }
                    target.set_cell(index, cell);
                }
            }
        }
    }
    Ok(merged)
}
