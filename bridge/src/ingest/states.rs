//! States: what a device has, whether it is connected, and the wills that its connections leave.
//!
//! A state is answered after everything in it is committed. A will, or a goodbye, counts only if its nonce is that of
//! the present connection: one of an earlier connection may come after the state of the next.

use store::{Entry, Seen};
use wire::message::State;
use wire::state::StateError;
use wire::{DeviceName, Nonce, SessionId};

use super::device::Connection;
use super::group::Question;
use super::lane::LaneKind;
use super::{Core, Message, Now};

impl Core {
    /// A message of `state`.
    pub(super) fn state(&mut self, message: &Message, now: Now) {
        // A broker sends an empty payload where a retained message was removed.
        if message.payload.is_empty() {
            return;
        }
        let reason = match wire::state::decode(&message.payload) {
            Ok(state) if state.connected => return self.connected(message, state, now),
            Ok(state) => return self.goodbye(message, state, now),
            Err(StateError::Version(_)) => "state_version",
            Err(StateError::Limit(_)) => "state_limit",
            Err(StateError::Malformed(_)) => "state_malformed",
        };
        self.metrics.ignored.with_label_values(&[reason]).inc();
    }

    fn connected(&mut self, message: &Message, state: State, now: Now) {
        let name = &message.device;
        let nonce = Nonce::new(state.nonce);
        let known = self.devices.get_mut(name).and_then(|d| d.connection_of(nonce));
        match known {
            Some(connection) => {
                connection.backlog_waits = state.backlog_waits;
                let lost = connection.sent(&state);
                self.pool.release(lost);
            }
            None => {
                self.disconnect(name);
                let device = self.devices.entry(name.clone()).or_default();
                device.pending = super::ack::Pending::default();
                let resumed = device.unsure.take().filter(|c| c.nonce == nonce);
                let connection = device.connection.insert(match resumed {
                    Some(resumed) => Connection {
                        answered: false,
                        ..*resumed
                    },
                    None => Connection::new(&state),
                });
                connection.backlog_waits = state.backlog_waits;
                connection.sent(&state);
                for lane in [&mut connection.fresh, &mut connection.backlog] {
                    lane.set_queued(false);
                    self.pool.charge(lane.held());
                    if lane.is_busy() {
                        self.pool.count_busy(true);
                    }
                }
                self.metrics.devices_connected.inc();
                self.schedule(name);
            }
        }
        self.ask_for_credit(name, LaneKind::Fresh);
        self.ask_for_credit(name, LaneKind::Backlog);
        self.note(message, &state, now);
        self.push(name, now);
        self.journal(name, &state, now);
        // A kept state may be older than what is journaled of the device.
        if !message.retained {
            self.journal_all_sessions(name, &state, now);
        }
        let let_go = state.let_go.iter().copied().map(SessionId::new).collect();
        let question = Question {
            device: name.clone(),
            nonce,
            number: state.number,
            sessions: state.sessions,
            let_go,
        };
        self.filling.questions.push(question);
        self.filling.hurry();
    }

    fn goodbye(&mut self, message: &Message, state: State, now: Now) {
        let name = &message.device;
        let present = self
            .devices
            .get_mut(name)
            .is_some_and(|d| d.connection_of(Nonce::new(state.nonce)).is_some());
        if !present {
            self.metrics
                .ignored
                .with_label_values(&["will_of_another_connection"])
                .inc();
            return;
        }
        self.disconnect(name);
        if let Some(device) = self.devices.get_mut(name) {
            device.seen.connected = false;
            let seen = device.seen.clone();
            let entry = Entry::DeviceSeen {
                device: name.clone(),
                received: now.wall,
                seen,
            };
            self.filling.add(entry, 0, now.mono_ms);
            self.fleet.note(name, device);
        }
        // A goodbye lists what the device has, a will cannot.
        if !state.sessions.is_empty() || !state.gaps.is_empty() {
            self.journal_sessions(name, &state, now);
        }
    }

    /// Ends a connection: what it was granted and did not use is free again.
    pub(super) fn disconnect(&mut self, name: &DeviceName) -> Option<Connection> {
        let connection = self.devices.get_mut(name).and_then(|d| d.connection.take())?;
        for lane in [&connection.fresh, &connection.backlog] {
            self.pool.release(lane.held());
            if lane.is_busy() {
                self.pool.count_busy(false);
            }
        }
        self.metrics.devices_connected.dec();
        Some(connection)
    }

    fn note(&mut self, message: &Message, state: &State, now: Now) {
        let Some(device) = self.devices.get_mut(&message.device) else {
            return;
        };
        // The clock and the moment of a kept state are those of its writing, which is unknown.
        let clock_offset_ms = match message.retained {
            true => device.seen.clock_offset_ms,
            false => state.wall_ms.saturating_sub(now.wall.ms()),
        };
        device.seen = Seen {
            connected: true,
            agent_version: state.agent_version.clone(),
            clock_offset_ms,
            clock_trusted: state.clock_trusted,
            certificate_expiry: state.certificate_expiry,
            generated: state.generated,
            dropped: state.dropped.clone(),
            wal_bytes: state.wal_bytes,
            alerts_pending: state.alerts_pending,
            rules: state.rules,
            config: state.config.clone(),
        };
        if !message.retained {
            device.delays.state(state, now);
        }
        device.note_sessions(&state.sessions);
        self.fleet.note(&message.device, device);
    }

    fn journal(&mut self, name: &DeviceName, state: &State, now: Now) {
        self.journal_sessions(name, state, now);
        if let Some(device) = self.devices.get(name) {
            let seen = device.seen.clone();
            let entry = Entry::DeviceSeen {
                device: name.clone(),
                received: now.wall,
                seen,
            };
            self.filling.add(entry, 0, now.mono_ms);
        }
    }

    /// Hands over which sessions there are, if the state lists all of them.
    fn journal_all_sessions(&mut self, name: &DeviceName, state: &State, now: Now) {
        let whole = |list: usize| list < wire::limits::MAX_SESSIONS;
        if !whole(state.sessions.len()) || !whole(state.let_go.len()) {
            return;
        }
        let listed = state.sessions.iter().map(|session| session.session);
        let sessions = listed.chain(state.let_go.iter().copied()).map(SessionId::new);
        let entry = Entry::Sessions {
            device: name.clone(),
            received: now.wall,
            sessions: sessions.collect(),
        };
        self.filling.add(entry, 0, now.mono_ms);
    }

    fn journal_sessions(&mut self, name: &DeviceName, state: &State, now: Now) {
        let received = now.wall;
        for gap in state.gaps.iter().cloned() {
            self.filling.add(
                Entry::Gap {
                    device: name.clone(),
                    received,
                    gap,
                },
                0,
                now.mono_ms,
            );
        }
        for state in state.sessions.iter().copied() {
            self.filling.add(
                Entry::SessionSeen {
                    device: name.clone(),
                    received,
                    state,
                },
                0,
                now.mono_ms,
            );
        }
        for session in state.let_go.iter().copied().map(SessionId::new) {
            self.filling.add(
                Entry::LetGo {
                    device: name.clone(),
                    received,
                    session,
                },
                0,
                now.mono_ms,
            );
        }
    }
}
