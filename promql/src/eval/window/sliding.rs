//! Kernels for a whole row: what they keep from one window of a series to the next makes a row cost about as much as its
//! samples and steps together, however long the windows are.
//!
//! Each writes the cells of those windows that give a value. Both ends of the windows only move forward. Nothing is ever
//! subtracted from a sum, because subtraction would lose digits and could not undo an infinity. Where windows hardly
//! overlap, the plain loops of `over_time` are faster.

use super::counter::{Difference, Edges};
use super::over_time::mean;
use super::places::WindowPlace;
use crate::eval::kahan::Sum;
use crate::eval::quantile::{nan_first, quantile};

/// What values of a row amount to, put together from neighbouring parts.
trait Total: Copy {
    /// That of no value.
    const NONE: Self;

    /// With a value after those that there are.
    fn and(self, value: f64) -> Self;

    /// With later values.
    fn join(self, later: Self) -> Self;
}

impl Total for Sum {
    const NONE: Self = Sum { sum: 0.0, lost: 0.0 };

    fn and(self, value: f64) -> Self {
        self.plus(value)
    }

    fn join(self, later: Self) -> Self {
        let merged = self.plus(later.sum);
        Sum {
            sum: merged.sum,
            lost: merged.lost + later.lost,
        }
    }
}

/// The greatest value or, turned round, the least; of equals the first. A NaN gives way to anything.
#[derive(Clone, Copy)]
struct Extreme<const GREATEST: bool>(f64);

impl<const GREATEST: bool> Total for Extreme<GREATEST> {
    const NONE: Self = Extreme(f64::NAN);

    fn and(self, value: f64) -> Self {
        self.join(Extreme(value))
    }

    fn join(self, later: Self) -> Self {
        let beats = match GREATEST {
            true => later.0 > self.0,
            false => later.0 < self.0,
        };
        if beats || self.0.is_nan() { later } else { self }
    }
}

/// Most samples of a piece: so many are put together anew for a window that begins inside one.
const PIECE: usize = 8;

/// What the samples from `start` on amount to.
#[derive(Clone, Copy)]
struct Part<T> {
    start: usize,
    total: T,
}

/// The window that slides over a row. It has an older part, of which the totals of all suffixes are kept, and a newer one,
/// of which there is one total. Both are put together from pieces: the samples that a window has beyond the one before.
/// They have nothing to do with one another, so the processor works on several at once.
struct Sliding<'s, T> {
    series: &'s [f64],
    /// Of the older part, up to `newer_from`; the longest is last.
    suffixes: Vec<Part<T>>,
    newer_from: usize,
    newer: T,
    /// Of the newer part, up to `seen`.
    pieces: Vec<Part<T>>,
    seen: usize,
}

impl<'s, T: Total> Sliding<'s, T> {
    fn new(series: &'s [f64]) -> Self {
        Sliding {
            series,
            suffixes: Vec::new(),
            newer_from: 0,
            newer: T::NONE,
            pieces: Vec::new(),
            seen: 0,
        }
    }

    /// The total of the next window, which has samples.
    fn total(&mut self, from: usize, until: usize) -> T {
        if from >= self.newer_from {
            self.begin_newer(from, until);
        }
        self.see(until);
        while self.suffixes.last().is_some_and(|suffix| suffix.start < from) {
            self.suffixes.pop();
        }
        let (end, rest) = match self.suffixes.last() {
            Some(suffix) => (suffix.start, suffix.total),
            None => (self.newer_from, T::NONE),
        };
        let older = match from == end {
            true => rest,
            false => self.sum(from, end).join(rest),
        };
        older.join(self.newer)
    }

    fn sum(&self, from: usize, until: usize) -> T {
        self.series[from..until]
            .iter()
            .fold(T::NONE, |total, value| total.and(*value))
    }

    /// Adds samples to the newer part.
    fn see(&mut self, until: usize) {
        for start in (self.seen..until).step_by(PIECE) {
            let total = self.sum(start, until.min(start + PIECE));
            self.pieces.push(Part { start, total });
            self.newer = self.newer.join(total);
        }
        self.seen = until;
    }

    /// The older part is used up: what is in the window now becomes the older part.
    fn begin_newer(&mut self, from: usize, until: usize) {
        self.seen = self.seen.max(from);
        self.see(until);
        self.suffixes.clear();
        let mut total = T::NONE;
        let of_window = self.pieces.iter().rev().take_while(|piece| piece.start >= from);
        self.suffixes.extend(of_window.map(|piece| {
            total = piece.total.join(total);
            Part {
                start: piece.start,
                total,
            }
        }));
        self.pieces.clear();
        (self.newer_from, self.newer) = (until, T::NONE);
    }
}

/// Calls `give` with the number of each window that has samples, and what those amount to.
fn slide<T: Total>(series: &[f64], places: &[WindowPlace], mut give: impl FnMut(usize, T)) {
    let mut sliding = Sliding::new(series);
    for (index, place) in places.iter().enumerate() {
        if place.len() > 0 {
            give(index, sliding.total(place.from(), place.until()));
        }
    }
}

/// The sum over each window.
pub(crate) fn sum(series: &[f64], places: &[WindowPlace], cells: &mut [f64]) {
    slide(series, places, |index, sum: Sum| cells[index] = sum.total());
}

/// The average over each window; one whose sum overflows is averaged by the plain loop.
pub(crate) fn avg(series: &[f64], places: &[WindowPlace], cells: &mut [f64]) {
    slide(series, places, |index, sum: Sum| {
        let place = &places[index];
        if sum.sum.is_finite() {
            let count = place.len() as f64;
            cells[index] = sum.sum / count + sum.lost / count;
        } else if let Some(mean) = mean(&series[place.from()..place.until()]) {
            cells[index] = mean;
        }
    });
}

/// The greatest value of each window.
pub(crate) fn max(series: &[f64], places: &[WindowPlace], cells: &mut [f64]) {
    slide(series, places, |index, greatest: Extreme<true>| {
        cells[index] = greatest.0;
    });
}

/// The least value of each window.
pub(crate) fn min(series: &[f64], places: &[WindowPlace], cells: &mut [f64]) {
    slide(series, places, |index, least: Extreme<false>| {
        cells[index] = least.0;
    });
}

/// How many neighbours in each window satisfy a condition, from counts of all of them up to each sample.
pub(crate) fn count_pairs(
    counts: fn(f64, f64) -> bool,
    series: &[f64],
    places: &[WindowPlace],
    cells: &mut [f64],
) {
    let mut total = 0_u32;
    let mut before = vec![0];
    for pair in series.windows(2) {
        total += u32::from(counts(pair[0], pair[1]));
        before.push(total);
    }
    for (place, cell) in places.iter().zip(cells) {
        if place.len() > 0 {
            *cell = f64::from(before[place.until() - 1] - before[place.from()]);
        }
    }
}

/// A counter's growth over each window from a list of its resets, of which a window has few.
pub(crate) fn counter(how: Difference, series: &[f64], places: &[WindowPlace], cells: &mut [f64]) {
    let give = |place: &WindowPlace, cell: &mut f64, lost: &[(usize, f64)]| {
        if let Some(edges) = &place.edges {
            let (first, last) = (series[place.from()], series[place.until() - 1]);
            *cell = grown(how, (first, last), edges, lost);
        }
    };
    let resets = resets(series);
    if resets.is_empty() {
        return places
            .iter()
            .zip(cells)
            .for_each(|(place, cell)| give(place, cell, &[]));
    }
    let (mut begin, mut end) = (0, 0);
    for (place, cell) in places.iter().zip(cells) {
        let follow = |at: usize, sample: usize| {
            let passed = resets[at..].iter().take_while(|(reset, _)| *reset < sample);
            at + passed.count()
        };
        begin = follow(begin, place.from());
        end = follow(end.max(begin), place.until().saturating_sub(1));
        give(place, cell, &resets[begin..end]);
    }
}

#[inline]
fn grown(how: Difference, (first, last): (f64, f64), edges: &Edges, lost: &[(usize, f64)]) -> f64 {
    let result = lost.iter().fold(last - first, |sum, (_, lost)| sum + lost);
    how.over(first, result, edges)
}

/// Samples after which a counter started anew, and what it had reached.
fn resets(series: &[f64]) -> Vec<(usize, f64)> {
    let is_fall = |pair: &[f64]| pair[1] < pair[0];
    // Most series have none, which is seen without a branch for each sample.
    if !series.windows(2).fold(false, |any, pair| any | is_fall(pair)) {
        return Vec::new();
    }
    let falls = series.windows(2).enumerate().filter(|(_, pair)| is_fall(pair));
    falls.map(|(at, pair)| (at, pair[0])).collect()
}

/// A quantile over each window, whose values are kept sorted.
pub(crate) fn sorted_quantile(quantiles: &[f64], series: &[f64], places: &[WindowPlace], cells: &mut [f64]) {
    let mut sorted: Vec<f64> = Vec::new();
    let (mut from, mut until) = (0, 0);
    for ((place, cell), q) in places.iter().zip(cells).zip(quantiles) {
        if place.len() == 0 {
            continue;
        }
        if place.from() >= until {
            sorted.clear();
            (from, until) = (place.from(), place.from());
        }
        let at =
            |sorted: &[f64], value: f64| sorted.partition_point(|other| nan_first(*other, value).is_lt());
        for value in &series[from..place.from()] {
            sorted.remove(at(&sorted, *value));
        }
        for value in &series[until..place.until()] {
            sorted.insert(at(&sorted, *value), *value);
        }
        (from, until) = (place.from(), place.until());
        *cell = quantile(*q, &sorted);
    }
}

#[cfg(test)]
mod tests;
