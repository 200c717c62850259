//! Alert templates: Go's `text/template` with Prometheus's functions and variables.
//!
//! The language is the crate gtmpl-ng's, and stays behind this module. What Prometheus sets on top of it is here: the
//! variables `$labels`, `$value`, `$externalLabels` and `$externalURL`, the functions, and labels that are not there
//! as empty texts. A rendering is bounded by counts (loop rounds, bytes written, bytes that functions handle), so that
//! it ends on any template and gives the same on any machine.
//!
//! Not as in Go: values of time have no methods (`toTime` prints as Go's do), and `<no value>` is never printed.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use gtmpl_ng::{Context, ExecError, Limits, ParseError, Value};
use promql::{Histogram, InstantSample, Labels};
use thiserror::Error;

mod conditions;
mod functions;
mod host;
mod humanize;
mod literals;
mod scope;

use scope::Scope;

/// Longest template in bytes.
pub const MAX_TEMPLATE_BYTES: usize = 64 * 1024;
/// Longest text that a template may make, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 64 * 1024;
/// Queries that one rendering may ask.
const MAX_QUERIES: usize = 32;
/// Loop rounds and template calls of one rendering.
const MAX_ROUNDS: usize = 10_000;
/// Bytes of one value that a function makes.
const MAX_VALUE_BYTES: usize = 1 << 20;
/// How gtmpl-ng prints what is not there.
const NO_VALUE: &str = "<no value>";
/// What Prometheus puts before every template.
const VARIABLES: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}\
                         {{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// Why a template gave no text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// Too long.
    #[error("template of {0} bytes is longer than the limit of {MAX_TEMPLATE_BYTES}")]
    TooLong(usize),
    /// Its syntax.
    #[error("{0}")]
    Parse(String),
    /// Its evaluation: a function's error, a missing field, a limit.
    #[error("error executing template {name}: {reason}")]
    Execute {
        /// `__alert_` and the alert's name.
        name: String,
        /// What went wrong, with the place.
        reason: String,
    },
}

/// A parsed template.
#[derive(Clone)]
pub struct Template(Body);

#[derive(Clone)]
enum Body {
    /// Without any action.
    Plain(String),
    Actions(Arc<Actions>),
}

/// A template and its text with the variables before it.
struct Actions {
    text: String,
    parsed: gtmpl_ng::Template,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Body::Plain(text) => write!(f, "Template({text:?})"),
            Body::Actions(template) => write!(f, "Template({:?})", template.text),
        }
    }
}

/// What a template is about. Its templates share what is made of it.
pub struct Subject<'a> {
    /// `$labels`: those of the series, metric name included.
    labels: &'a Labels,
    /// `$value`.
    value: f64,
    /// `$value`, where it is a native histogram.
    histogram: Option<&'a Histogram>,
    site: Site<'a>,
    context: OnceCell<Context>,
}

/// What is the same for all alerts.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// `$externalLabels`.
    pub external_labels: &'a Labels,
    /// `$externalURL`.
    pub external_url: &'a str,
}

/// Evaluates a query of a template at the rule's time.
pub type Query<'q> = &'q mut dyn FnMut(&str) -> Result<Vec<InstantSample>, String>;

impl Template {
    /// Parses a template of an alert.
    ///
    /// # Errors
    /// Its syntax, or its length.
    pub fn parse(alert: &str, text: &str) -> Result<Self, TemplateError> {
        if !text.contains("{{") {
            return Ok(Self(Body::Plain(text.to_owned())));
        }
        if text.len() > MAX_TEMPLATE_BYTES {
            return Err(TemplateError::TooLong(text.len()));
        }
        let limits = Limits::unlimited()
            .with_iterations(MAX_ROUNDS)
            .with_total_iterations(MAX_ROUNDS)
            .with_output_bytes(MAX_OUTPUT_BYTES)
            .with_function_output(MAX_VALUE_BYTES);
        let mut parsed = gtmpl_ng::Template::with_limits(limits);
        parsed.name = format!("__alert_{alert}");
        parsed.add_funcs(functions::ALL);
        let literals = literals::normalized(text).map_err(|at| {
            let line = text[..at].matches('\n').count() + 1;
            TemplateError::Parse(format!("template: __alert_{alert}:{line}: invalid syntax"))
        })?;
        let text = conditions::explicit(&literals);
        let text = format!("{VARIABLES}{text}");
        parsed
            .parse(text.as_str())
            .map_err(|error| TemplateError::Parse(parse_message(&error)))?;
        Ok(Self(Body::Actions(Arc::new(Actions { text, parsed }))))
    }

    /// Whether the text does not depend on anything.
    pub fn is_plain(&self) -> bool {
        matches!(self.0, Body::Plain(_))
    }

    /// An error in Go's form: `template: name:line:column: executing "name" at <node>: what`.
    fn go_message(&self, error: &ExecError) -> String {
        let (Body::Actions(template), Some(error)) = (&self.0, error.as_structured()) else {
            return error.to_string();
        };
        let place = &error.context;
        let line = template.text.lines().nth(place.line.saturating_sub(1));
        let column = place.col.saturating_sub(1);
        let node = line.and_then(|line| line.get(column..column + place.len));
        let before = line.and_then(|line| line.get(..column));
        let column = column - before.map_or(0, conditions::added);
        let node = node.unwrap_or_default();
        let word = node.split_whitespace().next().unwrap_or_default();
        let calls = functions::ALL.iter().any(|(name, _)| *name == word);
        let is_told = error.message.starts_with("wrong number of args");
        let calling = match calls && !is_told {
            true => format!("error calling {word}: "),
            false => String::new(),
        };
        let name = &place.name;
        format!(
            "template: {name}:{}:{column}: executing {name:?} at <{node}>: {calling}{}",
            place.line, error.message
        )
    }

    /// The text for a subject.
    ///
    /// # Errors
    /// A function's error, or a limit.
    pub fn expand(&self, subject: &Subject<'_>, query: Query<'_>) -> Result<String, TemplateError> {
        let template = match &self.0 {
            Body::Plain(text) => return Ok(text.clone()),
            Body::Actions(template) => template,
        };
        let failed = |reason: String| TemplateError::Execute {
            name: template.parsed.name.clone(),
            reason,
        };
        let context = subject.context();
        let mut answers = HashMap::new();
        // gtmpl-ng's functions are plain and cannot evaluate a query: the rendering stops at a query without an
        // answer and begins again with it.
        loop {
            let scope = Scope::new(subject.site.external_url, answers);
            let (rendered, scope) = scope.around(|| template.parsed.render(context));
            answers = scope.answers;
            match (scope.wanted, rendered) {
                (Some(_), _) if answers.len() == MAX_QUERIES => {
                    return Err(failed(format!("it asks more than {MAX_QUERIES} queries")));
                }
                (Some(wanted), _) => {
                    let answer = query(&wanted).map(functions::query_result);
                    answers.insert(wanted, answer);
                }
                (None, Ok(text)) => return Ok(text.replace(NO_VALUE, "")),
                (None, Err(error)) => return Err(failed(self.go_message(&error))),
            }
        }
    }
}

/// The link to an expression that alerts carry.
pub(crate) fn table_link(expr: &str) -> String {
    host::graph_link(expr, 1)
}

/// An error of syntax in Go's form: `template: name:line: what`.
fn parse_message(error: &ParseError) -> String {
    match error {
        ParseError::WithContext(place, what) => format!("template: {}:{}: {what}", place.name, place.line),
        other => other.to_string(),
    }
}

impl<'a> Subject<'a> {
    /// A series of an alerting rule's expression: a native histogram's value is not looked at.
    pub fn new(labels: &'a Labels, value: f64, histogram: Option<&'a Histogram>, site: Site<'a>) -> Self {
        Self {
            labels,
            value,
            histogram,
            site,
            context: OnceCell::new(),
        }
    }

    fn context(&self) -> &Context {
        self.context.get_or_init(|| {
            let fields = [
                ("Labels", functions::map(self.labels)),
                ("ExternalLabels", functions::map(self.site.external_labels)),
                ("ExternalURL", Value::from(self.site.external_url)),
                ("Value", functions::sample_value(self.value, self.histogram)),
            ];
            let fields = fields.map(|(name, value)| (name.to_owned(), value));
            Context::from(Value::Object(fields.into()))
        })
    }
}

#[cfg(test)]
mod tests;
