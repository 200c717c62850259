//! Rows at their true times, and batches of them.

use wire::Seq;
use wire::batch::{Batch, Header};
use wire::dict::DictHash;
use wire::topic::Up;

use crate::delivery::assembly::{ReadyRow, groups};
use crate::delivery::clock::{Placed, place};
use crate::delivery::fresh::ActiveKey;
use crate::delivery::outbox::{Lane, Message, MessageId};
use crate::delivery::{Delivery, Effect};
use crate::input::Moment;
use crate::wal::{Ledger, LoggedRow, Session};

/// Rows with their true times, all with the same bound of error.
pub(super) struct Placement {
    pub(super) rows: Vec<ReadyRow>,
    error_ms: u64,
    /// The session's running total after the last of them.
    total: u64,
}

/// The first rows that have the same bound of error; `None` if the first one's time is not known yet.
pub(super) fn placed<'a>(
    rows: impl Iterator<Item = &'a LoggedRow>,
    session: &Session,
    ledger: &Ledger,
) -> Option<Placement> {
    let mut found: Option<Placement> = None;
    let mut newest = Seq::new(0);
    for row in rows {
        let Placed::At(time, error_ms) = place(row.stamp, row.trusted, session, ledger) else {
            break;
        };
        let placement = found.get_or_insert_with(|| Placement {
            rows: Vec::new(),
            error_ms,
            total: 0,
        });
        if placement.error_ms != error_ms {
            break;
        }
        if row.seq > newest {
            newest = row.seq;
            placement.total = row.total;
        }
        let stamp = wire::batch::Row {
            seq: row.seq,
            time,
            mono_ms: row.stamp.mono_ms,
        };
        placement.rows.push(ReadyRow {
            row: stamp,
            group: row.group.clone(),
        });
    }
    found
}

pub(super) fn batch(ready: &Placement, session: &Session, dict: DictHash, key: Option<&ActiveKey>) -> Batch {
    Batch {
        header: Header {
            session: session.id,
            boot: session.boot,
            dict,
            total: ready.total,
            clock_error_ms: ready.error_ms,
        },
        groups: groups(&ready.rows, key.map(|active| &active.key)),
    }
}

impl Delivery {
    /// Publishes a batch of rows and keeps its books.
    pub(super) fn publish_rows(
        &mut self,
        now: Moment,
        ledger: &mut Ledger,
        message: Message,
        rows: usize,
        payload: Vec<u8>,
    ) -> Effect {
        let smoothed = &mut self.row_bytes[usize::from(message.lane == Lane::Backlog)];
        *smoothed = (*smoothed * 3 + payload.len() / rows.max(1)) / 4;
        self.publish_records(now, ledger, message, payload)
    }

    /// Publishes records and keeps their books.
    pub(super) fn publish_records(
        &mut self,
        now: Moment,
        ledger: &mut Ledger,
        message: Message,
        payload: Vec<u8>,
    ) -> Effect {
        let (lane, bytes) = (message.lane, payload.len());
        let published = ledger
            .session_mut(message.session)
            .and_then(|s| s.published.as_mut());
        if let Some(published) = published {
            published.insert_all(&message.seqs);
        }
        if let Some(connection) = &mut self.connection {
            connection.spent(lane, bytes);
            if lane == Lane::Backlog {
                connection.pace.took(bytes);
            }
        }
        self.outbox.insert(MessageId(self.next_message), message);
        let channel = match lane {
            Lane::Fresh => Up::Batch,
            Lane::Backlog => Up::Backlog,
            Lane::Alert => Up::Alert,
        };
        self.publish(now, channel, payload)
    }
}
