//! The store as the engine reads it, for one tenant and one query.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use promql::{
    Batches, EvalError, Hints, Labels, MatchOp, Matcher, Samples, Series, SeriesSource, SourceError, Times,
};
use store::{Predicate, ReadLimits, SelectError, Selection, SeriesSlice, Store, Test};
use wire::Tenant;
use wire::labels::DEVICE_ID;

use crate::admission::Running;
use crate::device_series::JOB;
use crate::histogram;

/// Reads series of a tenant, and notes whose they are.
pub(crate) struct TenantSource<'a> {
    store: &'a Store,
    tenant: &'a Tenant,
    running: &'a Running,
    read: Mutex<Read>,
    loaded: AtomicU64,
}

/// What a query has read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// Devices of which it found samples.
    pub(crate) devices: BTreeSet<String>,
    /// The time that it looked into, Unix ms, both ends included; windows and offsets are part of it.
    pub(crate) range: Option<(i64, i64)>,
    /// What it looked for, by its text.
    pub(crate) selectors: BTreeMap<String, Vec<store::Matcher>>,
}

impl<'a> TenantSource<'a> {
    /// A source for one query.
    pub(crate) fn new(store: &'a Store, tenant: &'a Tenant, running: &'a Running) -> Self {
        TenantSource {
            store,
            tenant,
            running,
            read: Mutex::default(),
            loaded: AtomicU64::default(),
        }
    }

    /// Samples that the query has read.
    pub(crate) fn loaded(&self) -> u64 {
        self.loaded.load(Ordering::Relaxed)
    }

    /// What the query has read.
    pub(crate) fn into_read(self) -> Read {
        self.read.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is looked for.
    fn note_selector(&self, matchers: &[Matcher], hints: &Hints, for_store: &[store::Matcher]) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, end) = read.range.unwrap_or((hints.start_ms, hints.end_ms));
        read.range = Some((start.min(hints.start_ms), end.max(hints.end_ms)));
        let text: Vec<String> = matchers.iter().map(Matcher::to_string).collect();
        let selector = read.selectors.entry(text.join(","));
        selector.or_insert_with(|| for_store.to_vec());
    }

    /// Notes whose series were found.
    fn note_devices(&self, slices: &[SeriesSlice]) {
        let samples: usize = slices.iter().map(|s| s.values.len() + s.histograms.len()).sum();
        self.loaded.fetch_add(samples as u64, Ordering::Relaxed);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        // What the bridge itself writes of a device is there however late the device is.
        let mut last = None;
        for labels in slices.iter().map(|s| &s.labels) {
            let id = labels.get(DEVICE_ID);
            // Neighbours are often of one device.
            if id.is_none() || id == last || labels.get("job") == Some(JOB) {
                continue;
            }
            last = id;
            if let Some(id) = id
                && !read.devices.contains(id)
            {
                read.devices.insert(id.to_owned());
            }
        }
    }

    /// Reads a part of a selection. What it takes is given back at once: the engine holds it then.
    fn read(
        &self,
        max_samples: u64,
        read: impl FnOnce(&ReadLimits<'_>) -> Result<Vec<SeriesSlice>, SelectError>,
    ) -> Result<Vec<Series>, SourceError> {
        let (slices, taken) = within(self.running, max_samples, read);
        let series = slices.and_then(|slices| {
            self.note_devices(&slices);
            let mut times = Times::default();
            slices
                .into_iter()
                .map(|slice| series(slice, &mut times))
                .collect()
        });
        self.running.memory.give_back(taken);
        series
    }
}

/// Reads from the store under a query's limits; also the bytes taken of its budget, which are not given back.
pub(super) fn within<T>(
    running: &Running,
    max_samples: u64,
    read: impl FnOnce(&ReadLimits<'_>) -> Result<T, SelectError>,
) -> (Result<T, SourceError>, u64) {
    let (taken, refusal) = (AtomicU64::new(0), OnceLock::new());
    let stop = || running.interrupt.is_raised();
    let take = |bytes: usize| match running.memory.take(bytes as u64) {
        Ok(()) => {
            taken.fetch_add(bytes as u64, Ordering::Relaxed);
            true
        }
        Err(over) => {
            let _ = refusal.set(over);
            false
        }
    };
    let outcome = read(&ReadLimits {
        max_samples: usize::try_from(max_samples).unwrap_or(usize::MAX),
        stop: &stop,
        take: &take,
    });
    let outcome = outcome.map_err(|error| match (error, refusal.get()) {
        (SelectError::TooMuchMemory, Some(over)) => SourceError::OverBudget(*over),
        (SelectError::TooManySamples { .. }, _) => SourceError::TooManySamples,
        (SelectError::Interrupted, _) => SourceError::Interrupted,
        (error, _) => SourceError::Storage(error.to_string()),
    });
    (outcome, taken.into_inner())
}

/// As a query fails where its source does.
pub(super) fn eval_error(error: SourceError) -> EvalError {
    match error {
        SourceError::TooManySamples => EvalError::TooManySamples,
        SourceError::OverBudget(over) => EvalError::OverBudget(over),
        SourceError::Interrupted => EvalError::Canceled,
        SourceError::Storage(what) => EvalError::Storage(what),
    }
}

impl SeriesSource for TenantSource<'_> {
    fn select(&self, matchers: &[Matcher], hints: &Hints) -> Result<Vec<Series>, SourceError> {
        let plain = for_store(matchers);
        self.note_selector(matchers, hints, &plain);
        let range = (hints.start_ms, hints.end_ms);
        let selection = self.store.selection(self.tenant, plain, range, hints.newest_only);
        self.read(hints.max_samples, |limits| selection.read_all(limits))
    }

    fn batches(
        &self,
        matchers: &[Matcher],
        hints: &Hints,
    ) -> Result<Option<Box<dyn Batches + '_>>, SourceError> {
        let plain = for_store(matchers);
        self.note_selector(matchers, hints, &plain);
        let range = (hints.start_ms, hints.end_ms);
        let selection = self.store.selection(self.tenant, plain, range, hints.newest_only);
        Ok(Some(Box::new(Parts {
            source: self,
            selection,
        })))
    }
}

/// A selection that the engine reads in batches.
struct Parts<'a> {
    source: &'a TenantSource<'a>,
    selection: Selection<'a>,
}

impl Batches for Parts<'_> {
    fn count(&self) -> usize {
        self.selection.count()
    }

    fn read(&self, batch: usize, max_samples: u64) -> Result<Vec<Series>, SourceError> {
        let read = |limits: &ReadLimits<'_>| self.selection.read(batch, limits);
        self.source.read(max_samples, read)
    }
}

/// A series for the engine; `times` has the times of the one before, which mostly are the same.
fn series(slice: SeriesSlice, times: &mut Times) -> Result<Series, SourceError> {
    let labels = labels(&slice.labels);
    match samples(slice.times_ms, slice.values, &slice.histograms, times) {
        Some(samples) => Ok(Series { labels, samples }),
        None => Err(SourceError::Storage(format!(
            "samples of {} are out of order",
            slice.labels
        ))),
    }
}

/// Columns of the engine; where a series has a float and a histogram at one time, the float counts.
fn samples(
    times_ms: Arc<Vec<i64>>,
    values: Vec<f64>,
    histograms: &[(i64, wire::message::Histogram)],
    times: &mut Times,
) -> Option<Samples> {
    let own_time = histograms
        .iter()
        .filter(|(time, _)| times_ms.binary_search(time).is_err());
    let (histogram_times, histograms): (Vec<i64>, Vec<_>) = own_time
        .map(|(time, histogram)| (*time, Arc::new(histogram::of_wire(histogram))))
        .unzip();
    if !times.are(&times_ms) {
        *times = Times::new(times_ms)?;
    }
    let floats = Samples::at_times(times, values)?;
    match histograms.is_empty() {
        true => Some(floats),
        false => floats.with_histograms(histogram_times, histograms),
    }
}

/// Labels of the store as the engine's.
pub(crate) fn labels(set: &wire::Labels) -> Labels {
    Labels::of_sorted(set.iter())
}

/// The engine's matchers as the store's: what Go's syntax means is the engine's knowledge.
pub(crate) fn for_store(matchers: &[Matcher]) -> Vec<store::Matcher> {
    let for_store = |m: &Matcher| store::Matcher {
        name: m.name().to_owned(),
        test: match (m.op(), m.alternatives()) {
            (MatchOp::Equal, _) => Test::Equal(m.value().to_owned()),
            (MatchOp::NotEqual, _) => Test::NotEqual(m.value().to_owned()),
            (MatchOp::Regex | MatchOp::NotRegex, Some(values)) => Test::OneOf(values.to_vec()),
            (MatchOp::Regex | MatchOp::NotRegex, None) => {
                let m = m.clone();
                Test::Passes(Predicate::new(move |value| m.matches(value)))
            }
        },
    };
    matchers.iter().map(for_store).collect()
}
