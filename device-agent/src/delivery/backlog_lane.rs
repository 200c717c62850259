//! Backlog batches: rows read back from the log, many in one, about a second of the link at a time.

use wire::batch::Encoding;
use wire::dict::Dictionary;
use wire::limits::MAX_MESSAGE;
use wire::{SeqSet, SessionId};

use crate::delivery::fresh::{ActiveKey, SELF_CONTAINED_FROM};
use crate::delivery::outbox::{Lane, Message};
use crate::delivery::placement::{batch, placed};
use crate::delivery::{Delivery, Effect, Words};
use crate::input::Moment;
use crate::wal::{Ledger, Reason};

/// Most rows of a backlog batch.
const BACKLOG_ROWS: usize = 120;

impl Delivery {
    /// A batch of backlog, if there is one and it may go.
    pub(super) fn backlog_batch(
        &mut self,
        now: Moment,
        ledger: &mut Ledger,
        words: Words<'_>,
    ) -> Option<Effect> {
        let ready = self.backlog.ready.as_ref()?;
        let (id, dictionary) = (ready.session, ready.dictionary.clone());
        let gone: SeqSet = match ledger.session(id) {
            Some(s) => (ready.rows.iter().map(|row| row.seq))
                .filter(|&seq| s.settled.contains(seq) || s.dropped.contains(seq))
                .collect(),
            None => ready.rows.iter().map(|row| row.seq).collect(),
        };
        self.backlog.remove(id, &gone);
        self.give_up_unknown(id, ledger);
        let connection = self.connection.as_mut()?;
        let second = connection.window.second().min(MAX_MESSAGE);
        let may = !connection.backlog.waits && connection.window.has_room(self.row_bytes[1]);
        if !may || !connection.pace.is_ready(now.mono_ms) {
            return None;
        }
        let current = ledger.sessions().last().map(|s| s.id) == Some(id);
        let common = current && words.dictionary.hash_at(dictionary.len()) == Some(dictionary.hash());
        let dictionary: &Dictionary = if common { words.dictionary } else { &dictionary };
        if !self.has_dictionary(dictionary, ledger) {
            return self.dictionary_part(now);
        }
        let session = ledger.session(id)?;
        let mut most = (second / self.row_bytes[1].max(1)).clamp(1, BACKLOG_ROWS);
        loop {
            let rows = self.backlog.ready.as_ref()?.rows.iter().take(most);
            let ready = placed(rows, session, ledger)?;
            let count = ready.rows.len();
            let active = self.connection.as_ref()?.key.as_ref();
            let fits = |a: &&ActiveKey| a.settled && a.key.dict() == dictionary.hash();
            let active = active
                .filter(fits)
                .filter(|_| common && count < SELF_CONTAINED_FROM);
            let batch = batch(&ready, session, dictionary.hash(), active);
            let how = active.map_or(Encoding::SelfContained, |a| Encoding::Keyed(&a.key));
            let key = active.map(|a| a.key.id());
            let payload = wire::batch::encode(&batch, how).payload;
            let credit = &mut self.connection.as_mut()?.backlog;
            let left = credit.granted.saturating_sub(credit.published);
            let limit = (second * 5 / 4)
                .min(MAX_MESSAGE)
                .min(usize::try_from(left).unwrap_or(MAX_MESSAGE));
            if payload.len() > limit && count > 1 {
                most = (count * limit / payload.len()).clamp(1, count - 1);
                continue;
            }
            if payload.len() > MAX_MESSAGE {
                let seqs: SeqSet = batch.seqs();
                ledger.give_up(id, &seqs, Reason::Limit);
                self.backlog.remove(id, &seqs);
                return None;
            }
            if !credit.covers(payload.len()) {
                return None;
            }
            let seqs = ready.rows.iter().map(|row| row.row.seq).collect();
            self.backlog.remove(id, &seqs);
            let message = Message {
                lane: Lane::Backlog,
                session: id,
                seqs,
                published_ms: now.mono_ms,
                bytes: payload.len(),
                dictionary: Some((dictionary.hash(), dictionary.len())),
                key,
            };
            return Some(self.publish_rows(now, ledger, message, count, payload));
        }
    }

    /// Rows of a boot that nothing places in time, where the config wants no estimate.
    fn give_up_unknown(&mut self, id: SessionId, ledger: &mut Ledger) {
        let Some(session) = ledger.session(id) else { return };
        let ended = ledger.sessions().last().is_some_and(|s| s.boot != session.boot);
        if !self.config.drop_unknown_time || !ended || session.anchor.is_some() || !session.doubtful {
            return;
        }
        let Some(ready) = &self.backlog.ready else { return };
        let unknown: SeqSet = ready
            .rows
            .iter()
            .filter(|row| !row.trusted)
            .map(|row| row.seq)
            .collect();
        ledger.give_up(id, &unknown, Reason::TimeUnknown);
        self.backlog.remove(id, &unknown);
    }
}
