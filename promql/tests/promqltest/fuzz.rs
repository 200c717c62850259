//! Random queries over random series, answered by this engine and by a Prometheus: values, notes and errors must agree.
//!
//! A seed says everything. Series have resets, gaps, stale markers, NaN and infinities; some are classic or native
//! histograms. What docs/promql.md names as a difference is not generated, or not compared.

mod writer;

use std::fmt::Write;
use std::sync::Arc;

use promql::{Buckets, Histogram, Labels};

use crate::check::close;
use crate::engine::{Both, ask_ours, ask_peer, difference};
use crate::outcome::{Got, Outcome, Points};
use crate::random::Random;
use crate::script::{Item, Line, When};
use writer::Writer;

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
    let mut silent = 0;
    for _ in 0..SAMPLES {
        // Now and then for longer than the lookback.
        if random.below(90) == 0 {
            silent = random.below(40);
        }
        if silent > 0 {
            silent -= 1;
            items.push(Item::Absent);
            continue;
        }
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

/// Floats and native histograms by turns.
fn mixed(random: &mut Random) -> Vec<Item> {
    let (floats, histograms) = (floats(random, true, 60), histograms(random));
    let mut is_float = true;
    let pick = |(float, histogram)| {
        is_float ^= random.below(15) == 0;
        if is_float { float } else { histogram }
    };
    floats.into_iter().zip(histograms).map(pick).collect()
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
        lines.push((of("mix"), mixed(random)));
    }
    for le in ["0.1", "1", "1.0", "2.5", "nonsense", "+Inf"] {
        let pairs = [("__name__", "odd_bucket"), ("job", "a"), ("le", le)];
        lines.push((labels(&pairs), floats(random, true, 80)));
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

/// Whether the order of an answer is defined.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// By labels, which are in no second series.
    Labels,
    /// By values; of equal ones it is any.
    Values,
    Any,
}

impl Order {
    fn of(query: &str, when: When) -> Self {
        match when {
            When::Instant { .. } if query.starts_with("sort_by_label") => Self::Labels,
            When::Instant { .. } if query.starts_with("sort") => Self::Values,
            _ => Self::Any,
        }
    }
}

/// An answer's series, in an order of our own unless it is defined; an answer's values in their order, if that is.
fn comparable(outcome: &Outcome, order: Order) -> (Got, Got) {
    let Got::Series(series) = &outcome.got else {
        return (outcome.got.clone(), Got::Series(Vec::new()));
    };
    let mut values = Vec::new();
    if order == Order::Values {
        values.extend(series.iter().map(|(_, points)| (labels(&[]), points.clone())));
    }
    let mut series = series.clone();
    // A label that only some series have is in Prometheus's order neither before nor after those of others.
    let names =
        |(labels, _): &Points| -> Vec<String> { labels.iter().map(|(name, _)| name.to_owned()).collect() };
    let alike = series.windows(2).all(|pair| names(&pair[0]) == names(&pair[1]));
    if order != Order::Labels || !alike {
        series.sort_by(|a, b| a.0.cmp(&b.0));
    }
    (Got::Series(series), Got::Series(values))
}

/// Which two of several series an error names depends on their order; behind `@ end()` Prometheus has another place of
/// one refusal.
fn without_names(outcome: Result<Outcome, String>) -> Result<Outcome, String> {
    outcome.map_err(|error| {
        for plain in [
            "found duplicate series for the match group",
            "comparisons between scalars",
        ] {
            if error.contains(plain) {
                return plain.to_owned();
            }
        }
        error
    })
}

/// Of the types that an operator does not take, Prometheus notes only the last of each step, which depends on the order
/// of series: ours without those that it did not note, if it noted any.
fn with_notes_of(mut ours: Outcome, theirs: &Result<Outcome, String>) -> Outcome {
    const TYPES: &str = "PromQL info: incompatible sample types";
    if let Ok(theirs) = theirs
        && theirs.infos.iter().any(|note| note.starts_with(TYPES))
    {
        ours.infos
            .retain(|note| !note.starts_with(TYPES) || theirs.infos.contains(note));
    }
    ours
}

/// What became of the queries.
#[derive(Default)]
struct Tally {
    with_data: usize,
    refused: usize,
    differ: usize,
}

impl Tally {
    fn count(&mut self, theirs: &Result<Outcome, String>) {
        match theirs {
            Ok(outcome) => self.with_data += usize::from(outcome.got != Got::Series(Vec::new())),
            Err(_) => self.refused += 1,
        }
    }
}

/// What the two say of a query, if it is not the same.
fn compare(both: &mut Both, query: &str, when: When, tally: &mut Tally) -> Option<String> {
    let ours = without_names(ask_ours(&both.ours, query, when, both.peer.delayed_name_removal));
    let theirs = without_names(ask_peer(&mut both.peer, query, when));
    tally.count(&theirs);
    let ours = ours.map(|ours| with_notes_of(ours, &theirs));
    if let Some(difference) = difference(&ours, &theirs) {
        return Some(difference);
    }
    let (Ok(ours), Ok(theirs)) = (&ours, &theirs) else {
        return None;
    };
    let order = Order::of(query, when);
    let (ours, theirs) = (comparable(ours, order), comparable(theirs, order));
    (!(close(&ours.0, &theirs.0) && close(&ours.1, &theirs.1)))
        .then(|| format!("this engine: {ours:?}, Prometheus: {theirs:?}"))
}

/// Runs so many queries; whether all agreed, and the report.
pub(crate) fn run(both: &mut Both, queries: usize, seed: u64) -> Result<(bool, String), String> {
    let mut random = Random::new(seed);
    let mut report = String::new();
    let mut tally = Tally::default();
    for set in 0..SETS {
        both.peer.delayed_name_removal = set % 2 == 1;
        both.clear();
        both.load(STEP_MS, &series(&mut random))?;
        for _ in 0..queries / SETS {
            let mut writer = Writer { random: &mut random };
            let depth = writer.random.below(4);
            let (query, when) = (writer.query(depth), writer.when());
            if let Some(difference) = compare(both, &query, when, &mut tally) {
                tally.differ += 1;
                if tally.differ <= SHOWN {
                    let _ = writeln!(report, "{query}\n  set {set}, {when:?}: {difference}");
                }
            }
        }
    }
    let Tally {
        with_data,
        refused,
        differ,
    } = tally;
    let _ = write!(
        report,
        "{queries} random queries, seed {seed}: {with_data} with data, {refused} refused, {differ} differ"
    );
    Ok((differ == 0, report))
}
