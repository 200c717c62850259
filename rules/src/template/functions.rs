//! The functions that templates have: Go's builtins with missing labels as empty texts, and Prometheus's.

use std::collections::HashMap;

use gtmpl_ng::{Func, FuncError, Number, Value, funcs};
use promql::{Histogram, InstantSample, Labels, parse_duration};

use super::humanize::{self, number_of};
use super::{host, scope};

type Given<'a> = &'a [Value];
type Answer = Result<Value, FuncError>;

/// Name and function.
pub(super) const ALL: &[(&str, Func)] = &[
    ("call", call),
    ("eq", eq),
    ("ge", ge),
    ("gt", gt),
    ("html", html),
    ("index", index),
    ("js", js),
    ("le", le),
    ("len", len),
    ("lt", lt),
    ("ne", ne),
    ("not", not),
    ("print", print),
    ("printf", printf),
    ("println", println),
    ("slice", slice),
    ("urlquery", urlquery),
    (super::conditions::TRUTH, truth),
    ("args", args),
    ("externalURL", external_url),
    ("first", first),
    ("graphLink", graph_link),
    ("humanize", |given| number(given, humanize::decimal)),
    ("humanize1024", |given| number(given, humanize::binary)),
    ("humanizeDuration", |given| number(given, humanize::duration)),
    ("humanizePercentage", |given| number(given, humanize::percentage)),
    ("humanizeTimestamp", |given| fallible(given, humanize::timestamp)),
    ("label", label),
    ("match", is_match),
    ("parseDuration", duration),
    ("pathPrefix", path_prefix),
    ("query", query),
    ("reReplaceAll", replace_all),
    ("safeHtml", |given| text(given, str::to_owned)),
    ("sortByLabel", sort_by_label),
    ("stripDomain", |given| text(given, host::strip_domain)),
    ("stripPort", |given| text(given, host::strip_port)),
    ("strvalue", string_value),
    ("tableLink", table_link),
    ("title", |given| text(given, title)),
    ("toLower", |given| text(given, str::to_lowercase)),
    ("toTime", |given| fallible(given, humanize::time)),
    ("toUpper", |given| text(given, str::to_uppercase)),
    ("value", value),
];

/// One of Go's builtins: bounded work, and what is not there is an empty text.
macro_rules! builtins {
    ($($name:ident)*) => {
        $(fn $name(given: Given<'_>) -> Answer {
            scope::charge(given.iter().map(weight).sum())?;
            let filled: Vec<Value> = given.iter().map(or_empty).collect();
            let answer = funcs::$name(&filled)?;
            scope::charge(weight(&answer))?;
            Ok(answer)
        })*
    };
}

builtins! { call html js len print printf println slice urlquery }

/// Comparisons: as Go's, which knows what to say of NaN.
macro_rules! comparisons {
    ($($name:ident $of_nan:literal)*) => {
        $(fn $name(given: Given<'_>) -> Answer {
            scope::charge(given.iter().map(weight).sum())?;
            if given.len() > 1 && given.iter().any(is_nan) {
                return Ok(Value::from($of_nan));
            }
            let filled: Vec<Value> = given.iter().map(or_empty).collect();
            funcs::$name(&filled)
        })*
    };
}

comparisons! { eq false ge true gt true le false lt false ne true }

fn is_nan(value: &Value) -> bool {
    matches!(value, Value::Number(number) if number.as_f64().is_some_and(f64::is_nan))
}

/// As Go's: a float of zero is false, which gtmpl-ng's own does not know.
fn not(given: Given<'_>) -> Answer {
    match exactly(given)? {
        [number @ Value::Number(_)] => Ok(Value::from(number_of(number) == Ok(0.0))),
        _ => funcs::not(given),
    }
}

fn truth(given: Given<'_>) -> Answer {
    match not(given)? {
        Value::Bool(is_false) => Ok(Value::from(!is_false)),
        other => Ok(other),
    }
}

/// As Go's, where an absent key of a map of texts gives an empty text.
fn index(given: Given<'_>) -> Answer {
    scope::charge(0)?;
    match given {
        [Value::Map(map), Value::String(key)] => Ok(map.get(key).cloned().unwrap_or_else(|| Value::from(""))),
        _ => funcs::index(given),
    }
}

fn or_empty(value: &Value) -> Value {
    match value {
        Value::NoValue => Value::from(""),
        other => other.clone(),
    }
}

/// What a value counts for: the bytes of all its texts, and a little for each part.
fn weight(value: &Value) -> usize {
    let mut parts = vec![value];
    let mut sum = 0;
    while let Some(part) = parts.pop() {
        sum += match part {
            Value::String(text) => 8 + text.len(),
            Value::Array(values) => {
                parts.extend(values);
                8
            }
            Value::Map(map) | Value::Object(map) => {
                parts.extend(map.values());
                8 + map.keys().map(String::len).sum::<usize>()
            }
            _ => 8,
        };
    }
    sum
}

fn wrong<T>(message: impl Into<String>) -> Result<T, FuncError> {
    Err(FuncError::Generic(message.into()))
}

/// The arguments, if there are as many as wanted.
fn exactly<const N: usize>(given: Given<'_>) -> Result<&[Value; N], FuncError> {
    given
        .try_into()
        .or_else(|_| wrong(format!("wrong number of args: want {N} got {}", given.len())))
}

/// A text.
fn str_of(value: &Value) -> Result<&str, FuncError> {
    match value {
        Value::String(text) => {
            scope::charge(text.len())?;
            Ok(text)
        }
        Value::NoValue => Ok(""),
        other => wrong(format!("wrong type for value; expected string; got {other}")),
    }
}

fn text(given: Given<'_>, change: impl Fn(&str) -> String) -> Answer {
    let [value] = exactly(given)?;
    Ok(Value::from(change(str_of(value)?)))
}

fn number(given: Given<'_>, show: impl Fn(f64) -> String) -> Answer {
    fallible(given, |number| Ok(show(number)))
}

fn fallible(given: Given<'_>, show: impl Fn(f64) -> Result<String, String>) -> Answer {
    let [value] = exactly(given)?;
    scope::charge(weight(value))?;
    let number = number_of(&or_empty(value)).map_err(FuncError::Generic)?;
    show(number).map(Value::from).map_err(FuncError::Generic)
}

/// A sample's value: a float, never made an integer, or a histogram as it prints.
pub(super) fn sample_value(value: f64, histogram: Option<&Histogram>) -> Value {
    match histogram {
        Some(histogram) => Value::from(histogram.to_string()),
        None => Value::Number(Number::float(value)),
    }
}

/// Labels as a map.
pub(super) fn map(labels: &Labels) -> Value {
    let pairs = labels
        .iter()
        .map(|(name, value)| (name.to_owned(), Value::from(value)));
    Value::Map(pairs.collect())
}

/// What a query gave, as templates see it: a list of samples with `Labels` and `Value`.
pub(super) fn query_result(samples: Vec<InstantSample>) -> Value {
    let sample = |sample: InstantSample| {
        let value = sample_value(sample.value, sample.histogram.as_deref());
        let fields = [("Labels", map(&sample.labels)), ("Value", value)];
        Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).into())
    };
    Value::Array(samples.into_iter().map(sample).collect())
}

fn field<'v>(sample: &'v Value, name: &str) -> Result<&'v Value, FuncError> {
    match sample {
        Value::Object(fields) => fields
            .get(name)
            .map_or_else(|| wrong("it is no sample of a query"), Ok),
        _ => wrong("it is no sample of a query"),
    }
}

fn label_of(sample: &Value, name: &str) -> Result<String, FuncError> {
    match field(sample, "Labels")? {
        Value::Map(labels) => Ok(labels.get(name).map_or(String::new(), Value::to_string)),
        _ => wrong("it is no sample of a query"),
    }
}

fn query(given: Given<'_>) -> Answer {
    let [query] = exactly(given)?;
    let answer = scope::answer(str_of(query)?)?;
    scope::charge(weight(&answer))?;
    Ok(answer)
}

fn first(given: Given<'_>) -> Answer {
    match exactly(given)? {
        [Value::Array(samples)] => match samples.first() {
            Some(sample) => Ok(sample.clone()),
            None => wrong("first() called on vector with no elements"),
        },
        _ => wrong("first() wants what query gives"),
    }
}

fn label(given: Given<'_>) -> Answer {
    let [name, sample] = exactly(given)?;
    label_of(sample, str_of(name)?).map(Value::from)
}

fn value(given: Given<'_>) -> Answer {
    let [sample] = exactly(given)?;
    field(sample, "Value").cloned()
}

fn string_value(given: Given<'_>) -> Answer {
    let [sample] = exactly(given)?;
    label_of(sample, "__value__").map(Value::from)
}

fn sort_by_label(given: Given<'_>) -> Answer {
    let [name, samples] = exactly(given)?;
    let (name, Value::Array(samples)) = (str_of(name)?, samples) else {
        return wrong("sortByLabel wants what query gives");
    };
    scope::charge(samples.len() * 64)?;
    let keyed = samples.iter().map(|sample| Ok((label_of(sample, name)?, sample)));
    let mut keyed = keyed.collect::<Result<Vec<_>, FuncError>>()?;
    keyed.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Value::Array(
        keyed.into_iter().map(|(_, sample)| sample.clone()).collect(),
    ))
}

fn args(given: Given<'_>) -> Answer {
    scope::charge(given.iter().map(weight).sum())?;
    let named = given
        .iter()
        .enumerate()
        .map(|(index, value)| (format!("arg{index}"), value.clone()));
    Ok(Value::Map(named.collect::<HashMap<_, _>>()))
}

fn replace_all(given: Given<'_>) -> Answer {
    let [pattern, replacement, text] = exactly(given)?;
    let (pattern, replacement, text) = (str_of(pattern)?, str_of(replacement)?, str_of(text)?);
    // Every place of the text may take the replacement, which may repeat the text.
    let most = (text.len() + 1).saturating_mul(replacement.len() + 1);
    scope::charge(most)?;
    let replaced = scope::pattern(pattern)?.replace_all(text, replacement);
    scope::charge(replaced.len())?;
    Ok(Value::from(replaced))
}

fn is_match(given: Given<'_>) -> Answer {
    let [pattern, text] = exactly(given)?;
    let (pattern, text) = (str_of(pattern)?, str_of(text)?);
    Ok(Value::from(scope::pattern(pattern)?.is_match(text)))
}

fn duration(given: Given<'_>) -> Answer {
    let [text] = exactly(given)?;
    match parse_duration(str_of(text)?) {
        Ok(ms) => Ok(sample_value(ms as f64 / 1000.0, None)),
        Err(error) => wrong(error.to_string()),
    }
}

fn external_url(given: Given<'_>) -> Answer {
    let [] = exactly(given)?;
    Ok(Value::from(scope::external_url()))
}

fn path_prefix(given: Given<'_>) -> Answer {
    let [] = exactly(given)?;
    Ok(Value::from(host::path(&scope::external_url())))
}

fn graph_link(given: Given<'_>) -> Answer {
    text(given, |expr| host::graph_link(expr, 0))
}

fn table_link(given: Given<'_>) -> Answer {
    text(given, |expr| host::graph_link(expr, 1))
}

/// Every word's first letter as a capital, the rest as it is.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut has_letter = false;
    for c in text.chars() {
        match has_letter {
            false if c.is_alphabetic() => out.extend(c.to_uppercase()),
            _ => out.push(c),
        }
        // An apostrophe does not end a word.
        let goes_on = c.is_alphanumeric() || matches!(c, '\'' | '_' | '.' | '\u{2019}');
        has_letter = (has_letter || c.is_alphabetic()) && goes_on;
    }
    out
}
