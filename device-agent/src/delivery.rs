//! What is sent, when, and until when: the device's half of the delivery contract as a state machine.
//!
//! Pure: it takes rows, acks, PUBACKs and the time, and `Delivery::poll` returns one effect after the other until there is
//! none. Every pending record of the ledger is in exactly one place: in the fresh queue, on its way (outbox), waiting in
//! the backlog, or held for a bridge of another epoch. Losing a message costs a resend, never a record. Alerts wait in the
//! backlog, too, and go before everything else.

mod acks;
mod alert_lane;
mod assembly;
mod backlog;
mod backlog_lane;
mod clock;
mod connection;
mod dictionaries;
mod fresh;
mod fresh_lane;
mod outbox;
mod placement;
mod report;
mod states;
#[cfg(test)]
mod tests;
mod window;

use bytes::Bytes;
use wire::batch::Encoder;
use wire::dict::Dictionary;
use wire::message::{ConfigState, RulesState};
use wire::topic::Up;
use wire::{Nonce, SeqSet, SessionId};

use crate::input::Moment;
use crate::wal::{Anchor, Ledger, LoggedRow, ReadAlerts, ReadRows};
use backlog::Backlog;
use clock::Clock;
pub use clock::ClockTrust;
use connection::Connection;
use fresh::Fresh;
pub(crate) use outbox::MessageId;
use outbox::Outbox;

/// Choices of delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryConfig {
    /// Scrapes per fresh batch, exactly; fewer only when the input has ended or rows could not wait in memory.
    pub scrapes_per_batch: usize,
    /// Fresh rows kept in memory while they wait; older ones are read back from the WAL and go as backlog. A link that
    /// comes back carries these first, so on a slow one their number is how long the present has to wait.
    pub fresh_rows: usize,
    /// Drops rows of a boot whose clock never was right (`time_unknown`) instead of placing them by estimate.
    pub drop_unknown_time: bool,
    /// What vouches for the wall clock.
    pub clock: ClockTrust,
    /// Version of the agent, told in `state`.
    pub agent_version: String,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        DeliveryConfig {
            scrapes_per_batch: 1,
            fresh_rows: 16,
            drop_unknown_time: false,
            clock: ClockTrust::Measured,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Publish with QoS 1, in this order; report the PUBACK by `Delivery::puback`.
    Publish(Publish),
    /// Read the first of these records from the log, and hand them to `Delivery::rows`.
    Read { session: SessionId, seqs: SeqSet },
    /// Read the first of these alerts from the log, and hand them to `Delivery::alerts`.
    ReadAlerts { session: SessionId, seqs: SeqSet },
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) id: MessageId,
    pub(crate) channel: Up,
    pub(crate) payload: Bytes,
    pub(crate) retain: bool,
}

/// The label sets that rows of this run use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words<'a> {
    pub(crate) dictionary: &'a Dictionary,
    pub(crate) lineage: u32,
}

/// Sums since the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sums {
    pub(crate) resent_records: u64,
    pub(crate) refused_records: u64,
    pub(crate) held_records: u64,
}

/// The will of a connection, and its goodbye.
pub(crate) fn farewell(nonce: Nonce, agent_version: &str) -> Vec<u8> {
    wire::state::encode(&report::farewell(nonce, agent_version))
}

/// The state machine.
#[derive(Debug)]
pub(crate) struct Delivery {
    config: DeliveryConfig,
    certificate_expiry: i64,
    clock: Clock,
    connection: Option<Connection>,
    outbox: Outbox,
    fresh: Fresh,
    backlog: Backlog,
    encoder: Encoder,
    next_message: u64,
    next_key: wire::batch::KeyId,
    finishing: bool,
    /// Bytes per row of backlog and of fresh batches, smoothed.
    row_bytes: [usize; 2],
    /// A full ack has trimmed gaps that no state has shown.
    gaps_to_tell: bool,
    /// What the device's rules do, and what the last state said of them.
    rules: Option<RulesState>,
    rules_told: Option<RulesState>,
    /// What was pushed to it, and what the last state said of that; `None`: nothing takes what is pushed.
    config_state: Option<ConfigState>,
    config_told: Option<ConfigState>,
    /// Pending alerts by the last state.
    alerts_told: u64,
    state_every: u64,
    random: fastrand::Rng,
    sums: Sums,
}

impl Delivery {
    /// Starts with everything that is pending in the ledger as backlog.
    pub(crate) fn new(
        config: DeliveryConfig,
        certificate_expiry: i64,
        ledger: &Ledger,
        seed: u64,
    ) -> Delivery {
        let mut backlog = Backlog::default();
        ledger
            .sessions()
            .iter()
            .for_each(|s| backlog.add(s.id, &s.pending()));
        Delivery {
            clock: Clock::new(config.clock),
            config,
            certificate_expiry,
            connection: None,
            outbox: Outbox::default(),
            fresh: Fresh::default(),
            backlog,
            encoder: Encoder::new(),
            next_message: 1,
            next_key: wire::batch::KeyId::FIRST,
            finishing: false,
            row_bytes: [1024, 1024],
            gaps_to_tell: false,
            rules: None,
            rules_told: None,
            config_state: None,
            config_told: None,
            alerts_told: 0,
            state_every: states::STATE_EVERY,
            random: fastrand::Rng::with_seed(seed),
            sums: Sums::default(),
        }
    }

    /// Rows that were logged, in order.
    pub(crate) fn logged(&mut self, rows: Vec<LoggedRow>, session: SessionId) {
        let most = self.config.fresh_rows.max(self.config.scrapes_per_batch);
        for row in rows {
            if let Some(old) = self.fresh.push(row, most) {
                self.backlog.add(session, &[old.seq].into_iter().collect());
            }
        }
    }

    /// Alerts that were logged: they go first.
    pub(crate) fn logged_alerts(&mut self, alerts: &SeqSet, session: SessionId) {
        self.backlog.add(session, alerts);
    }

    /// No more rows will come: what waits for a whole batch goes as it is.
    pub(crate) fn finish(&mut self) {
        self.finishing = true;
    }

    /// A connection was accepted.
    pub(crate) fn connected(&mut self, nonce: Nonce) {
        self.disconnected();
        self.connection = Some(Connection::new(nonce));
    }

    /// The connection is gone, and with it whatever was on its way.
    pub(crate) fn disconnected(&mut self) {
        self.connection = None;
        let lost = self.outbox.clear();
        self.backlog.add_all(lost);
    }

    /// The bridge has answered on this connection.
    pub(crate) fn is_open(&self) -> bool {
        self.connection.as_ref().is_some_and(|c| c.open)
    }

    /// The wall clock is right.
    pub(crate) fn clock_is_right(&self, now: Moment) -> bool {
        self.clock.is_right(now)
    }

    pub(crate) fn sums(&self) -> Sums {
        self.sums
    }

    /// What the device's rules do now.
    pub(crate) fn rules_are(&mut self, rules: Option<RulesState>) {
        self.rules = rules;
    }

    /// What became of pushed configurations.
    pub(crate) fn config_is(&mut self, state: &ConfigState) {
        if self.config_state.as_ref() != Some(state) {
            self.config_state = Some(state.clone());
        }
    }

    /// A broker has received a message.
    pub(crate) fn puback(&mut self, id: MessageId, now: Moment) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        if let Some((bytes, at_ms)) = connection.unacked.remove(&id) {
            connection.window.acked(bytes, now.mono_ms.saturating_sub(at_ms));
        }
    }

    /// Alerts that were asked for by `Effect::ReadAlerts`.
    pub(crate) fn alerts(&mut self, read: ReadAlerts) {
        let (session, gone) = (read.session, read.gone.clone());
        self.backlog.alerts = (!read.alerts.is_empty()).then_some(read);
        self.backlog.remove(session, &gone);
    }

    /// Records that were asked for by `Effect::Read`.
    pub(crate) fn rows(&mut self, read: ReadRows) {
        self.backlog.reading = false;
        let (session, unreadable) = (read.session, read.unreadable.clone());
        self.backlog.ready = (!read.rows.is_empty()).then_some(read);
        self.backlog.remove(session, &unreadable);
    }

    /// The next thing to do; to be called again after every event, until there is nothing.
    pub(crate) fn poll(&mut self, now: Moment, ledger: &mut Ledger, words: Words<'_>) -> Option<Effect> {
        self.connection.as_ref()?;
        if self.state_due_ms(ledger).is_some_and(|due| due <= now.mono_ms) {
            return Some(self.state(now, ledger));
        }
        if let Some(effect) = self.alert(now, ledger) {
            return Some(effect);
        }
        if !self.is_open() {
            return None;
        }
        let lost = self.outbox.expire(now.mono_ms);
        if !lost.is_empty() {
            self.doubt_key();
            self.requeue(lost, ledger);
            // Perhaps no bridge is there: more rows would only fill the broker, and what remembers them here.
            if let Some(connection) = &mut self.connection {
                connection.ask_first();
            }
            return Some(self.state(now, ledger));
        }
        if self.connection.as_ref().is_some_and(|c| !c.parts.is_empty()) {
            return self.dictionary_part(now);
        }
        if let Some(read) = self.read(ledger) {
            return Some(read);
        }
        match self.connection.as_ref()?.is_fresh_turn() {
            true => (self.fresh_batch(now, ledger, words)).or_else(|| self.backlog_batch(now, ledger, words)),
            false => {
                (self.backlog_batch(now, ledger, words)).or_else(|| self.fresh_batch(now, ledger, words))
            }
        }
    }

    /// When `poll` has something to do although nothing happens, in monotonic ms.
    pub(crate) fn wake_ms(&self, ledger: &Ledger) -> Option<u64> {
        let connection = self.connection.as_ref()?;
        let pace = connection
            .pace
            .ready_ms()
            .filter(|_| self.backlog.ready.is_some());
        let lost = self.outbox.due_ms().filter(|_| connection.open);
        let times = [self.state_due_ms(ledger), lost, pace];
        times.into_iter().flatten().min()
    }

    fn read(&mut self, ledger: &Ledger) -> Option<Effect> {
        let blocked = self.connection.as_ref().is_none_or(|c| c.backlog.waits);
        if blocked || self.backlog.reading || self.backlog.ready.is_some() || self.backlog.is_empty() {
            return None;
        }
        let (session, seqs) = self.backlog.next(ledger)?;
        self.backlog.reading = true;
        Some(Effect::Read { session, seqs })
    }

    /// A message is lost that may be the one that defines the key.
    fn doubt_key(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.key.take_if(|key| !key.settled);
        }
    }

    /// Puts records back that are still pending.
    fn requeue(&mut self, lost: Vec<(SessionId, SeqSet)>, ledger: &Ledger) {
        for (id, mut seqs) in lost {
            let Some(session) = ledger.session(id) else {
                continue;
            };
            seqs.remove_all(&session.settled);
            seqs.remove_all(&session.dropped);
            self.sums.resent_records += seqs.len();
            self.backlog.add(id, &seqs);
        }
    }

    fn publish(&mut self, now: Moment, channel: Up, payload: impl Into<Bytes>) -> Effect {
        let id = MessageId(self.next_message);
        self.next_message += 1;
        let payload = payload.into();
        if let Some(connection) = &mut self.connection {
            connection.window.published(payload.len());
            connection.unacked.insert(id, (payload.len(), now.mono_ms));
        }
        Effect::Publish(Publish {
            id,
            channel,
            payload,
            retain: channel == Up::State,
        })
    }

    /// Takes the bridge's wall time as an anchor.
    fn learn_time(&mut self, bridge_ms: i64, asked_ms: u64, now: Moment) -> Option<Anchor> {
        self.clock.learn(bridge_ms, asked_ms, now)
    }
}
