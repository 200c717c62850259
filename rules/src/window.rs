//! What a group's expressions read: which series, and how far back.

use promql::{Expr, Matcher, Selector};

use crate::group::Group;

/// One selector of an expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The series.
    pub matchers: Vec<Matcher>,
    /// How old, in ms before the evaluation's time (the query offset included), a sample may be and still count.
    pub back_ms: i64,
    /// How far after that time it looks, in ms, by negative offsets.
    pub ahead_ms: i64,
    /// Whether `@` fixes its time, so that it looks further back with every evaluation.
    pub is_fixed: bool,
}

/// What a group reads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Window {
    /// All selectors, in order of rules.
    pub readings: Vec<Reading>,
    /// Whether templates ask queries, whose series are not among these.
    pub has_template_queries: bool,
}

impl Window {
    /// How far back the group looks, in ms.
    pub fn back_ms(&self) -> i64 {
        let backs = self.readings.iter().map(|reading| reading.back_ms);
        backs.max().unwrap_or(0)
    }

    /// Whether any selector's time is fixed by `@`.
    pub fn has_fixed_times(&self) -> bool {
        self.readings.iter().any(|reading| reading.is_fixed)
    }

    /// Why a device, which keeps a window of samples and no store, cannot evaluate the group, whatever its memory; `None`: it
    /// can.
    pub fn needs_store(&self) -> Option<&'static str> {
        if self.has_fixed_times() {
            return Some("@ looks further back with every evaluation, which no window on a device can hold");
        }
        let reason = "a template asks queries, whose series the device does not keep; use labels and $value";
        self.has_template_queries.then_some(reason)
    }
}

/// How far from the evaluation's time a part of an expression is evaluated.
#[derive(Clone, Copy)]
struct Reach {
    lookback_ms: i64,
    back_ms: i64,
    ahead_ms: i64,
    is_fixed: bool,
}

impl Reach {
    /// Further back by an offset and a window.
    fn moved(self, offset_ms: i64, range_ms: i64, is_fixed: bool) -> Self {
        Self {
            back_ms: self.back_ms.saturating_add(offset_ms).saturating_add(range_ms),
            ahead_ms: self.ahead_ms.saturating_sub(offset_ms),
            is_fixed: self.is_fixed || is_fixed,
            ..self
        }
    }
}

impl Group {
    /// What the group's expressions read, at a lookback (ms) and a query offset (ms) of groups that name none.
    pub fn window(&self, lookback_ms: i64, query_offset_ms: i64) -> Window {
        let offset_ms = self.query_offset_ms.unwrap_or(query_offset_ms);
        let reach = Reach {
            lookback_ms,
            back_ms: 0,
            ahead_ms: 0,
            is_fixed: false,
        }
        .moved(offset_ms, 0, false);
        let mut window = Window::default();
        for rule in &self.rules {
            read(rule.expr.expr(), reach, &mut window.readings);
            let annotations = rule.alerting().into_iter().flat_map(|a| &a.annotations);
            let mut templates = rule
                .alerting()
                .into_iter()
                .flat_map(|_| &rule.labels)
                .chain(annotations);
            window.has_template_queries |= templates.any(|(_, text)| asks_queries(text));
        }
        window
    }
}

/// Whether an action of a template has the word `query`.
fn asks_queries(template: &str) -> bool {
    let mut actions = template.split("{{").skip(1);
    actions.any(|action| {
        let mut words = action.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words.any(|word| word == "query")
    })
}

fn select(selector: &Selector, reach: Reach, range_ms: i64, readings: &mut Vec<Reading>) {
    let reach = reach.moved(selector.offset_ms, range_ms, selector.at.is_some());
    readings.push(Reading {
        matchers: selector.matchers.clone(),
        back_ms: reach.back_ms.max(0),
        ahead_ms: reach.ahead_ms.max(0),
        is_fixed: reach.is_fixed,
    });
}

fn read(expr: &Expr, reach: Reach, readings: &mut Vec<Reading>) {
    match expr {
        Expr::Number(_) | Expr::Text(_) => {}
        Expr::Selector(selector) => select(selector, reach, reach.lookback_ms, readings),
        Expr::Matrix(matrix) => select(&matrix.selector, reach, matrix.range_ms, readings),
        Expr::Subquery(subquery) => {
            let reach = reach.moved(subquery.offset_ms, subquery.range_ms, subquery.at.is_some());
            read(&subquery.expr, reach, readings);
        }
        Expr::Unary(unary) => read(&unary.expr, reach, readings),
        Expr::Paren(paren) => read(&paren.expr, reach, readings),
        Expr::Binary(binary) => {
            read(&binary.lhs, reach, readings);
            read(&binary.rhs, reach, readings);
        }
        Expr::Aggregate(aggregate) => {
            read(&aggregate.expr, reach, readings);
            if let Some(param) = &aggregate.param {
                read(param, reach, readings);
            }
        }
        Expr::Call(call) => call.args.iter().for_each(|arg| read(arg, reach, readings)),
    }
}

#[cfg(test)]
mod tests {
    use crate::file::{FileOptions, parse};

    fn window(expr: &str) -> super::Window {
        let text =
            format!("groups:\n- name: a\n  query_offset: 1m\n  rules:\n  - record: x\n    expr: '{expr}'\n");
        parse(&text, "f", &FileOptions::default()).unwrap()[0].window(300_000, 0)
    }

    #[test]
    fn windows_reach_as_far_as_expressions_look() {
        let minutes = |expr: &str| window(expr).back_ms() / 60_000;
        assert_eq!(minutes("1"), 0);
        assert_eq!(minutes("up"), 6);
        assert_eq!(minutes("up offset 1h"), 66);
        assert_eq!(minutes("rate(a[10m]) + b"), 11);
        assert_eq!(
            minutes("max_over_time(rate(a[10m] offset 5m)[1h:1m] offset 1d)"),
            1440 + 60 + 15 + 1
        );
        assert_eq!(minutes("quantile(scalar(a offset 10m), b)"), 16);
        let ahead = window("up offset -10m");
        assert_eq!(
            (ahead.readings[0].back_ms, ahead.readings[0].ahead_ms),
            (0, 540_000)
        );
        assert!(window("up @ 0").has_fixed_times() && !window("up").has_fixed_times());
        assert_eq!(window("a + on() b{c=\"d\"}").readings.len(), 2);
    }

    #[test]
    fn queries_of_templates_are_seen() {
        assert!(super::asks_queries("x {{ range query \"up\" }}{{ end }}"));
        assert!(!super::asks_queries("query {{ $labels.query_x }}"));
    }
}
