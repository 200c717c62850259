//! Range functions over windows that have native histograms, alone or beside floats.

use std::sync::Arc;

use super::Window;
use super::counter::Edges;
use crate::ast::Function;
use crate::eval::notes::Notes;
use crate::eval::rows::Cell;
use crate::histogram::{CounterReset, Histogram};

/// The function's value for a window with at least one histogram. `kernel` is for functions that read only the floats.
pub(crate) fn value(
    function: Function,
    window: &Window<'_>,
    metric: &str,
    notes: &mut Notes,
    kernel: impl Fn(&Window<'_>) -> Option<f64>,
) -> Option<Cell> {
    use Function as F;
    let only_histograms = window.times.is_empty();
    match function {
        F::CountOverTime => Some(Cell::Float((window.times.len() + window.histograms.len()) as f64)),
        F::PresentOverTime => Some(Cell::Float(1.0)),
        F::LastOverTime => merged(window).last().map(|(_, cell)| cell.clone()),
        F::FirstOverTime => merged(window).first().map(|(_, cell)| cell.clone()),
        F::TsOfLastOverTime => merged(window)
            .last()
            .map(|(time, _)| Cell::Float(*time as f64 / 1000.0)),
        F::TsOfFirstOverTime => merged(window)
            .first()
            .map(|(time, _)| Cell::Float(*time as f64 / 1000.0)),
        F::Changes => Some(Cell::Float(count_pairs(window, changed))),
        F::Resets => Some(Cell::Float(count_pairs(window, reset))),
        F::Irate | F::Idelta => instant(function, window, metric, notes),
        F::Rate | F::Increase | F::Delta | F::SumOverTime | F::AvgOverTime if !only_histograms => {
            notes.mixed_samples(metric);
            None
        }
        F::Rate | F::Increase | F::Delta => extrapolated(function, window, metric, notes),
        F::SumOverTime | F::AvgOverTime => total(function, window, metric, notes),
        _ if only_histograms => None,
        _ => {
            notes.ignored_in_range(metric);
            kernel(window).map(Cell::Float)
        }
    }
}

/// All samples of a window in order of time.
fn merged(window: &Window<'_>) -> Vec<(i64, Cell)> {
    let floats = window
        .times
        .iter()
        .zip(window.values)
        .map(|(time, value)| (*time, Cell::Float(*value)));
    let histograms = window.histogram_times.iter().zip(window.histograms);
    let mut all: Vec<(i64, Cell)> = floats
        .chain(histograms.map(|(time, h)| (*time, Cell::Histogram(h.clone()))))
        .collect();
    all.sort_by_key(|(time, _)| *time);
    all
}

fn count_pairs(window: &Window<'_>, counts: fn(&Cell, &Cell) -> bool) -> f64 {
    merged(window)
        .windows(2)
        .filter(|pair| counts(&pair[0].1, &pair[1].1))
        .count() as f64
}

fn changed(before: &Cell, now: &Cell) -> bool {
    match (before, now) {
        (Cell::Float(before), Cell::Float(now)) => super::over_time::differ(*before, *now),
        (before, now) => before != now,
    }
}

fn reset(before: &Cell, now: &Cell) -> bool {
    match (before, now) {
        (Cell::Float(before), Cell::Float(now)) => super::over_time::falls(*before, *now),
        (Cell::Histogram(before), Cell::Histogram(now)) => now.is_reset_after(before),
        _ => true,
    }
}

fn is_gauge(histogram: &Histogram) -> bool {
    histogram.counter_reset == CounterReset::Gauge
}

/// rate, increase and delta of histograms: the difference of the last and first, plus what was lost in resets.
fn extrapolated(function: Function, window: &Window<'_>, metric: &str, notes: &mut Notes) -> Option<Cell> {
    let [first, second, ..] = window.histograms else {
        return None;
    };
    let last = window.histograms.last()?;
    let counter = function != Function::Delta;
    // Where the second sample is a reset, the first one's buckets do not matter, and need not fit.
    let first_counts = if counter && second.is_reset_after(first) {
        Histogram {
            schema: second.schema,
            custom_bounds: second.custom_bounds.clone(),
            ..Histogram::default()
        }
    } else {
        Histogram::clone(first)
    };
    let mut result = noted(last.minus(&first_counts), metric, notes)?;
    if counter {
        let mut before = &first_counts;
        for now in &window.histograms[1..] {
            noted(now.check_layout(last), metric, notes)?;
            if now.is_reset_after(before) {
                result = noted(result.plus(before), metric, notes)?;
            }
            before = now;
        }
    }
    // Histograms that do not fit each other are noted alone.
    if counter && window.histograms.iter().any(|h| is_gauge(h)) {
        notes.not_a_counter(metric);
    }
    let gauges = is_gauge(first) && is_gauge(last);
    if !counter && !gauges {
        notes.not_a_gauge(metric);
    }
    result.counter_reset = CounterReset::Gauge;
    let sampled = (*window.histogram_times.first()?, *window.histogram_times.last()?);
    let edges = Edges::of(sampled, window.histograms.len(), (window.start_ms, window.end_ms));
    // Prometheus 3.5 does not ask when a histogram was at zero.
    let factor = edges.factor(None, function == Function::Rate);
    Some(Cell::Histogram(Arc::new(result.times(factor))))
}

/// Notes a layout that does not fit.
fn noted<T>(outcome: Result<T, crate::histogram::LayoutError>, metric: &str, notes: &mut Notes) -> Option<T> {
    outcome
        .map_err(|error| notes.histogram_layouts(error, metric))
        .ok()
}

/// irate and idelta of the last two samples.
fn instant(function: Function, window: &Window<'_>, metric: &str, notes: &mut Notes) -> Option<Cell> {
    let all = merged(window);
    let [.., (earlier, before), (later, now)] = &all[..] else {
        return None;
    };
    let seconds = later.saturating_sub(*earlier) as f64 / 1000.0;
    let rate = function == Function::Irate;
    match (before, now) {
        (Cell::Float(before), Cell::Float(now)) => {
            let difference = if rate && now < before { *now } else { now - before };
            Some(Cell::Float(if rate { difference / seconds } else { difference }))
        }
        (Cell::Histogram(before), Cell::Histogram(now)) => {
            if rate && (is_gauge(before) || is_gauge(now)) {
                notes.not_a_counter(metric);
            }
            let gauges = is_gauge(before) && is_gauge(now);
            if !(rate || gauges) {
                notes.not_a_gauge(metric);
            }
            let mut result = if rate && now.is_reset_after(before) {
                Histogram::clone(now)
            } else {
                noted(now.minus(before), metric, notes)?
            };
            result.counter_reset = CounterReset::Gauge;
            Some(Cell::Histogram(Arc::new(if rate {
                result.divided_by(seconds)
            } else {
                result
            })))
        }
        _ => {
            notes.mixed_samples(metric);
            None
        }
    }
}

/// sum_over_time and avg_over_time of histograms.
fn total(function: Function, window: &Window<'_>, metric: &str, notes: &mut Notes) -> Option<Cell> {
    let (first, others) = window.histograms.split_first()?;
    let mut sum = Histogram::clone(first);
    for histogram in others {
        sum = noted(sum.plus(histogram), metric, notes)?;
    }
    if function == Function::AvgOverTime {
        sum = sum.divided_by(window.histograms.len() as f64);
    }
    Some(Cell::Histogram(Arc::new(sum)))
}
