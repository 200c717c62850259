//! The samples that rules read, in memory: only series that a rule selects, only as long as it looks back, and never more
//! bytes than the budget.
//!
//! A sample that finds no room leaves a hole. Rules that would read over it fail until it has left their window, so that
//! no rule takes a part for the whole. A series that finds no room leaves one with each of its samples, for as long as its
//! target has it.

mod change;

use std::collections::HashMap;

use promql::{Hints, Labels, Matcher, Series, SeriesSource, SourceError};
use rules::Reading;
use wire::units::ByteSize;

use super::columns::Columns;
use crate::input::{ScrapeRow, TargetId};

/// Memory of a series beside its labels' text and its samples, bytes.
const SERIES: usize = 400;

/// A series' place in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place(usize);

/// What a slot of a target stands for.
#[derive(Debug, Clone, Default)]
enum Bound {
    /// A series that no rule reads.
    #[default]
    Unread,
    Kept(Place),
    /// A series that found no room, and the readings that miss it.
    Refused(Box<[usize]>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Window {
    readings: Vec<Kept>,
    series: Vec<Option<Held>>,
    free: Vec<usize>,
    places: HashMap<Labels, usize>,
    /// What the slots of targets stand for; labels too, for when other rules are to read them.
    targets: HashMap<TargetId, Vec<(Labels, Bound)>>,
    bytes: usize,
    budget: usize,
    /// Samples that found no room.
    pub(super) refused: u64,
}

/// A selection of some rules.
#[derive(Debug)]
struct Kept {
    matchers: Vec<Matcher>,
    back_ms: i64,
    /// The time of the newest sample that found no room.
    hole_ms: Option<i64>,
}

/// A series that a rule selects.
#[derive(Debug)]
struct Held {
    labels: Labels,
    readings: Vec<usize>,
    back_ms: i64,
    columns: Columns,
    /// Slots of targets that stand for it.
    bound: u32,
}

impl Window {
    /// An empty window for what some rules read.
    pub(super) fn new(readings: impl IntoIterator<Item = Reading>, budget: usize) -> Window {
        let mut kept: Vec<Kept> = Vec::new();
        for reading in readings {
            match kept.iter_mut().find(|kept| kept.matchers == reading.matchers) {
                Some(kept) => kept.back_ms = kept.back_ms.max(reading.back_ms),
                None => kept.push(Kept {
                    matchers: reading.matchers,
                    back_ms: reading.back_ms,
                    hole_ms: None,
                }),
            }
        }
        Window {
            readings: kept,
            series: Vec::new(),
            free: Vec::new(),
            places: HashMap::new(),
            targets: HashMap::new(),
            bytes: 0,
            budget,
            refused: 0,
        }
    }

    /// Memory that series and samples take, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How far back any rule looks, ms.
    pub(super) fn back_ms(&self) -> i64 {
        self.readings.iter().map(|kept| kept.back_ms).max().unwrap_or(0)
    }

    /// Takes a scrape that was made at a time of the rules' clock.
    pub(super) fn take(&mut self, row: &ScrapeRow, at_ms: i64) {
        let mut slots = self.targets.remove(&row.target).unwrap_or_default();
        for (slot, labels) in &row.new_series {
            if slots.len() <= slot.index() {
                slots.resize(slot.index() + 1, (Labels::default(), Bound::Unread));
            }
            let labels = Labels::of_sorted(labels.iter());
            let bound = self.bound(&labels);
            self.count_bound(&bound, 1);
            let before = std::mem::replace(&mut slots[slot.index()], (labels, bound));
            self.count_bound(&before.1, -1);
        }
        for (slot, value) in &row.values {
            match slots.get(slot.index()).map(|(_, bound)| bound) {
                Some(Bound::Kept(place)) => self.push(*place, at_ms, *value),
                Some(Bound::Refused(readings)) => self.miss(readings, at_ms),
                Some(Bound::Unread) | None => {}
            }
        }
        if row.ended {
            slots.iter().for_each(|(_, bound)| self.count_bound(bound, -1));
        } else {
            self.targets.insert(row.target, slots);
        }
    }

    /// Where a series is, a new place if there is none; `None` if no rule reads it, or there is no room, which leaves a hole
    /// at a time.
    pub(super) fn place(&mut self, labels: &Labels, at_ms: i64) -> Option<Place> {
        match self.bound(labels) {
            Bound::Kept(place) => Some(place),
            Bound::Refused(readings) => {
                self.miss(&readings, at_ms);
                None
            }
            Bound::Unread => None,
        }
    }

    fn bound(&mut self, labels: &Labels) -> Bound {
        if let Some(&place) = self.places.get(labels) {
            return Bound::Kept(Place(place));
        }
        let matches = |kept: &Kept| kept.matchers.iter().all(|matcher| matcher.matches_labels(labels));
        let readings: Vec<usize> = (0..self.readings.len())
            .filter(|&at| matches(&self.readings[at]))
            .collect();
        if readings.is_empty() {
            return Bound::Unread;
        }
        let held = Held {
            back_ms: readings
                .iter()
                .map(|&at| self.readings[at].back_ms)
                .max()
                .unwrap_or(0),
            labels: labels.clone(),
            readings,
            columns: Columns::default(),
            bound: 0,
        };
        let bytes = held.bytes();
        if self.bytes + bytes > self.budget {
            return Bound::Refused(held.readings.into());
        }
        self.bytes += bytes;
        let place = self.free.pop().unwrap_or(self.series.len());
        if place == self.series.len() {
            self.series.push(None);
        }
        self.series[place] = Some(held);
        self.places.insert(labels.clone(), place);
        Bound::Kept(Place(place))
    }

    /// Adds a sample; one that is not newer than what is there is none.
    pub(super) fn push(&mut self, Place(place): Place, at_ms: i64, value: f64) {
        let Some(held) = self.series.get_mut(place).and_then(Option::as_mut) else {
            return;
        };
        if held.columns.last().is_some_and(|last| last >= at_ms) {
            return;
        }
        held.columns.trim(at_ms, held.back_ms);
        let growth = held.columns.growth();
        if self.bytes + growth > self.budget {
            let readings = held.readings.clone();
            return self.miss(&readings, at_ms);
        }
        held.columns.push(at_ms, value);
        self.bytes += growth;
    }

    /// Drops what no rule reads any more at a time.
    pub(super) fn sweep(&mut self, now_ms: i64) {
        for place in 0..self.series.len() {
            let Some(held) = &mut self.series[place] else {
                continue;
            };
            held.columns.trim(now_ms, held.back_ms);
            if held.bound == 0 && held.columns.is_empty() {
                self.bytes -= held.bytes();
                self.places.remove(&held.labels);
                self.series[place] = None;
                self.free.push(place);
            }
        }
    }

    /// The rules' clock was set by so many ms.
    pub(super) fn shift(&mut self, by_ms: i64) {
        let held = self.series.iter_mut().flatten();
        held.for_each(|held| held.columns.shift(by_ms));
        let holes = self.readings.iter_mut().filter_map(|kept| kept.hole_ms.as_mut());
        holes.for_each(|time| *time = time.saturating_add(by_ms));
    }

    fn count_bound(&mut self, bound: &Bound, by: i32) {
        let Bound::Kept(Place(at)) = *bound else { return };
        if let Some(held) = self.series.get_mut(at).and_then(Option::as_mut) {
            held.bound = held.bound.saturating_add_signed(by);
        }
    }

    fn miss(&mut self, readings: &[usize], at_ms: i64) {
        self.refused += 1;
        for &at in readings {
            self.readings[at].hole_ms = self.readings[at].hole_ms.max(Some(at_ms));
        }
    }
}

impl Held {
    fn bytes(&self) -> usize {
        let text = self.labels.iter().map(|(name, value)| name.len() + value.len());
        // The labels are there twice.
        SERIES + 2 * text.sum::<usize>() + self.columns.bytes()
    }
}

impl SeriesSource for Window {
    fn select(&self, matchers: &[Matcher], hints: &Hints) -> Result<Vec<Series>, SourceError> {
        let reading = self.readings.iter().position(|kept| kept.matchers == matchers);
        let hole = reading.and_then(|at| self.readings[at].hole_ms);
        if hole.is_some_and(|time| time >= hints.start_ms) {
            return Err(SourceError::Storage(format!(
                "rules_memory of {} is used up and samples that it reads are missing; raise it, or select less",
                ByteSize::new(self.budget as u64)
            )));
        }
        let selected = |held: &&Held| match reading {
            Some(at) => held.readings.contains(&at),
            None => matchers
                .iter()
                .all(|matcher| matcher.matches_labels(&held.labels)),
        };
        let (mut found, mut count) = (Vec::new(), 0);
        for held in self.series.iter().flatten().filter(selected) {
            let samples = held.columns.between(hints.start_ms, hints.end_ms);
            let samples = samples.ok_or_else(|| SourceError::Storage("samples out of order".to_owned()))?;
            count += samples.len() as u64;
            if count > hints.max_samples {
                return Err(SourceError::TooManySamples);
            }
            if !samples.is_empty() {
                found.push(Series {
                    labels: held.labels.clone(),
                    samples,
                });
            }
        }
        Ok(found)
    }
}
