//! Series in memory that take samples as Prometheus's head does: of each series only later ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use promql::{
    Answer, CounterReset, EvalError, Hints, Histogram, Labels, Matcher, Plan, Samples, Series, SeriesSource,
    SourceError, eval_instant,
};

use crate::storage::{AppendError, Refused, Sample, SampleValue, Storage};

/// Samples of one series, ascending.
#[derive(Debug, Default)]
struct Columns {
    times_ms: Vec<i64>,
    values: Vec<f64>,
    histogram_times_ms: Vec<i64>,
    histograms: Vec<Arc<Histogram>>,
}

impl Columns {
    fn last(&self) -> Option<(i64, SampleValue)> {
        let float = self.times_ms.last().zip(self.values.last());
        let histogram = self.histogram_times_ms.last().zip(self.histograms.last());
        match (float, histogram) {
            (Some((time, value)), later) if later.is_none_or(|(t, _)| t < time) => {
                Some((*time, SampleValue::Float(*value)))
            }
            (_, Some((time, histogram))) => Some((*time, SampleValue::Histogram(histogram.clone()))),
            _ => None,
        }
    }

    fn push(&mut self, time_ms: i64, value: SampleValue) -> Result<(), &'static str> {
        if let Some((last_ms, last)) = self.last() {
            if time_ms < last_ms {
                return Err("out of order sample");
            }
            if time_ms == last_ms {
                return match is_same(&last, &value) {
                    true => Ok(()),
                    false => Err("duplicate sample for timestamp"),
                };
            }
        }
        match value {
            SampleValue::Float(value) => {
                self.times_ms.push(time_ms);
                self.values.push(value);
            }
            SampleValue::Histogram(histogram) => {
                let before = match self.last() {
                    Some((_, SampleValue::Histogram(before))) => Some(before),
                    _ => None,
                };
                let hint = reset_hint(before.as_deref(), &histogram);
                let mut histogram = histogram;
                if histogram.counter_reset != hint {
                    Arc::make_mut(&mut histogram).counter_reset = hint;
                }
                self.histogram_times_ms.push(time_ms);
                self.histograms.push(histogram);
            }
        }
        Ok(())
    }

    fn between(&self, hints: &Hints) -> Option<Samples> {
        let range = |times: &[i64]| {
            let start = times.partition_point(|time| *time < hints.start_ms);
            let end = times.partition_point(|time| *time <= hints.end_ms);
            start..end.max(start)
        };
        let (floats, histograms) = (range(&self.times_ms), range(&self.histogram_times_ms));
        let of =
            |times: &[i64], range: &std::ops::Range<usize>| times.get(range.clone()).map(<[i64]>::to_vec);
        Samples::from_floats(of(&self.times_ms, &floats)?, self.values.get(floats)?.to_vec())?
            .with_histograms(
                of(&self.histogram_times_ms, &histograms)?,
                self.histograms.get(histograms)?.to_vec(),
            )
    }
}

/// What storage says about a reset, as Prometheus's chunks do (its `tsdb/chunkenc/float_histogram.go`).
fn reset_hint(before: Option<&Histogram>, now: &Histogram) -> CounterReset {
    if matches!(now.counter_reset, CounterReset::Gauge | CounterReset::Reset) || now.is_stale() {
        return now.counter_reset;
    }
    let Some(before) = before.filter(|h| !h.is_stale() && h.counter_reset != CounterReset::Gauge) else {
        return CounterReset::Unknown;
    };
    if now.count >= before.count
        && (now.schema != before.schema || now.zero_threshold != before.zero_threshold)
    {
        return CounterReset::Unknown;
    }
    match now.is_reset_after(before) {
        true => CounterReset::Reset,
        false => CounterReset::NotReset,
    }
}

fn is_same(a: &SampleValue, b: &SampleValue) -> bool {
    match (a, b) {
        (SampleValue::Float(a), SampleValue::Float(b)) => a.to_bits() == b.to_bits(),
        (SampleValue::Histogram(a), SampleValue::Histogram(b)) => a == b,
        _ => false,
    }
}

/// All series of a test.
#[derive(Debug)]
pub(crate) struct Memory {
    series: BTreeMap<Labels, Columns>,
    options: promql::Options<'static>,
}

impl Memory {
    pub(crate) fn new(options: promql::Options<'static>) -> Self {
        let series = BTreeMap::new();
        Self { series, options }
    }

    pub(crate) fn push(&mut self, sample: &Sample) -> Result<(), &'static str> {
        let columns = match self.series.get_mut(&sample.labels) {
            Some(columns) => columns,
            None => self.series.entry(sample.labels.clone()).or_default(),
        };
        columns.push(sample.time_ms, sample.value.clone())
    }
}

impl SeriesSource for Memory {
    fn select(&self, matchers: &[Matcher], hints: &Hints) -> Result<Vec<Series>, SourceError> {
        let mut selected = Vec::new();
        let matching = self
            .series
            .iter()
            .filter(|(labels, _)| matchers.iter().all(|matcher| matcher.matches_labels(labels)));
        for (labels, columns) in matching {
            let samples = columns
                .between(hints)
                .ok_or_else(|| SourceError::Storage("samples out of order".to_owned()))?;
            if !samples.is_empty() {
                selected.push(Series {
                    labels: labels.clone(),
                    samples,
                });
            }
        }
        Ok(selected)
    }
}

impl Storage for Memory {
    fn query(&self, plan: &Plan, at_ms: i64) -> Result<Answer, EvalError> {
        eval_instant(plan, at_ms, self, &self.options)
    }

    fn append(&mut self, samples: &[Sample]) -> Result<Vec<Refused>, AppendError> {
        let refused = samples.iter().enumerate().filter_map(|(index, sample)| {
            let reason = self.push(sample).err()?;
            Some(Refused {
                index,
                reason: reason.to_owned(),
            })
        });
        Ok(refused.collect())
    }

    fn clock(&self) -> Duration {
        Duration::ZERO
    }
}
