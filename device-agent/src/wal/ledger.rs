//! What the device owes: every session's records, settled, dropped or pending, and the device's sums.
//!
//! Pure: the log enters what it appended, found or freed; delivery enters what the bridge said.

use std::collections::BTreeMap;

use wire::{Seq, SeqSet, SessionId, Timestamp};

use crate::wal::gaps::{Gap, Gaps, Reason};
use crate::wal::known::Known;
use crate::wal::segment::{Mark, Segment};
use crate::wal::session::Session;

/// Most sessions that a bridge is asked to forget at once.
const MAX_LET_GO: usize = 256;

/// The books of a log.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Oldest first; the last one is this run's.
    sessions: Vec<Session>,
    gaps: Gaps,
    dropped: BTreeMap<Reason, u64>,
    /// Alerts given up in this process's life.
    lost_alerts: BTreeMap<Reason, u64>,
    /// Samples of sessions that are no longer in `sessions`.
    pub(crate) generated_before: u64,
    pub(crate) let_go: Vec<SessionId>,
    /// Dictionaries that need not be sent.
    pub(crate) known: Option<Known>,
    /// Something changed that the meta file should have.
    pub(crate) changed: bool,
}

impl Ledger {
    pub(crate) fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    pub(crate) fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.iter().find(|s| s.id == id)
    }

    pub(crate) fn session_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|s| s.id == id)
    }

    /// This run's session.
    pub(crate) fn current(&mut self) -> Option<&mut Session> {
        self.sessions.last_mut()
    }

    pub(crate) fn add(&mut self, session: Session) {
        self.sessions.push(session);
    }

    pub(crate) fn gaps(&self) -> &Gaps {
        &self.gaps
    }

    pub(crate) fn gaps_mut(&mut self) -> &mut Gaps {
        &mut self.gaps
    }

    /// Samples given up in the device's life, by reason, confirmed or not.
    pub(crate) fn dropped(&self) -> BTreeMap<Reason, u64> {
        let mut sums = self.dropped.clone();
        for gap in self.gaps.iter().filter(|gap| !gap.confirmed) {
            *sums.entry(gap.reason).or_default() += gap.samples;
        }
        sums
    }

    /// The confirmed part of [`Ledger::dropped`].
    pub(crate) fn dropped_confirmed(&self) -> &BTreeMap<Reason, u64> {
        &self.dropped
    }

    pub(crate) fn add_dropped(&mut self, reason: Reason, samples: u64) {
        *self.dropped.entry(reason).or_default() += samples;
    }

    /// Samples generated in the device's life.
    pub(crate) fn generated(&self) -> u64 {
        self.generated_before + self.sessions.iter().map(|s| s.total).sum::<u64>()
    }

    /// Pending records and their samples, of all sessions.
    pub(crate) fn pending(&self) -> (u64, u64) {
        let add = |(records, samples): (u64, u64), s: &Session| {
            (records + s.pending_records, samples + s.pending_samples)
        };
        self.sessions.iter().fold((0, 0), add)
    }

    /// Pending alerts of all sessions.
    pub(crate) fn pending_alerts(&self) -> u64 {
        let with = self
            .sessions
            .iter()
            .filter(|s| s.pending_records > 0 && !s.alerts.is_empty());
        with.map(|s| s.pending().common(&s.alerts).len()).sum()
    }

    /// Samples settled in this process's life.
    pub(crate) fn acked(&self) -> u64 {
        self.sessions.iter().map(|s| s.acked_samples).sum()
    }

    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.sessions.iter().map(Session::bytes).sum()
    }

    /// The bridge has settled a range.
    pub(crate) fn settle(&mut self, id: SessionId, first: Seq, last: Seq) -> u64 {
        let Some(session) = self.session_mut(id) else {
            return 0;
        };
        let samples = session.settle(first, last);
        self.changed = true;
        samples
    }

    /// A complete list of what the bridge has settled of a session. Gaps older than `mark` are confirmed by it. Returns
    /// the records that are pending again.
    pub(crate) fn replace(&mut self, id: SessionId, settled: &SeqSet, mark: u64) -> SeqSet {
        let Some(session) = self.session_mut(id) else {
            return SeqSet::new();
        };
        for range in settled.ranges() {
            session.settle(*range.start(), *range.end());
        }
        let again = session.rewind(settled);
        self.changed = true;
        self.confirm(id, mark);
        self.settle_gaps(id);
        again
    }

    fn confirm(&mut self, id: SessionId, mark: u64) {
        let Some(session) = self.sessions.iter_mut().find(|s| s.id == id) else {
            return;
        };
        for (reason, samples) in self.gaps.confirm(id, &session.settled, mark) {
            session.dropped_samples += samples;
            *self.dropped.entry(reason).or_default() += samples;
        }
    }

    /// Forgets gaps that the bridge has settled.
    pub(crate) fn settle_gaps(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.iter().find(|s| s.id == id) {
            self.gaps.settle(id, &session.settled);
        }
    }

    /// The bridge lacks a hole of the log that it once had settled: declares it again.
    pub(crate) fn redeclare(&mut self, id: SessionId, reason: Reason) {
        let Some(session) = self.session(id) else {
            return;
        };
        let mut unknown = session.dropped.clone();
        unknown.remove_range(Seq::new(0), Seq::new(session.freed));
        let at = session.newest.wall;
        let confirmed = true;
        self.declare(id, unknown, &[], |gap| Gap {
            reason,
            confirmed,
            from: at,
            to: at,
            ..gap
        });
    }

    /// Gives up what is pending among some records of a session.
    pub(crate) fn give_up(&mut self, id: SessionId, seqs: &SeqSet, reason: Reason) {
        let Some(session) = self.sessions.iter_mut().find(|s| s.id == id) else {
            return;
        };
        let (given_up, _) = session.give_up(seqs);
        let alerts = given_up.common(&session.alerts).len();
        if alerts > 0 {
            *self.lost_alerts.entry(reason).or_default() += alerts;
        }
        for range in given_up.ranges() {
            let (first, last) = (*range.start(), *range.end());
            let times = session.segment_of(first).and_then(|s| s.times);
            let at = session.newest.wall;
            let (from, to) = times.unwrap_or((at, at));
            let each = match session.may_be_stored(first, last) {
                true => session.each_between(first.get(), last.get()),
                false => Vec::new(),
            };
            let before = session.at_or_below(first.get() - 1);
            let after = session.at_or_above(last.get());
            self.gaps.push(Gap {
                each,
                from,
                to,
                reason,
                ..Gap::between(id, before, after)
            });
        }
        self.squeeze_gaps();
        self.changed = true;
    }

    /// Notes which records of a hole that is to be entered are alerts.
    pub(crate) fn lose_alerts(&mut self, id: SessionId, seqs: impl Iterator<Item = Seq>, reason: Reason) {
        let Some(session) = self.session_mut(id) else {
            return;
        };
        let alerts: SeqSet = seqs.collect();
        session.alerts.insert_all(&alerts);
        if !alerts.is_empty() {
            *self.lost_alerts.entry(reason).or_default() += alerts.len();
        }
    }

    /// Alerts given up in this process's life, by reason; some may have been delivered, their ack lost.
    pub(crate) fn lost_alerts(&self) -> &BTreeMap<Reason, u64> {
        &self.lost_alerts
    }

    /// Enters seqs that have no record in the log: from the newest entry to `end`, a seq and the running total after it.
    /// What was not known to be settled, and is in no gap, makes new ones.
    pub(crate) fn enter_hole(
        &mut self,
        id: SessionId,
        end: Mark,
        (from, to): (Timestamp, Timestamp),
        reason: Reason,
    ) {
        let Some(session) = self.session_mut(id) else {
            return;
        };
        let mut hole = SeqSet::new();
        hole.insert_range(Seq::new(session.last + 1), Seq::new(end.0));
        let start = (session.last, session.total);
        session.enter_hole(end.0, end.1);
        self.declare(id, hole, &[start, end], |gap| Gap {
            reason,
            from,
            to,
            ..gap
        });
        self.changed = true;
    }

    /// Enters a gap of an earlier run; one of a session that is gone is none.
    pub(crate) fn enter_gap(&mut self, gap: Gap) {
        if let Some(session) = self.session_mut(gap.session) {
            session.dropped.insert_range(gap.first, gap.last);
            self.gaps.push(gap);
        }
    }

    /// Makes gaps of what is neither settled nor in a gap among some dropped records. They reach as far as the next seqs
    /// after which the running total is known, so that their samples are exact; thus a gap may hold settled records, too,
    /// but two gaps never hold the same.
    fn declare(&mut self, id: SessionId, mut seqs: SeqSet, known: &[Mark], finish: impl Fn(Gap) -> Gap) {
        let Some(session) = self.sessions.iter().find(|s| s.id == id) else {
            return;
        };
        seqs.remove_all(&session.settled);
        let mut marks = known.to_vec();
        for gap in self.gaps.of(id) {
            seqs.remove_range(gap.first, gap.last);
            marks.extend([gap.before(), gap.after()]);
        }
        marks.sort_unstable();
        let mut declared: Vec<Gap> = Vec::new();
        for range in seqs.ranges() {
            let covered = declared.last().map_or(0, |gap| gap.last.get());
            let (first, last) = (range.start().get().max(covered + 1), range.end().get());
            if first <= last {
                declared.push(finish(gap_over(session, &marks, first, last)));
            }
        }
        self.changed |= !declared.is_empty();
        declared.into_iter().for_each(|gap| self.gaps.push(gap));
        self.squeeze_gaps();
    }

    /// Keeps the number of gaps: merges the two of a session that are nearest to each other, with what is between them.
    fn squeeze_gaps(&mut self) {
        while let Some((mut gap, next)) = self.gaps.take_nearest() {
            let mut between = SeqSet::new();
            between.insert_range(gap.last.next(), next.last);
            if let Some(session) = self.sessions.iter_mut().find(|s| s.id == gap.session) {
                session.give_up(&between);
                // Its samples are no longer the sum of theirs: it is confirmed anew.
                for confirmed in [&gap, &next].into_iter().filter(|gap| gap.confirmed) {
                    session.dropped_samples = session.dropped_samples.saturating_sub(confirmed.samples);
                    let sum = self.dropped.entry(confirmed.reason).or_default();
                    *sum = sum.saturating_sub(confirmed.samples);
                }
            }
            gap.stretch(&next);
            self.gaps.push(gap);
        }
    }

    /// The session whose oldest segment is to be freed next: the first whose oldest is done, else the first. The newest
    /// segment of this run is never freed.
    pub(crate) fn next_to_free(&self) -> Option<SessionId> {
        let current = self.sessions.last()?.id;
        let can = |s: &&Session| s.segments.len() > usize::from(s.id == current);
        let done = self.sessions.iter().filter(can).find(|s| s.oldest_is_done());
        done.or_else(|| self.sessions.iter().find(can)).map(|s| s.id)
    }

    /// Takes a session's oldest segment out of the books; pending records in it become a gap.
    pub(crate) fn free_oldest(&mut self, id: SessionId, reason: Reason) -> Option<Segment> {
        let oldest = self.session(id)?.segments.front()?;
        let mut all = SeqSet::new();
        all.insert_range(oldest.first, Seq::new(oldest.last().0));
        self.give_up(id, &all, reason);
        let freed = self.session_mut(id)?.free_oldest();
        self.changed = true;
        self.let_go_of(id);
        freed
    }

    /// Lets a session go if nothing of it is left, or may be at the next start.
    pub(crate) fn let_go_of(&mut self, id: SessionId) {
        let gaps = &self.gaps;
        let empty = |s: &Session| s.segments.is_empty() && !s.unread && gaps.of(s.id).next().is_none();
        let done = |s: &Session| s.closed && empty(s);
        let Some(at) = self.sessions.iter().position(|s| s.id == id && done(s)) else {
            return;
        };
        let session = self.sessions.remove(at);
        self.generated_before += session.total;
        self.let_go.push(id);
        if self.let_go.len() > MAX_LET_GO {
            self.let_go.remove(0);
        }
        self.changed = true;
    }

    /// Lets the oldest session go that has nothing but gaps: they are counted, and never shown. Says whether there was one.
    pub(crate) fn forget_gaps(&mut self) -> bool {
        let gaps_only = |s: &&Session| s.closed && s.segments.is_empty() && !s.unread;
        let Some(id) = self.sessions.iter().find(gaps_only).map(|s| s.id) else {
            return false;
        };
        for gap in self.gaps.take_all(id) {
            if !gap.confirmed {
                self.add_dropped(gap.reason, gap.samples);
            }
        }
        self.let_go_of(id);
        true
    }

    /// The bridge has forgotten sessions.
    pub(crate) fn forgotten(&mut self, sessions: &[u64]) {
        self.let_go.retain(|id| !sessions.contains(&id.get()));
        self.changed = true;
    }
}

/// The gap from one known total to another one that has some records; `marks`: more totals that are known, rising.
fn gap_over(session: &Session, marks: &[Mark], first: u64, last: u64) -> Gap {
    let below = marks.partition_point(|&(seq, _)| seq < first);
    let above = marks.partition_point(|&(seq, _)| seq < last);
    let before = session.at_or_below(first - 1);
    let after = session.at_or_above(last);
    Gap::between(
        session.id,
        below.checked_sub(1).map_or(before, |at| marks[at].max(before)),
        marks.get(above).map_or(after, |&mark| mark.min(after)),
    )
}
