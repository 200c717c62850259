//! Puts a series together from its sources: in order of time, one sample per time, the later in the journal wins.

use super::tenant::Source;

/// One series' samples in order.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    pub(crate) times_ms: Vec<i64>,
    pub(crate) values: Vec<f64>,
}

/// Reads the samples of a range of time, both ends included.
pub(crate) fn merge(sources: &[Source], start: i64, end: i64) -> Merged {
    let mut samples: Vec<(i64, u64, f64)> = Vec::new();
    let mut scratch = Vec::new();
    for source in sources {
        match source {
            Source::Open(open) => samples.extend_from_slice(open),
            Source::Rows(rows, position) => rows.samples(*position, &mut scratch, |time, order, value| {
                if (start..=end).contains(&time) {
                    samples.push((time, order, value));
                }
            }),
        }
    }
    if !samples.is_sorted_by(|a, b| a.0 < b.0) {
        samples.sort_unstable_by_key(|(time, order, _)| (*time, *order));
    }
    let mut merged = Merged::default();
    for (at, (time, _, value)) in samples.iter().enumerate() {
        // The last of a time is the one that was journaled last.
        if samples.get(at + 1).is_none_or(|(next, _, _)| next != time) {
            merged.times_ms.push(*time);
            merged.values.push(*value);
        }
    }
    merged
}
