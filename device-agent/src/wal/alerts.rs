//! Records of alerts: what one holds, and reading them back.
//!
//! The payload is an alert's message as docs/wire.md has it, without what the record's header says (session, seq, boot,
//! times of the record, total). It depends on nothing else in the segment.

use prost::Message;
use wire::message::Alert;
use wire::{Seq, SeqSet, SessionId};

use crate::input::Moment;
use crate::wal::SyncPolicy;
use crate::wal::append::Buffered;
use crate::wal::format::{Found, Kind, RecordHeader, walk};
use crate::wal::gaps::Reason;
use crate::wal::log::Wal;

/// What one read of alerts brings at most, bytes; the first one comes whatever its size.
const READ_BYTES: usize = 64 << 10;

/// The record of one alert.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LoggedAlert {
    pub(crate) seq: Seq,
    /// Running sample total of the session at this record, which has no samples.
    pub(crate) total: u64,
    pub(crate) stamp: Moment,
    /// The wall clock was trusted when this was logged.
    pub(crate) trusted: bool,
    /// Labels, annotations, times by the device's wall clock, source.
    pub(crate) alert: Alert,
}

/// Alerts of one segment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReadAlerts {
    pub(crate) session: SessionId,
    pub(crate) alerts: Vec<LoggedAlert>,
    /// Wanted records that are not pending, or cannot be read.
    pub(crate) gone: SeqSet,
}

/// An alert as it is to be logged.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AlertEntry {
    pub(crate) at: Moment,
    /// Within the wire's limits; numbers of the record are ignored.
    pub(crate) alert: Alert,
}

impl Wal {
    /// Logs alerts; returns the records that are in the log, and whether these are all, and durable as far as the policy
    /// is not `never`: alerts do not wait for the interval.
    pub(crate) fn append_alerts(&mut self, alerts: Vec<AlertEntry>, trusted: bool) -> (SeqSet, bool) {
        let mut logged = SeqSet::new();
        for AlertEntry { at, alert } in alerts {
            self.turn_segment(&mut Vec::new());
            let (last, total) = self.reserved();
            let header = RecordHeader {
                kind: Kind::Alert,
                trusted,
                samples: 0,
                seq: Seq::new(last + 1),
                total,
                stamp: at,
            };
            let dictionary = self.writer.dictionary_records();
            self.buffer_dictionary(dictionary, last, total, at);
            self.buffer_record(&header, &payload(alert));
            self.buffered.push(Buffered { header, row: None });
            logged.insert(header.seq);
        }
        self.flush(&mut Vec::new());
        self.sync();
        let all = logged.len();
        if let Some(session) = self.ledger.current() {
            logged.remove_all(&session.dropped);
        }
        let durable = self.config.sync == SyncPolicy::Never || !self.house.unsynced;
        let whole = logged.len() == all;
        (logged, whole && durable)
    }

    /// The first wanted alerts of a session, out of one segment. What is there and cannot be read is given up.
    pub(crate) fn read_alerts(&mut self, id: SessionId, wanted: &SeqSet) -> ReadAlerts {
        let (bytes, here, mut gone) = self.segment_with(id, wanted);
        let (alerts, unreadable) = read(&bytes, id, &here);
        if !unreadable.is_empty() {
            self.faults.corrupt += 1;
            self.ledger.give_up(id, &unreadable, Reason::WalCorrupt);
            gone.insert_all(&unreadable);
        }
        ReadAlerts {
            session: id,
            alerts,
            gone,
        }
    }
}

fn payload(alert: Alert) -> Vec<u8> {
    let bare = Alert {
        session: 0,
        seq: 0,
        boot: 0,
        mono_ms: 0,
        clock_error_ms: 0,
        total: 0,
        ..alert
    };
    bare.encode_to_vec()
}

/// The first wanted alerts, and the wanted records up to the last of them that cannot be read.
fn read(bytes: &[u8], session: SessionId, wanted: &SeqSet) -> (Vec<LoggedAlert>, SeqSet) {
    let (mut alerts, mut size) = (Vec::new(), 0);
    let mut unreadable = wanted.clone();
    for found in walk(bytes, session) {
        let Found::Record(header, payload) = found else {
            continue;
        };
        if header.kind != Kind::Alert || !wanted.contains(header.seq) {
            continue;
        }
        if size + payload.len() > READ_BYTES && size > 0 {
            unreadable.remove_range(header.seq, Seq::new(u64::MAX));
            break;
        }
        size += payload.len();
        if let Ok(alert) = Alert::decode(payload) {
            unreadable.remove_range(header.seq, header.seq);
            alerts.push(LoggedAlert {
                seq: header.seq,
                total: header.total,
                stamp: header.stamp,
                trusted: header.trusted,
                alert,
            });
        }
    }
    (alerts, unreadable)
}
