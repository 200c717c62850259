//! One device's part of the ledger.

use std::collections::{BTreeMap, VecDeque};

use wire::message::{Gap as GapMessage, SessionState};
use wire::{DeviceName, Seq, SeqSet, SessionId, Timestamp};

use super::fact::{Class, Fact, LOST_AT_STORE, RowFact, reason};
use super::session::{Drops, Gap, Session, Settling};
use super::settled::Ends;
use super::view::{DeviceLedger, GapView, Reasons, SessionLedger};
use crate::entry::Seen;
use crate::few::Few;

/// Gaps kept for each device; the oldest go first, their samples stay counted.
pub(crate) const MAX_GAPS: usize = 1024;

/// Sessions kept for each device; beyond them the one let go longest ago, else the oldest, is folded into the sums.
pub(crate) const MAX_SESSIONS: usize = 1024;

/// One device.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Device {
    pub(super) name: DeviceName,
    pub(super) sessions: Few<SessionId, Session>,
    /// Sessions let go, and until when their rows are acked and dropped.
    pub(super) tombs: BTreeMap<SessionId, Timestamp>,
    /// Sums of the sessions let go.
    pub(super) past_generated: u64,
    pub(super) stored: u64,
    pub(super) dropped: Reasons,
    /// Stored samples that neither heads nor blocks were given, as their file is damaged.
    pub(super) damaged: u64,
    /// Samples that heads and blocks hold and that the ledger does not have as stored, as it is of a damaged file.
    pub(super) recovered: u64,
    /// Numbers of its records in the journal that could not be read at start, so that heads and blocks lack rows of them.
    pub(super) left_out: Box<[u64]>,
    /// What left the quarantine without being found, by reason.
    pub(super) removed: Reasons,
    pub(super) quarantined: u64,
    pub(super) redelivered: u64,
    pub(super) alerts: u64,
    pub(super) gaps: VecDeque<GapView>,
    pub(super) gaps_total: u64,
    pub(super) last_seen: Timestamp,
    pub(super) newest: Option<Timestamp>,
    pub(super) seen: Seen,
}

/// What a device says of a range that it dropped.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    alerts: u64,
}

impl Device {
    pub(crate) fn new(name: DeviceName) -> Self {
        Device {
            name,
            sessions: Few::default(),
            tombs: BTreeMap::new(),
            past_generated: 0,
            stored: 0,
            dropped: Reasons::new(),
            damaged: 0,
            recovered: 0,
            left_out: Box::default(),
            removed: Reasons::new(),
            quarantined: 0,
            redelivered: 0,
            alerts: 0,
            gaps: VecDeque::new(),
            gaps_total: 0,
            last_seen: Timestamp::default(),
            newest: None,
            seen: Seen::default(),
        }
    }

    pub(crate) fn name(&self) -> &DeviceName {
        &self.name
    }

    pub(crate) fn last_seen(&self) -> Timestamp {
        self.last_seen
    }

    pub(crate) fn settled(&self, session: SessionId) -> SeqSet {
        self.sessions
            .get(session)
            .map(|s| s.settled.to_set())
            .unwrap_or_default()
    }

    pub(crate) fn is_settled(&self, session: SessionId, seq: Seq) -> bool {
        self.sessions
            .get(session)
            .is_some_and(|s| s.settled.contains(seq.get()))
    }

    /// Whether a session's state says nothing new.
    pub(crate) fn knows_session(&self, session: SessionId, state: &SessionState) -> bool {
        self.sessions
            .get(session)
            .is_some_and(|s| s.known.0 >= state.last && (s.closed.is_some() || !state.closed))
    }

    /// Whether a session was let go and its tombstone still stands.
    pub(crate) fn forgotten(&self, session: SessionId, now: Timestamp) -> bool {
        self.tombs.get(&session).is_some_and(|until| *until > now)
    }

    /// What is not settled now may be settled in records that were lost, and sessions be let go.
    pub(super) fn doubt(&mut self) {
        self.sessions
            .values_mut()
            .for_each(|session| session.doubted = true);
    }

    /// Sessions of which it is not known whether the device let them go.
    pub(crate) fn doubted(&self) -> impl Iterator<Item = SessionId> + '_ {
        let doubted = self.sessions.iter().filter(|(_, session)| session.doubted);
        doubted.map(|(id, _)| id)
    }

    pub(super) fn apply(&mut self, received: Timestamp, fact: &Fact) {
        if !matches!(fact, Fact::Released { .. } | Fact::Removed { .. }) {
            self.last_seen = self.last_seen.max(received);
        }
        match fact {
            Fact::Rows { session, total, rows } => self.rows(*session, *total, rows),
            Fact::Alert { session, seq, total } => self.alert(*session, *seq, *total),
            Fact::Gap(gap) => self.gap(gap),
            Fact::Session(state) => self.session_seen(state),
            Fact::Seen(seen) => self.seen = seen.clone(),
            Fact::Refused {
                session,
                seqs,
                samples,
                reason,
            } => self.refused(*session, seqs, *samples, reason),
            Fact::LetGo { session, until } => self.let_go(*session, *until, received),
            Fact::Released { samples, newest } => {
                self.quarantined = self.quarantined.saturating_sub(*samples);
                self.newest = self.newest.max(Some(*newest));
            }
            Fact::Removed { samples, reason } => {
                self.quarantined = self.quarantined.saturating_sub(*samples);
                *self.removed.entry(reason).or_default() += samples;
            }
            Fact::Forget => {}
        }
        self.bound_sessions(received);
    }

    fn rows(&mut self, id: SessionId, total: u64, rows: &[RowFact]) {
        let mut drops = Drops::new();
        let mut records: BTreeMap<u64, u64> = BTreeMap::new();
        let (mut stored, mut lost) = (0, 0);
        for row in rows {
            match row.class {
                Class::Redelivered => {
                    self.redelivered += 1;
                    continue;
                }
                Class::Stored => {
                    stored += row.samples;
                    let time = Timestamp::from_ms(row.time_ms);
                    self.newest = self.newest.max(Some(time));
                }
                Class::Quarantined => {
                    stored += row.samples;
                    self.quarantined += row.samples;
                }
                Class::QuarantineFull | Class::OutOfRetention | Class::Limit => {
                    let reason = row.class.dropped().unwrap_or("limit");
                    lost += row.samples;
                    *drops.entry(reason).or_default() += i128::from(row.samples);
                }
            }
            *records.entry(row.seq).or_default() += row.samples;
        }
        let highest = rows.iter().map(|row| row.seq).max().unwrap_or(0);
        let session = self.sessions.entry(id);
        session.know(highest, total, &mut drops);
        for (seq, samples) in records {
            let total = (seq == highest).then_some(total);
            session.settle(
                Settling {
                    first: seq,
                    last: seq,
                    samples,
                    guessed: false,
                    total,
                },
                &mut drops,
            );
        }
        session.stored += stored;
        session.dropped += lost;
        self.stored += stored;
        self.count(drops);
        if lost > 0 {
            self.note_dropped(id, rows);
        }
        self.shrink(id);
    }

    /// A gap for every run of rows that were dropped for one reason.
    fn note_dropped(&mut self, id: SessionId, rows: &[RowFact]) {
        let mut dropped: Vec<(&RowFact, &'static str)> = rows
            .iter()
            .filter_map(|row| Some((row, row.class.dropped()?)))
            .collect();
        dropped.sort_by_key(|(row, _)| row.seq);
        let runs = dropped.chunk_by(|(a, why), (b, other)| why == other && b.seq - a.seq <= 1);
        for run in runs {
            let times = || run.iter().map(|(row, _)| Timestamp::from_ms(row.time_ms));
            self.push_gap(GapView {
                session: id,
                first: run[0].0.seq,
                last: run[run.len() - 1].0.seq,
                from: times().min(),
                to: times().max(),
                samples: run.iter().map(|(row, _)| row.samples).sum(),
                reason: run[0].1,
                alerts: 0,
            });
        }
    }

    fn push_gap(&mut self, gap: GapView) {
        self.gaps_total += 1;
        if self.gaps.len() >= MAX_GAPS {
            self.gaps.pop_front();
        }
        self.gaps.push_back(gap);
    }

    fn alert(&mut self, id: SessionId, seq: u64, total: u64) {
        let mut drops = Drops::new();
        let session = self.sessions.entry(id);
        if session.settled.contains(seq) {
            return;
        }
        session.know(seq, total, &mut drops);
        let what = Settling {
            first: seq,
            last: seq,
            samples: 0,
            guessed: false,
            total: Some(total),
        };
        session.settle(what, &mut drops);
        self.alerts += 1;
        self.count(drops);
        self.shrink(id);
    }

    fn gap(&mut self, gap: &GapMessage) {
        let time = |ms: i64| (ms != 0).then(|| Timestamp::from_ms(ms));
        let range = Gap {
            first: gap.first,
            last: gap.last,
            samples: gap.samples,
            guessed: false,
            reason: reason(&gap.reason),
            ends: Ends::default(),
        };
        let told = Told {
            from: time(gap.from_ms),
            to: time(gap.to_ms),
            alerts: gap.alerts,
        };
        self.drop_range(SessionId::new(gap.session), range, told);
    }

    fn drop_range(&mut self, id: SessionId, gap: Gap, told: Told) {
        let mut drops = Drops::new();
        let session = self.sessions.entry(id);
        let samples = session.drop_range(gap, &mut drops);
        self.count(drops);
        let Some(samples) = samples else { return };
        self.push_gap(GapView {
            session: id,
            first: gap.first,
            last: gap.last,
            from: told.from,
            to: told.to,
            samples,
            reason: gap.reason,
            alerts: told.alerts,
        });
        self.shrink(id);
    }

    fn session_seen(&mut self, state: &SessionState) {
        let id = SessionId::new(state.session);
        let mut drops = Drops::new();
        let session = self.sessions.entry(id);
        session.know(state.last, state.total, &mut drops);
        if state.closed && session.closed.is_none() {
            session.closed = Some((state.last, state.total));
        }
        self.count(drops);
        let (edge, total) = lost_edge(state);
        if edge > 0 {
            let ends = Ends {
                before: Some(0),
                after: Some(total),
            };
            let gap = Gap {
                first: 1,
                last: edge,
                samples: total,
                guessed: false,
                reason: LOST_AT_STORE,
                ends,
            };
            self.drop_range(id, gap, Told::default());
        }
    }

    fn refused(&mut self, id: SessionId, seqs: &SeqSet, samples: u64, reason: &'static str) {
        let mut left = samples;
        let mut drops = Drops::new();
        let session = self.sessions.entry(id);
        let missing: Vec<(u64, u64)> = seqs
            .ranges()
            .flat_map(|r| {
                session
                    .settled
                    .missing(r.start().get(), r.end().get(), Ends::default())
            })
            .map(|piece| (piece.first, piece.last))
            .collect();
        if missing.is_empty() {
            return;
        }
        for (first, last) in missing {
            let what = Settling {
                first,
                last,
                samples: std::mem::take(&mut left),
                guessed: true,
                total: None,
            };
            // What could not be decoded is a guess; a later total corrects it.
            session.guessed = Some(reason);
            session.settle(what, &mut drops);
        }
        session.dropped = session.dropped.saturating_add(samples);
        *drops.entry(reason).or_default() += i128::from(samples);
        self.count(drops);
        self.shrink(id);
    }

    fn let_go(&mut self, id: SessionId, until: Timestamp, now: Timestamp) {
        if let Some(session) = self.sessions.remove(id) {
            let lost = session.pending();
            if lost > 0 {
                let mut drops = Drops::new();
                drops.insert(LOST_AT_STORE, i128::from(lost));
                self.count(drops);
                let (first, last) = session.unsettled();
                self.push_gap(GapView {
                    session: id,
                    first,
                    last,
                    from: None,
                    to: None,
                    samples: lost,
                    reason: LOST_AT_STORE,
                    alerts: 0,
                });
            }
            self.past_generated = self.past_generated.saturating_add(session.generated());
        }
        self.tombs.retain(|_, until| *until > now);
        self.tombs.insert(id, until);
    }

    fn count(&mut self, drops: Drops) {
        for (reason, change) in drops {
            let sum = self.dropped.entry(reason).or_default();
            let changed = (i128::from(*sum) + change).max(0);
            *sum = u64::try_from(changed).unwrap_or(u64::MAX);
        }
    }

    /// Keeps a session within its intervals by filling its oldest hole.
    fn shrink(&mut self, id: SessionId) {
        while let Some((first, last)) = self.sessions.get(id).and_then(Session::excess_hole) {
            let gap = Gap {
                first,
                last,
                samples: 0,
                guessed: true,
                reason: "limit",
                ends: Ends::default(),
            };
            self.drop_range(id, gap, Told::default());
        }
    }

    fn bound_sessions(&mut self, now: Timestamp) {
        while self.sessions.len() > MAX_SESSIONS {
            let settled = self
                .sessions
                .iter()
                .find(|(_, s)| s.closed.is_some() && s.pending() == 0);
            let Some(id) = settled.or(self.sessions.iter().next()).map(|(id, _)| id) else {
                return;
            };
            self.let_go(id, Timestamp::from_ms(i64::MAX), now);
        }
        while self.tombs.len() > 4 * MAX_SESSIONS {
            self.tombs.pop_first();
        }
    }

    /// Time of its newest sample that is not quarantined.
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// The latest gaps, oldest first.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = &GapView> {
        self.gaps.iter()
    }

    pub(crate) fn view(&self, removed: Reasons) -> DeviceLedger {
        let mut removed = removed;
        let own = self.removed.iter().map(|(reason, samples)| (*reason, *samples));
        for (reason, samples) in own.chain([("damaged", self.damaged)]) {
            if samples > 0 {
                *removed.entry(reason).or_default() += samples;
            }
        }
        let sessions: Vec<SessionLedger> = self
            .sessions
            .iter()
            .map(|(id, s)| SessionLedger {
                session: id,
                generated: s.generated(),
                stored: s.stored,
                dropped: s.dropped,
                closed: s.closed.is_some(),
                intervals: s.settled.len(),
            })
            .collect();
        DeviceLedger {
            device: self.name.clone(),
            generated: sessions
                .iter()
                .fold(self.past_generated, |sum, s| sum.saturating_add(s.generated)),
            stored: self.stored,
            dropped: self.dropped.clone(),
            removed,
            recovered: self.recovered,
            pending: self
                .sessions
                .values()
                .fold(0, |sum, s| sum.saturating_add(s.pending())),
            quarantined: self.quarantined,
            redelivered: self.redelivered,
            alerts: self.alerts,
            gaps_total: self.gaps_total,
            gaps: self.gaps.iter().cloned().collect(),
            sessions,
            last_seen: self.last_seen,
            newest_sample: self.newest,
            seen: self.seen.clone(),
        }
    }
}

/// The last seq of which the device holds nothing any more, and the running total after it; 0: there is none.
pub(crate) fn lost_edge(state: &SessionState) -> (u64, u64) {
    match state.oldest {
        0 => (state.last, state.total),
        oldest => (oldest - 1, state.total_before),
    }
}
