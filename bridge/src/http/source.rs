//! The store as the engine reads it, for one tenant and one query.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use promql::{Hints, Interrupt, Labels, MatchOp, Matcher, Samples, Series, SeriesSource, SourceError};
use regex::RegexBuilder;
use store::{SelectError, SeriesSlice, Store};
use wire::Tenant;
use wire::labels::DEVICE_ID;

use super::histogram;
use crate::device_series::JOB;

/// Bytes that a list of values may take once compiled.
const MAX_LIST_BYTES: usize = 64 << 20;

/// Reads series of a tenant, and notes whose they are.
pub(crate) struct TenantSource<'a> {
    store: &'a Store,
    tenant: &'a Tenant,
    interrupt: &'a Interrupt,
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
    pub(crate) fn new(store: &'a Store, tenant: &'a Tenant, interrupt: &'a Interrupt) -> Self {
        TenantSource {
            store,
            tenant,
            interrupt,
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

    fn note(
        &self,
        matchers: &[Matcher],
        hints: &Hints,
        for_store: Vec<store::Matcher>,
        slices: &[SeriesSlice],
    ) {
        let samples: usize = slices.iter().map(|s| s.values.len() + s.histograms.len()).sum();
        self.loaded.fetch_add(samples as u64, Ordering::Relaxed);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, end) = read.range.unwrap_or((hints.start_ms, hints.end_ms));
        read.range = Some((start.min(hints.start_ms), end.max(hints.end_ms)));
        // What the bridge itself writes of a device is there however late the device is.
        let of_devices = slices.iter().filter(|s| s.labels.get("job") != Some(JOB));
        for id in of_devices.filter_map(|s| s.labels.get(DEVICE_ID)) {
            if !read.devices.contains(id) {
                read.devices.insert(id.to_owned());
            }
        }
        let text: Vec<String> = matchers.iter().map(Matcher::to_string).collect();
        read.selectors.entry(text.join(",")).or_insert(for_store);
    }
}

impl SeriesSource for TenantSource<'_> {
    fn select(&self, matchers: &[Matcher], hints: &Hints) -> Result<Vec<Series>, SourceError> {
        if self.interrupt.is_raised() {
            return Err(SourceError::Interrupted);
        }
        let most = usize::try_from(hints.max_samples).unwrap_or(usize::MAX);
        let plain = for_store(self.store, self.tenant, matchers)?;
        let slices = self
            .store
            .select(self.tenant, &plain, hints.start_ms, hints.end_ms, most)
            .map_err(|error| match error {
                SelectError::TooManySamples { .. } => SourceError::TooManySamples,
                SelectError::Unreadable(what) => SourceError::Storage(what),
            })?;
        self.note(matchers, hints, plain, &slices);
        slices.into_iter().map(series).collect()
    }
}

fn series(slice: SeriesSlice) -> Result<Series, SourceError> {
    let labels = labels(&slice.labels);
    match samples(slice.times_ms, slice.values, &slice.histograms) {
        Some(samples) => Ok(Series { labels, samples }),
        None => Err(SourceError::Storage(format!(
            "samples of {} are out of order",
            slice.labels
        ))),
    }
}

/// Columns of the engine; where a series has a float and a histogram at one time, the float counts.
fn samples(
    times_ms: Vec<i64>,
    values: Vec<f64>,
    histograms: &[(i64, wire::message::Histogram)],
) -> Option<Samples> {
    let own_time = histograms
        .iter()
        .filter(|(time, _)| times_ms.binary_search(time).is_err());
    let (histogram_times, histograms) = own_time
        .map(|(time, histogram)| (*time, Arc::new(histogram::of_wire(histogram))))
        .unzip();
    Samples::from_floats(times_ms, values)?.with_histograms(histogram_times, histograms)
}

/// Labels of the store as the engine's.
pub(crate) fn labels(set: &wire::Labels) -> Labels {
    set.iter().collect()
}

/// The engine's matchers as the store's. A regular expression becomes the list of the values that it accepts: what Go's
/// syntax means is the engine's knowledge, and an index of values is faster to look up than to scan.
///
/// # Errors
/// An expression accepts more values than a list may take.
pub(crate) fn for_store(
    store: &Store,
    tenant: &Tenant,
    matchers: &[Matcher],
) -> Result<Vec<store::Matcher>, SourceError> {
    let mut plain: Vec<store::Matcher> = Vec::with_capacity(matchers.len());
    let mut patterns = Vec::new();
    for m in matchers {
        let test = match m.op() {
            MatchOp::Equal => store::Test::Equal(m.value().to_owned()),
            MatchOp::NotEqual => store::Test::NotEqual(m.value().to_owned()),
            MatchOp::Regex | MatchOp::NotRegex => {
                patterns.push(m);
                continue;
            }
        };
        plain.push(store::Matcher {
            name: m.name().to_owned(),
            test,
        });
    }
    for m in patterns {
        let values = store.label_values(tenant, m.name(), &plain);
        plain.push(store::Matcher {
            name: m.name().to_owned(),
            test: one_of(m, values)?,
        });
    }
    Ok(plain)
}

/// A test for the values, and for an absent label, that a matcher accepts.
fn one_of(matcher: &Matcher, values: Vec<String>) -> Result<store::Test, SourceError> {
    let absent = matcher.matches("").then(String::new);
    let accepted: Vec<String> = values
        .into_iter()
        .filter(|v| matcher.matches(v))
        .chain(absent)
        .map(|v| regex::escape(&v))
        .collect();
    // Without a value, one that no label can have: the empty class.
    let list = if accepted.is_empty() {
        "[^\\s\\S]".to_owned()
    } else {
        accepted.join("|")
    };
    let compiled = RegexBuilder::new(&format!("^(?:{list})$"))
        .size_limit(MAX_LIST_BYTES)
        .build();
    compiled.map(store::Test::Regex).map_err(|_| {
        SourceError::Storage(format!(
            "{matcher} accepts too many values; narrow the selector by another label"
        ))
    })
}
