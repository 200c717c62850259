//! Warnings and infos of an evaluation, in Prometheus's words, each once and with the place that it is about.

use std::collections::HashMap;

use crate::ast::Span;
use crate::float::format_general;
use crate::histogram::LayoutError;

/// More different notes than this are not kept; the API shows ten.
const MAX_NOTES: usize = 1000;

/// A note; a text that comes again moves it to another place.
#[derive(Debug)]
struct Note {
    is_warning: bool,
    text: String,
    place: Span,
}

/// Warnings and infos, in order of appearance.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    notes: Vec<Note>,
    seen: HashMap<String, usize>,
    place: Span,
}

impl Notes {
    /// The notes to come are about this place.
    pub(crate) fn at(&mut self, place: Span) -> &mut Self {
        self.place = place;
        self
    }

    fn warn(&mut self, text: &str) {
        self.note(true, format!("PromQL warning: {text}"));
    }

    fn info(&mut self, text: &str) {
        self.note(false, format!("PromQL info: {text}"));
    }

    fn note(&mut self, is_warning: bool, text: String) {
        let place = self.place;
        if let Some(note) = self.seen.get(&text).and_then(|at| self.notes.get_mut(*at)) {
            // As in Prometheus, the last one counts.
            note.place = place;
        } else if self.notes.len() < MAX_NOTES {
            self.seen.insert(text.clone(), self.notes.len());
            self.notes.push(Note {
                is_warning,
                text,
                place,
            });
        }
    }

    /// Adds what was noted later.
    pub(crate) fn append(&mut self, later: Notes) {
        for Note {
            is_warning,
            text,
            place,
        } in later.notes
        {
            self.at(place).note(is_warning, text);
        }
    }

    /// Warnings and infos with line and column in the query.
    pub(crate) fn into_parts(self, query: &str) -> (Vec<String>, Vec<String>) {
        let (mut warnings, mut infos) = (Vec::new(), Vec::new());
        for Note {
            is_warning,
            text,
            place,
        } in self.notes
        {
            let list = if is_warning { &mut warnings } else { &mut infos };
            list.push(format!("{text} ({})", place.position(query)));
        }
        (warnings, infos)
    }

    /// Warns when a quantile is not in [0, 1].
    pub(crate) fn check_quantile(&mut self, quantile: f64) {
        if !(0.0..=1.0).contains(&quantile) {
            self.warn(&format!(
                "quantile value should be between 0 and 1, got {}",
                format_general(quantile)
            ));
        }
    }

    pub(crate) fn ratio_out_of_range(&mut self, ratio: f64, capped: f64) {
        self.warn(&format!(
            "ratio value should be between -1 and 1, got {}, capping to {}",
            format_general(ratio),
            format_general(capped)
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
            LayoutError::Mixed => "a mix of histograms with exponential and custom buckets schemas",
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
