//! State that outlives its group: to the same group of a new configuration, or through a restart.
//!
//! Rules find each other by name and labels; of several equal ones the first goes to the first. What no rule takes
//! over leaves series behind, which the next evaluation ends.

use std::collections::{BTreeSet, HashMap, VecDeque};

use promql::Labels;

use super::GroupState;
use super::alert::Alert;
use crate::group::{Pairs, Rule};

/// A rule's name and labels.
pub(super) type Identity = (String, Pairs);

/// What a rule leaves.
#[derive(Debug)]
pub(super) struct CarriedRule {
    pub(super) identity: Identity,
    pub(super) series: BTreeSet<Labels>,
    pub(super) alerts: Vec<Alert>,
}

/// What a group leaves.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) rules: Vec<CarriedRule>,
    pub(super) stale: Vec<Labels>,
    pub(super) last_evaluation_ms: Option<i64>,
    pub(super) evaluations: u64,
    pub(super) restored: bool,
}

pub(super) fn identity(rule: &Rule) -> Identity {
    (rule.name.clone(), rule.labels.clone())
}

impl GroupState {
    /// Goes on where the group of the configuration before stopped, which has the same file and name.
    pub fn take_over(&mut self, before: GroupState) {
        self.duration = before.duration;
        let rules = before.rules.into_iter().map(|state| CarriedRule {
            identity: identity(&state.rule),
            series: state.series,
            alerts: state.active.into_values().collect(),
        });
        self.carry(Carried {
            rules: rules.collect(),
            stale: before.stale,
            last_evaluation_ms: before.last_evaluation_ms,
            evaluations: before.evaluations,
            restored: before.restored,
        });
    }

    pub(super) fn carry(&mut self, carried: Carried) {
        self.restored |= carried.restored;
        self.evaluations = carried.evaluations;
        self.last_evaluation_ms = carried.last_evaluation_ms;
        self.stale = carried.stale;
        let mut left: HashMap<Identity, VecDeque<CarriedRule>> = HashMap::new();
        for rule in carried.rules {
            left.entry(rule.identity.clone()).or_default().push_back(rule);
        }
        for state in &mut self.rules {
            let found = left.get_mut(&identity(&state.rule)).and_then(VecDeque::pop_front);
            let Some(rule) = found else { continue };
            state.series = rule.series;
            if state.rule.alerting().is_some() {
                let alerts = rule.alerts.into_iter();
                state.active = alerts.map(|alert| (alert.labels.clone(), alert)).collect();
            }
        }
        let mut gone: Vec<Labels> = left
            .into_values()
            .flatten()
            .flat_map(|rule| rule.series)
            .collect();
        gone.sort();
        self.stale.append(&mut gone);
    }
}
