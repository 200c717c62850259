//! The life of one alert, as the bridge owns it: what a source reported, and what Alertmanagers are shown of it.
//!
//! An Alertmanager pages only for an alert that is firing when a group is flushed, so an alert that came and went while
//! its device was offline would never page (docs/alerts.md). An interval is therefore shown as firing until an
//! Alertmanager took it as such and `min_firing` has passed since; what fires again before then is the same interval.

use prost::Message;
use wire::Labels;
use wire::message::Pair;

/// Resolved alerts are told again for so long after they resolved, as Prometheus does; ms.
pub(crate) const RESOLVED_RETENTION_MS: i64 = 15 * 60_000;

/// A resolve that no Alertmanager takes is forgotten after so long; ms.
pub(crate) const RESOLVED_PATIENCE_MS: i64 = 4 * 3_600_000;

/// Label of a rule: `drop` keeps an alert that was over when it arrived from paging. It is not sent.
pub(crate) const LATE: &str = "backhaul_late";

/// Label of a rule: `expire` resolves a firing alert whose device is silent. It is not sent.
pub(crate) const SILENT: &str = "backhaul_silent";

/// Times that alerts live by, ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// The least time that an interval of a device's alert is shown as firing.
    pub(crate) min_firing_ms: i64,
    /// Between two tellings of the same state (`--rules.alert.resend-delay`).
    pub(crate) resend_delay_ms: i64,
    /// A device not heard of for so long is silent.
    pub(crate) silent_after_ms: i64,
    /// The longest time that a silent device's alert is held as firing.
    pub(crate) hold_silent_ms: i64,
}

impl Default for Times {
    fn default() -> Self {
        Times {
            min_firing_ms: 6 * 60_000,
            resend_delay_ms: 60_000,
            silent_after_ms: 5 * 60_000,
            hold_silent_ms: 7 * 86_400_000,
        }
    }
}

/// What one Alertmanager took last.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Told {
    /// Its URL.
    #[prost(string, tag = "1")]
    pub(crate) alertmanager: String,
    #[prost(bool, tag = "2")]
    pub(crate) firing: bool,
    /// [`Life::change`] at that time.
    #[prost(uint64, tag = "3")]
    pub(crate) change: u64,
    /// When, ms since the epoch.
    #[prost(sint64, tag = "4")]
    pub(crate) at_ms: i64,
}

/// One alert: a row of alerts.redb.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Life {
    #[prost(string, tag = "1")]
    pub(crate) tenant: String,
    /// The device that raised it; empty: none.
    #[prost(string, tag = "2")]
    pub(crate) device: String,
    /// The rule group of the bridge that raised it; empty: none. Without device and group it came by HTTP.
    #[prost(string, tag = "3")]
    pub(crate) group: String,
    /// In order of names; identity of the alert.
    #[prost(message, repeated, tag = "4")]
    pub(crate) labels: Vec<Pair>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) annotations: Vec<Pair>,
    #[prost(string, tag = "6")]
    pub(crate) generator_url: String,
    /// Start that is shown, ms since the epoch.
    #[prost(sint64, tag = "7")]
    pub(crate) starts_ms: i64,
    /// Start of the newest interval that the source reported: what tells an old report from a new one.
    #[prost(sint64, tag = "8")]
    pub(crate) interval_ms: i64,
    /// End of that interval, ms since the epoch; 0: it fires. It may lie ahead for what came by HTTP.
    #[prost(sint64, tag = "9")]
    pub(crate) ends_ms: i64,
    /// When the newest firing report arrived, ms since the epoch.
    #[prost(sint64, tag = "10")]
    pub(crate) fired_ms: i64,
    /// When an Alertmanager first took it as firing since then; 0: none did.
    #[prost(sint64, tag = "11")]
    pub(crate) told_ms: i64,
    /// Counts what Alertmanagers have to hear of at once.
    #[prost(uint64, tag = "12")]
    pub(crate) change: u64,
    /// Intervals that were joined to the one shown.
    #[prost(uint64, tag = "13")]
    pub(crate) collapsed: u64,
    #[prost(message, repeated, tag = "14")]
    pub(crate) told: Vec<Told>,
    /// The interval was over when it arrived.
    #[prost(bool, tag = "15")]
    pub(crate) late: bool,
}

/// What a source says of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) labels: Labels,
    pub(crate) annotations: Vec<Pair>,
    pub(crate) generator_url: String,
    /// ms since the epoch.
    pub(crate) starts_ms: i64,
    /// ms since the epoch; 0: it fires.
    pub(crate) ends_ms: i64,
}

/// What Alertmanagers are to be shown now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Firing; the end that is given is ahead of now, or left to the sender.
    Firing { ends_ms: Option<i64> },
    /// Over, at a time; and since when that is shown.
    Resolved { ends_ms: i64, since_ms: i64 },
    /// Nothing: its rule says so.
    Withheld { since_ms: i64 },
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    /// A new interval.
    Raised,
    /// It fires again before its end was shown.
    Collapsed,
    /// It ended.
    Ended,
    /// Nothing that Alertmanagers must hear of at once.
    Same,
    /// It is older than what is known.
    Superseded,
}

impl Life {
    /// An alert's first report, at a time.
    pub(crate) fn new(tenant: &str, (device, group): (&str, &str), report: Report, now_ms: i64) -> Self {
        Life {
            tenant: tenant.to_owned(),
            device: device.to_owned(),
            group: group.to_owned(),
            labels: report
                .labels
                .iter()
                .map(|(name, value)| pair(name, value))
                .collect(),
            annotations: report.annotations,
            generator_url: report.generator_url,
            starts_ms: report.starts_ms,
            interval_ms: report.starts_ms,
            ends_ms: report.ends_ms,
            fired_ms: now_ms,
            change: 1,
            late: is_past(report.ends_ms, now_ms),
            ..Life::default()
        }
    }

    /// Takes a report of the same labels. `silent_ms`: since when its device is silent.
    pub(crate) fn note(
        &mut self,
        report: Report,
        now_ms: i64,
        times: &Times,
        silent_ms: Option<i64>,
    ) -> Noted {
        if report.starts_ms < self.interval_ms {
            return Noted::Superseded;
        }
        if report.starts_ms == self.interval_ms {
            return self.go_on(report, now_ms);
        }
        let shown = self.shown(now_ms, times, silent_ms);
        let noted = match shown {
            Shown::Firing { .. } => {
                self.collapsed += 1;
                Noted::Collapsed
            }
            Shown::Resolved { .. } | Shown::Withheld { .. } => {
                self.starts_ms = report.starts_ms;
                self.collapsed = 0;
                Noted::Raised
            }
        };
        self.interval_ms = report.starts_ms;
        self.ends_ms = report.ends_ms;
        self.late = is_past(report.ends_ms, now_ms);
        self.fired_ms = now_ms;
        // It has to be told again, and is shown for the least time from then on.
        self.told_ms = 0;
        self.change += 1;
        self.describe(report);
        noted
    }

    /// A report of the interval that is known.
    fn go_on(&mut self, report: Report, now_ms: i64) -> Noted {
        if self.ends_ms != 0 && report.ends_ms == 0 && is_past(self.ends_ms, now_ms) {
            return Noted::Superseded;
        }
        let was_over = is_past(self.ends_ms, now_ms);
        self.ends_ms = report.ends_ms;
        self.describe(report);
        match is_past(self.ends_ms, now_ms) && !was_over {
            true => Noted::Ended,
            false => Noted::Same,
        }
    }

    fn describe(&mut self, report: Report) {
        self.annotations = report.annotations;
        self.generator_url = report.generator_url;
    }

    fn policy(&self, label: &str) -> &str {
        let found = self.labels.iter().find(|pair| pair.name == label);
        found.map_or("", |pair| &pair.value)
    }

    /// What Alertmanagers are to be shown at a time.
    pub(crate) fn shown(&self, now_ms: i64, times: &Times, silent_ms: Option<i64>) -> Shown {
        if !is_past(self.ends_ms, now_ms) {
            let patience = match self.policy(SILENT) {
                "expire" => times.silent_after_ms,
                _ => times.hold_silent_ms,
            };
            let given_up = silent_ms.map(|since| since + patience).filter(|at| *at <= now_ms);
            return match given_up {
                Some(at) => Shown::Resolved {
                    ends_ms: at,
                    since_ms: at,
                },
                None => Shown::Firing {
                    ends_ms: Some(self.ends_ms).filter(|ends| *ends > 0),
                },
            };
        }
        if self.told_ms == 0 && self.late && self.policy(LATE) == "drop" {
            return Shown::Withheld {
                since_ms: self.fired_ms,
            };
        }
        if self.told_ms == 0 {
            return Shown::Firing { ends_ms: None };
        }
        let least = if self.device.is_empty() {
            0
        } else {
            times.min_firing_ms
        };
        let since_ms = self.ends_ms.max(self.told_ms + least);
        match now_ms < since_ms {
            true => Shown::Firing { ends_ms: None },
            false => Shown::Resolved {
                ends_ms: self.ends_ms,
                since_ms,
            },
        }
    }

    /// Whether an Alertmanager has to be told now.
    pub(crate) fn is_due(&self, alertmanager: &str, shown: Shown, now_ms: i64, times: &Times) -> bool {
        let told = self.told.iter().find(|told| told.alertmanager == alertmanager);
        let again = |told: &Told| now_ms - told.at_ms >= times.resend_delay_ms;
        match (shown, told) {
            (Shown::Withheld { .. }, _) => false,
            (_, None) => true,
            (Shown::Firing { .. }, Some(told)) => !told.firing || told.change != self.change || again(told),
            (Shown::Resolved { .. }, Some(told)) if told.firing || told.change != self.change => true,
            (Shown::Resolved { since_ms, .. }, Some(told)) => {
                again(told) && now_ms - since_ms < RESOLVED_RETENTION_MS
            }
        }
    }

    /// An Alertmanager took what it was sent.
    pub(crate) fn accepted(&mut self, alertmanager: &str, firing: bool, change: u64, now_ms: i64) {
        if firing && change == self.change && self.told_ms == 0 {
            self.told_ms = now_ms;
        }
        let told = Told {
            alertmanager: alertmanager.to_owned(),
            firing,
            change,
            at_ms: now_ms,
        };
        match self.told.iter_mut().find(|old| old.alertmanager == alertmanager) {
            Some(old) => *old = told,
            None => self.told.push(told),
        }
    }

    /// Whether nothing is left to be done for it. `alertmanagers`: those that there are.
    pub(crate) fn is_done(&self, shown: Shown, now_ms: i64, alertmanagers: &[String]) -> bool {
        let since_ms = match shown {
            Shown::Firing { .. } => {
                let over = is_past(self.ends_ms, now_ms);
                return over
                    && self.told_ms == 0
                    && now_ms - self.ends_ms.max(self.fired_ms) >= RESOLVED_PATIENCE_MS;
            }
            Shown::Resolved { since_ms, .. } | Shown::Withheld { since_ms } => since_ms,
        };
        let age = now_ms - since_ms;
        let all_know = alertmanagers.iter().all(|name| {
            let told = self.told.iter().find(|told| told.alertmanager == *name);
            told.is_some_and(|told| !told.firing && told.change == self.change)
        });
        let known = matches!(shown, Shown::Withheld { .. }) || all_know;
        age >= RESOLVED_PATIENCE_MS || (known && age >= RESOLVED_RETENTION_MS)
    }
}

pub(crate) fn pair(name: &str, value: &str) -> Pair {
    Pair {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// Whether an end is set and reached.
fn is_past(ends_ms: i64, now_ms: i64) -> bool {
    ends_ms != 0 && ends_ms <= now_ms
}

#[cfg(test)]
mod tests;
