//! Native histograms made of classic ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use promql::notation::parse_number;
use promql::{Buckets, CUSTOM_SCHEMA, Histogram, Labels};

use crate::script::{Item, Line};

/// What classic series say about one histogram at one time.
#[derive(Default)]
struct Classic {
    cumulative: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: Option<f64>,
}

impl Classic {
    fn into_native(mut self) -> Histogram {
        self.cumulative.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.cumulative.dedup_by(|later, earlier| later.0 == earlier.0);
        let highest = self.cumulative.last().map_or(0.0, |(_, count)| *count);
        let count = self.count.unwrap_or(highest);
        if self.cumulative.last().is_none_or(|(bound, _)| bound.is_finite()) {
            self.cumulative.push((f64::INFINITY, count));
        }
        let mut below = 0.0;
        let mut buckets = Vec::new();
        for (index, (_, cumulative)) in self.cumulative.iter().enumerate() {
            buckets.push((index as i32, cumulative - below));
            below = *cumulative;
        }
        let bounds = self
            .cumulative
            .iter()
            .map(|(bound, _)| *bound)
            .filter(|bound| bound.is_finite());
        Histogram {
            schema: CUSTOM_SCHEMA,
            count,
            sum: self.sum.unwrap_or(0.0),
            positive: Buckets::new(buckets),
            custom_bounds: bounds.collect::<Vec<_>>().into(),
            ..Histogram::default()
        }
    }
}

/// The native histograms with bounds of their own that `load_with_nhcb` adds to classic series.
pub(crate) fn from_classic(lines: &[Line]) -> Vec<Line> {
    let mut found: BTreeMap<Labels, BTreeMap<usize, Classic>> = BTreeMap::new();
    for (labels, items) in lines {
        let name = labels.metric_name();
        let suffix = ["_bucket", "_count", "_sum"]
            .into_iter()
            .find(|suffix| name.ends_with(suffix));
        let Some(suffix) = suffix else { continue };
        let bound = parse_number(labels.get("le"));
        if suffix == "_bucket" && bound.is_none() {
            continue;
        }
        let base = labels
            .with("__name__", name.trim_end_matches(suffix))
            .with("le", "");
        for (index, item) in items.iter().enumerate() {
            let Item::Float(value) = item else { continue };
            let classic = found.entry(base.clone()).or_default().entry(index).or_default();
            match (suffix, bound) {
                ("_bucket", Some(bound)) => classic.cumulative.push((bound, *value)),
                ("_count", _) => classic.count = Some(*value),
                _ => classic.sum = Some(*value),
            }
        }
    }
    let line = |(labels, mut by_index): (Labels, BTreeMap<usize, Classic>)| {
        let last = by_index.last_key_value().map_or(0, |(index, _)| *index);
        let item = |index| match by_index.remove(&index) {
            Some(classic) => Item::Histogram(Arc::new(classic.into_native())),
            None => Item::Absent,
        };
        let items = (0..=last).map(item).collect();
        (labels, items)
    };
    found.into_iter().map(line).collect()
}
