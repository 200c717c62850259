//! histogram_quantile and histogram_fraction over classic histograms: series of cumulative counts with a label `le`.

use std::collections::HashMap;

use crate::ast::Call;
use crate::error::EvalError;
use crate::eval::evaluator::Evaluator;
use crate::eval::grid::Grid;
use crate::eval::rows::{Column, Row};
use crate::labels::Labels;
use crate::number::parse_float;

use super::argument;

mod buckets;

use buckets::{Bucket, Repair, fraction, prepare, quantile};

/// The label that holds a bucket's upper bound.
const LE: &str = "le";

/// The bucket series of one histogram, with their bounds.
struct Histogram {
    labels: Labels,
    name: String,
    bounds: Vec<(f64, Column)>,
}

impl Histogram {
    /// Its buckets at one time.
    fn buckets_at(&self, index: usize) -> Vec<Bucket> {
        let bucket = |(bound, cells): &(f64, Column)| {
            cells.get(index).map(|count| Bucket {
                upper_bound: *bound,
                count,
            })
        };
        self.bounds.iter().filter_map(bucket).collect()
    }
}

impl Evaluator<'_> {
    pub(super) fn histogram_quantile(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let quantiles = self.scalar(argument(call, 0)?, grid)?;
        for q in &quantiles {
            self.notes.check_quantile(*q);
        }
        self.over_histograms(argument(call, 1)?, grid, |buckets, index| {
            quantile(quantiles[index], buckets)
        })
    }

    pub(super) fn histogram_fraction(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let lower = self.scalar(argument(call, 0)?, grid)?;
        let upper = self.scalar(argument(call, 1)?, grid)?;
        self.over_histograms(argument(call, 2)?, grid, |buckets, i| {
            fraction(lower[i], upper[i], buckets)
        })
    }

    fn over_histograms(
        &mut self,
        expr: &crate::ast::Expr,
        grid: Grid,
        compute: impl Fn(&[Bucket], usize) -> f64,
    ) -> Result<Vec<Row>, EvalError> {
        let rows = self.vector(expr, grid)?;
        let histograms = self.collect_histograms(rows);
        let mut results = Vec::with_capacity(histograms.len());
        for histogram in histograms {
            self.check_interrupt()?;
            let mut cells = Column::empty(grid.len());
            for index in 0..grid.len() {
                let mut buckets = histogram.buckets_at(index);
                if buckets.is_empty() {
                    continue;
                }
                if prepare(&mut buckets) == Repair::Forced {
                    self.notes.forced_monotonic(&histogram.name);
                }
                cells.set(index, compute(&buckets, index));
            }
            self.hold(grid.len() as u64)?;
            let (labels, drop_name) = self.nameless(&histogram.labels);
            results.push(Row {
                labels,
                drop_name,
                cells,
            });
        }
        self.merge_after_name_drop(results)
    }

    /// Rows by all labels but `le`; rows without a bound that is a number are left out with a warning.
    fn collect_histograms(&mut self, rows: Vec<Row>) -> Vec<Histogram> {
        let mut histograms: Vec<Histogram> = Vec::new();
        let mut places: HashMap<Labels, usize> = HashMap::new();
        for row in rows {
            let name = row.labels.metric_name().to_owned();
            let Some(bound) = parse_float(row.labels.get(LE)) else {
                self.notes.bad_bucket_label(row.labels.get(LE), &name);
                continue;
            };
            let place = *places
                .entry(row.labels.with(LE, ""))
                .or_insert_with_key(|labels| {
                    histograms.push(Histogram {
                        labels: labels.clone(),
                        name,
                        bounds: Vec::new(),
                    });
                    histograms.len() - 1
                });
            histograms[place].bounds.push((bound, row.cells));
        }
        histograms
    }
}
