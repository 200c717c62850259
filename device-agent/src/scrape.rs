//! Scraping: from a page to a row.
//!
//! [`ScrapeTarget`] is pure: it takes the time, the page or the failure, and the duration, and returns what the scrape
//! yields, sample for sample as Prometheus's scrape loop would append it: conflicting labels renamed or honoured, explicit
//! timestamps honoured or not, duplicates dropped, stale markers for series that vanished and, when a scrape fails as a
//! whole, for all of them; and always the five report series `up`, `scrape_duration_seconds`, `scrape_samples_scraped`,
//! `scrape_samples_post_metric_relabeling` and `scrape_series_added`. Where Prometheus and this differ: a scraped series
//! that is labelled like a report series is dropped as a duplicate (there, the report's is), and a page that fails in
//! the middle or by its sample_limit leaves no trace but a stale marker for each series alive (there, series before the
//! fault get theirs a scrape late or not at all, and count as added only the first time).
//! [`schedule`] says when, [`http`] fetches, `task` ties them together.

pub mod http;
pub mod schedule;
pub mod target_labels;
pub(crate) mod task;

mod cache;

#[cfg(test)]
mod tests;

use std::time::Duration;

use wire::{Labels, Timestamp};

use crate::exposition::{Entries, Entry, ExpositionError, ExpositionLimits, LineError, RawSample};
use crate::input::{Moment, STALE_NAN, ScrapeRow, Slot, TargetId};
use cache::{Found, ScrapeCache};
use target_labels::TargetLabels;

/// The report series; each keeps the slot of its place for ever.
const REPORTS: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

/// How a target's page becomes samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrapeRules {
    /// Times on the page count; else every sample has the scrape's time.
    pub honor_timestamps: bool,
    /// Most samples of a page; more fail the scrape. None: no limit of its own.
    pub sample_limit: Option<usize>,
    /// Limits of a line.
    pub limits: ExpositionLimits,
}

impl Default for ScrapeRules {
    fn default() -> Self {
        ScrapeRules {
            honor_timestamps: true,
            sample_limit: None,
            limits: ExpositionLimits::default(),
        }
    }
}

/// Why a page that was fetched yields no samples.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScrapeError {
    /// It is not in the text format.
    #[error(transparent)]
    Exposition(#[from] ExpositionError),
    /// It has more samples than allowed.
    #[error("{found} samples exceed the sample_limit of {limit}")]
    SampleLimit {
        /// Samples of the page.
        found: usize,
        /// The limit.
        limit: usize,
    },
}

/// What a scrape yields.
#[derive(Debug, Clone, PartialEq)]
pub struct Scraped {
    /// The row of the scrape's time, then one per explicit timestamp of the page, in order of time.
    pub rows: Vec<ScrapeRow>,
    /// Samples dropped because their series was on the page before.
    pub duplicates: usize,
    /// Set if the page was refused; `up` is 0 then.
    pub error: Option<ScrapeError>,
}

/// A scraped target between its scrapes.
#[derive(Debug)]
pub struct ScrapeTarget {
    id: TargetId,
    rules: ScrapeRules,
    cache: ScrapeCache,
    labels: TargetLabels,
    started: bool,
}

impl ScrapeTarget {
    /// A target that was never scraped.
    pub fn new(id: TargetId, labels: TargetLabels, rules: ScrapeRules) -> Self {
        ScrapeTarget {
            id,
            rules,
            cache: ScrapeCache::new(REPORTS.len() as u32),
            labels,
            started: false,
        }
    }

    /// Takes the outcome of a scrape that began at `at` and took `duration`: the page, or None if there is none (no
    /// connection, timeout, status other than 200, body too large).
    pub fn scraped(&mut self, at: Moment, page: Option<&[u8]>, duration: Duration) -> Scraped {
        let mut row = self.row(at);
        let mut pass = Pass::default();
        let error = match page {
            Some(page) => self.read(page, &mut pass).err(),
            None => None,
        };
        let mut timed = Vec::new();
        if page.is_none() || error.is_some() {
            self.cache.abandon(|slot| row.values.push((slot, stale())));
        } else {
            row.values = std::mem::take(&mut pass.values);
            row.metadata = self.cache.changed_metadata();
            timed = pass.take_timed();
            row.new_series.append(&mut pass.new_series);
            // Prometheus takes an empty page for a failure in this: the series keep their place in the cache.
            let forget = page.is_some_and(|page| !page.is_empty());
            self.cache.finish(forget, |slot| row.values.push((slot, stale())));
        }
        let up = page.is_some() && error.is_none();
        let report = [
            f64::from(u8::from(up)),
            duration.as_secs_f64(),
            pass.scraped as f64,
            pass.kept as f64,
            pass.added as f64,
        ];
        row.values
            .extend((0u32..).zip(report).map(|(slot, value)| (Slot::new(slot), value)));
        Scraped {
            rows: self.with_timed(row, timed, at),
            duplicates: pass.duplicates,
            error,
        }
    }

    /// Ends the target: stale markers for all its series, report series included. `None`: it was never scraped.
    pub fn removed(&mut self, at: Moment) -> Option<ScrapeRow> {
        if !self.started {
            return None;
        }
        let mut row = ScrapeRow {
            ended: true,
            ..self.row(at)
        };
        self.cache.abandon(|slot| row.values.push((slot, stale())));
        row.values
            .extend((0u32..).zip(REPORTS).map(|(slot, _)| (Slot::new(slot), stale())));
        Some(row)
    }

    /// An empty row; the first of a target binds the report series.
    fn row(&mut self, at: Moment) -> ScrapeRow {
        let mut new_series = Vec::new();
        if !self.started {
            self.started = true;
            for (slot, name) in (0u32..).zip(REPORTS) {
                let labels = self.labels.of_report(name);
                self.cache.reserve(Slot::new(slot), labels.clone());
                new_series.push((Slot::new(slot), labels));
            }
        }
        let (time, mono_ms) = (at.wall, at.mono_ms);
        ScrapeRow {
            target: self.id,
            time,
            mono_ms,
            new_series,
            values: Vec::new(),
            metadata: Vec::new(),
            ended: false,
        }
    }

    fn read(&mut self, page: &[u8], pass: &mut Pass) -> Result<(), ScrapeError> {
        self.cache.begin();
        let mut entries = Entries::new(page, self.rules.limits);
        while let Some(entry) = entries.next(self.cache.expected())? {
            match entry {
                Entry::Help { name, text } => self.cache.set_help(name, &text),
                Entry::Type { name, kind } => self.cache.set_type(name, kind),
                Entry::Unit { name, unit } => self.cache.set_unit(name, unit),
                Entry::Sample(sample) => self.take(&sample, pass).map_err(|reason| entries.error(reason))?,
            }
        }
        match self.rules.sample_limit {
            Some(limit) if pass.over_limit > 0 => Err(ScrapeError::SampleLimit {
                found: limit + pass.over_limit,
                limit,
            }),
            _ => Ok(()),
        }
    }

    fn take(&mut self, sample: &RawSample<'_>, pass: &mut Pass) -> Result<(), LineError> {
        let timestamp = sample.timestamp.filter(|_| self.rules.honor_timestamps);
        let text = sample.series.bytes();
        let found = match self.cache.find(text) {
            Some(found) => found,
            None => {
                let parsed = sample.series.parse(&self.rules.limits).inspect_err(|error| {
                    // Prometheus finds this fault only after it has counted the sample.
                    pass.scraped += usize::from(matches!(error, LineError::RepeatedLabel(_)));
                })?;
                // Beyond the limit samples are only counted: the scrape fails anyway.
                if self
                    .rules
                    .sample_limit
                    .is_some_and(|limit| pass.accepted >= limit)
                {
                    pass.scraped += 1;
                    pass.over_limit += 1;
                    pass.kept += 1;
                    return Ok(());
                }
                self.bind(text, self.labels.of_sample(parsed), pass)
            }
        };
        pass.scraped += 1;
        pass.kept += 1;
        if found.scraped_before && timestamp.is_none() {
            pass.duplicates += 1;
            return Ok(());
        }
        pass.accepted += 1;
        if self.rules.sample_limit.is_some_and(|limit| pass.accepted > limit) {
            pass.over_limit += 1;
        }
        self.cache.mark(found.slot, timestamp.is_none());
        pass.put(found.slot, timestamp, sample.value);
        Ok(())
    }

    /// Gives the text of a series that is not cached its slot, a new one if no other text means the same series.
    fn bind(&mut self, text: &[u8], labels: Labels, pass: &mut Pass) -> Found {
        let (found, new) = self.cache.insert(text, &labels);
        // Prometheus counts texts here, also where two mean one series.
        pass.added += 1;
        if new {
            pass.new_series.push((found.slot, labels));
        }
        found
    }

    /// The row, and one for each explicit time; `timed` is sorted.
    fn with_timed(&self, row: ScrapeRow, timed: Vec<Timed>, at: Moment) -> Vec<ScrapeRow> {
        let mut rows = vec![row];
        for of_one_time in timed.chunk_by(|a, b| a.time == b.time) {
            let time = of_one_time[0].time;
            rows.push(ScrapeRow {
                target: self.id,
                time: Timestamp::from_ms(time),
                mono_ms: at.at_wall(Timestamp::from_ms(time)).mono_ms,
                new_series: Vec::new(),
                values: of_one_time.iter().map(|t| (t.slot, t.value)).collect(),
                metadata: Vec::new(),
                ended: false,
            });
        }
        rows
    }
}

/// A sample with a time of its own.
#[derive(Debug, Clone, Copy)]
struct Timed {
    /// Milliseconds since the epoch.
    time: i64,
    slot: Slot,
    value: f64,
}

/// What one reading of a page has gathered.
#[derive(Debug, Default)]
struct Pass {
    new_series: Vec<(Slot, Labels)>,
    values: Vec<(Slot, f64)>,
    timed: Vec<Timed>,
    scraped: usize,
    kept: usize,
    accepted: usize,
    over_limit: usize,
    added: usize,
    duplicates: usize,
}

impl Pass {
    fn put(&mut self, slot: Slot, timestamp: Option<i64>, value: f64) {
        match timestamp {
            Some(time) => self.timed.push(Timed { time, slot, value }),
            None => self.values.push((slot, value)),
        }
    }

    /// Sorted by time; where a series has one time twice, the first sample counts.
    fn take_timed(&mut self) -> Vec<Timed> {
        let mut timed = std::mem::take(&mut self.timed);
        timed.sort_by_key(|t| (t.time, t.slot));
        let before = timed.len();
        timed.dedup_by_key(|t| (t.time, t.slot));
        self.duplicates += before - timed.len();
        timed
    }
}

fn stale() -> f64 {
    f64::from_bits(STALE_NAN)
}
