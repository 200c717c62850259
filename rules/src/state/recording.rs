//! A recording rule: the expression's series under another name.

use std::collections::BTreeSet;

use promql::InstantSample;

use crate::group::Rule;
use crate::storage::{Sample, SampleValue};

pub(super) fn results(
    rule: &Rule,
    vector: Vec<InstantSample>,
    time_ms: i64,
    limit: Option<usize>,
) -> Result<Vec<Sample>, String> {
    let mut seen = BTreeSet::new();
    let mut samples = Vec::with_capacity(vector.len());
    for sample in vector {
        let labels = rule.recorded(&sample.labels);
        if !seen.insert(labels.clone()) {
            return Err(
                "vector contains metrics with the same labelset after applying rule labels".to_owned(),
            );
        }
        let value = match sample.histogram {
            Some(histogram) => SampleValue::Histogram(histogram),
            None => SampleValue::Float(sample.value),
        };
        samples.push(Sample {
            labels,
            time_ms,
            value,
        });
    }
    match limit {
        Some(limit) if samples.len() > limit => {
            Err(format!("exceeded limit of {limit} with {} series", samples.len()))
        }
        _ => Ok(samples),
    }
}
