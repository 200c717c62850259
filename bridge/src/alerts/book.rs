//! All alerts that the bridge knows, and what each Alertmanager is to be told next.
//!
//! State, not a queue: of an alert only the newest matters, so what waits for an Alertmanager that is away is bounded by
//! the number of alerts, and a row of alerts.redb says what each has taken.

use std::collections::{BTreeSet, HashMap};

use prost::Message;
use wire::Labels;
use wire::message::Pair;
use xxhash_rust::xxh3::xxh3_128;

use super::life::{Life, Noted, Report, Shown, Times};

/// Alerts kept in all.
pub(crate) const MAX_ALERTS: usize = 100_000;

/// Alerts kept of one device or rule group.
pub(crate) const MAX_OF_SOURCE: usize = 10_000;

/// Names an alert: a hash of tenant and labels.
pub(crate) type Key = u128;

/// Who reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source<'a> {
    /// `<tenant>.<device>`.
    Device(&'a str),
    /// A rule group of the bridge.
    Group(&'a str),
    /// Somebody by HTTP.
    Http,
}

impl<'a> Source<'a> {
    fn texts(self) -> (&'a str, &'a str) {
        match self {
            Source::Device(name) => (name, ""),
            Source::Group(name) => ("", name),
            Source::Http => ("", ""),
        }
    }
}

/// An alert as it goes to one Alertmanager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) key: Key,
    pub(crate) change: u64,
    pub(crate) firing: bool,
    pub(crate) labels: Vec<Pair>,
    pub(crate) annotations: Vec<Pair>,
    pub(crate) generator_url: String,
    /// ms since the epoch.
    pub(crate) starts_ms: i64,
    /// ms since the epoch.
    pub(crate) ends_ms: i64,
}

/// How many alerts are in which state, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) firing: usize,
    pub(crate) resolved: usize,
    pub(crate) withheld: usize,
}

/// Since when a device is silent; `None`: it is not.
pub(crate) type Silence<'a> = dyn Fn(&str) -> Option<i64> + 'a;

/// The alerts.
#[derive(Debug, Default)]
pub(crate) struct Book {
    alerts: HashMap<Key, Life>,
    times: Times,
    /// URLs of the Alertmanagers that there are.
    alertmanagers: Vec<String>,
    /// Changed since they were last written.
    dirty: BTreeSet<Key>,
    gone: BTreeSet<Key>,
}

/// The key of an alert.
pub(crate) fn key_of(tenant: &str, labels: &Labels) -> Key {
    let mut text = Vec::with_capacity(256);
    let parts = labels.iter().flat_map(|(name, value)| [name, value]);
    for part in [tenant].into_iter().chain(parts) {
        text.extend_from_slice(&(part.len() as u64).to_le_bytes());
        text.extend_from_slice(part.as_bytes());
    }
    xxh3_128(&text)
}

impl Book {
    /// The alerts that were written before.
    pub(crate) fn new(times: Times, alerts: impl IntoIterator<Item = (Key, Life)>) -> Self {
        Book {
            alerts: alerts.into_iter().collect(),
            times,
            ..Book::default()
        }
    }

    /// The times that hold from now on, and the Alertmanagers that there are.
    pub(crate) fn configure(&mut self, times: Times) {
        self.times = times;
    }

    /// The Alertmanagers that there are.
    pub(crate) fn set_alertmanagers(&mut self, urls: Vec<String>) {
        self.alertmanagers = urls;
    }

    /// Takes a report. `None`: there is no room for one more alert.
    pub(crate) fn report(
        &mut self,
        tenant: &str,
        source: Source<'_>,
        report: Report,
        (now_ms, silence): (i64, &Silence<'_>),
    ) -> Option<Noted> {
        let key = key_of(tenant, &report.labels);
        let texts = source.texts();
        let noted = match self.alerts.get_mut(&key) {
            Some(life) => {
                let silent = Some(&*life.device).filter(|d| !d.is_empty()).and_then(silence);
                let noted = life.note(report, now_ms, &self.times, silent);
                if noted != Noted::Superseded {
                    (life.device, life.group) = (texts.0.to_owned(), texts.1.to_owned());
                }
                noted
            }
            None => {
                if self.is_full(texts) {
                    return None;
                }
                // An end without a beginning that anybody knows of says nothing.
                self.alerts.insert(key, Life::new(tenant, texts, report, now_ms));
                Noted::Raised
            }
        };
        self.dirty.insert(key);
        Some(noted)
    }

    fn is_full(&self, (device, group): (&str, &str)) -> bool {
        if self.alerts.len() >= MAX_ALERTS {
            return true;
        }
        let is_same = |life: &&Life| life.device == device && life.group == group;
        self.alerts.len() >= MAX_OF_SOURCE && self.alerts.values().filter(is_same).count() >= MAX_OF_SOURCE
    }

    /// A rule group was evaluated: what fires of it, and all that it holds active, by key. What it no longer holds is over.
    /// Returns whether anything is.
    pub(crate) fn evaluated(
        &mut self,
        tenant: &str,
        group: &str,
        active: &BTreeSet<Key>,
        now_ms: i64,
    ) -> bool {
        let mut any = false;
        for (key, life) in &mut self.alerts {
            let is_of = life.group == group && life.tenant == tenant && life.ends_ms == 0;
            if is_of && !active.contains(key) {
                life.ends_ms = now_ms;
                self.dirty.insert(*key);
                any = true;
            }
        }
        any
    }

    /// Rule groups other than these are gone, and what they raised is over. Returns whether anything is.
    pub(crate) fn keep_groups(&mut self, groups: &BTreeSet<(String, String)>, now_ms: i64) -> bool {
        let mut any = false;
        for (key, life) in &mut self.alerts {
            let is_gone = !life.group.is_empty() && life.ends_ms == 0;
            if is_gone && !groups.contains(&(life.tenant.clone(), life.group.clone())) {
                life.ends_ms = now_ms;
                self.dirty.insert(*key);
                any = true;
            }
        }
        any
    }

    /// At most `most` notices that an Alertmanager has to be given now, firing ones first.
    pub(crate) fn due(
        &self,
        alertmanager: &str,
        most: usize,
        (now_ms, silence): (i64, &Silence<'_>),
    ) -> Vec<Notice> {
        let mut due: Vec<(bool, &Key, &Life, Shown)> = Vec::new();
        for (key, life) in &self.alerts {
            let shown = self.shown(life, now_ms, silence);
            if life.is_due(alertmanager, shown, now_ms, &self.times) {
                due.push((!matches!(shown, Shown::Firing { .. }), key, life, shown));
            }
        }
        due.sort_unstable_by_key(|(resolved, key, life, _)| (*resolved, life.fired_ms, **key));
        due.truncate(most);
        due.into_iter()
            .map(|(_, key, life, shown)| self.notice(*key, life, shown, now_ms))
            .collect()
    }

    fn notice(&self, key: Key, life: &Life, shown: Shown, now_ms: i64) -> Notice {
        let (firing, ends_ms) = match shown {
            // Prometheus's validity: four times what may pass until it is told again.
            Shown::Firing { ends_ms } => (true, ends_ms.unwrap_or(now_ms + 4 * self.times.resend_delay_ms)),
            Shown::Resolved { ends_ms, .. } => (false, ends_ms),
            Shown::Withheld { .. } => (false, now_ms),
        };
        Notice {
            key,
            change: life.change,
            firing,
            labels: life.labels.clone(),
            annotations: life.annotations.clone(),
            generator_url: life.generator_url.clone(),
            starts_ms: life.starts_ms.min(ends_ms),
            ends_ms,
        }
    }

    fn shown(&self, life: &Life, now_ms: i64, silence: &Silence<'_>) -> Shown {
        // Of one that is over, nobody asks where its device is.
        let asks = !life.device.is_empty() && life.ends_ms == 0;
        let silent = asks.then(|| silence(&life.device)).flatten();
        life.shown(now_ms, &self.times, silent)
    }

    /// An Alertmanager took notices. Returns for those that were taken as firing for the first time how long after they
    /// were raised that was, ms.
    pub(crate) fn accepted(&mut self, alertmanager: &str, taken: &[Notice], now_ms: i64) -> Vec<i64> {
        let mut delays = Vec::new();
        for notice in taken {
            let Some(life) = self.alerts.get_mut(&notice.key) else {
                continue;
            };
            let first = life.told_ms == 0;
            life.accepted(alertmanager, notice.firing, notice.change, now_ms);
            if first && life.told_ms != 0 {
                delays.push(now_ms - life.interval_ms);
            }
            self.dirty.insert(notice.key);
        }
        delays
    }

    /// Removes alerts for which nothing is left to be done; returns those that no Alertmanager ever took.
    pub(crate) fn sweep(&mut self, now_ms: i64, silence: &Silence<'_>) -> usize {
        let mut untold = 0;
        let done: Vec<Key> = self
            .alerts
            .iter()
            .filter(|(_, life)| life.is_done(self.shown(life, now_ms, silence), now_ms, &self.alertmanagers))
            .map(|(key, _)| *key)
            .collect();
        for key in done {
            let life = self.alerts.remove(&key);
            untold += usize::from(life.is_some_and(|life| life.told_ms == 0 && !life.late));
            self.dirty.remove(&key);
            self.gone.insert(key);
        }
        untold
    }

    /// What is to be written: rows, and keys of rows that go. Called again it gives only what changed since.
    pub(crate) fn take_changes(&mut self) -> (Vec<(Key, Vec<u8>)>, Vec<Key>) {
        let changed = std::mem::take(&mut self.dirty);
        let rows = changed
            .into_iter()
            .filter_map(|key| Some((key, self.alerts.get(&key)?.encode_to_vec())))
            .collect();
        (rows, std::mem::take(&mut self.gone).into_iter().collect())
    }

    /// What could not be written is to be written later.
    pub(crate) fn give_back(&mut self, rows: &[(Key, Vec<u8>)], gone: &[Key]) {
        self.dirty.extend(rows.iter().map(|(key, _)| *key));
        self.gone
            .extend(gone.iter().filter(|key| !self.alerts.contains_key(key)));
    }

    /// Everything is to be written, into a file that has nothing.
    pub(crate) fn write_all(&mut self) {
        self.dirty.extend(self.alerts.keys());
        self.gone.clear();
    }

    /// Counts by state.
    pub(crate) fn census(&self, now_ms: i64, silence: &Silence<'_>) -> Census {
        let mut census = Census::default();
        for life in self.alerts.values() {
            match self.shown(life, now_ms, silence) {
                Shown::Firing { .. } => census.firing += 1,
                Shown::Resolved { .. } => census.resolved += 1,
                Shown::Withheld { .. } => census.withheld += 1,
            }
        }
        census
    }

    /// Of each device: its alerts shown as firing, and those of which some Alertmanager has not taken the newest.
    pub(crate) fn by_device(&self, now_ms: i64, silence: &Silence<'_>) -> HashMap<String, (usize, usize)> {
        let mut devices: HashMap<String, (usize, usize)> = HashMap::new();
        for life in self.alerts.values().filter(|life| !life.device.is_empty()) {
            let firing = matches!(self.shown(life, now_ms, silence), Shown::Firing { .. });
            let knows = |url: &String| {
                let told = life.told.iter().find(|told| told.alertmanager == *url);
                told.is_some_and(|told| told.change == life.change && told.firing == firing)
            };
            let counts = devices.entry(life.device.clone()).or_default();
            counts.0 += usize::from(firing);
            counts.1 += usize::from(!self.alertmanagers.iter().all(knows));
        }
        devices
    }
}

#[cfg(test)]
mod tests;
