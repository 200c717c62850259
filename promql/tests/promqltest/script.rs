//! The script format: commands with blocks of lines, series in a short notation.

use std::sync::Arc;

use promql::{Expr, Histogram, Labels, notation, parse, parse_duration};

use crate::histogram;

/// A sample as a script writes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    Absent,
    Float(f64),
    Histogram(Arc<Histogram>),
    /// A histogram as Prometheus's API shows it; not of a script.
    Shown(Shown),
}

impl From<notation::Item> for Item {
    fn from(item: notation::Item) -> Self {
        match item {
            notation::Item::Absent => Self::Absent,
            notation::Item::Float(value) => Self::Float(value),
            notation::Item::Histogram(histogram) => Self::Histogram(histogram),
        }
    }
}

/// What Prometheus's API shows of a native histogram.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown {
    pub(crate) count: f64,
    pub(crate) sum: f64,
    /// Lower and upper bound and count of each bucket that is not empty.
    pub(crate) buckets: Vec<(f64, f64, f64)>,
}

/// A series and its samples, one per step.
pub(crate) type Line = (Labels, Vec<Item>);

/// When an expression is evaluated, Unix ms.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    Instant { at: i64 },
    Range { start: i64, end: i64, step: i64 },
}

/// A text that must occur, or a pattern.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    Anything,
    Text(String),
    Pattern(String),
}

impl Wanted {
    pub(crate) fn accepts(&self, text: &str) -> bool {
        match self {
            Self::Anything => true,
            Self::Text(wanted) => wanted == text,
            Self::Pattern(pattern) => regex::Regex::new(pattern).is_ok_and(|regex| regex.is_match(text)),
        }
    }

    /// As `accepts`, of an annotation, whose place older scripts do not state.
    pub(crate) fn accepts_annotation(&self, text: &str) -> bool {
        self.accepts(text) || self.accepts(without_place(text))
    }

    /// The same without a place, for a query whose text was changed.
    pub(crate) fn anywhere(&self) -> Self {
        match self {
            Self::Text(text) => Self::Text(without_place(text).to_owned()),
            other => other.clone(),
        }
    }
}

/// An annotation without its ` (line:column)`.
fn without_place(text: &str) -> &str {
    let is_place = |place: &&str| {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let parts = place.strip_suffix(')').and_then(|place| place.split_once(':'));
        parts.is_some_and(|(line, column)| digits(line) && digits(column))
    };
    let split = text.rsplit_once(" (").filter(|(_, place)| is_place(place));
    split.map_or(text, |(text, _)| text)
}

/// What is said about warnings or infos.
#[derive(Debug, Clone, Default)]
pub(crate) struct Annotations {
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) none: bool,
}

impl Annotations {
    /// The same without places.
    fn anywhere(&self) -> Self {
        Self {
            wanted: self.wanted.iter().map(Wanted::anywhere).collect(),
            none: self.none,
        }
    }
}

/// An expression and what it must give.
#[derive(Debug, Clone)]
pub(crate) struct Eval {
    pub(crate) line: usize,
    pub(crate) when: When,
    pub(crate) expr: String,
    pub(crate) fail: Option<Wanted>,
    pub(crate) ordered: bool,
    pub(crate) warnings: Annotations,
    pub(crate) infos: Annotations,
    pub(crate) scalar: Option<f64>,
    pub(crate) text: Option<String>,
    pub(crate) series: Vec<Line>,
    /// Start and step in ms of the samples expected of a range selector.
    pub(crate) samples: Option<(i64, i64)>,
}

impl Eval {
    /// The same without the places of annotations.
    pub(crate) fn anywhere(&self) -> Self {
        Self {
            warnings: self.warnings.anywhere(),
            infos: self.infos.anywhere(),
            ..self.clone()
        }
    }
}

/// A command of a script.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    Clear,
    Load {
        step_ms: i64,
        series: Vec<Line>,
    },
    Eval(Box<Eval>),
    /// Of a later version, perhaps.
    Unreadable {
        line: usize,
        why: String,
        is_eval: bool,
    },
}

/// Reads a whole script. What cannot be read is a command of its own, so that the rest still runs.
pub(crate) fn read(text: &str) -> Vec<Command> {
    let clean = |line: &str| {
        let line = line.trim();
        if line.starts_with('#') {
            String::new()
        } else {
            line.to_owned()
        }
    };
    let lines: Vec<String> = text.lines().map(clean).collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = &lines[at];
        if line.is_empty() {
            at += 1;
            continue;
        }
        let block = lines[at + 1..].iter().take_while(|line| !line.is_empty()).count();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let word = word.to_ascii_lowercase();
        let has_block = word != "clear";
        let body = if has_block {
            &lines[at + 1..=at + block]
        } else {
            &[]
        };
        commands.push(
            command(&word, rest.trim(), body, at + 1).unwrap_or_else(|why| Command::Unreadable {
                line: at + 1,
                why,
                is_eval: word.starts_with("eval"),
            }),
        );
        at += 1 + body.len();
    }
    commands
}

fn command(word: &str, rest: &str, body: &[String], line: usize) -> Result<Command, String> {
    match word {
        "clear" => Ok(Command::Clear),
        "load" | "load_with_nhcb" => {
            let mut series: Vec<Line> = body
                .iter()
                .filter(|line| !is_start_times(line))
                .map(|line| series_line(line))
                .collect::<Result<_, _>>()?;
            if word == "load_with_nhcb" {
                series.extend(histogram::from_classic(&series));
            }
            Ok(Command::Load {
                step_ms: duration(rest)?,
                series,
            })
        }
        word if word.starts_with("eval") => {
            let mut eval = eval_line(word, rest, line)?;
            body.iter().try_for_each(|line| expectation(&mut eval, line))?;
            Ok(Command::Eval(Box::new(eval)))
        }
        other => Err(format!("unknown command {other}")),
    }
}

/// A PromQL duration or plain seconds, in ms.
fn duration(text: &str) -> Result<i64, String> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
    match text.parse::<f64>() {
        Ok(seconds) => Ok(sign * (seconds * 1000.0) as i64),
        Err(_) => parse_duration(text)
            .map(|ms| sign * ms)
            .map_err(|error| error.to_string()),
    }
}

fn next_word(text: &str) -> Result<(&str, &str), String> {
    let (word, rest) = text
        .split_once(char::is_whitespace)
        .ok_or_else(|| format!("incomplete: {text}"))?;
    Ok((word, rest.trim_start()))
}

fn keyword<'t>(text: &'t str, wanted: &str) -> Result<&'t str, String> {
    match next_word(text)? {
        (word, rest) if word == wanted => Ok(rest),
        (word, _) => Err(format!("expected {wanted}, found {word}")),
    }
}

fn eval_line(command: &str, rest: &str, line: usize) -> Result<Eval, String> {
    let (kind, rest) = next_word(rest)?;
    let (when, expr) = if kind == "instant" {
        let (at, expr) = next_word(keyword(rest, "at")?)?;
        (When::Instant { at: duration(at)? }, expr)
    } else {
        let (start, rest) = next_word(keyword(rest, "from")?)?;
        let (end, rest) = next_word(keyword(rest, "to")?)?;
        let (step, expr) = next_word(keyword(rest, "step")?)?;
        (
            When::Range {
                start: duration(start)?,
                end: duration(end)?,
                step: duration(step)?,
            },
            expr,
        )
    };
    let wanted = |is: bool| Annotations {
        wanted: if is { vec![Wanted::Anything] } else { Vec::new() },
        none: false,
    };
    Ok(Eval {
        line,
        when,
        expr: expr.to_owned(),
        fail: (command == "eval_fail").then_some(Wanted::Anything),
        ordered: command == "eval_ordered",
        warnings: wanted(command == "eval_warn"),
        infos: wanted(command == "eval_info"),
        scalar: None,
        text: None,
        series: Vec::new(),
        samples: None,
    })
}

/// What follows `expect fail` and the like.
fn wanted(rest: &str) -> Wanted {
    let bare = |text: &str| {
        let text = text.trim();
        let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        quoted.unwrap_or(text).to_owned()
    };
    if let Some(text) = rest.strip_prefix("msg:") {
        Wanted::Text(bare(text))
    } else if let Some(pattern) = rest.strip_prefix("regex:") {
        Wanted::Pattern(bare(pattern))
    } else {
        Wanted::Anything
    }
}

fn expectation(eval: &mut Eval, line: &str) -> Result<(), String> {
    if let Some(text) = line.strip_prefix("expected_fail_message") {
        eval.fail = Some(Wanted::Text(text.trim().to_owned()));
    } else if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
        eval.fail = Some(Wanted::Pattern(pattern.trim().to_owned()));
    } else if let Some(rest) = line.strip_prefix("expect ") {
        let rest = rest.trim();
        let (what, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let rest = rest.trim();
        match what {
            "ordered" => eval.ordered = true,
            "fail" => eval.fail = Some(wanted(rest)),
            "warn" => eval.warnings.wanted.push(wanted(rest)),
            "info" => eval.infos.wanted.push(wanted(rest)),
            "no_warn" => eval.warnings.none = true,
            "no_info" => eval.infos.none = true,
            "range" => eval.samples = Some(samples_grid(rest)?),
            "string" => eval.text = Some(expected_text(line)),
            other => return Err(format!("expect {other} is not known")),
        }
    } else if let Some(number) = notation::parse_number(line) {
        eval.scalar = Some(number);
    } else {
        eval.series.push(series_line(line)?);
    }
    Ok(())
}

/// What follows `expect string` and one space: a string literal, in older scripts the text as it is.
fn expected_text(line: &str) -> String {
    let text = line.split_once("string").map_or("", |(_, text)| text);
    let text = text.strip_prefix(' ').unwrap_or(text);
    match parse(text.trim()).map(|plan| plan.expr().clone()) {
        Ok(Expr::Text(literal)) => String::from_utf8_lossy(&literal.bytes).into_owned(),
        _ => text.to_owned(),
    }
}

/// What follows `expect range`: `vector from 10s to 1m step 10s`.
fn samples_grid(rest: &str) -> Result<(i64, i64), String> {
    let (start, rest) = next_word(keyword(keyword(rest, "vector")?, "from")?)?;
    let (_, rest) = next_word(keyword(rest, "to")?)?;
    Ok((duration(start)?, duration(keyword(rest, "step")?)?))
}

/// `metric{label="value"}@st durations`, of version 3.12 on: since when the samples of the next line count. Nothing here
/// knows of that.
fn is_start_times(line: &str) -> bool {
    let (metric, rest) = line.split_at(notation::metric_len(line));
    metric.ends_with("@st") || rest.starts_with("@st")
}

/// `metric{label="value"} items`.
fn series_line(line: &str) -> Result<Line, String> {
    let (labels, items) = notation::parse_series(line).map_err(|error| error.to_string())?;
    Ok((labels, items.into_iter().map(Item::from).collect()))
}
