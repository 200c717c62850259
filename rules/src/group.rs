//! What a rule file says, checked: groups of rules.

use promql::{Labels, METRIC_NAME, Plan};

/// Names with values or templates, in order of names; a value may be empty, which takes a label away.
pub type Pairs = Vec<(String, String)>;

/// Rules that are evaluated one after another at the same times.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Name, unique in its file.
    pub name: String,
    /// The file it comes from, as the caller named it.
    pub file: String,
    /// How often it is evaluated, in ms; `None` is the global evaluation interval.
    pub interval_ms: Option<i64>,
    /// How far before the evaluation's time queries and results lie, in ms; `None` is the global one.
    pub query_offset_ms: Option<i64>,
    /// Most alerts or series that one rule may give.
    pub limit: Option<usize>,
    /// Which data an evaluation waits for; not a key of Prometheus.
    pub wait_for: Option<WaitFor>,
    /// Rules in order.
    pub rules: Vec<Rule>,
}

/// What an evaluation waits for, so that devices whose data is late still count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WaitFor {
    /// Until this share (0 to 1) of the devices has delivered all data of the evaluation's time.
    Share(f64),
    /// This long, in ms.
    Time(i64),
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The metric that is recorded, or the alert's name.
    pub name: String,
    /// The expression.
    pub expr: Plan,
    /// Labels of the rule and of its group; an alert's are templates.
    pub labels: Pairs,
    /// What becomes of the expression's value.
    pub action: Action,
}

/// What becomes of an expression's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// It is recorded as series.
    Record,
    /// Each of its series is an alert.
    Alert(Alerting),
}

/// What makes a rule an alerting one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Alerting {
    /// How long an alert is pending before it fires, in ms (`for`).
    pub for_ms: i64,
    /// How long it goes on firing after its series is gone, in ms.
    pub keep_firing_for_ms: i64,
    /// Annotations, which are templates.
    pub annotations: Pairs,
}

impl Rule {
    /// The expression as Prometheus's API shows it, on one line.
    pub fn query(&self) -> String {
        self.expr.expr().to_string()
    }

    /// The labels that a recording rule gives a series of its expression.
    #[must_use]
    pub fn recorded(&self, labels: &Labels) -> Labels {
        let named = labels.with(METRIC_NAME, &self.name);
        let own = self.labels.iter();
        own.fold(named, |labels, (name, value)| labels.with(name, value))
    }

    /// The alerting part, if it is an alerting rule.
    pub fn alerting(&self) -> Option<&Alerting> {
        match &self.action {
            Action::Alert(alerting) => Some(alerting),
            Action::Record => None,
        }
    }
}

impl Group {
    /// What tells a group from all others: its file and name, as in Prometheus's metrics.
    pub fn key(&self) -> String {
        format!("{};{}", self.file, self.name)
    }
}
