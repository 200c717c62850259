//! Groups over the window: evaluated when they are due, their results as rows, their alerts as assertions.

mod change;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ::rules::{AppendError, DueAlert, GroupState, Health, Refused, Sample, SampleValue, Storage};
use promql::{Answer, EvalError, Hints, Matcher, Plan, Series, SeriesSource, SourceError, eval_instant};
use wire::message::RulesState;
use wire::{DeviceId, Timestamp};

use super::outlet::{Defaults, Outlet};
use super::rule_files::Rules;
use super::window::Window;
use crate::alerts::Draft;
use crate::input::{Moment, ScrapeRow};

/// The wall clock may differ by this from the rules' before these are set, ms.
const DRIFT: i64 = 2000;

/// Samples that one expression may hold at once.
const MAX_SAMPLES: u64 = 5_000_000;

/// Numbers of targets from here on are of groups' results, those below of inputs.
const GROUPS: u32 = 1 << 31;

/// What an engine needs to know beside its rules.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EngineConfig {
    pub(crate) device: DeviceId,
    pub(crate) external_labels: BTreeMap<String, String>,
    /// How long groups wait before their first evaluation, so that every target has been scraped.
    pub(crate) warm_up: Duration,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Engine {
    groups: Vec<Running>,
    /// Of the rule files.
    hash: u64,
    pub(super) window: Window,
    defaults: Defaults,
    external_labels: BTreeMap<String, String>,
    promql: promql::Options<'static>,
    /// The rules' time minus the monotonic one, ms.
    offset_ms: i64,
}

#[derive(Debug)]
struct Running {
    state: GroupState,
    outlet: Outlet,
    /// Time of its next evaluation on the rules' clock, ms.
    due_ms: i64,
}

/// What one evaluation of a group gave.
#[derive(Debug)]
pub(crate) struct Round {
    /// File and name.
    pub(crate) group: String,
    pub(crate) rules: usize,
    /// Rules that failed: name and why.
    pub(crate) failures: Vec<(String, String)>,
    pub(crate) duration: Duration,
    /// Evaluations that were left out before this one.
    pub(crate) missed: u64,
    pub(crate) row: Option<ScrapeRow>,
    pub(crate) alerts: Vec<Draft>,
    /// An alert has come, gone, or changed its state.
    pub(crate) changed: bool,
}

/// A group's view of the window.
struct Shelf<'w> {
    window: &'w mut Window,
    options: &'w promql::Options<'static>,
    results: Vec<Sample>,
    started: Instant,
}

impl Engine {
    pub(crate) fn new(rules: Rules, config: EngineConfig, now: Moment) -> Engine {
        let mut engine = Engine {
            groups: Vec::new(),
            hash: 0,
            window: Window::new([], 0),
            defaults: Defaults::new(config.device.as_str(), &config.external_labels),
            external_labels: config.external_labels.clone(),
            promql: promql::Options {
                lookback_ms: super::rule_files::LOOKBACK_MS,
                max_samples: MAX_SAMPLES,
                ..promql::Options::default()
            },
            offset_ms: now.wall.ms().saturating_sub(now.mono_ms.cast_signed()),
        };
        // Nothing was there that could end.
        engine.change(rules, config, now, None);
        engine
    }

    /// The rules' time at a moment of this boot, ms.
    pub(super) fn time_of(&self, mono_ms: u64) -> i64 {
        self.offset_ms.saturating_add(mono_ms.cast_signed())
    }

    /// Takes a scrape in.
    pub(crate) fn take(&mut self, row: &ScrapeRow) {
        let at_ms = self.time_of(row.mono_ms);
        self.window.take(row, at_ms);
    }

    /// When the next group is due: ms since boot; `None`: there is no group.
    pub(crate) fn due_mono_ms(&self) -> Option<u64> {
        let due = self.groups.iter().map(|group| group.due_ms).min()?;
        Some(u64::try_from(due.saturating_sub(self.offset_ms)).unwrap_or(0))
    }

    /// Evaluates the groups that are due.
    pub(crate) fn evaluate(&mut self, now: Moment) -> Vec<Round> {
        self.follow(now);
        let now_ms = self.time_of(now.mono_ms);
        self.window.sweep(now_ms);
        let due: Vec<usize> = (0..self.groups.len())
            .filter(|&at| self.groups[at].due_ms <= now_ms)
            .collect();
        due.into_iter()
            .map(|at| self.evaluate_group(at, now, now_ms))
            .collect()
    }

    fn evaluate_group(&mut self, at: usize, now: Moment, now_ms: i64) -> Round {
        let running = &mut self.groups[at];
        let state = &mut running.state;
        let interval_ms = state.interval_ms();
        let at_ms = state.group().slot(now_ms, interval_ms).max(running.due_ms);
        let missed = (at_ms - running.due_ms) / interval_ms;
        running.due_ms = at_ms.saturating_add(interval_ms);
        let before = standing(state);
        let mut shelf = Shelf {
            window: &mut self.window,
            options: &self.promql,
            results: Vec::new(),
            started: Instant::now(),
        };
        let evaluation = state.evaluate(at_ms, &mut shelf);
        let results = shelf.results;
        let alerts = state.due(now_ms);
        let changed = before != standing(state);
        let failures = evaluation.failures.into_iter().map(|(rule, reason)| {
            let name = state.rules().get(rule).map(|rule| rule.rule().name.clone());
            (name.unwrap_or_default(), reason)
        });
        // Results are of the evaluation's time, whenever it was made; the log wants it by both clocks.
        let time_ms = at_ms - state.query_offset_ms();
        let back = now_ms.saturating_sub(time_ms);
        let stamp = now.at_wall(Timestamp::from_ms(now.wall.ms().saturating_sub(back)));
        let error_ms = now.wall.ms().saturating_sub(now_ms);
        Round {
            group: state.group().key(),
            rules: state.rules().len(),
            failures: failures.collect(),
            duration: evaluation.duration,
            missed: missed.unsigned_abs(),
            row: running.outlet.row(results, stamp, &self.defaults),
            alerts: alerts
                .into_iter()
                .map(|alert| draft(alert, error_ms, &self.external_labels))
                .collect(),
            changed,
        }
    }

    /// Follows the wall clock where it was set: with it move all times that were given before.
    fn follow(&mut self, now: Moment) {
        let by_ms = now.wall.ms().saturating_sub(self.time_of(now.mono_ms));
        if by_ms.abs() <= DRIFT {
            return;
        }
        self.offset_ms = self.offset_ms.saturating_add(by_ms);
        self.window.shift(by_ms);
        for group in &mut self.groups {
            group.state.shift(by_ms);
            let moved_ms = group.due_ms.saturating_add(by_ms);
            // Its own times are multiples of the interval on the new clock, too.
            group.due_ms = group
                .state
                .next_at(moved_ms.saturating_sub(group.state.interval_ms()));
        }
    }

    /// File and name of each group.
    pub(crate) fn group_keys(&self) -> BTreeSet<String> {
        self.groups
            .iter()
            .map(|group| group.state.group().key())
            .collect()
    }

    /// What is pending and firing, a group each.
    pub(crate) fn state(&self) -> Vec<Vec<u8>> {
        self.groups.iter().map(|group| group.state.to_bytes()).collect()
    }

    /// Goes on from states of an earlier run. One of a group that is gone is passed over; what its alerts fired ends at the
    /// desk when nobody asserts it.
    pub(crate) fn load(&mut self, states: &[Vec<u8>], now: Moment) {
        let now_ms = self.time_of(now.mono_ms);
        for group in &mut self.groups {
            let loaded = states.iter().any(|bytes| group.state.load(bytes, now_ms).is_ok());
            // Written under a clock that was ahead of this one: its times count from now.
            let ahead = group
                .state
                .last_evaluation_ms()
                .map_or(0, |last| last.saturating_sub(now_ms));
            if loaded && ahead > 0 {
                group.state.shift(-ahead);
            }
        }
    }

    /// Pending and firing alerts of all groups.
    pub(crate) fn active(&self) -> (usize, usize) {
        let alerts = self.groups.iter().flat_map(|group| group.state.rules());
        let alerts = alerts.flat_map(|rule| rule.alerts());
        alerts.fold((0, 0), |(pending, firing), alert| match alert.fired_at_ms {
            Some(_) => (pending, firing + 1),
            None => (pending + 1, firing),
        })
    }

    /// What the fleet is told; `None`: there are no rules.
    pub(crate) fn summary(&self) -> Option<RulesState> {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let rules = || self.groups.iter().flat_map(|group| group.state.rules());
        let failing = rules().filter(|rule| rule.health() == Health::Bad).count();
        let (pending, firing) = self.active();
        (!self.groups.is_empty()).then(|| RulesState {
            hash: self.hash,
            rules: count(rules().count()),
            failing: count(failing),
            pending: count(pending),
            firing: count(firing),
            groups: count(self.groups.len()),
        })
    }

    /// Memory of the window, bytes, and samples that found no room in it.
    pub(crate) fn memory(&self) -> (usize, u64) {
        (self.window.bytes(), self.window.refused)
    }
}

/// The alerts of a group and where each stands.
fn standing(state: &GroupState) -> Vec<(promql::Labels, ::rules::AlertState, i64)> {
    let alerts = state.rules().iter().flat_map(|rule| rule.all_alerts());
    alerts
        .map(|alert| (alert.labels.clone(), alert.state, alert.active_at_ms))
        .collect()
}

/// `error_ms`: the wall clock less the rules', which moves with every slew and by a ms between two readings. A start stays
/// what it was at first, or each assertion would tell of another alert; an end is held against the wall clock.
fn draft(alert: DueAlert, error_ms: i64, external_labels: &BTreeMap<String, String>) -> Draft {
    let starts_ms = alert.starts_at_ms;
    let ends_ms = alert.ends_at_ms.saturating_add(error_ms).max(starts_ms);
    let pairs = alert
        .labels
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Draft {
        labels: pairs.collect(),
        annotations: alert.annotations.into_iter().collect(),
        generator_url: alert.generator_url,
        starts_ms: Some(starts_ms),
        ends_ms: Some(ends_ms),
    }
    .with_external(external_labels)
}

impl SeriesSource for Shelf<'_> {
    fn select(&self, matchers: &[Matcher], hints: &Hints) -> Result<Vec<Series>, SourceError> {
        self.window.select(matchers, hints)
    }
}

impl Storage for Shelf<'_> {
    fn query(&self, plan: &Plan, at_ms: i64) -> Result<Answer, EvalError> {
        eval_instant(plan, at_ms, self, self.options)
    }

    fn append(&mut self, samples: &[Sample]) -> Result<Vec<Refused>, AppendError> {
        let mut refused = Vec::new();
        for (index, sample) in samples.iter().enumerate() {
            let SampleValue::Float(value) = sample.value else {
                let reason = "a device records no native histograms".to_owned();
                refused.push(Refused { index, reason });
                continue;
            };
            if let Some(place) = self.window.place(&sample.labels, sample.time_ms) {
                self.window.push(place, sample.time_ms, value);
            }
            self.results.push(sample.clone());
        }
        Ok(refused)
    }

    fn clock(&self) -> Duration {
        self.started.elapsed()
    }
}
