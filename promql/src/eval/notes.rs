//! Warnings and infos of an evaluation, in Prometheus's words, each once.

use std::collections::HashSet;

use crate::number::format_g;

/// More different notes than this are not kept; the API shows ten.
const MAX_NOTES: usize = 1000;

/// Warnings and infos, in order of appearance.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    warnings: Vec<String>,
    infos: Vec<String>,
    seen: HashSet<String>,
}

impl Notes {
    fn warn(&mut self, text: &str) {
        let note = format!("PromQL warning: {text}");
        if self.seen.len() < MAX_NOTES && self.seen.insert(note.clone()) {
            self.warnings.push(note);
        }
    }

    fn info(&mut self, text: &str) {
        let note = format!("PromQL info: {text}");
        if self.seen.len() < MAX_NOTES && self.seen.insert(note.clone()) {
            self.infos.push(note);
        }
    }

    pub(crate) fn into_parts(self) -> (Vec<String>, Vec<String>) {
        (self.warnings, self.infos)
    }

    /// Warns when a quantile is not in [0, 1].
    pub(crate) fn check_quantile(&mut self, quantile: f64) {
        if !(0.0..=1.0).contains(&quantile) {
            self.warn(&format!(
                "quantile value should be between 0 and 1, got {}",
                format_g(quantile)
            ));
        }
    }

    pub(crate) fn ratio_out_of_range(&mut self, ratio: f64, capped: f64) {
        self.warn(&format!(
            "ratio value should be between -1 and 1, got {}, capping to {}",
            format_g(ratio),
            format_g(capped)
        ));
    }

    pub(crate) fn bad_bucket_label(&mut self, le: &str, metric: &str) {
        self.warn(&format!(
            "bucket label \"le\" is missing or has a malformed value of {le:?} for metric name {metric:?}"
        ));
    }

    pub(crate) fn possible_non_counter(&mut self, metric: &str) {
        self.info(&format!(
            "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {metric:?}"
        ));
    }

    pub(crate) fn forced_monotonic(&mut self, metric: &str) {
        self.info(&format!(
            "input to histogram_quantile needed to be fixed for monotonicity (see \
             https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric name \
             {metric:?}"
        ));
    }
}
