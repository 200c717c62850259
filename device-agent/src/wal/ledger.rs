//! What the device owes: every session's records, settled, dropped or pending, and the device's sums.
//!
//! Pure: the log enters what it appended, found or freed; delivery enters what the bridge said.

use std::collections::BTreeMap;

use wire::{Seq, SeqSet, SessionId, Timestamp};

use crate::wal::gaps::{Gap, Gaps, Reason};
use crate::wal::known::Known;
use crate::wal::session::{Segment, Session};

/// Most sessions that a bridge is asked to forget at once.
const MAX_LET_GO: usize = 256;

/// The books of a log.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Oldest first; the last one is this run's.
    sessions: Vec<Session>,
    gaps: Gaps,
    dropped: BTreeMap<Reason, u64>,
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
        let (stored, dropped) = self.gaps.confirm(id, &session.settled, mark);
        session.dropped.remove_all(&stored);
        for (reason, samples) in dropped {
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
        let Some(session) = self.sessions.iter().find(|s| s.id == id) else {
            return;
        };
        let mut unknown = session.dropped.clone();
        unknown.remove_range(Seq::new(0), Seq::new(session.freed));
        unknown.remove_all(&session.settled);
        for gap in self.gaps.of(id) {
            unknown.remove_range(gap.first, gap.last);
        }
        let at = session.newest.wall;
        let lost: Vec<Gap> = unknown
            .ranges()
            .map(|r| Gap {
                confirmed: true,
                ..gap_of(session, *r.start(), *r.end(), (at, at), reason)
            })
            .collect();
        lost.into_iter().for_each(|gap| self.gaps.push(gap));
    }

    /// Gives up what is pending among some records of a session.
    pub(crate) fn give_up(&mut self, id: SessionId, seqs: &SeqSet, reason: Reason) {
        let Some(session) = self.sessions.iter_mut().find(|s| s.id == id) else {
            return;
        };
        let (given_up, _) = session.give_up(seqs);
        for range in given_up.ranges() {
            let times = session.segment_of(*range.start()).and_then(|s| s.times);
            let at = session.newest.wall;
            let gap = gap_of(
                session,
                *range.start(),
                *range.end(),
                times.unwrap_or((at, at)),
                reason,
            );
            self.gaps.push(gap);
        }
        self.changed = true;
    }

    /// Enters seqs that have no record in the log, between the newest entry and `last`. Only what was not known to be
    /// settled or dropped makes a gap.
    pub(crate) fn enter_hole(
        &mut self,
        id: SessionId,
        last: u64,
        samples: u64,
        times: (Timestamp, Timestamp),
        reason: Reason,
    ) {
        let Some(session) = self.sessions.iter_mut().find(|s| s.id == id) else {
            return;
        };
        let total_before = session.total;
        let hole = session.last + 1..=last;
        let unknown = session.enter_hole(last, samples);
        let (Some(first), Some(last)) = (unknown.first(), unknown.last()) else {
            return;
        };
        // Gaps in the hole that nobody was told of become part of this one; the others' samples count there.
        let (untold, told) = self.gaps.take_within(id, hole);
        let first = untold.iter().map(|gap| gap.first).fold(first, Seq::min);
        let last = untold.iter().map(|gap| gap.last).fold(last, Seq::max);
        let samples = samples.saturating_sub(told);
        self.gaps.push(Gap {
            session: id,
            first,
            last,
            total_before,
            samples,
            each: Vec::new(),
            from: times.0,
            to: times.1,
            reason,
            confirmed: false,
            told: false,
            id: 0,
        });
        self.changed = true;
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
        all.insert_range(oldest.first, Seq::new(oldest.last()));
        self.give_up(id, &all, reason);
        let freed = self.session_mut(id)?.free_oldest();
        self.changed = true;
        self.let_go_of(id);
        freed
    }

    /// Lets a session go if nothing of it is left.
    pub(crate) fn let_go_of(&mut self, id: SessionId) {
        let gaps = &self.gaps;
        let done = |s: &Session| s.closed && s.segments.is_empty() && gaps.of(s.id).next().is_none();
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

    /// The bridge has forgotten sessions.
    pub(crate) fn forgotten(&mut self, sessions: &[u64]) {
        self.let_go.retain(|id| !sessions.contains(&id.get()));
        self.changed = true;
    }
}

/// A gap of a session over a range of entries in its index.
fn gap_of(session: &Session, first: Seq, last: Seq, times: (Timestamp, Timestamp), reason: Reason) -> Gap {
    let mut all = SeqSet::new();
    all.insert_range(first, last);
    let each = match session.may_be_stored(first, last) {
        true => session.each_between(first.get(), last.get()),
        false => Vec::new(),
    };
    Gap {
        session: session.id,
        first,
        last,
        total_before: session.total_before(first),
        samples: session.samples_of(&all),
        each,
        from: times.0,
        to: times.1,
        reason,
        confirmed: false,
        told: false,
        id: 0,
    }
}
