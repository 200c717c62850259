//! When a state is due, and sending it: at once on a connection, when gaps or the configuration changed, while something waits, and within a
//! minute or so when alerts or rules have something to tell.

use wire::Nonce;
use wire::topic::Up;

use crate::delivery::connection::{Connection, SentState};
use crate::delivery::{Delivery, Effect, farewell, report};
use crate::input::Moment;
use crate::wal::Ledger;

/// How often a state is sent while something waits, ms, before jitter.
pub(super) const STATE_EVERY: u64 = 60_000;

/// Shortest time between states, ms.
const STATE_PAUSE: u64 = 1000;

impl Delivery {
    pub(super) fn state_due_ms(&self, ledger: &Ledger) -> Option<u64> {
        let connection = self.connection.as_ref()?;
        let Some(last) = connection.last_state_ms else {
            return Some(0);
        };
        let gaps = ledger.gaps();
        let news = self.gaps_to_tell
            || self.config_state != self.config_told
            || gaps
                .iter()
                .any(|gap| !gap.confirmed && gap.id >= connection.gaps_told());
        let waits = !connection.open || connection.fresh.waits || connection.backlog.waits;
        if news {
            return Some(last + STATE_PAUSE);
        }
        let unsettled = self.rules != self.rules_told
            || self.alerts_told != ledger.pending_alerts()
            || waits
            || !ledger.let_go.is_empty()
            || gaps.iter().next().is_some();
        unsettled.then_some(last + self.state_every)
    }

    pub(super) fn state(&mut self, now: Moment, ledger: &mut Ledger) -> Effect {
        let clock_trusted = self.clock.is_right(now);
        let backlog_waits = self.backlog.len() * self.row_bytes[1] as u64;
        let connection = self
            .connection
            .get_or_insert_with(|| Connection::new(Nonce::new(0)));
        let number = connection.next_state();
        let report = report::Report {
            nonce: connection.nonce,
            number,
            fresh_bytes: connection.fresh.published,
            backlog_bytes: connection.backlog.published,
            fresh_waits: connection.fresh.waits,
            backlog_waits,
            now,
            clock_trusted,
            agent_version: &self.config.agent_version,
            certificate_expiry: self.certificate_expiry,
            rules: self.rules,
            config: self.config_state.as_ref(),
        };
        let payload = wire::state::encode(&report::state(&report, ledger));
        connection.state_sent(SentState {
            number,
            at_ms: now.mono_ms,
            gap_mark: ledger.gaps().mark(),
        });
        self.gaps_to_tell = false;
        self.rules_told = self.rules;
        self.config_told.clone_from(&self.config_state);
        self.alerts_told = ledger.pending_alerts();
        ledger.gaps_mut().tell();
        self.state_every = STATE_EVERY * self.random.u64(75..=125) / 100;
        self.publish(now, Up::State, payload)
    }

    /// Says that the agent leaves this connection.
    pub(crate) fn goodbye(&mut self, now: Moment) -> Option<Effect> {
        let nonce = self.connection.as_ref()?.nonce;
        let payload = farewell(nonce, &self.config.agent_version);
        Some(self.publish(now, Up::State, payload))
    }
}
