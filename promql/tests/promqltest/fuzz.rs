//! Random queries over random series, answered by this engine and by a Prometheus: values, notes and errors must agree.
//!
//! A seed says everything. Series have resets, gaps, stale markers, NaN and infinities; some are classic or native
//! histograms. What docs/promql.md names as a difference is not generated, or not compared.

use std::fmt::Write;
use std::sync::Arc;

use promql::{Buckets, Histogram, Labels};

use crate::check::close;
use crate::engine::{Both, ask_ours, ask_peer, difference};
use crate::outcome::{Got, Outcome};
use crate::random::Random;
use crate::script::{Item, Line, When};

/// Sets of series; each has its share of the queries. Names are dropped at once in every other one.
const SETS: usize = 8;
const STEP_MS: i64 = 15_000;
const SAMPLES: usize = 160;
/// Differences that are shown.
const SHOWN: usize = 30;

/// A number of `step` between samples, each with a chance of being something else.
fn floats(random: &mut Random, counter: bool, odd_in: usize) -> Vec<Item> {
    let mut value = random.below(1000) as f64 / 7.0;
    let mut items = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let change = random.below(1000) as f64 / 13.0;
        value = match (counter, random.below(40)) {
            (true, 0) => change,
            (true, _) => value + change,
            (false, _) => value + change - 38.0,
        };
        items.push(match random.below(odd_in) {
            0 => Item::Absent,
            1 => Item::Float(f64::from_bits(promql::STALE_NAN_BITS)),
            2 if !counter => Item::Float(f64::NAN),
            3 if !counter => Item::Float(f64::INFINITY),
            _ => Item::Float(value),
        });
    }
    items
}

fn histograms(random: &mut Random) -> Vec<Item> {
    let mut counts = [0.0; 4];
    let mut items = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        if random.below(50) == 0 {
            counts = [0.0; 4];
        }
        for count in &mut counts {
            *count += random.below(5) as f64;
        }
        let buckets: Vec<(i32, f64)> = (0..).zip(counts).filter(|(_, count)| *count > 0.0).collect();
        let histogram = Histogram {
            count: counts.iter().sum(),
            sum: counts
                .iter()
                .zip([0.7, 1.5, 3.0, 6.0])
                .map(|(count, at)| count * at)
                .sum(),
            zero_threshold: 0.001,
            positive: Buckets::new(buckets),
            ..Histogram::default()
        };
        items.push(if random.below(30) == 0 {
            Item::Absent
        } else {
            Item::Histogram(Arc::new(histogram))
        });
    }
    items
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

fn series(random: &mut Random) -> Vec<Line> {
    let mut lines = Vec::new();
    for (job, instance) in [("a", "1"), ("a", "2"), ("b", "1"), ("b", "3")] {
        let of = |name: &str| labels(&[("__name__", name), ("job", job), ("instance", instance)]);
        lines.push((of("c_total"), floats(random, true, 60)));
        lines.push((of("g"), floats(random, false, 80)));
        lines.push((of("nh"), histograms(random)));
    }
    lines.push((
        labels(&[("__name__", "one"), ("job", "a")]),
        floats(random, false, 1000),
    ));
    // Buckets that add up, in order of their bounds.
    for job in ["a", "b"] {
        let mut below = vec![0.0; SAMPLES];
        let mut steps = vec![[0.0; 3]; SAMPLES];
        let mut counts = [0.0; 3];
        for step in &mut steps {
            for count in &mut counts {
                *count += random.below(4) as f64;
            }
            *step = counts;
        }
        for (nth, le) in ["0.5", "2", "+Inf"].into_iter().enumerate() {
            for (below, step) in below.iter_mut().zip(&steps) {
                *below += step[nth];
            }
            let items = below.iter().map(|count| Item::Float(*count)).collect();
            lines.push((
                labels(&[("__name__", "h_bucket"), ("job", job), ("le", le)]),
                items,
            ));
        }
    }
    lines
}

/// Writes queries.
struct Writer<'r> {
    random: &'r mut Random,
}

impl Writer<'_> {
    fn one_of<'i>(&mut self, items: &[&'i str]) -> &'i str {
        self.random.choose(items)
    }

    fn selector(&mut self) -> String {
        let name = self.one_of(&["c_total", "g", "g", "one", "nh", "h_bucket", "missing"]);
        let matchers = self.one_of(&[
            "",
            "",
            "",
            "{job=\"a\"}",
            "{instance=~\"1|2\"}",
            "{job!=\"b\",instance!=\"\"}",
        ]);
        format!("{name}{matchers}")
    }

    fn times(&mut self) -> &'static str {
        self.one_of(&[
            "",
            "",
            "",
            "",
            " offset 1m",
            " offset -45s",
            " @ 900",
            " @ end()",
            " @ start() offset 2m",
        ])
    }

    fn duration(&mut self) -> &'static str {
        self.one_of(&["30s", "1m", "2m", "5m", "10m", "1m7s"])
    }

    fn matrix(&mut self, depth: usize) -> String {
        let (length, times) = (self.duration(), self.times());
        if depth == 0 || self.random.below(3) > 0 {
            return format!("{}[{length}]{times}", self.selector());
        }
        let step = self.one_of(&["", "15s", "20s", "1m"]);
        format!("({})[{length}:{step}]{times}", self.vector(depth - 1))
    }

    fn scalar(&mut self, depth: usize) -> String {
        match self.random.below(6) {
            0 if depth > 0 => format!("scalar({})", self.vector(depth - 1)),
            1 => "time()".to_owned(),
            _ => self.one_of(&["2", "0.3", "-1", "100", "1e3"]).to_owned(),
        }
    }

    fn vector(&mut self, depth: usize) -> String {
        if depth == 0 {
            let times = self.times();
            return format!("{}{times}", self.selector());
        }
        match self.random.below(10) {
            0 | 1 => {
                let function = self.one_of(&[
                    "rate",
                    "increase",
                    "delta",
                    "irate",
                    "idelta",
                    "deriv",
                    "changes",
                    "resets",
                    "sum_over_time",
                    "avg_over_time",
                    "min_over_time",
                    "max_over_time",
                    "count_over_time",
                    "last_over_time",
                    "present_over_time",
                    "stddev_over_time",
                    "stdvar_over_time",
                    "mad_over_time",
                    "absent_over_time",
                ]);
                format!("{function}({})", self.matrix(depth))
            }
            2 => {
                let q = self.one_of(&["0.5", "0.9", "0", "1", "2", "-0.1"]);
                match self.random.below(3) {
                    0 => format!("quantile_over_time({q}, {})", self.matrix(depth)),
                    1 => format!("predict_linear({}, 60)", self.matrix(depth)),
                    _ => format!("histogram_quantile({q}, {})", self.vector(depth - 1)),
                }
            }
            3 | 4 => {
                let op = self.one_of(&["sum", "avg", "min", "max", "count", "stddev", "stdvar", "group"]);
                let by = self.one_of(&[
                    "",
                    " by (job)",
                    " without (instance)",
                    " by (job, le)",
                    " by (nope)",
                ]);
                format!("{op}{by} ({})", self.vector(depth - 1))
            }
            5 => {
                let q = self.one_of(&["0.5", "0.25", "1", "7"]);
                format!("quantile by (job) ({q}, {})", self.vector(depth - 1))
            }
            6 => {
                let function = self.one_of(&[
                    "abs",
                    "ceil",
                    "floor",
                    "sgn",
                    "sqrt",
                    "timestamp",
                    "absent",
                    "histogram_count",
                    "histogram_sum",
                    "histogram_avg",
                    "hour",
                    "minute",
                    "-",
                ]);
                format!("{function}({})", self.vector(depth - 1))
            }
            _ => self.operation(depth),
        }
    }

    /// An operator between two expressions.
    fn operation(&mut self, depth: usize) -> String {
        match self.random.below(3) {
            0 => {
                let (op, scalar) = (self.operator(), self.scalar(depth - 1));
                let vector = self.vector(depth - 1);
                if self.random.below(2) == 0 {
                    format!("({vector}) {op} {scalar}")
                } else {
                    format!("{scalar} {op} ({vector})")
                }
            }
            1 => {
                let set = self.one_of(&["and", "or", "unless"]);
                let on = self.one_of(&["", " on (job)", " ignoring (instance)"]);
                format!(
                    "({}) {set}{on} ({})",
                    self.vector(depth - 1),
                    self.vector(depth - 1)
                )
            }
            _ => {
                let op = self.operator();
                let matching = self.one_of(&[
                    "",
                    "",
                    " on (job, instance)",
                    " on (job) group_left ()",
                    " ignoring (le)",
                    " on (job) group_right (instance)",
                ]);
                format!(
                    "({}) {op}{matching} ({})",
                    self.vector(depth - 1),
                    self.vector(depth - 1)
                )
            }
        }
    }

    fn operator(&mut self) -> &'static str {
        self.one_of(&[
            "+", "-", "*", "/", "%", "^", "==", "!=", ">", "<=", "> bool", "== bool", "atan2",
        ])
    }

    fn when(&mut self) -> When {
        let last = SAMPLES as i64 * STEP_MS + 360_000;
        let mut at = || (self.random.below(last as usize) as i64 - 60_000) / 1000 * 1000;
        let (one, other) = (at(), at());
        if self.random.below(2) == 0 {
            return When::Instant { at: one };
        }
        let step = [15_000, 30_000, 60_000, 77_000][self.random.below(4)];
        When::Range {
            start: one.min(other),
            end: one.max(other),
            step,
        }
    }
}

/// A value whose order does not matter, as far as it is compared.
fn comparable(outcome: &Outcome) -> Got {
    match &outcome.got {
        Got::Series(series) => {
            let mut series = series.clone();
            series.sort_by(|a, b| a.0.cmp(&b.0));
            Got::Series(series)
        }
        other => other.clone(),
    }
}

/// Which two of several series an error names depends on their order.
fn without_names(outcome: Result<Outcome, String>) -> Result<Outcome, String> {
    outcome.map_err(
        |error| match error.split_once("found duplicate series for the match group") {
            Some(_) => "found duplicate series for a match group".to_owned(),
            None => error,
        },
    )
}

/// What the two say of a query, if it is not the same.
fn compare(both: &mut Both, query: &str, when: When) -> Option<String> {
    let ours = without_names(ask_ours(&both.ours, query, when, both.peer.delayed_name_removal));
    let theirs = without_names(ask_peer(&mut both.peer, query, when));
    if let Some(difference) = difference(&ours, &theirs) {
        return Some(difference);
    }
    let (Ok(ours), Ok(theirs)) = (&ours, &theirs) else {
        return None;
    };
    let (ours, theirs) = (comparable(ours), comparable(theirs));
    (!close(&ours, &theirs)).then(|| format!("this engine: {ours:?}, Prometheus: {theirs:?}"))
}

/// Runs so many queries; whether all agreed, and the report.
pub(crate) fn run(both: &mut Both, queries: usize, seed: u64) -> Result<(bool, String), String> {
    let mut random = Random::new(seed);
    let mut report = String::new();
    let mut differ = 0;
    for set in 0..SETS {
        both.peer.delayed_name_removal = set % 2 == 1;
        both.clear();
        both.load(STEP_MS, &series(&mut random))?;
        for _ in 0..queries / SETS {
            let mut writer = Writer { random: &mut random };
            let depth = writer.random.below(4);
            let (query, when) = (writer.vector(depth), writer.when());
            if let Some(difference) = compare(both, &query, when) {
                differ += 1;
                if differ <= SHOWN {
                    let _ = writeln!(report, "{query}\n  set {set}, {when:?}: {difference}");
                }
            }
        }
    }
    let _ = write!(report, "{queries} random queries, seed {seed}: {differ} differ");
    Ok((differ == 0, report))
}
