//! Warnings and infos of an evaluation, in Prometheus's words, each once.

use std::collections::HashSet;

use crate::histogram::LayoutError;
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

    pub(crate) fn mixed_samples(&mut self, metric: &str) {
        self.warn(&format!(
            "encountered a mix of histograms and floats for metric name {metric:?}"
        ));
    }

    pub(crate) fn mixed_aggregation(&mut self) {
        self.warn("encountered a mix of histograms and floats for aggregation");
    }

    pub(crate) fn histogram_layouts(&mut self, error: LayoutError, metric: &str) {
        let mix = match error {
            LayoutError::Mixed => "histograms with exponential and custom buckets schemas",
            LayoutError::Bounds => "histograms with incompatible custom buckets",
        };
        self.warn(&format!("vector contains {mix} for metric name {metric:?}"));
    }

    pub(crate) fn layouts_in_operator(&mut self, operator: &str) {
        self.warn(&format!(
            "incompatible bucket layout encountered for binary operator {operator}"
        ));
    }

    pub(crate) fn types_in_operator(&mut self, left: &str, operator: &str, right: &str) {
        self.info(&format!(
            "incompatible sample types encountered for binary operator {operator:?}: {left} {operator} {right}"
        ));
    }

    pub(crate) fn ignored_in_aggregation(&mut self, operator: &str) {
        self.info(&format!("ignored histogram in {operator} aggregation"));
    }

    pub(crate) fn ignored_in_range(&mut self, metric: &str) {
        self.info(&format!(
            "ignored histograms in a range containing both floats and histograms for metric name {metric:?}"
        ));
    }

    pub(crate) fn not_a_counter(&mut self, metric: &str) {
        self.warn(&format!(
            "this native histogram metric is not a counter: {metric:?}"
        ));
    }

    pub(crate) fn not_a_gauge(&mut self, metric: &str) {
        self.warn(&format!(
            "this native histogram metric is not a gauge: {metric:?}"
        ));
    }

    pub(crate) fn classic_and_native(&mut self, metric: &str) {
        self.warn(&format!(
            "vector contains a mix of classic and native histograms for metric name {metric:?}"
        ));
    }

    pub(crate) fn nan_observations(&mut self, function: &str, effect: &str, metric: &str) {
        self.info(&format!(
            "input to {function} has NaN observations, {effect} for metric name {metric:?}"
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
