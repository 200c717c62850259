//! Range vectors: series with a window of samples per time, and the loop that runs a kernel over the windows.
//!
//! A window is `(end - range, end]`. Both its ends only move forward, so two cursors per series find all windows in
//! one pass; what a kernel reads again is its own affair.

use std::ops::Range;
use std::sync::Arc;

use crate::ast::{Expr, Function, Matrix, Span, Subquery};
use crate::error::EvalError;
use crate::histogram::Histogram;
use crate::labels::Labels;
use crate::series::{Samples, Series};

use super::evaluator::{Evaluator, Value};
use super::grid::Grid;
use super::rows::{Cell, Column, Row};

pub(super) mod counter;
pub(super) mod mixed;
pub(super) mod over_time;
mod places;
pub(super) mod regression;
pub(super) mod sliding;

use counter::Edges;
use places::Places;
pub(super) use places::WindowPlace;

/// Windows this many steps long are worth a kernel that remembers.
const SLIDING_OVERLAP: i64 = 4;

/// Samples that a cursor looks at one by one.
const NEAR: usize = 8;

/// Writes the cells of the windows of a series: from its values, by their places.
pub(super) type RowKernel<'k> = &'k dyn Fn(&[f64], &[WindowPlace], &mut [f64]);

/// Series of a range vector, and where their windows lie.
pub(crate) struct Ranges {
    pub(crate) series: Vec<RangeInput>,
    pub(crate) range_ms: i64,
    offset_ms: i64,
    fixed_ms: Option<i64>,
    /// Where notes say that it stands.
    pub(crate) place: Span,
}

/// One series of a range vector, without stale markers.
pub(crate) struct RangeInput {
    pub(crate) labels: Labels,
    pub(crate) drop_name: bool,
    pub(crate) samples: Samples,
}

/// The samples of one series in one window.
#[derive(Clone, Copy)]
pub(crate) struct Window<'s> {
    /// Unix ms of the samples.
    pub(crate) times: &'s [i64],
    pub(crate) values: &'s [f64],
    /// Unix ms of the native histograms, and these.
    pub(crate) histogram_times: &'s [i64],
    pub(crate) histograms: &'s [Arc<Histogram>],
    /// Where the floats lie in the window, if that is known.
    edges: Option<Edges>,
    /// The window's left end (excluded), right end, and the evaluation time, Unix ms.
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) eval_ms: i64,
    /// The time's index in the grid.
    pub(crate) index: usize,
}

/// The first place at `from` or beyond it with a later time. Cursors mostly move by a few samples, so the next ones are
/// looked at before the rest is searched.
pub(super) fn after(times: &[i64], from: usize, time_ms: i64) -> usize {
    let near = times[from..].iter().take(NEAR);
    let passed = near.take_while(|time| **time <= time_ms).count();
    match passed {
        NEAR => from + NEAR + times[from + NEAR..].partition_point(|time| *time <= time_ms),
        passed => from + passed,
    }
}

impl Ranges {
    /// The right end of the window of an evaluation time.
    pub(crate) fn end_ms(&self, time_ms: i64) -> i64 {
        self.fixed_ms.unwrap_or(time_ms).saturating_sub(self.offset_ms)
    }

    /// Whether windows overlap so much that remembering beats reading again.
    pub(crate) fn overlap(&self, grid: Grid) -> bool {
        grid.len() > 1 && self.range_ms / SLIDING_OVERLAP >= grid.step_ms()
    }

    /// The ends of the window of an evaluation time, of which the left one is not in it.
    fn window_ms(&self, time_ms: i64) -> (i64, i64) {
        let end_ms = self.end_ms(time_ms);
        (end_ms.saturating_sub(self.range_ms), end_ms)
    }

    /// Calls `visit` with each window of one series, empty ones included.
    pub(crate) fn each_window<'s>(&self, samples: &'s Samples, grid: Grid, visit: impl FnMut(Window<'s>)) {
        let places = Places::of(self, samples.shared_times(), grid);
        self.each_placed(samples, &places, grid, visit);
    }

    /// The same, where the places of the windows are known.
    fn each_placed<'s>(
        &self,
        samples: &'s Samples,
        places: &Places,
        grid: Grid,
        mut visit: impl FnMut(Window<'s>),
    ) {
        let times = samples.times_ms();
        let histogram_times = samples.histogram_times_ms();
        let (mut h_from, mut h_until) = (0, 0);
        for ((index, eval_ms), place) in grid.times_ms().enumerate().zip(places.windows()) {
            let (start_ms, end_ms) = self.window_ms(eval_ms);
            let (from, until) = (place.from(), place.until());
            h_until = after(histogram_times, h_until, end_ms);
            h_from = after(histogram_times, h_from, start_ms);
            visit(Window {
                times: &times[from..until],
                values: &samples.values()[from..until],
                histogram_times: &histogram_times[h_from..h_until],
                histograms: &samples.histograms()[h_from..h_until],
                edges: place.edges,
                start_ms,
                end_ms,
                eval_ms,
                index,
            });
        }
    }
}

impl Evaluator<'_> {
    /// Evaluates a node of type range vector.
    pub(super) fn ranges(&mut self, expr: &Expr, grid: Grid) -> Result<Ranges, EvalError> {
        match expr.unwrapped() {
            Expr::Matrix(matrix) => self.raw_ranges(matrix, grid),
            Expr::Subquery(subquery) => self.subquery_ranges(subquery, grid),
            _ => Err(EvalError::Execution("expected a range vector".to_owned())),
        }
    }

    fn raw_ranges(&mut self, matrix: &Matrix, grid: Grid) -> Result<Ranges, EvalError> {
        let mut ranges = Ranges {
            series: Vec::new(),
            range_ms: matrix.range_ms,
            offset_ms: matrix.selector.offset_ms,
            fixed_ms: self.fixed_time(matrix.selector.at),
            place: matrix.span,
        };
        let start_ms = ranges
            .end_ms(grid.start_ms())
            .saturating_sub(matrix.range_ms)
            .saturating_add(1);
        let series = self.load(&matrix.selector, start_ms, ranges.end_ms(grid.end_ms()), false)?;
        ranges.series = series
            .into_iter()
            .map(|Series { labels, mut samples }| {
                samples.drop_stale();
                RangeInput {
                    labels,
                    drop_name: false,
                    samples,
                }
            })
            .collect();
        Ok(ranges)
    }

    /// The inner expression on its own grid: multiples of its step, the first strictly after the first window's left
    /// end, so that windows of different evaluations share their points.
    fn subquery_ranges(&mut self, subquery: &Subquery, grid: Grid) -> Result<Ranges, EvalError> {
        let step_ms = subquery.step_ms.unwrap_or(self.options.subquery_step_ms).max(1);
        let mut ranges = Ranges {
            series: Vec::new(),
            range_ms: subquery.range_ms,
            offset_ms: subquery.offset_ms,
            fixed_ms: self.fixed_time(subquery.at),
            // Prometheus forgets where a subquery stands.
            place: Span::default(),
        };
        let left_ms = ranges.end_ms(grid.start_ms()).saturating_sub(subquery.range_ms);
        let first_ms = (left_ms.div_euclid(step_ms))
            .saturating_add(1)
            .saturating_mul(step_ms);
        let Some(inner) = Grid::new(first_ms, ranges.end_ms(grid.end_ms()), step_ms) else {
            return Ok(ranges);
        };
        if inner.len() as u64 > self.options.max_samples {
            return Err(EvalError::TooManySamples);
        }
        let Value::Vector(rows) = self.eval(&subquery.expr, inner)? else {
            return Err(EvalError::Execution(
                "expected an instant vector in a subquery".to_owned(),
            ));
        };
        let mut times = GridTimes::new(inner);
        let inputs = rows.into_iter().map(|row| RangeInput {
            labels: row.labels,
            drop_name: row.drop_name,
            samples: times.samples(row.cells),
        });
        ranges.series = inputs.collect();
        ranges
            .series
            .iter_mut()
            .for_each(|input| input.samples.forget_resets());
        Ok(ranges)
    }

    /// Runs a kernel over every window that has floats, and the function's own rules where there are histograms; a row
    /// for every series that gave a value.
    pub(super) fn over_windows(
        &mut self,
        function: Function,
        ranges: &Ranges,
        grid: Grid,
        kernel: impl Fn(&Window<'_>) -> Option<f64>,
    ) -> Result<Vec<Row>, EvalError> {
        self.over_series(function, ranges, grid, kernel, None)
    }

    /// The same, where series without histograms have a kernel for all windows at once.
    pub(super) fn over_series(
        &mut self,
        function: Function,
        ranges: &Ranges,
        grid: Grid,
        kernel: impl Fn(&Window<'_>) -> Option<f64>,
        for_row: Option<RowKernel<'_>>,
    ) -> Result<Vec<Row>, EvalError> {
        let mut rows = Vec::with_capacity(ranges.series.len());
        let wants_edges = matches!(function, Function::Rate | Function::Increase | Function::Delta);
        let mut places = Places::default();
        for input in &ranges.series {
            self.check_interrupt()?;
            let times_ms = input.samples.shared_times();
            if !places.are_of(times_ms) {
                places = Places::of(ranges, times_ms, grid);
                if wants_edges {
                    places.find_edges(ranges, grid);
                }
            }
            let mut cells = Column::empty(grid.len());
            match for_row.filter(|_| input.samples.histograms().is_empty()) {
                Some(for_row) => for_row(input.samples.values(), places.windows(), cells.floats_mut()),
                None => self.each_cell(function, (ranges, input), (&places, grid), &kernel, &mut cells),
            }
            if !cells.is_blank() {
                self.hold(grid.len() as u64)?;
                rows.push(Row {
                    labels: input.labels.clone(),
                    drop_name: input.drop_name,
                    cells,
                });
            }
        }
        Ok(rows)
    }

    /// Fills a row window by window.
    fn each_cell(
        &mut self,
        function: Function,
        (ranges, input): (&Ranges, &RangeInput),
        (places, grid): (&Places, Grid),
        kernel: impl Fn(&Window<'_>) -> Option<f64>,
        cells: &mut Column,
    ) {
        let notes = self.notes.at(ranges.place);
        ranges.each_placed(&input.samples, places, grid, |window| {
            if !window.histograms.is_empty() {
                let name = input.labels.metric_name();
                if let Some(cell) = mixed::value(function, &window, name, notes, &kernel) {
                    cells.set_cell(window.index, cell);
                }
            } else if !window.times.is_empty()
                && let Some(value) = kernel(&window)
            {
                cells.set(window.index, value);
            }
        });
    }
}

/// Times of a grid, of which rows become samples. Rows that have the same cells share their times.
pub(super) struct GridTimes {
    all: Arc<Vec<i64>>,
    /// Those of the row before, if it had not all.
    run: (Range<usize>, Arc<Vec<i64>>),
}

impl GridTimes {
    pub(super) fn new(grid: Grid) -> Self {
        GridTimes {
            all: Arc::new(grid.times_ms().collect()),
            run: Default::default(),
        }
    }

    /// The cells of a row as samples.
    pub(super) fn samples(&mut self, cells: Column) -> Samples {
        let cells = match cells.into_run() {
            Ok((range, values)) => return Samples::of_grid(self.of_run(range), values),
            Err(cells) => cells,
        };
        let times_ms = &self.all;
        if !cells.has_histograms() {
            let floats = cells.present().map(|(index, value)| (times_ms[index], value));
            let (times_ms, values): (Vec<i64>, Vec<f64>) = floats.unzip();
            return Samples::of_grid(&Arc::new(times_ms), values);
        }
        let mut samples = Samples::default();
        for (index, cell) in cells.cells() {
            match cell {
                Cell::Float(value) => samples.push(times_ms[index], value),
                Cell::Histogram(histogram) => samples.push_histogram(times_ms[index], histogram),
            }
        }
        samples
    }

    fn of_run(&mut self, range: Range<usize>) -> &Arc<Vec<i64>> {
        if range == (0..self.all.len()) {
            return &self.all;
        }
        if self.run.0 != range {
            self.run = (range.clone(), Arc::new(self.all[range].to_vec()));
        }
        &self.run.1
    }
}
