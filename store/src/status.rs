//! What the heads hold, for those who look for too many series.

use wire::DeviceName;

/// What a tenant's heads hold: Prometheus's head statistics. Lists have the largest first, and of equal counts the first
/// by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeadStatus {
    /// Series with rows in memory or a place for them.
    pub series: u64,
    /// Different pairs of a label and its value.
    pub label_pairs: u64,
    /// Chunks of series in memory, those that take rows included.
    pub chunks: u64,
    /// Times of the oldest and newest row, ms since the epoch; `None`: there is none.
    pub times_ms: Option<(i64, i64)>,
    /// Series of each metric.
    pub series_by_metric: Vec<(String, u64)>,
    /// Different values of each label.
    pub values_by_label: Vec<(String, u64)>,
    /// Bytes of a label's values, over all series.
    pub bytes_by_label: Vec<(String, u64)>,
    /// Series of each `label=value`.
    pub series_by_pair: Vec<(String, u64)>,
}

/// A device and its active series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveSeries {
    /// The device.
    pub device: DeviceName,
    /// Its series that the heads have a place for.
    pub series: u64,
}

/// The largest of some counts.
#[derive(Debug)]
pub(crate) struct Top {
    limit: usize,
    counts: Vec<(String, u64)>,
}

impl Top {
    pub(crate) fn new(limit: usize) -> Self {
        Top {
            limit,
            counts: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, name: String, count: u64) {
        self.counts.push((name, count));
        // Not at each: so that one costs no more than a push.
        if self.counts.len() >= self.limit.saturating_mul(2).max(1024) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.counts
            .sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        self.counts.truncate(self.limit);
    }

    pub(crate) fn into_counts(mut self) -> Vec<(String, u64)> {
        self.cut();
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first() {
        let mut top = Top::new(3);
        for n in 0..5000u64 {
            top.add(format!("n{n}"), n * 7919 % 5000);
        }
        top.add("a".into(), 4998);
        let counts: Vec<u64> = top.into_counts().into_iter().map(|(_, count)| count).collect();
        assert_eq!(counts, [4999, 4998, 4998]);
        let mut none = Top::new(0);
        none.add("a".into(), 1);
        assert_eq!(none.into_counts(), []);
    }
}
