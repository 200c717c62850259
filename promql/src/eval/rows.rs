//! Instant vectors over a grid: one row per series, one cell per time.
//!
//! A cell without a value holds the stale marker. That is unambiguous: selectors never let a stale marker through as a
//! value, and arithmetic cannot make one, because it quietens every NaN it touches.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::error::EvalError;
use crate::labels::Labels;
use crate::series::{STALE_NAN_BITS, is_stale};

/// The values of one series, a cell per time of the grid.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column(Vec<f64>);

impl Column {
    /// A column of `len` cells, all empty.
    pub(crate) fn empty(len: usize) -> Self {
        Self(vec![f64::from_bits(STALE_NAN_BITS); len])
    }

    /// A column of values, none of them the stale marker.
    pub(crate) fn full(values: Vec<f64>) -> Self {
        Self(values)
    }

    pub(crate) fn get(&self, index: usize) -> Option<f64> {
        let value = self.0[index];
        (!is_stale(value)).then_some(value)
    }

    pub(crate) fn has(&self, index: usize) -> bool {
        !is_stale(self.0[index])
    }

    pub(crate) fn set(&mut self, index: usize, value: f64) {
        self.0[index] = value;
    }

    pub(crate) fn clear(&mut self, index: usize) {
        self.0[index] = f64::from_bits(STALE_NAN_BITS);
    }

    /// Cells that have a value, with their index.
    pub(crate) fn present(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.0
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, value)| !is_stale(*value))
    }

    pub(crate) fn is_blank(&self) -> bool {
        self.0.iter().all(|value| is_stale(*value))
    }

    /// Replaces each value; `None` empties the cell.
    pub(crate) fn update(&mut self, mut change: impl FnMut(usize, f64) -> Option<f64>) {
        for index in 0..self.0.len() {
            if let Some(value) = self.get(index) {
                match change(index, value) {
                    Some(value) => self.set(index, value),
                    None => self.clear(index),
                }
            }
        }
    }

    /// One cell repeated over `len` cells.
    pub(crate) fn repeated(&self, len: usize) -> Self {
        Self(vec![self.0[0]; len])
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

/// Makes one row of rows with equal labels; refuses two values at the same time.
pub(crate) fn merge(rows: Vec<Row>) -> Result<Vec<Row>, EvalError> {
    let mut merged: Vec<Row> = Vec::with_capacity(rows.len());
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(rows.len());
    for row in rows {
        match places.entry(row.labels.clone()) {
            Entry::Vacant(place) => {
                place.insert(merged.len());
                merged.push(row);
            }
            Entry::Occupied(place) => {
                let target = &mut merged[*place.get()].cells;
                for (index, value) in row.cells.present() {
                    if target.has(index) {
                        return Err(duplicate_labels());
                    }
                    target.set(index, value);
                }
            }
        }
    }
    Ok(merged)
}
