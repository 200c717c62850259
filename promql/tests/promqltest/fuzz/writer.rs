//! Random queries: every function and aggregation but those that docs/promql.md names as different, every operator with
//! its matchings, subqueries, `@`, offsets, duration expressions.

use super::{SAMPLES, STEP_MS};
use crate::random::Random;
use crate::script::When;

/// Functions of a range vector alone.
const OF_RANGES: [&str; 23] = [
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
    "ts_of_max_over_time",
    "ts_of_min_over_time",
    "ts_of_last_over_time",
    "rate",
];

/// Functions of an instant vector whose last digits are the platform's: of numbers that do not make more of them.
const OF_SMALL_NUMBERS: [&str; 6] = ["cos", "cosh", "exp", "sin", "sinh", "tan"];

/// Other functions of an instant vector alone.
const OF_VECTORS: [&str; 38] = [
    "abs",
    "absent",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "deg",
    "floor",
    "histogram_avg",
    "histogram_count",
    "histogram_stddev",
    "histogram_stdvar",
    "histogram_sum",
    "hour",
    "ln",
    "log10",
    "log2",
    "minute",
    "month",
    "rad",
    "round",
    "sgn",
    "sqrt",
    "tanh",
    "year",
    "-",
    "+",
    "sort",
    "sort_desc",
    "abs",
    "-",
];

/// Writes queries.
pub(super) struct Writer<'r> {
    pub(super) random: &'r mut Random,
}

impl Writer<'_> {
    fn one_of<'i>(&mut self, items: &[&'i str]) -> &'i str {
        self.random.choose(items)
    }

    /// A query of any type.
    pub(super) fn query(&mut self, depth: usize) -> String {
        match self.random.below(24) {
            0 => self.scalar(depth),
            1 => {
                let op = self.operator();
                format!("{} {op} {}", self.scalar(depth), self.scalar(depth))
            }
            2 => format!("vector({})", self.scalar(depth)),
            3 => self.matrix(depth),
            4 => self
                .one_of(&["\"a\"", "'\\u00e9\\n'", "minute()", "days_in_month()", "pi()"])
                .to_owned(),
            5 => {
                let order = self.one_of(&["sort", "sort_desc"]);
                format!("{order}({})", self.vector(depth))
            }
            6 => {
                let order = self.one_of(&["sort_by_label", "sort_by_label_desc"]);
                let labels = self.one_of(&["\"le\"", "\"job\", \"instance\"", "\"instance\", \"nope\""]);
                format!("{order}({}, {labels})", self.vector(depth))
            }
            _ => self.vector(depth),
        }
    }

    fn selector(&mut self) -> String {
        let matchers = self.one_of(&[
            "",
            "",
            "",
            "{job=\"a\"}",
            "{instance=~\"1|2\"}",
            "{job!=\"b\",instance!=\"\"}",
            "{job!~\"[b-z].*\"}",
            "{instance=\"\"}",
            "{job=~\".+\",le!=\"2\"}",
        ]);
        if self.random.below(12) == 0 {
            let several = [
                "{__name__=~\"g|one\"}",
                "{__name__=~\"c.*|mix\",job=\"a\"}",
                "{job=\"b\"}",
            ];
            return self.one_of(&several).to_owned();
        }
        let name = self.one_of(&[
            "c_total",
            "c_total",
            "g",
            "g",
            "one",
            "nh",
            "mix",
            "h_bucket",
            "odd_bucket",
            "missing",
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
            " offset (30s * 2)",
            " @ 900",
            " @ 1234.567",
            " @ end()",
            " @ start() offset 2m",
        ])
    }

    fn duration(&mut self) -> &'static str {
        self.one_of(&[
            "15s",
            "30s",
            "1m",
            "2m",
            "5m",
            "10m",
            "1m7s",
            "1ms",
            "2m - 15s",
            "1m * 2 + 30s",
        ])
    }

    fn matrix(&mut self, depth: usize) -> String {
        let (length, times) = (self.duration(), self.times());
        // A subquery's offset and @ inside it are among the known differences.
        if depth == 0 || self.random.below(3) > 0 {
            return format!("{}[{length}]{times}", self.selector());
        }
        let step = self.one_of(&["", "15s", "20s", "1m", "10s * 2"]);
        format!("({})[{length}:{step}]{times}", self.vector(depth - 1))
    }

    fn scalar(&mut self, depth: usize) -> String {
        match self.random.below(7) {
            0 if depth > 0 => format!("scalar({})", self.vector(depth - 1)),
            1 => "time()".to_owned(),
            2 if depth > 0 => {
                let op = self.one_of(&["+", "-", "*", "/", "%", "^", "> bool", "atan2"]);
                format!("({} {op} {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            _ => self
                .one_of(&["2", "0.3", "-1", "100", "1e3", "0", "NaN", "Inf", "0x1F", "1m30s"])
                .to_owned(),
        }
    }

    pub(super) fn vector(&mut self, depth: usize) -> String {
        if depth == 0 {
            let times = self.times();
            return format!("{}{times}", self.selector());
        }
        match self.random.below(12) {
            0 | 1 => {
                let function = self.one_of(&OF_RANGES);
                format!("{function}({})", self.matrix(depth))
            }
            2 => self.with_numbers(depth),
            3 | 4 => {
                let op = self.one_of(&["sum", "avg", "min", "max", "count", "stddev", "stdvar", "group"]);
                let grouping = self.grouping();
                format!("{op}{grouping} ({})", self.vector(depth - 1))
            }
            5 => self.with_parameter(depth),
            6 | 7 => {
                if self.random.below(8) == 0 {
                    let function = self.one_of(&OF_SMALL_NUMBERS);
                    return format!("{function}({} / 1000)", self.selector());
                }
                if self.random.below(12) == 0 {
                    // With `@` and an offset, Prometheus forgets the offset.
                    let times = self.one_of(&["", " offset 1m", " @ 900"]);
                    return format!("timestamp({}{times})", self.selector());
                }
                let function = self.one_of(&OF_VECTORS);
                format!("{function}({})", self.vector(depth - 1))
            }
            8 => self.relabelled(depth),
            _ => self.operation(depth),
        }
    }

    fn grouping(&mut self) -> &'static str {
        self.one_of(&[
            "",
            " by (job)",
            " without (instance)",
            " by (job, le)",
            " by (nope)",
            " by ()",
            " without (le, job)",
            " by (__name__)",
        ])
    }

    /// A function with numbers beside its series.
    fn with_numbers(&mut self, depth: usize) -> String {
        let q = self.one_of(&["0.5", "0.9", "0", "1", "2", "-0.1", "NaN"]);
        match self.random.below(9) {
            0 => format!("quantile_over_time({q}, {})", self.matrix(depth)),
            1 => format!("predict_linear({}, 60)", self.matrix(depth)),
            2 => format!("double_exponential_smoothing({}, 0.3, 0.6)", self.matrix(depth)),
            3 => {
                let bounds = self.one_of(&["0, 1", "-1, 0.7", "2, 1", "0.1, Inf", "-Inf, Inf"]);
                format!("histogram_fraction({bounds}, nh)")
            }
            4 => format!(
                "clamp({}, -10, {})",
                self.vector(depth - 1),
                self.scalar(depth - 1)
            ),
            5 => {
                let function = self.one_of(&["clamp_min", "clamp_max"]);
                format!(
                    "{function}({}, {})",
                    self.vector(depth - 1),
                    self.scalar(depth - 1)
                )
            }
            6 => {
                let to = self.one_of(&["0.1", "10", "0", "-5", "7"]);
                format!("round({}, {to})", self.vector(depth - 1))
            }
            _ => format!("histogram_quantile({q}, {})", self.vector(depth - 1)),
        }
    }

    /// An aggregation with a parameter. Of equal values topk keeps those that it met first, so it is asked of series
    /// that hardly ever have any.
    fn with_parameter(&mut self, depth: usize) -> String {
        let grouping = self.grouping();
        match self.random.below(5) {
            0 | 1 => {
                let q = self.one_of(&["0.5", "0.25", "1", "7", "-1", "NaN"]);
                format!("quantile{grouping} ({q}, {})", self.vector(depth - 1))
            }
            2 => {
                let op = self.one_of(&["topk", "bottomk"]);
                let k = self.one_of(&["1", "2", "3", "0", "-1", "2.9"]);
                let of = self.one_of(&["c_total", "rate(c_total[2m])", "one", "-c_total"]);
                format!("{op}{grouping} ({k}, {of})")
            }
            3 => {
                let ratio = self.one_of(&["0.5", "-0.5", "0.1", "1", "0", "3"]);
                format!("limit_ratio{grouping} ({ratio}, {})", self.vector(depth - 1))
            }
            _ => {
                let label = self.one_of(&["value", "job", "le"]);
                {
                    let of = self.vector(depth - 1);
                    format!("count_values{grouping} (\"{label}\", round(clamp({of}, -500, 500), 10))")
                }
            }
        }
    }

    /// Another label.
    fn relabelled(&mut self, depth: usize) -> String {
        let vector = self.vector(depth - 1);
        if self.random.below(3) == 0 {
            let join = self.one_of(&[
                "\"to\", \"-\", \"job\", \"instance\"",
                "\"job\", \"\"",
                "\"instance\", \"/\", \"le\", \"nope\", \"__name__\"",
            ]);
            return format!("label_join({vector}, {join})");
        }
        let to = self.one_of(&["job", "to", "instance", "__name__"]);
        let (value, from) = (
            self.one_of(&["$1", "x-$1", "", "${1}y", "$0$2"]),
            self.one_of(&["job", "instance", "le"]),
        );
        let pattern = self.one_of(&["(.*)", "(a|b)", "([0-9]).*", "", "nope", "(?i:A)(.*)"]);
        format!("label_replace({vector}, \"{to}\", \"{value}\", \"{from}\", \"{pattern}\")")
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
                let on = self.one_of(&["", " on (job)", " ignoring (instance)", " on ()"]);
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
                    " ignoring (instance) group_left (le, nope)",
                    " on (instance)",
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
            "+", "-", "*", "/", "%", "^", "==", "!=", ">", "<=", ">= bool", "< bool", "> bool", "== bool",
            "atan2",
        ])
    }

    /// Some instants and starts are on the grid of the samples, others are any.
    pub(super) fn when(&mut self) -> When {
        let last = SAMPLES as i64 * STEP_MS + 240_000;
        let grid = [1, 1000, STEP_MS][self.random.below(3)];
        // Not before 1970, nor near it: Prometheus's ts_of_last_over_time gives 0 there.
        let mut at = || (self.random.below(last as usize) as i64 + 120_000) / grid * grid;
        let (one, other) = (at(), at());
        if self.random.below(2) == 0 {
            return When::Instant { at: one };
        }
        let step = [7_000, 15_000, 30_000, 60_000, 77_123][self.random.below(5)];
        When::Range {
            start: one.min(other),
            end: one.max(other),
            step,
        }
    }
}
