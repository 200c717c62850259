//! Alerts: one a message, before everything else, as soon as there is a connection.
//!
//! They need no credit. What was published and is not settled stays within what the front keeps of them for a bridge;
//! their acks make room for more. One that was published before waits for the answer to the connection's first state:
//! if the bridge has it, an ack would make room while the copy still lies at the front.

use wire::message::{self, VERSION};
use wire::{SeqSet, SessionId};

use crate::delivery::clock::{Placed, place};
use crate::delivery::outbox::{Lane, Message};
use crate::delivery::{Delivery, Effect};
use crate::input::Moment;
use crate::wal::{Ledger, LoggedAlert, Reason, Session};

/// Payload bytes of alerts on a connection that are not settled; a larger one goes alone.
const UNSETTLED: usize = 16_384;

impl Delivery {
    /// The next alert, or what it takes to have it.
    pub(super) fn alert(&mut self, now: Moment, ledger: &mut Ledger) -> Option<Effect> {
        let connection = self.connection.as_ref()?;
        let new = !connection.open;
        if new && !connection.alerts_first {
            return None;
        }
        self.forget_gone_alerts(ledger, new);
        let Some(ready) = &self.backlog.alerts else {
            let (session, seqs) = self.backlog.next_alerts(ledger, new)?;
            return Some(Effect::ReadAlerts { session, seqs });
        };
        let (id, alert) = (ready.session, ready.alerts.first()?);
        let session = ledger.session(id)?;
        let seqs: SeqSet = [alert.seq].into_iter().collect();
        let payload = wire::alert::encode(&told(alert, session, ledger));
        if payload.len() > wire::limits::MAX_MESSAGE {
            // The limits of labels forbid it; were it so, it must not block the others.
            ledger.give_up(id, &seqs, Reason::Limit);
            self.backlog.remove(id, &seqs);
            return self.alert(now, ledger);
        }
        let waiting = self.outbox.alert_bytes();
        if waiting > 0 && waiting + payload.len() > UNSETTLED {
            return None;
        }
        self.backlog.remove(id, &seqs);
        let message = Message {
            lane: Lane::Alert,
            session: id,
            seqs,
            published_ms: now.mono_ms,
            bytes: payload.len(),
            dictionary: None,
            key: None,
        };
        Some(self.publish_records(now, ledger, message, payload))
    }

    /// Alerts that were read and are settled or given up since then leave the queue. If only `new` ones may go and others
    /// were read, these are read again later.
    fn forget_gone_alerts(&mut self, ledger: &Ledger, new: bool) {
        let Some(ready) = &self.backlog.alerts else {
            return;
        };
        let session = ledger.session(ready.session);
        let published = session.map(|s| s.published.as_ref());
        let is_new = |seq| published.is_some_and(|p| p.is_some_and(|p| !p.contains(seq)));
        if new && !ready.alerts.iter().all(|alert| is_new(alert.seq)) {
            self.backlog.alerts = None;
            return;
        }
        let seqs = ready.alerts.iter().map(|alert| alert.seq);
        let gone: SeqSet = seqs
            .filter(|&seq| session.is_none_or(|s| !s.is_pending(seq)))
            .collect();
        self.backlog.remove(ready.session, &gone);
    }
}

/// An alert with the times that are known now; it does not wait for better ones.
fn told(logged: &LoggedAlert, session: &Session, ledger: &Ledger) -> message::Alert {
    let (shift, clock_error_ms) = match place(logged.stamp, logged.trusted, session, ledger) {
        Placed::At(time, error_ms) => (time.ms().saturating_sub(logged.stamp.wall.ms()), error_ms),
        Placed::NotYet => (0, u64::MAX),
    };
    let shifted = |ms: i64| if ms == 0 { 0 } else { ms.saturating_add(shift) };
    let alert = &logged.alert;
    message::Alert {
        version: VERSION,
        session: SessionId::get(session.id),
        seq: logged.seq.get(),
        boot: session.boot.get(),
        mono_ms: logged.stamp.mono_ms,
        clock_error_ms,
        starts_ms: shifted(alert.starts_ms),
        ends_ms: shifted(alert.ends_ms),
        total: logged.total,
        ..alert.clone()
    }
}
