//! Series in memory, as scripts load them.

use std::collections::BTreeMap;

use promql::{Batches, Hints, Labels, Matcher, Samples, Series, SeriesSource, SourceError};

use crate::script::{Item, Line};

/// What was loaded since the last `clear`, in order of loading.
#[derive(Default)]
pub(crate) struct Storage {
    series: Vec<(Labels, BTreeMap<i64, Item>)>,
}

impl Storage {
    /// Adds samples; item i is at i times the step.
    pub(crate) fn load(&mut self, step_ms: i64, lines: &[Line]) {
        for (labels, items) in lines {
            let known = self.series.iter().position(|(known, _)| known == labels);
            let place = known.unwrap_or_else(|| {
                self.series.push((labels.clone(), BTreeMap::new()));
                self.series.len() - 1
            });
            for (index, item) in items
                .iter()
                .enumerate()
                .filter(|(_, item)| **item != Item::Absent)
            {
                self.series[place].1.insert(step_ms * index as i64, item.clone());
            }
        }
    }
}

impl SeriesSource for Storage {
    fn select(&self, matchers: &[Matcher], hints: &Hints) -> Result<Vec<Series>, SourceError> {
        let mut selected = Vec::new();
        for (labels, items) in &self.series {
            if hints.start_ms > hints.end_ms || !matchers.iter().all(|matcher| matcher.matches_labels(labels))
            {
                continue;
            }
            let (mut floats, mut histograms) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
            for (time, item) in items.range(hints.start_ms..=hints.end_ms) {
                match item {
                    Item::Float(value) => {
                        floats.0.push(*time);
                        floats.1.push(*value);
                    }
                    Item::Histogram(histogram) => {
                        histograms.0.push(*time);
                        histograms.1.push(histogram.clone());
                    }
                    Item::Absent | Item::Shown(_) => {}
                }
            }
            let samples = Samples::from_floats(floats.0, floats.1)
                .and_then(|samples| samples.with_histograms(histograms.0, histograms.1))
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

    /// Two series at a time, so that the scripts check how results are put together.
    fn batches(
        &self,
        matchers: &[Matcher],
        hints: &Hints,
    ) -> Result<Option<Box<dyn Batches + '_>>, SourceError> {
        Ok(Some(Box::new(Pairs(self.select(matchers, hints)?))))
    }
}

struct Pairs(Vec<Series>);

impl Batches for Pairs {
    fn count(&self) -> usize {
        self.0.len().div_ceil(2)
    }

    fn read(&self, batch: usize, _: u64) -> Result<Vec<Series>, SourceError> {
        Ok(self.0.iter().skip(2 * batch).take(2).cloned().collect())
    }
}
