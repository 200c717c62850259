//! Kernels that remember: what they keep from one window of a series to the next makes a whole row cost about as much
//! as its samples and steps together, however long the windows are.
//!
//! Both ends of the windows only move forward. Nothing is ever subtracted from a sum, because subtraction would lose
//! digits and could not undo an infinity. Where windows hardly overlap, the plain loops of `over_time` are faster.

use std::collections::VecDeque;

use super::Window;
use super::counter::{Difference, extrapolate};
use crate::eval::kahan::Sum;
use crate::eval::quantile::{nan_first, quantile};

/// A sum over a sliding window: sums of all suffixes of its older part, one sum of its newer part.
#[derive(Default)]
pub(crate) struct SlidingSum {
    /// `suffixes[i]` sums the samples from `older_from + i` up to `newer_from`.
    suffixes: Vec<Sum>,
    older_from: usize,
    newer_from: usize,
    newer: Sum,
    until: usize,
}

impl SlidingSum {
    /// The sum of the window, which has samples.
    pub(crate) fn sum(&mut self, series: &[f64], window: &Window<'_>) -> Sum {
        let (from, until) = (window.from, window.from + window.values.len());
        if from >= self.newer_from {
            self.rebuild(series, from, until);
        }
        for value in &series[self.until..until] {
            self.newer = self.newer.plus(*value);
        }
        self.until = until;
        match self.suffixes.get(from - self.older_from) {
            Some(older) => {
                let merged = older.plus(self.newer.sum);
                Sum {
                    sum: merged.sum,
                    lost: merged.lost + self.newer.lost,
                }
            }
            None => self.newer,
        }
    }

    /// The older part is used up: what is in the window now becomes the older part.
    fn rebuild(&mut self, series: &[f64], from: usize, until: usize) {
        self.suffixes.clear();
        let mut sum = Sum::default();
        for value in series[from..until].iter().rev() {
            sum = sum.plus(*value);
            self.suffixes.push(sum);
        }
        self.suffixes.reverse();
        (self.older_from, self.newer_from, self.until) = (from, until, until);
        self.newer = Sum::default();
    }
}

/// The sum over a window.
pub(crate) fn sum(series: &[f64]) -> impl FnMut(&Window<'_>) -> Option<f64> {
    let mut sliding = SlidingSum::default();
    move |window| Some(sliding.sum(series, window).total())
}

/// The average over a window; one whose sum overflows is averaged by the plain loop.
pub(crate) fn avg(series: &[f64]) -> impl FnMut(&Window<'_>) -> Option<f64> {
    let mut sliding = SlidingSum::default();
    move |window| {
        let sum = sliding.sum(series, window);
        let count = window.values.len() as f64;
        if sum.sum.is_finite() {
            Some(sum.sum / count + sum.lost / count)
        } else {
            super::over_time::avg(window)
        }
    }
}

/// The extreme over a window by a queue of candidates: `beats` says whether a newer value makes an older one useless.
pub(crate) fn extreme(series: &[f64], beats: fn(f64, f64) -> bool) -> impl FnMut(&Window<'_>) -> Option<f64> {
    let mut candidates: VecDeque<usize> = VecDeque::new();
    let mut seen = 0;
    move |window| {
        let until = window.from + window.values.len();
        for (at, value) in series.iter().enumerate().take(until).skip(seen.max(window.from)) {
            if value.is_nan() {
                continue;
            }
            while candidates.back().is_some_and(|last| beats(*value, series[*last])) {
                candidates.pop_back();
            }
            candidates.push_back(at);
        }
        seen = until;
        while candidates.front().is_some_and(|first| *first < window.from) {
            candidates.pop_front();
        }
        // Nothing but NaN leaves no candidate.
        Some(candidates.front().map_or(f64::NAN, |first| series[*first]))
    }
}

/// How many neighbours in a window satisfy a condition, from counts of all of them up to each sample.
pub(crate) fn count_pairs(
    series: &[f64],
    counts: fn(f64, f64) -> bool,
) -> impl FnMut(&Window<'_>) -> Option<f64> {
    let mut total = 0_u32;
    let mut before = vec![0];
    for pair in series.windows(2) {
        total += u32::from(counts(pair[0], pair[1]));
        before.push(total);
    }
    move |window| {
        let last = window.from + window.values.len() - 1;
        Some(f64::from(before[last] - before[window.from]))
    }
}

/// A counter's growth from a list of its resets, of which a window has few.
pub(crate) fn counter(how: Difference, series: &[f64]) -> impl FnMut(&Window<'_>) -> Option<f64> {
    let is_fall = |pair: &[f64]| pair[1] < pair[0];
    // Most series have none, which is seen without a branch for each sample.
    let mut resets: Vec<(usize, f64)> = Vec::new();
    if series.windows(2).fold(false, |any, pair| any | is_fall(pair)) {
        let falls = series.windows(2).enumerate().filter(|(_, pair)| is_fall(pair));
        resets.extend(falls.map(|(at, pair)| (at, pair[0])));
    }
    move |window| {
        let last = window.from + window.values.len() - 1;
        let first_reset = resets.partition_point(|(at, _)| *at < window.from);
        let inside = resets[first_reset..].iter().take_while(|(at, _)| *at < last);
        extrapolate(how, window, inside.map(|(_, value)| *value))
    }
}

/// A quantile over a window whose values are kept sorted.
pub(crate) fn sorted_quantile<'s>(
    series: &'s [f64],
    quantiles: &'s [f64],
) -> impl FnMut(&Window<'_>) -> Option<f64> + 's {
    let mut sorted: Vec<f64> = Vec::new();
    let (mut from, mut until) = (0, 0);
    move |window| {
        let next_until = window.from + window.values.len();
        if window.from >= until {
            sorted.clear();
            (from, until) = (window.from, window.from);
        }
        for value in &series[from..window.from] {
            sorted.remove(sorted.partition_point(|other| nan_first(*other, *value).is_lt()));
        }
        for value in &series[until..next_until] {
            sorted.insert(
                sorted.partition_point(|other| nan_first(*other, *value).is_lt()),
                *value,
            );
        }
        (from, until) = (window.from, next_until);
        Some(quantile(quantiles[window.index], &sorted))
    }
}

#[cfg(test)]
mod tests;
