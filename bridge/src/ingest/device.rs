//! What the bridge knows of a device while it runs: its connection, its credit, the news it is owed.

use std::collections::HashMap;

use store::Seen;
use wire::message::{SessionState, State};
use wire::{Nonce, SessionId, Timestamp};

use super::ack::Pending;
use super::delays::Delays;
use super::frontier::Frontier;
use super::lane::{Lane, LaneKind};

/// One connection of a device, from its first state on.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) nonce: Nonce,
    pub(crate) fresh: Lane,
    pub(crate) backlog: Lane,
    /// Bytes that wait in the device's backlog lane, by its last state.
    pub(crate) backlog_waits: u64,
    /// The device got its first full ack; before that it is told nothing else.
    pub(crate) answered: bool,
    /// The configuration that was pushed on it last, and when, monotonic ms.
    pub(crate) pushed: Option<(u64, u64)>,
}

impl Connection {
    /// A connection as its first state shows it.
    pub(crate) fn new(state: &State) -> Self {
        Connection {
            nonce: Nonce::new(state.nonce),
            fresh: Lane::resumed_at(state.fresh_bytes),
            backlog: Lane::resumed_at(state.backlog_bytes),
            backlog_waits: state.backlog_waits,
            answered: false,
            pushed: None,
        }
    }

    /// A later state says what the device has sent; gives the budget bytes of what was lost under way.
    pub(crate) fn sent(&mut self, state: &State) -> u64 {
        self.fresh.sent(state.fresh_bytes) + self.backlog.sent(state.backlog_bytes)
    }

    /// One of its lanes.
    pub(crate) fn lane(&mut self, kind: LaneKind) -> &mut Lane {
        match kind {
            LaneKind::Fresh => &mut self.fresh,
            LaneKind::Backlog => &mut self.backlog,
        }
    }

    /// The device waits, or will with its next message.
    pub(crate) fn is_dry(&self) -> bool {
        self.fresh.is_dry() || self.backlog.is_dry()
    }
}

/// A device that was heard of since the start.
#[derive(Debug, Default)]
pub(crate) struct Device {
    pub(crate) connection: Option<Connection>,
    /// The connection at the moment the bridge lost its broker: it may still be there afterwards.
    pub(crate) unsure: Option<Box<Connection>>,
    pub(crate) pending: Pending,
    /// Where it stands in the queue of acks, monotonic ms.
    pub(crate) owed_ms: Option<u64>,
    /// Its last state's summary, so that a will, which has none, leaves the rest as it was.
    pub(crate) seen: Seen,
    pub(crate) session: Option<SessionId>,
    pub(crate) delays: Delays,
    frontiers: HashMap<SessionId, Frontier>,
}

/// Sessions whose frontier is kept; a device has at most as many in a state.
const MAX_FRONTIERS: usize = wire::limits::MAX_SESSIONS;

impl Device {
    /// The frontier of a session; the one that ends earliest makes room.
    pub(crate) fn frontier(&mut self, session: SessionId) -> &mut Frontier {
        if self.frontiers.len() >= MAX_FRONTIERS && !self.frontiers.contains_key(&session) {
            let oldest = self.frontiers.iter().min_by_key(|(_, f)| f.complete_until());
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.frontiers.remove(&oldest);
            }
        }
        self.frontiers.entry(session).or_default()
    }

    /// A state's list of sessions; frontiers of others are of no use any more.
    pub(crate) fn note_sessions(&mut self, sessions: &[SessionState]) {
        self.session = sessions
            .iter()
            .find(|s| !s.closed)
            .map(|s| SessionId::new(s.session));
        self.frontiers
            .retain(|id, _| sessions.iter().any(|s| s.session == id.get()));
        for state in sessions {
            self.frontier(SessionId::new(state.session)).told(state);
        }
    }

    /// Up to when the device's data is complete: the least of its open session and of earlier ones with holes.
    pub(crate) fn complete_until(&self) -> Option<Timestamp> {
        let counts = |id: &SessionId, f: &Frontier| Some(*id) == self.session || f.is_behind();
        let mut counted = self.frontiers.iter().filter(|(id, f)| counts(id, f)).peekable();
        match counted.peek() {
            Some(_) => counted.map(|(_, f)| f.complete_until()).min().flatten(),
            None => self.frontiers.values().filter_map(Frontier::complete_until).max(),
        }
    }

    /// The connection of a nonce, if it is the present one.
    pub(crate) fn connection_of(&mut self, nonce: Nonce) -> Option<&mut Connection> {
        self.connection.as_mut().filter(|c| c.nonce == nonce)
    }
}
