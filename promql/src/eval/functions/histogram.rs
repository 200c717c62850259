//! Functions of histograms, classic and native. A classic histogram is a set of series with cumulative counts and a
//! label `le`; a native one is a sample of one series.

use std::collections::HashMap;

use crate::ast::{Call, Function, Span};
use crate::error::EvalError;
use crate::eval::evaluator::Evaluator;
use crate::eval::grid::Grid;
use crate::eval::notes::Notes;
use crate::eval::rows::{Cell, Column, Row};
use crate::histogram::Histogram;
use crate::labels::Labels;
use crate::number::parse_float;

use super::argument;

mod buckets;
mod native;

use buckets::{Bucket, Repair, prepare, repair};

/// The label that holds a bucket's upper bound.
const LE: &str = "le";

/// What is computed of a histogram at each time.
enum Figure {
    Quantile(Vec<f64>),
    Fraction(Vec<f64>, Vec<f64>),
}

impl Figure {
    fn of_classic(&self, index: usize, buckets: &[Bucket]) -> f64 {
        match self {
            Self::Quantile(q) => buckets::quantile(q[index], buckets),
            Self::Fraction(lower, upper) => buckets::fraction(lower[index], upper[index], buckets),
        }
    }

    /// Whether falls are repaired: for quantiles that are looked for, not for fractions, as in Prometheus.
    fn repairs(&self, index: usize, buckets: &[Bucket]) -> bool {
        let complete = buckets
            .last()
            .is_some_and(|bucket| bucket.upper_bound == f64::INFINITY);
        match self {
            Self::Quantile(q) => complete && (0.0..=1.0).contains(&q[index]),
            Self::Fraction(..) => false,
        }
    }

    fn of_native(&self, index: usize, histogram: &Histogram, metric: &str, notes: &mut Notes) -> f64 {
        match self {
            Self::Quantile(q) => {
                let value = native::quantile(q[index], histogram);
                if histogram.sum.is_nan() && (0.0..=1.0).contains(&q[index]) && histogram.count != 0.0 {
                    let effect = if value.is_nan() {
                        "result is NaN"
                    } else {
                        "result is skewed higher"
                    };
                    notes.nan_observations("histogram_quantile", effect, metric);
                }
                value
            }
            Self::Fraction(lower, upper) => {
                if histogram.sum.is_nan() && histogram.count != 0.0 {
                    notes.nan_observations(
                        "histogram_fraction",
                        "which are excluded from all fractions",
                        metric,
                    );
                }
                native::fraction(lower[index], upper[index], histogram)
            }
        }
    }
}

/// The series of one metric and label set, `le` apart.
struct Source {
    labels: Labels,
    name: String,
    classic: Vec<(f64, Column)>,
    native: Option<Column>,
    /// The name in notes about repairs. Where names are dropped at once, Prometheus drops it with the first figure.
    name_of_classic: String,
}

impl Source {
    /// The buckets of the classic histogram at one time.
    fn buckets_at(&self, index: usize) -> Vec<Bucket> {
        let bucket = |(bound, cells): &(f64, Column)| {
            cells.get(index).map(|count| Bucket {
                upper_bound: *bound,
                count,
            })
        };
        self.classic.iter().filter_map(bucket).collect()
    }

    fn value_at(&self, index: usize, figure: &Figure, places: Places, notes: &mut Notes) -> Option<f64> {
        let mut buckets = self.buckets_at(index);
        let native = self.native.as_ref().and_then(|cells| cells.histogram(index));
        match (native, buckets.is_empty()) {
            (Some(histogram), true) => {
                Some(figure.of_native(index, histogram, &self.name, notes.at(places.first)))
            }
            (Some(_), false) => {
                notes.at(places.histograms).classic_and_native(&self.name);
                None
            }
            (None, true) => None,
            (None, false) => {
                prepare(&mut buckets);
                if figure.repairs(index, &buckets) && repair(&mut buckets) == Repair::Forced {
                    notes
                        .at(places.histograms)
                        .forced_monotonic(&self.name_of_classic);
                }
                Some(figure.of_classic(index, &buckets))
            }
        }
    }
}

/// Where the arguments stand that notes are about.
#[derive(Clone, Copy)]
struct Places {
    first: Span,
    histograms: Span,
}

impl Evaluator<'_> {
    pub(super) fn histogram_quantile(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let quantiles = self.scalar(argument(call, 0)?, grid)?;
        self.over_histograms(call, 1, grid, &Figure::Quantile(quantiles))
    }

    pub(super) fn histogram_fraction(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let lower = self.scalar(argument(call, 0)?, grid)?;
        let upper = self.scalar(argument(call, 1)?, grid)?;
        self.over_histograms(call, 2, grid, &Figure::Fraction(lower, upper))
    }

    /// `nth` is the argument with the histograms.
    fn over_histograms(
        &mut self,
        call: &Call,
        nth: usize,
        grid: Grid,
        figure: &Figure,
    ) -> Result<Vec<Row>, EvalError> {
        let expr = argument(call, nth)?;
        let places = Places {
            first: argument(call, 0)?.span(),
            histograms: expr.span(),
        };
        let rows = self.vector(expr, grid)?;
        if let Figure::Quantile(quantiles) = figure {
            for q in quantiles {
                self.notes.at(places.first).check_quantile(*q);
            }
        }
        self.notes.at(places.histograms);
        let sources = self.histogram_sources(rows);
        let mut results = Vec::with_capacity(sources.len());
        for mut source in sources {
            self.check_interrupt()?;
            let mut cells = Column::empty(grid.len());
            for index in 0..grid.len() {
                if let Some(value) = source.value_at(index, figure, places, &mut self.notes) {
                    cells.set(index, value);
                    if !self.options.delayed_name_removal {
                        source.name_of_classic.clear();
                    }
                }
            }
            if !cells.is_blank() {
                self.hold(grid.len() as u64)?;
                let (labels, drop_name) = self.nameless(&source.labels);
                results.push(Row {
                    labels,
                    drop_name,
                    cells,
                });
            }
        }
        self.merge_after_name_drop(results)
    }

    /// Rows by all labels but `le`; floats without a bound that is a number are left out with a warning.
    fn histogram_sources(&mut self, rows: Vec<Row>) -> Vec<Source> {
        let mut sources: Vec<Source> = Vec::new();
        let mut places: HashMap<Labels, usize> = HashMap::new();
        for row in rows {
            let name = row.labels.metric_name().to_owned();
            let le = row.labels.get(LE);
            let bound = parse_float(le);
            if bound.is_none() && row.cells.present().next().is_some() {
                self.notes.bad_bucket_label(le, &name);
            }
            let is_native = row.cells.has_histograms();
            // A native histogram may have a label of that name; then it means nothing.
            let key = if bound.is_some() {
                row.labels.with(LE, "")
            } else {
                row.labels.clone()
            };
            if bound.is_none() && !is_native {
                continue;
            }
            let place = *places.entry(key).or_insert_with_key(|labels| {
                sources.push(Source {
                    labels: labels.clone(),
                    name_of_classic: name.clone(),
                    name,
                    classic: Vec::new(),
                    native: None,
                });
                sources.len() - 1
            });
            if is_native {
                sources[place].native = Some(row.cells.clone());
            }
            if let Some(bound) = bound {
                sources[place].classic.push((bound, row.cells));
            }
        }
        sources
    }

    /// A figure of native histograms; floats are passed over.
    pub(super) fn histogram_figure(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let mut rows = self.vector(argument(call, 0)?, grid)?;
        for row in &mut rows {
            row.cells.update_cells(|_, cell| match cell {
                Cell::Float(_) => None,
                Cell::Histogram(h) => Some(Cell::Float(match call.function {
                    Function::HistogramCount => h.count,
                    Function::HistogramSum => h.sum,
                    Function::HistogramAvg => h.sum / h.count,
                    Function::HistogramStdvar => native::stdvar(&h),
                    _ => native::stdvar(&h).sqrt(),
                })),
            });
        }
        self.map_rows(rows, |_, value| Some(value))
    }
}
