//! The `state` message: what the device has.

use wire::message::{self, ConfigState, ReasonCount, RulesState, SessionState, State, VERSION};
use wire::{Nonce, SeqSet, SessionId, limits};

use crate::input::Moment;
use crate::wal::{Gap, Ledger, Session};

/// What a state says beside the ledger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report<'a> {
    pub(crate) nonce: Nonce,
    pub(crate) number: u32,
    pub(crate) fresh_bytes: u64,
    pub(crate) backlog_bytes: u64,
    pub(crate) fresh_waits: bool,
    pub(crate) backlog_waits: u64,
    pub(crate) now: Moment,
    pub(crate) clock_trusted: bool,
    pub(crate) agent_version: &'a str,
    pub(crate) certificate_expiry: i64,
    pub(crate) rules: Option<RulesState>,
    pub(crate) config: Option<&'a ConfigState>,
}

/// The will, and the goodbye.
pub(crate) fn farewell(nonce: Nonce, agent_version: &str) -> State {
    State {
        version: VERSION,
        nonce: nonce.get(),
        agent_version: agent_version.to_owned(),
        ..State::default()
    }
}

/// The state of a connection.
pub(crate) fn state(report: &Report<'_>, ledger: &Ledger) -> State {
    let sessions = ledger.sessions().iter();
    let dropped = ledger.dropped();
    State {
        version: VERSION,
        nonce: report.nonce.get(),
        connected: true,
        number: report.number,
        fresh_bytes: report.fresh_bytes,
        backlog_bytes: report.backlog_bytes,
        fresh_waits: report.fresh_waits,
        backlog_waits: report.backlog_waits,
        sessions: sessions
            .take(limits::MAX_SESSIONS)
            .map(|s| session(s, ledger))
            .collect(),
        let_go: ledger
            .let_go
            .iter()
            .map(|id| id.get())
            .take(limits::MAX_SESSIONS)
            .collect(),
        gaps: ledger
            .gaps()
            .iter()
            .filter(|g| g.confirmed)
            .take(limits::MAX_GAPS)
            .map(|g| gap(g, ledger))
            .collect(),
        dropped: dropped
            .iter()
            .map(|(reason, &samples)| count(reason.as_str(), samples))
            .collect(),
        generated: ledger.generated(),
        wall_ms: report.now.wall.ms(),
        mono_ms: report.now.mono_ms,
        clock_trusted: report.clock_trusted,
        agent_version: report.agent_version.to_owned(),
        certificate_expiry: report.certificate_expiry,
        wal_bytes: ledger.bytes(),
        alerts_pending: ledger.pending_alerts(),
        rules: report.rules,
        config: report.config.cloned(),
    }
}

fn count(reason: &str, samples: u64) -> ReasonCount {
    ReasonCount {
        reason: reason.to_owned(),
        samples,
    }
}

/// `oldest` is the first record that the device accounts for: in the log, or in a gap that is not settled. Below it the
/// bridge may declare what it lacks as lost.
fn session(session: &Session, ledger: &Ledger) -> SessionState {
    let in_log = (session.last > session.freed).then_some((session.freed + 1, session.freed_total));
    let gap = ledger
        .gaps()
        .of(session.id)
        .map(|gap| (gap.first.get(), gap.total_before))
        .min();
    let (oldest, total_before) = match (in_log, gap) {
        (Some(a), Some(b)) => a.min(b),
        (Some(a), None) | (None, Some(a)) => a,
        (None, None) => (0, session.total),
    };
    SessionState {
        session: session.id.get(),
        boot: session.boot.get(),
        oldest,
        total_before,
        last: session.last,
        total: session.total,
        unacked: session.pending().first().map_or(0, |seq| seq.get()),
        closed: session.closed,
        dropped: session.dropped_samples,
    }
}

fn gap(gap: &Gap, ledger: &Ledger) -> message::Gap {
    let mut all = SeqSet::new();
    all.insert_range(gap.first, gap.last);
    let session = ledger.session(gap.session);
    message::Gap {
        session: SessionId::get(gap.session),
        first: gap.first.get(),
        last: gap.last.get(),
        from_ms: gap.from.ms(),
        to_ms: gap.to.ms(),
        samples: gap.samples,
        reason: gap.reason.as_str().to_owned(),
        alerts: session.map_or(0, |s| s.dropped_alerts().common(&all).len()),
    }
}
