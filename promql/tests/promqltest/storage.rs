//! Series in memory, as scripts load them.

use std::collections::BTreeMap;

use promql::{Hints, Labels, Matcher, Samples, Series, SeriesSource, SourceError};

use crate::script::{Item, Line};

/// What was loaded since the last `clear`, in order of loading.
#[derive(Default)]
pub(crate) struct Storage {
    series: Vec<(Labels, BTreeMap<i64, f64>)>,
}

impl Storage {
    /// Adds samples; item i is at i times the step. Native histograms are left out.
    pub(crate) fn load(&mut self, step_ms: i64, lines: &[Line]) {
        for (labels, items) in lines {
            let place = self
                .series
                .iter()
                .position(|(known, _)| known == labels)
                .unwrap_or_else(|| {
                    self.series.push((labels.clone(), BTreeMap::new()));
                    self.series.len() - 1
                });
            for (index, item) in items.iter().enumerate() {
                if let Item::Float(value) = item {
                    self.series[place].1.insert(step_ms * index as i64, *value);
                }
            }
        }
    }
}

impl SeriesSource for Storage {
    fn select(&self, matchers: &[Matcher], hints: &Hints) -> Result<Vec<Series>, SourceError> {
        let mut selected = Vec::new();
        for (labels, samples) in &self.series {
            if hints.start_ms > hints.end_ms || !matchers.iter().all(|matcher| matcher.matches_labels(labels))
            {
                continue;
            }
            let (times, values) = samples
                .range(hints.start_ms..=hints.end_ms)
                .map(|(t, v)| (*t, *v))
                .unzip();
            let samples = Samples::from_floats(times, values)
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
