//! What an engine answers, whichever it is.

use promql::{Answer, InstantSample, Labels, QueryValue, Samples};

use crate::script::Item;

/// A series and what it has at which time.
pub(crate) type Points = (Labels, Vec<(i64, Item)>);

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Got {
    Scalar(f64),
    Text(String),
    /// Of an instant vector, with one point each and in its order, or of a matrix.
    Series(Vec<Points>),
}

/// A value and notes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) got: Got,
    pub(crate) warnings: Vec<String>,
    pub(crate) infos: Vec<String>,
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        let got = match answer.value {
            QueryValue::Scalar { value, .. } => Got::Scalar(value),
            QueryValue::Text { value, .. } => Got::Text(value),
            QueryValue::Vector(samples) => {
                let item =
                    |s: &InstantSample| s.histogram.clone().map_or(Item::Float(s.value), Item::Histogram);
                Got::Series(
                    samples
                        .iter()
                        .map(|s| (s.labels.clone(), vec![(s.time_ms, item(s))]))
                        .collect(),
                )
            }
            QueryValue::Matrix(series) => Got::Series(
                series
                    .iter()
                    .map(|s| (s.labels.clone(), items(&s.samples)))
                    .collect(),
            ),
        };
        Self {
            got,
            warnings: answer.warnings,
            infos: answer.infos,
        }
    }
}

/// All samples in order of time.
fn items(samples: &Samples) -> Vec<(i64, Item)> {
    let floats = samples.times_ms().iter().zip(samples.values());
    let histograms = samples.histogram_times_ms().iter().zip(samples.histograms());
    let mut items: Vec<(i64, Item)> = floats
        .map(|(time, value)| (*time, Item::Float(*value)))
        .chain(histograms.map(|(time, histogram)| (*time, Item::Histogram(histogram.clone()))))
        .collect();
    items.sort_by_key(|(time, _)| *time);
    items
}
