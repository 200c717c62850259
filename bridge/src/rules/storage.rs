//! What rules read and write: the store, and beside it what the rules of this evaluation gave so far.
//!
//! A group's results are committed once, at the end of its evaluation, as each commit is an fsync; later rules of the group
//! see those of earlier ones from memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use promql::{
    Answer, Batches, EvalError, Hints, Labels, MatchOp, Matcher, Plan, Samples, Series, SeriesSource,
    SourceError,
};
use rules::{AppendError, Refused, Sample, SampleValue, Storage};
use store::{CommitError, OwnSample, OwnValue, Recorded, Store};
use wire::{Tenant, Timestamp};

use super::Shared;
use crate::admission::Running;
use crate::histogram;
use crate::http::TenantSource;

/// The storage of one evaluation.
pub(super) struct Results<'a> {
    shared: &'a Shared,
    tenant: &'a Tenant,
    running: &'a Running,
    source: TenantSource<'a>,
    began: Instant,
    /// By metric name.
    fresh: HashMap<String, Vec<Sample>>,
}

impl<'a> Results<'a> {
    pub(super) fn new(shared: &'a Shared, tenant: &'a Tenant, running: &'a Running) -> Self {
        Results {
            shared,
            tenant,
            running,
            source: TenantSource::new(&shared.store, tenant, running),
            began: Instant::now(),
            fresh: HashMap::new(),
        }
    }

    /// Makes the results durable.
    pub(super) fn commit(self) -> Result<Recorded, CommitError> {
        let all: Vec<Sample> = self.fresh.into_values().flatten().collect();
        record(&self.shared.store, self.tenant, &all)
    }

    /// Samples of this evaluation that a selection asks for.
    fn fresh(&self, matchers: &[Matcher], hints: &Hints) -> Vec<&Sample> {
        let name = matchers
            .iter()
            .find(|m| m.name() == promql::METRIC_NAME && m.op() == MatchOp::Equal)
            .map(Matcher::value);
        let of_name: Vec<&Vec<Sample>> = match name {
            Some(name) => self.fresh.get(name).into_iter().collect(),
            None => self.fresh.values().collect(),
        };
        let in_time = |sample: &&Sample| (hints.start_ms..=hints.end_ms).contains(&sample.time_ms);
        of_name
            .into_iter()
            .flatten()
            .filter(in_time)
            .filter(|sample| matchers.iter().all(|m| m.matches_labels(&sample.labels)))
            .collect()
    }
}

/// Makes samples of rules durable.
pub(super) fn record(store: &Store, tenant: &Tenant, samples: &[Sample]) -> Result<Recorded, CommitError> {
    let own = samples.iter().map(|sample| OwnSample {
        labels: wire::Labels::of_sorted(sample.labels.iter()),
        time: Timestamp::from_ms(sample.time_ms),
        value: match &sample.value {
            SampleValue::Float(value) => OwnValue::Float(*value),
            SampleValue::Histogram(value) => OwnValue::Histogram(Box::new(histogram::to_wire(value))),
        },
    });
    store.record(tenant, &own.collect::<Vec<_>>())
}

/// Adds a sample to the series of its labels, or as one of its own.
fn add(series: &mut Vec<Series>, places: &mut HashMap<Labels, usize>, sample: &Sample) -> Option<()> {
    let place = *places.entry(sample.labels.clone()).or_insert_with(|| {
        series.push(Series {
            labels: sample.labels.clone(),
            samples: Samples::default(),
        });
        series.len() - 1
    });
    let old = std::mem::take(&mut series[place].samples);
    let (float, histogram) = match &sample.value {
        SampleValue::Float(value) => (Some(*value), None),
        SampleValue::Histogram(histogram) => (None, Some(Arc::clone(histogram))),
    };
    let (times, values) = put((old.times_ms(), old.values()), sample.time_ms, float);
    let floats = Samples::from_floats(times, values)?;
    let old = (old.histogram_times_ms(), old.histograms());
    let (times, histograms) = put(old, sample.time_ms, histogram);
    series[place].samples = floats.with_histograms(times, histograms)?;
    Some(())
}

/// Columns with a value at a time, or none there.
fn put<T: Clone>((times, values): (&[i64], &[T]), at: i64, value: Option<T>) -> (Vec<i64>, Vec<T>) {
    let (mut times, mut values) = (times.to_vec(), values.to_vec());
    let place = times.binary_search(&at);
    if let Ok(place) = place {
        times.remove(place);
        values.remove(place);
    }
    if let Some(value) = value {
        let place = place.unwrap_or_else(|place| place);
        times.insert(place, at);
        values.insert(place, value);
    }
    (times, values)
}

impl SeriesSource for Results<'_> {
    fn select(&self, matchers: &[Matcher], hints: &Hints) -> Result<Vec<Series>, SourceError> {
        let mut series = self.source.select(matchers, hints)?;
        let fresh = self.fresh(matchers, hints);
        if fresh.is_empty() {
            return Ok(series);
        }
        let mut places = series
            .iter()
            .enumerate()
            .map(|(n, s)| (s.labels.clone(), n))
            .collect();
        for sample in fresh {
            add(&mut series, &mut places, sample).ok_or_else(|| {
                SourceError::Storage(format!("samples of {} are out of order", sample.labels))
            })?;
        }
        Ok(series)
    }

    fn batches(
        &self,
        matchers: &[Matcher],
        hints: &Hints,
    ) -> Result<Option<Box<dyn Batches + '_>>, SourceError> {
        match self.fresh(matchers, hints).is_empty() {
            true => self.source.batches(matchers, hints),
            false => Ok(None),
        }
    }
}

impl Storage for Results<'_> {
    fn query(&self, plan: &Plan, at_ms: i64) -> Result<Answer, EvalError> {
        promql::eval_instant(plan, at_ms, self, &options(self.shared, self.running))
    }

    fn append(&mut self, samples: &[Sample]) -> Result<Vec<Refused>, AppendError> {
        for sample in samples {
            let of_name = self
                .fresh
                .entry(sample.labels.metric_name().to_owned())
                .or_default();
            of_name.push(sample.clone());
        }
        Ok(Vec::new())
    }

    fn clock(&self) -> Duration {
        self.began.elapsed()
    }
}

/// Options of a rule's query.
pub(super) fn options<'a>(shared: &Shared, running: &'a Running) -> promql::Options<'a> {
    let config = &shared.config;
    promql::Options {
        lookback_ms: crate::millis(config.lookback_delta),
        max_samples: config.query_max_samples,
        delayed_name_removal: config.features.delayed_name_removal,
        threads: config.query_threads,
        memory: Some(&running.memory),
        interrupt: Some(&running.interrupt),
        ..promql::Options::default()
    }
}
