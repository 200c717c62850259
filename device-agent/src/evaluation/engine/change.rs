//! Other rules in a running engine: what they have in common with those before goes on.

use std::path::Path;

use ::rules::{Group, GroupState, Options};
use promql::stale_nan;
use wire::BootId;

use super::{Engine, EngineConfig, GROUPS, Running};
use crate::evaluation::outlet::{Defaults, Outlet};
use crate::evaluation::rule_files::Rules;
use crate::input::{Moment, ScrapeRow, TargetId};

impl Engine {
    /// Evaluates other rules from now on. A group goes on where the one of its file and name stopped, a new one waits until
    /// all targets have been scraped. What new rules read of the past comes from the log in a folder. Returns rows that
    /// end series of groups that are gone, or of all if the labels of results are others.
    pub(crate) fn change(
        &mut self,
        rules: Rules,
        config: EngineConfig,
        now: Moment,
        log: Option<(&Path, BootId)>,
    ) -> Vec<ScrapeRow> {
        let mut before = std::mem::take(&mut self.groups);
        let mut ends = Vec::new();
        if config.external_labels != self.external_labels {
            ends.extend(before.iter_mut().filter_map(|group| group.outlet.end(now, false)));
        }
        self.window.change(rules.readings(), rules.memory, log.is_none());
        if let Some((folder, boot)) = log.filter(|_| !rules.is_empty()) {
            self.refill(folder, boot, now);
        }
        self.hash = rules.hash;
        self.defaults = Defaults::new(config.device.as_str(), &config.external_labels);
        self.promql.subquery_step_ms = rules.interval_ms;
        let options = options(&config, rules.interval_ms);
        let first_ms = self.time_of(now.mono_ms).saturating_add(millis(config.warm_up));
        self.external_labels = config.external_labels;
        for group in rules.groups {
            let known = before
                .iter()
                .position(|old| old.state.group().key() == group.key());
            let running = match known.map(|at| before.swap_remove(at)) {
                Some(old) => continued(group, options.clone(), old, self.time_of(now.mono_ms)),
                None => {
                    let state = GroupState::new(group, options.clone());
                    Running {
                        due_ms: state.next_at(first_ms),
                        state,
                        outlet: Outlet::new(self.free_target(&before)),
                    }
                }
            };
            self.groups.push(running);
        }
        ends.extend(before.into_iter().filter_map(|group| self.retire(group, now)));
        ends
    }

    /// Ends the series of a group that is gone, for other rules, too.
    fn retire(&mut self, mut group: Running, now: Moment) -> Option<ScrapeRow> {
        for marker in group.state.retire(self.time_of(now.mono_ms)) {
            if let Some(place) = self.window.place(&marker.labels, marker.time_ms) {
                self.window.push(place, marker.time_ms, stale_nan());
            }
        }
        group.outlet.end(now, true)
    }

    /// The least number that no group has, those that are about to end included.
    fn free_target(&self, ending: &[Running]) -> TargetId {
        let taken = |id: &TargetId| {
            let mut all = self.groups.iter().chain(ending);
            all.any(|group| group.outlet.target() == *id)
        };
        let mut ids = (GROUPS..).map(TargetId::new);
        ids.find(|id| !taken(id)).unwrap_or(TargetId::new(u32::MAX))
    }
}

fn continued(group: Group, options: Options, before: Running, now_ms: i64) -> Running {
    let interval_ms = before.state.interval_ms();
    let mut state = GroupState::new(group, options);
    state.take_over(before.state);
    Running {
        due_ms: match state.interval_ms() == interval_ms {
            true => before.due_ms,
            false => state.next_at(now_ms),
        },
        state,
        outlet: before.outlet,
    }
}

fn options(config: &EngineConfig, interval_ms: i64) -> Options {
    let labels = config.external_labels.iter();
    Options {
        external_labels: labels
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect(),
        interval_ms,
        // What was pending and firing comes out of a file, not out of series.
        restore: false,
        ..Options::default()
    }
}

fn millis(length: std::time::Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}
