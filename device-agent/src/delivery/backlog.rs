//! The backlog lane: which records of which session are to be read from the log and sent, oldest session first.

use std::collections::BTreeMap;

use wire::{SeqSet, SessionId};

use crate::wal::{Ledger, ReadAlerts, ReadRows, Session};

/// Records that wait, and those read.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    todo: BTreeMap<SessionId, SeqSet>,
    held: BTreeMap<SessionId, SeqSet>,
    /// Rows of one segment that were read and not published; also in `todo`.
    pub(crate) ready: Option<ReadRows>,
    /// A read is under way.
    pub(crate) reading: bool,
    /// Alerts of one segment that were read and not published; also in `todo`.
    pub(crate) alerts: Option<ReadAlerts>,
}

impl Backlog {
    pub(crate) fn add(&mut self, session: SessionId, seqs: &SeqSet) {
        if !seqs.is_empty() {
            self.todo.entry(session).or_default().insert_all(seqs);
        }
    }

    pub(crate) fn add_all(&mut self, seqs: Vec<(SessionId, SeqSet)>) {
        seqs.iter().for_each(|(session, seqs)| self.add(*session, seqs));
    }

    /// Takes records out that are settled, given up or published.
    pub(crate) fn remove(&mut self, session: SessionId, seqs: &SeqSet) {
        for sets in [&mut self.todo, &mut self.held] {
            if let Some(set) = sets.get_mut(&session) {
                set.remove_all(seqs);
                if set.is_empty() {
                    sets.remove(&session);
                }
            }
        }
        if let Some(ready) = self.ready.as_mut().filter(|ready| ready.session == session) {
            ready.rows.retain(|row| !seqs.contains(row.seq));
        }
        self.ready.take_if(|ready| ready.rows.is_empty());
        if let Some(ready) = self.alerts.as_mut().filter(|ready| ready.session == session) {
            ready.alerts.retain(|alert| !seqs.contains(alert.seq));
        }
        self.alerts.take_if(|ready| ready.alerts.is_empty());
    }

    /// The bridge cannot read these: they wait for one of another epoch.
    pub(crate) fn hold(&mut self, session: SessionId, seqs: &SeqSet) {
        self.held.entry(session).or_default().insert_all(seqs);
    }

    /// A bridge of another epoch is there.
    pub(crate) fn release(&mut self) {
        for (session, seqs) in std::mem::take(&mut self.held) {
            self.add(session, &seqs);
        }
    }

    /// Rows to read next: of the oldest session that has some.
    pub(crate) fn next(&self, ledger: &Ledger) -> Option<(SessionId, SeqSet)> {
        let rows = |session: &Session| {
            let mut rows = self.todo.get(&session.id)?.clone();
            rows.remove_all(&session.alerts);
            (!rows.is_empty()).then_some((session.id, rows))
        };
        ledger.sessions().iter().find_map(rows)
    }

    /// Alerts to read next: of the newest session that has some, as what fires now matters most. `new`: only those that no
    /// bridge can have.
    pub(crate) fn next_alerts(&self, ledger: &Ledger, new: bool) -> Option<(SessionId, SeqSet)> {
        let alerts = |session: &Session| {
            let mut alerts = self.todo.get(&session.id)?.common(&session.alerts);
            if new {
                alerts.remove_all(session.published.as_ref()?);
            }
            (!alerts.is_empty()).then_some((session.id, alerts))
        };
        ledger.sessions().iter().rev().find_map(alerts)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.todo.is_empty()
    }

    /// How many records wait.
    pub(crate) fn len(&self) -> u64 {
        self.todo.values().map(SeqSet::len).sum()
    }

    #[cfg(test)]
    pub(crate) fn sets(&self) -> impl Iterator<Item = (SessionId, &SeqSet)> {
        self.todo.iter().chain(&self.held).map(|(id, set)| (*id, set))
    }
}
