//! Samples on their way: grouped by series, ordered in time, cut into parts of a request each.

use std::collections::HashMap;
use std::sync::Arc;

use store::Rows;
use wire::message::Histogram;

use super::series::Series;

/// Samples of one series, in order of time.
#[derive(Debug, Clone)]
pub(crate) struct SeriesSamples {
    pub(crate) series: Arc<Series>,
    /// (ms since the epoch, value)
    pub(crate) floats: Vec<(i64, f64)>,
    /// (ms since the epoch, histogram)
    pub(crate) histograms: Vec<(i64, Histogram)>,
}

impl SeriesSamples {
    fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    /// Cuts after so many samples, floats first.
    fn split_off(&mut self, at: usize) -> SeriesSamples {
        let floats = at.min(self.floats.len());
        SeriesSamples {
            series: self.series.clone(),
            histograms: self
                .histograms
                .split_off((at - floats).min(self.histograms.len())),
            floats: self.floats.split_off(floats),
        }
    }
}

/// What one request carries: samples of one tenant if tenants go apart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Part(Vec<SeriesSamples>);

impl Part {
    pub(crate) fn series(&self) -> &[SeriesSamples] {
        &self.0
    }

    /// Floats and histograms.
    pub(crate) fn samples(&self) -> u64 {
        self.0.iter().map(|series| series.len() as u64).sum()
    }

    /// Times of the earliest and the latest sample, ms since the epoch.
    pub(crate) fn times(&self) -> Option<(i64, i64)> {
        let times = |s: &SeriesSamples| {
            let floats = s
                .floats
                .first()
                .into_iter()
                .chain(s.floats.last())
                .map(|(time, _)| *time);
            let histograms = s.histograms.first().into_iter().chain(s.histograms.last());
            floats
                .chain(histograms.map(|(time, _)| *time))
                .collect::<Vec<_>>()
        };
        let all: Vec<i64> = self.0.iter().flat_map(times).collect();
        all.iter().min().copied().zip(all.iter().max().copied())
    }

    /// Halves: of its series, or of the samples of its only one; `None`: it is one sample.
    pub(crate) fn halves(mut self) -> Option<(Part, Part)> {
        let second = match self.0.as_mut_slice() {
            [] => return None,
            [only] if only.len() < 2 => return None,
            [only] => vec![only.split_off(only.len() / 2)],
            several => {
                let middle = several.len() / 2;
                self.0.split_off(middle)
            }
        };
        Some((self, Part(second)))
    }

    /// Takes out histograms that do not pass; how many.
    pub(crate) fn retain_histograms(&mut self, pass: impl Fn(&Histogram) -> bool) -> u64 {
        let before = self.samples();
        for series in &mut self.0 {
            series.histograms.retain(|(_, histogram)| pass(histogram));
        }
        self.0.retain(|series| series.len() > 0);
        before - self.samples()
    }
}

/// What became of samples before they were sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// Their series is dropped by `write_relabel_configs`.
    pub(crate) relabelled: u64,
    /// Older than `sample_age_limit`.
    pub(crate) too_old: u64,
    /// Another sample of the same series and time followed.
    pub(crate) same_timestamp: u64,
    /// Histograms that are not to be sent.
    pub(crate) histograms: u64,
}

/// What is gathered of a round.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    all: Vec<SeriesSamples>,
    /// By hash of the series.
    at: HashMap<u64, Vec<usize>>,
    samples: u64,
    left: Left,
}

impl Gathered {
    /// Adds rows; samples before `oldest_ms` and, if they are not wanted, histograms are left.
    pub(crate) fn add(&mut self, rows: Rows<Option<Arc<Series>>>, oldest_ms: i64, histograms: bool) {
        // Samples stand series by series, so one look-up does for many.
        let mut last: Option<(u32, usize)> = None;
        for sample in rows.samples {
            let Some(series) = &rows.series[sample.series as usize] else {
                self.left.relabelled += 1;
                continue;
            };
            if sample.time_ms < oldest_ms {
                self.left.too_old += 1;
                continue;
            }
            let at = match last {
                Some((position, at)) if position == sample.series => at,
                _ => self.place(series),
            };
            last = Some((sample.series, at));
            self.all[at].floats.push((sample.time_ms, sample.value));
            self.samples += 1;
        }
        for sample in rows.histograms {
            match &rows.series[sample.series as usize] {
                None => self.left.relabelled += 1,
                Some(_) if !histograms => self.left.histograms += 1,
                Some(_) if sample.time_ms < oldest_ms => self.left.too_old += 1,
                Some(series) => {
                    let at = self.place(series);
                    self.all[at].histograms.push((sample.time_ms, sample.histogram));
                    self.samples += 1;
                }
            }
        }
    }

    fn place(&mut self, series: &Arc<Series>) -> usize {
        let here = self.at.entry(series.hash()).or_default();
        let known = here.iter().copied().find(|at| {
            let other = &self.all[*at].series;
            Arc::ptr_eq(other, series) || other == series
        });
        known.unwrap_or_else(|| {
            here.push(self.all.len());
            self.all.push(SeriesSamples {
                series: series.clone(),
                floats: Vec::new(),
                histograms: Vec::new(),
            });
            self.all.len() - 1
        })
    }

    /// Samples to send so far.
    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// The parts of each shard in the order in which they are to be sent, and what is not sent. All samples of a series
    /// are in one shard.
    pub(crate) fn shards(
        mut self,
        shards: usize,
        most: usize,
        tenants_apart: bool,
    ) -> (Vec<Vec<Part>>, Left) {
        for series in &mut self.all {
            let before = series.len();
            order(&mut series.floats);
            order(&mut series.histograms);
            self.left.same_timestamp += (before - series.len()) as u64;
        }
        let mut spread: Vec<Vec<SeriesSamples>> = Vec::new();
        spread.resize_with(shards.max(1), Vec::new);
        for series in self.all {
            let shard = (series.series.hash() % spread.len() as u64) as usize;
            spread[shard].push(series);
        }
        let cut = |mut list: Vec<SeriesSamples>| {
            if tenants_apart {
                list.sort_by(|a, b| a.series.tenant().cmp(b.series.tenant()));
            }
            cut(list, most.max(1), tenants_apart)
        };
        let shards = spread.into_iter().filter(|list| !list.is_empty());
        (shards.map(cut).collect(), self.left)
    }
}

/// Sorts by time; of one time the last stays, as in the store.
fn order<T>(samples: &mut Vec<(i64, T)>) {
    if samples.windows(2).all(|w| w[0].0 < w[1].0) {
        return;
    }
    samples.reverse();
    samples.sort_by_key(|(time, _)| *time);
    samples.dedup_by_key(|(time, _)| *time);
}

fn cut(list: Vec<SeriesSamples>, most: usize, tenants_apart: bool) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut part, mut room) = (Part::default(), most);
    for mut series in list {
        let other = part
            .0
            .last()
            .is_some_and(|last| last.series.tenant() != series.series.tenant());
        if tenants_apart && other {
            parts.push(std::mem::take(&mut part));
            room = most;
        }
        while series.len() > room {
            let rest = series.split_off(room);
            if series.len() > 0 {
                part.0.push(series);
            }
            parts.push(std::mem::take(&mut part));
            room = most;
            series = rest;
        }
        room -= series.len();
        part.0.push(series);
    }
    if !part.0.is_empty() {
        parts.push(part);
    }
    parts
}

#[cfg(test)]
pub(crate) mod tests;
