//! Where the windows of a grid lie among the times of a series. Series that share their times share these.

use std::sync::Arc;

use super::counter::Edges;
use super::{Ranges, after};
use crate::eval::grid::Grid;

/// The samples of one window by their places in the series.
pub(crate) struct WindowPlace {
    from: usize,
    until: usize,
    /// Where they lie in the window, if it was asked for and there are two or more.
    pub(super) edges: Option<Edges>,
}

impl WindowPlace {
    #[cfg(test)]
    pub(super) fn new(from: usize, until: usize, edges: Option<Edges>) -> Self {
        WindowPlace { from, until, edges }
    }

    /// The first sample.
    pub(super) fn from(&self) -> usize {
        self.from
    }

    /// The first sample behind the window.
    pub(super) fn until(&self) -> usize {
        self.until
    }

    /// How many samples there are.
    pub(super) fn len(&self) -> usize {
        self.until - self.from
    }
}

/// A place that moves on, mostly by as much as before.
#[derive(Default)]
struct Cursor {
    at: usize,
    step: usize,
}

impl Cursor {
    /// Goes to the first place with a later time.
    fn pass(&mut self, times_ms: &[i64], time_ms: i64) -> usize {
        let likely = self.at + self.step;
        let passed = times_ms
            .get(..likely)
            .is_some_and(|passed| passed.last() <= Some(&time_ms));
        let at = match passed && times_ms.get(likely).is_none_or(|time| *time > time_ms) {
            true => likely,
            false => after(times_ms, self.at, time_ms),
        };
        self.step = at - self.at;
        self.at = at;
        at
    }
}

/// The places of all windows, one for each time of a grid.
#[derive(Default)]
pub(super) struct Places {
    /// The times that they are of.
    times_ms: Arc<Vec<i64>>,
    windows: Vec<WindowPlace>,
}

impl Places {
    /// Finds them with two cursors.
    pub(super) fn of(ranges: &Ranges, times_ms: &Arc<Vec<i64>>, grid: Grid) -> Self {
        let (mut from, mut until) = (Cursor::default(), Cursor::default());
        let windows = grid.times_ms().map(|eval_ms| {
            let (start_ms, end_ms) = ranges.window_ms(eval_ms);
            WindowPlace {
                from: from.pass(times_ms, start_ms),
                until: until.pass(times_ms, end_ms),
                edges: None,
            }
        });
        Places {
            windows: windows.collect(),
            times_ms: Arc::clone(times_ms),
        }
    }

    /// Whether these are the times that the places are of.
    pub(super) fn are_of(&self, times_ms: &Arc<Vec<i64>>) -> bool {
        !self.windows.is_empty() && Arc::ptr_eq(&self.times_ms, times_ms)
    }

    /// Finds where the samples of each window lie in it.
    pub(super) fn find_edges(&mut self, ranges: &Ranges, grid: Grid) {
        for (place, eval_ms) in self.windows.iter_mut().zip(grid.times_ms()) {
            if let [first_ms, .., last_ms] = self.times_ms[place.from..place.until] {
                place.edges = Some(Edges::of(
                    (first_ms, last_ms),
                    place.len(),
                    ranges.window_ms(eval_ms),
                ));
            }
        }
    }

    pub(super) fn windows(&self) -> &[WindowPlace] {
        &self.windows
    }
}
