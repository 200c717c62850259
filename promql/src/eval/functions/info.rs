//! info: series with the labels of info metrics (`target_info` and their kin), found by `instance` and `job`.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use crate::ast::{Call, Expr, Selector, Span};
use crate::error::EvalError;
use crate::eval::evaluator::Evaluator;
use crate::eval::grid::Grid;
use crate::eval::rows::{Column, Row, duplicate_labels};
use crate::eval::select::SampleTimes;
use crate::labels::{Labels, METRIC_NAME};
use crate::matcher::{MatchOp, Matcher};

use super::argument;

/// The info metric that is meant where none is named.
const TARGET_INFO: &str = "target_info";
/// Names of info metrics where names are only excluded.
const ANY_INFO: &str = ".+_info";
/// By these labels a series and its info series find each other.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// What the second argument asks for.
struct Wanted {
    /// Conditions on the info metric's name.
    names: Vec<Matcher>,
    /// Conditions on the labels to add; without any, all are added.
    data: Vec<Matcher>,
}

impl Wanted {
    fn of(call: &Call) -> Self {
        let Some(Expr::Selector(selector)) = call.args.get(1) else {
            let default = Matcher::new(METRIC_NAME, MatchOp::Equal, TARGET_INFO);
            return Self {
                names: default.into_iter().collect(),
                data: Vec::new(),
            };
        };
        let matchers = selector.matchers.iter().cloned();
        let (names, data) = matchers.partition(|matcher| matcher.name() == METRIC_NAME);
        Self { names, data }
    }

    /// Whether names are only excluded.
    fn only_excludes(&self) -> bool {
        let excludes = |name: &Matcher| matches!(name.op(), MatchOp::NotEqual | MatchOp::NotRegex);
        self.names.iter().all(excludes)
    }

    /// Whether a series is itself one of the info series, and so left as it is.
    fn is_info(&self, labels: &Labels) -> bool {
        !self.only_excludes() && self.names.iter().all(|name| name.matches(labels.metric_name()))
    }

    fn adds(&self, label: &str) -> bool {
        self.data.is_empty() || self.data.iter().any(|matcher| matcher.name() == label)
    }

    /// Whether a series without info series may stay.
    fn allows_none(&self) -> bool {
        self.data.iter().all(|matcher| matcher.matches(""))
    }

    /// The condition on info series for these base series; `None` if none can be found.
    fn matchers(&self, base: &[Row]) -> Option<Vec<Matcher>> {
        let mut matchers = Vec::new();
        for label in IDENTIFYING {
            let values: BTreeSet<String> = base
                .iter()
                .filter(|row| !self.is_info(&row.labels))
                .map(|row| regex::escape(row.labels.get(label)))
                .filter(|value| !value.is_empty())
                .collect();
            if !values.is_empty() {
                let any = values.into_iter().collect::<Vec<_>>().join("|");
                matchers.extend(Matcher::new(label, MatchOp::Regex, any));
            }
        }
        if matchers.is_empty() {
            return None;
        }
        if self.names.is_empty() {
            matchers.extend(Matcher::new(METRIC_NAME, MatchOp::Equal, TARGET_INFO));
        } else if self.only_excludes() {
            // Not everything else is an info metric; so it is in later versions of Prometheus.
            matchers.extend(Matcher::new(METRIC_NAME, MatchOp::Regex, ANY_INFO));
        }
        matchers.extend(self.names.iter().chain(&self.data).cloned());
        Some(matchers)
    }
}

/// Info series by what they are found by; one per metric's name is used.
type Known<'s> = HashMap<[&'s str; 2], Vec<&'s SampleTimes>>;

fn identity(labels: &Labels) -> [&str; 2] {
    IDENTIFYING.map(|label| labels.get(label))
}

/// Of each info metric the series with the newest sample at one time.
fn newest_of_each<'s>(known: &[&'s SampleTimes], index: usize) -> Result<Vec<&'s SampleTimes>, EvalError> {
    let mut chosen: Vec<(&'s SampleTimes, i64)> = Vec::new();
    for info in known {
        let Some(time) = info.times_ms[index] else {
            continue;
        };
        let name = info.labels.metric_name();
        match chosen
            .iter_mut()
            .find(|(other, _)| other.labels.metric_name() == name)
        {
            None => chosen.push((*info, time)),
            Some((_, at)) if *at == time => {
                return Err(EvalError::Execution(format!(
                    "found duplicate series for info metric {name}"
                )));
            }
            Some(existing) if existing.1 < time => *existing = (*info, time),
            Some(_) => {}
        }
    }
    Ok(chosen.into_iter().map(|(info, _)| info).collect())
}

/// A base series' labels with those of its info series.
fn enriched(base: &Labels, infos: &[&SampleTimes], wanted: &Wanted) -> Result<Labels, EvalError> {
    let mut added: HashMap<&str, &str> = HashMap::new();
    for (label, value) in infos.iter().flat_map(|info| info.labels.iter()) {
        if label == METRIC_NAME || !wanted.adds(label) {
            continue;
        }
        if added.insert(label, value).is_some_and(|other| other != value) {
            return Err(EvalError::Execution(format!("conflicting label: {label}")));
        }
    }
    let mut pairs: Vec<(String, String)> = base
        .iter()
        .map(|(label, value)| (label.to_owned(), value.to_owned()))
        .collect();
    for (label, value) in added {
        if base.get(label).is_empty() {
            pairs.push((label.to_owned(), value.to_owned()));
        }
    }
    Ok(Labels::new(pairs))
}

/// Result rows by labels.
struct Results {
    rows: Vec<Row>,
    places: HashMap<(Labels, bool), usize>,
    len: usize,
}

impl Results {
    fn put(&mut self, labels: Labels, base: &Row, index: usize) -> Result<(), EvalError> {
        let Some(cell) = base.cells.cell(index) else {
            return Ok(());
        };
        let drop_name = base.drop_name;
        let place = match self.places.entry((labels, drop_name)) {
            Entry::Occupied(place) => *place.get(),
            Entry::Vacant(place) => {
                self.rows.push(Row {
                    labels: place.key().0.clone(),
                    drop_name,
                    cells: Column::empty(self.len),
                });
                *place.insert(self.rows.len() - 1)
            }
        };
        let cells = &mut self.rows[place].cells;
        if cells.has(index) {
            return Err(duplicate_labels());
        }
        cells.set_cell(index, cell);
        Ok(())
    }
}

impl Evaluator<'_> {
    pub(super) fn info(&mut self, call: &Call, grid: Grid) -> Result<Vec<Row>, EvalError> {
        let expr = argument(call, 0)?;
        let base = self.vector(expr, grid)?;
        let wanted = Wanted::of(call);
        let infos = match wanted.matchers(&base) {
            Some(matchers) => self.info_series(matchers, expr, grid)?,
            None => Vec::new(),
        };
        let mut known = Known::new();
        for info in &infos {
            known.entry(identity(&info.labels)).or_default().push(info);
        }
        let mut results = Results {
            rows: Vec::new(),
            places: HashMap::new(),
            len: grid.len(),
        };
        for row in &base {
            self.check_interrupt()?;
            let before = results.rows.len();
            let is_info = wanted.is_info(&row.labels);
            let candidates = known.get(&identity(&row.labels)).map_or(&[][..], Vec::as_slice);
            for index in row.cells.indices() {
                let infos = newest_of_each(candidates, index)?;
                let labels = if is_info {
                    row.labels.clone()
                } else if infos.is_empty() && !wanted.allows_none() {
                    continue;
                } else {
                    enriched(&row.labels, &infos, &wanted)?
                };
                results.put(labels, row, index)?;
            }
            self.hold((results.rows.len() - before) as u64 * grid.len() as u64)?;
        }
        Ok(results.rows)
    }

    /// Info series at the times of the base series' selector.
    fn info_series(
        &mut self,
        matchers: Vec<Matcher>,
        base: &Expr,
        grid: Grid,
    ) -> Result<Vec<SampleTimes>, EvalError> {
        let (at, offset_ms) = first_selector(base).map_or((None, 0), |s| (s.at, s.offset_ms));
        let selector = Selector {
            name: None,
            matchers,
            offset_ms,
            offset_expr: None,
            at,
            span: Span::default(),
        };
        self.times_of_floats(&selector, grid)
    }
}

fn first_selector(expr: &Expr) -> Option<&Selector> {
    match expr {
        Expr::Number(_) | Expr::Text(_) => None,
        Expr::Selector(selector) => Some(selector),
        Expr::Matrix(matrix) => Some(&matrix.selector),
        Expr::Subquery(subquery) => first_selector(&subquery.expr),
        Expr::Unary(unary) => first_selector(&unary.expr),
        Expr::Paren(paren) => first_selector(&paren.expr),
        Expr::Binary(binary) => first_selector(&binary.lhs).or_else(|| first_selector(&binary.rhs)),
        Expr::Aggregate(aggregate) => first_selector(&aggregate.expr),
        Expr::Call(call) => call.args.iter().find_map(first_selector),
    }
}
