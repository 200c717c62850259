//! Running tests: all groups at each interval, alerts compared as they go, expressions at the end.

use std::collections::{BTreeMap, BTreeSet};

use promql::notation::{Item, parse_series};
use promql::{Features, Labels};

use super::file::{AlertTest, Test, UnitTests};
use super::memory::Memory;
use super::{outcome, show};
use crate::group::{Group, Pairs};
use crate::state::{Alert, AlertState, GroupState, Options};
use crate::storage::{Sample, SampleValue};

/// How tests are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TestOptions {
    /// What PromQL knows beyond its stable parts.
    pub features: Features,
}

/// Samples of the input that were not stored yet, the next one last.
type Waiting = BTreeMap<Labels, Vec<Sample>>;

impl UnitTests {
    /// Runs the tests whose names are selected, over the groups of all rule files; says what failed, one text each.
    pub fn run(
        &self,
        groups: &[Group],
        options: &TestOptions,
        is_selected: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let mut ordered: Vec<&Group> = Vec::new();
        let mut keys = BTreeSet::new();
        for group in groups.iter().filter(|group| keys.insert(group.key())) {
            ordered.push(group);
        }
        // Those that are not named go first, beside the first one, as in promtool.
        let place = |group: &&Group| {
            let named = self.group_order.iter().position(|name| *name == group.name);
            named.unwrap_or(0)
        };
        ordered.sort_by_key(place);
        let selected = self.tests.iter().filter(|test| is_selected(&test.name));
        selected
            .flat_map(|test| Running::run(self, test, &ordered, options))
            .collect()
    }
}

/// A test at work.
struct Running<'t> {
    tests: &'t UnitTests,
    test: &'t Test,
    groups: Vec<GroupState>,
    memory: Memory,
    waiting: Waiting,
    failures: Vec<String>,
}

impl<'t> Running<'t> {
    fn run(tests: &'t UnitTests, test: &'t Test, groups: &[&Group], options: &TestOptions) -> Vec<String> {
        let waiting = match load(test) {
            Ok(waiting) => waiting,
            Err(error) => return vec![error],
        };
        if let Some(unnamed) = test.alerts.iter().find(|alert| alert.name.is_empty()) {
            let group = match test.name.as_str() {
                "" => String::new(),
                name => format!(" (in TestGroup {name})"),
            };
            return vec![format!(
                "an item under alert_rule_test misses required attribute alertname at eval_time {}{group}",
                promql::format_duration(unnamed.at_ms)
            )];
        }
        let state = |group: &&Group| GroupState::new((*group).clone(), rule_options(test));
        let mut running = Self {
            tests,
            test,
            groups: groups.iter().map(state).collect(),
            memory: Memory::new(promql::Options {
                subquery_step_ms: tests.interval_ms,
                delayed_name_removal: options.features.delayed_name_removal,
                ..promql::Options::default()
            }),
            waiting,
            failures: Vec::new(),
        };
        if running.evaluate_all() {
            running.check_expressions(options);
        }
        running.failures
    }

    /// Evaluates groups and compares alerts from the start to the last time of interest; whether all rules went well.
    fn evaluate_all(&mut self) -> bool {
        let alerts = self.test.alerts.iter().map(|test| test.at_ms);
        let times = alerts
            .clone()
            .chain(self.test.exprs.iter().map(|test| test.at_ms));
        let last_ms = times.max().unwrap_or(0);
        let alert_times: BTreeSet<i64> = alerts.collect();
        let mut at_ms = 0;
        while at_ms <= last_ms {
            if !self.evaluate(at_ms) {
                return false;
            }
            let next_ms = at_ms + self.tests.interval_ms;
            for time in alert_times.range(at_ms..next_ms) {
                self.check_alerts(*time);
            }
            at_ms = next_ms;
        }
        true
    }

    fn evaluate(&mut self, at_ms: i64) -> bool {
        let now_ms = self.test.start_ms + at_ms;
        if let Err(reason) = self.store_until(now_ms) {
            self.failures.push(reason.to_owned());
            return true;
        }
        let before = self.failures.len();
        for group in &mut self.groups {
            group.evaluate(now_ms, &mut self.memory);
            for rule in group.rules() {
                let Some(error) = rule.last_error() else { continue };
                self.failures.push(format!(
                    "    rule: {}, time: {}, err: {error}",
                    rule.rule().name,
                    show::go_duration(at_ms)
                ));
            }
        }
        self.failures.len() == before
    }

    fn store_until(&mut self, now_ms: i64) -> Result<(), &'static str> {
        for samples in self.waiting.values_mut() {
            while let Some(sample) = samples.pop_if(|sample| sample.time_ms <= now_ms) {
                self.memory.push(&sample)?;
            }
        }
        Ok(())
    }

    /// Compares the alerts of all tests of a time with those of the last evaluation.
    fn check_alerts(&mut self, at_ms: i64) {
        let tests = self.test.alerts.iter().filter(|test| test.at_ms == at_ms);
        let failures: Vec<String> = tests.filter_map(|test| self.check_alert(test)).collect();
        self.failures.extend(failures);
    }

    fn check_alert(&self, test: &AlertTest) -> Option<String> {
        let rules = self.groups.iter().flat_map(GroupState::rules);
        let named = rules.filter(|rule| rule.rule().alerting().is_some() && rule.rule().name == test.name);
        let firing = named
            .flat_map(|rule| rule.alerts())
            .filter(|alert| alert.state == AlertState::Firing);
        let both = |alert: &Alert| -> (Pairs, Pairs) {
            let labels = alert.labels.iter();
            let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
            (labels.collect(), alert.annotations.clone())
        };
        let mut got: Vec<(Pairs, Pairs)> = firing.map(both).collect();
        let mut expected = test.expected.clone();
        got.sort();
        expected.sort();
        if got == expected {
            return None;
        }
        let name = match self.test.name.as_str() {
            "" => String::new(),
            name => format!("    name: {name},\n"),
        };
        let shown = |alerts: &[(Pairs, Pairs)]| show::indented(&show::alerts(alerts), "            ");
        Some(format!(
            "{name}    alertname: {}, time: {}, \n        exp:{}, \n        got:{}",
            test.name,
            promql::format_duration(test.at_ms),
            shown(&expected),
            shown(&got)
        ))
    }

    fn check_expressions(&mut self, options: &TestOptions) {
        for test in &self.test.exprs {
            let checked = outcome::check(
                test,
                self.test.start_ms,
                &self.memory,
                options.features.parse,
                self.tests.is_fuzzy,
            );
            self.failures.extend(checked.err());
        }
    }
}

fn rule_options(test: &Test) -> Options {
    Options {
        external_labels: test.external_labels.clone().into(),
        external_url: test.external_url.clone(),
        interval_ms: test.interval_ms,
        restore: false,
        ..Options::default()
    }
}

/// The samples of a test's series. Of a series that is there twice, the later one counts.
fn load(test: &Test) -> Result<Waiting, String> {
    let mut waiting = Waiting::new();
    for line in &test.input {
        let (labels, items) = parse_series(line).map_err(|error| error.to_string())?;
        let timed = (0_i64..).zip(items);
        let samples = timed.filter_map(|(index, item)| {
            let value = match item {
                Item::Absent => return None,
                Item::Float(value) => SampleValue::Float(value),
                Item::Histogram(histogram) => SampleValue::Histogram(histogram),
            };
            Some(Sample {
                labels: labels.clone(),
                time_ms: index
                    .saturating_mul(test.interval_ms)
                    .saturating_add(test.start_ms),
                value,
            })
        });
        let mut samples: Vec<Sample> = samples.collect();
        samples.reverse();
        waiting.insert(labels.clone(), samples);
    }
    Ok(waiting)
}
