//! What a device has to be told, gathered until an ack is due, and the ack itself.
//!
//! Nothing comes in here before it is true on disk, except what is never journaled (held, wanting). An ack is at most
//! 48 KiB of ranges: what is cut counts as not acked, so a device sends it again, and that is harmless.

use std::collections::BTreeMap;

use prost::Message;
use store::SessionReceipt;
use wire::limits::{MAX_RANGES, MAX_SESSIONS};
use wire::message::{self, Ack, Range, SessionAck};
use wire::{SeqSet, SessionId};

/// Bytes of an ack's sessions.
const MAX_SESSIONS_BYTES: usize = 48 << 10;

/// News of one session.
#[derive(Debug, Default)]
struct News {
    settled: SeqSet,
    refused: BTreeMap<&'static str, SeqSet>,
    wanting: BTreeMap<Vec<u8>, SeqSet>,
    held: SeqSet,
}

/// News for one device.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    sessions: BTreeMap<SessionId, News>,
    forgotten: Vec<SessionId>,
    batches: u32,
    since_ms: Option<u64>,
    urgent: bool,
}

/// Batches that are acked together when nothing waits.
const COALESCED: u32 = 4;

/// Milliseconds that an ack may wait for others to join it.
const COALESCE_MS: u64 = 3000;

impl Pending {
    fn session(&mut self, session: SessionId, now_ms: u64) -> &mut News {
        self.since_ms.get_or_insert(now_ms);
        self.sessions.entry(session).or_default()
    }

    /// A commit settled records; so many batches of the device were in it.
    pub(crate) fn committed(&mut self, receipt: &SessionReceipt, batches: u32, now_ms: u64) {
        let news = self.session(receipt.session, now_ms);
        news.settled.insert_all(&receipt.settled);
        for (reason, seqs) in &receipt.refused {
            news.refused.entry(reason).or_default().insert_all(seqs);
        }
        if receipt.forgotten && !self.forgotten.contains(&receipt.session) {
            self.forgotten.push(receipt.session);
        }
        self.batches = self.batches.saturating_add(batches);
    }

    /// Records lack a dictionary (its hash) or a key (an empty hash).
    pub(crate) fn wants(&mut self, session: SessionId, dict: Vec<u8>, seqs: &SeqSet, now_ms: u64) {
        self.session(session, now_ms)
            .wanting
            .entry(dict)
            .or_default()
            .insert_all(seqs);
        self.urgent = true;
    }

    /// Records are of an unknown version.
    pub(crate) fn holds(&mut self, session: SessionId, seqs: &SeqSet, now_ms: u64) {
        self.session(session, now_ms).held.insert_all(seqs);
        self.urgent = true;
    }

    /// The ack goes out as soon as nothing that precedes it is missing.
    pub(crate) fn hurry(&mut self, now_ms: u64) {
        self.since_ms.get_or_insert(now_ms);
        self.urgent = true;
    }

    /// Records were settled long ago and came again.
    pub(crate) fn settled_before(&mut self, session: SessionId, seqs: &SeqSet, now_ms: u64) {
        self.session(session, now_ms).settled.insert_all(seqs);
        self.batches += 1;
    }

    /// Sessions that the store has forgotten.
    pub(crate) fn forget(&mut self, sessions: Vec<SessionId>) {
        for session in sessions {
            self.sessions.remove(&session);
            if !self.forgotten.contains(&session) {
                self.forgotten.push(session);
            }
        }
    }

    /// Credit was raised: the device has to hear of it soon, or at once if it is about to wait.
    pub(crate) fn raised(&mut self, at_once: bool, now_ms: u64) {
        self.since_ms.get_or_insert(now_ms);
        self.urgent |= at_once;
    }

    /// When the ack is due, monotonic ms; `None`: there is no news.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        let since = self.since_ms?;
        Some(if self.urgent || self.batches >= COALESCED {
            since
        } else {
            since + COALESCE_MS
        })
    }

    /// The news as ack fields; nothing is pending afterwards.
    pub(crate) fn take(&mut self) -> (Vec<SessionAck>, Vec<u64>) {
        let taken = std::mem::take(self);
        let sessions = taken
            .sessions
            .into_iter()
            .map(|(session, news)| news.into_ack(session))
            .collect();
        (
            sessions,
            taken.forgotten.into_iter().map(SessionId::get).collect(),
        )
    }

    /// The news, with the complete settled seqs of some sessions.
    pub(crate) fn take_with(&mut self, full: Vec<(SessionId, SeqSet)>) -> (Vec<SessionAck>, Vec<u64>) {
        for (session, settled) in full {
            self.sessions.entry(session).or_default().settled = settled;
        }
        self.take()
    }
}

impl News {
    fn into_ack(self, session: SessionId) -> SessionAck {
        SessionAck {
            session: session.get(),
            settled: wire::seqs::to_ranges(&self.settled, MAX_RANGES / 2),
            refused: self
                .refused
                .iter()
                .map(|(reason, seqs)| message::Refused {
                    reason: (*reason).to_owned(),
                    ranges: to_ranges(seqs),
                })
                .collect(),
            held: to_ranges(&self.held),
            wanting: self
                .wanting
                .into_iter()
                .map(|(dict, seqs)| message::Wanting {
                    dict: dict.into(),
                    ranges: to_ranges(&seqs),
                })
                .collect(),
        }
    }
}

/// Ranges of one of a session's lists: four kinds share what a session may have.
fn to_ranges(set: &SeqSet) -> Vec<Range> {
    wire::seqs::to_ranges(set, MAX_RANGES / 8)
}

/// Cuts the oldest ranges of the longest lists until the sessions fit.
pub(crate) fn fit(ack: &mut Ack) {
    ack.sessions.truncate(MAX_SESSIONS);
    ack.forgotten.truncate(MAX_SESSIONS);
    while ack.sessions.iter().map(Message::encoded_len).sum::<usize>() > MAX_SESSIONS_BYTES {
        let Some(longest) = ack.sessions.iter_mut().max_by_key(|s| s.settled.len()) else {
            return;
        };
        match longest.settled.len() {
            0 => {
                // Only refusals, held and wanting are left; they are told again when their rows come again.
                longest.refused.clear();
                longest.held.clear();
                longest.wanting.clear();
                if ack.sessions.iter().all(|s| s.settled.is_empty()) {
                    return;
                }
            }
            len => {
                longest.settled.drain(..len.div_ceil(2));
            }
        }
    }
}
