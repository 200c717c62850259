//! Fresh batches: rows as they come, written against a key where they are few.

use wire::batch::{Encoded, Encoding};
use wire::limits::MAX_MESSAGE;
use wire::{SeqSet, SessionId};

use crate::delivery::fresh::{ActiveKey, SELF_CONTAINED_FROM};
use crate::delivery::outbox::{Lane, Message, MessageId};
use crate::delivery::placement::{batch, placed};
use crate::delivery::{Delivery, Effect, Words};
use crate::input::Moment;
use crate::wal::{Ledger, LoggedRow, Reason, Session};

impl Delivery {
    /// A batch of fresh rows, if there is one and it may go.
    pub(super) fn fresh_batch(
        &mut self,
        now: Moment,
        ledger: &mut Ledger,
        words: Words<'_>,
    ) -> Option<Effect> {
        self.drop_stale(ledger, words);
        let count = self.config.scrapes_per_batch.max(1);
        let waiting = self.fresh.len();
        let connection = self.connection.as_ref()?;
        let may =
            !connection.fresh.waits && connection.window.has_room(self.row_bytes[0] * count.min(waiting));
        if waiting == 0 || !may || (waiting < count && !self.finishing) {
            return None;
        }
        let session = ledger.sessions().last()?;
        let mut count = placed(self.fresh.rows().iter().take(count), session, ledger)?
            .rows
            .len();
        if !self.has_dictionary(words.dictionary, ledger) {
            return self.dictionary_part(now);
        }
        loop {
            let rows = self.fresh.take(count);
            let (encoded, defines) = self.encode_fresh(&rows, session, ledger, words)?;
            let size = encoded.payload.len();
            if size > MAX_MESSAGE && count > 1 {
                self.fresh.put_back(rows);
                count /= 2;
                continue;
            }
            if size > MAX_MESSAGE {
                // The log splits records so that this cannot be; were it so, the record must not block the lane.
                let id = session.id;
                ledger.give_up(id, &rows.iter().map(|row| row.seq).collect(), Reason::Limit);
                return None;
            }
            if !self.connection.as_mut()?.fresh.covers(size) {
                self.fresh.put_back(rows);
                return None;
            }
            let id = session.id;
            return self.publish_fresh(now, ledger, id, rows, encoded, defines, words);
        }
    }

    /// Rows that are settled or given up leave the queue; those of an earlier dictionary are read back later.
    fn drop_stale(&mut self, ledger: &Ledger, words: Words<'_>) {
        let Some(session) = ledger.sessions().last() else {
            return;
        };
        let stale = |row: &LoggedRow| session.settled.contains(row.seq) || session.dropped.contains(row.seq);
        let old = |row: &LoggedRow| row.lineage != words.lineage;
        let rows = self.fresh.rows();
        if !rows.iter().any(|row| stale(row) || old(row)) {
            return;
        }
        let later: SeqSet = rows
            .iter()
            .filter(|row| old(row) && !stale(row))
            .map(|row| row.seq)
            .collect();
        self.backlog.add(session.id, &later);
        self.fresh.retain(|row| !stale(row) && !old(row));
    }

    fn encode_fresh(
        &mut self,
        rows: &[LoggedRow],
        session: &Session,
        ledger: &Ledger,
        words: Words<'_>,
    ) -> Option<(Encoded, bool)> {
        let hash = words.dictionary.hash();
        let ready = placed(rows.iter(), session, ledger)?;
        if rows.len() >= SELF_CONTAINED_FROM {
            let batch = batch(&ready, session, hash, None);
            return Some((self.encoder.encode(&batch, Encoding::SelfContained), false));
        }
        let targets = self.fresh.targets();
        let active = self.connection.as_ref()?.key.as_ref();
        // Naming a grown dictionary would cost each batch 16 bytes, a new key costs less.
        if let Some(active) = active.filter(|a| a.key.dict() == hash && !a.is_old(targets)) {
            let batch = batch(&ready, session, hash, Some(active));
            return Some((self.encoder.encode(&batch, Encoding::Keyed(&active.key)), false));
        }
        // The key should have a group of every target; rows that the bridge has already cost it nothing.
        let mut all = rows.to_vec();
        // One that was given up must not turn up after its gap was told.
        let others = self.fresh.others(rows).into_iter();
        all.extend(others.filter(|row| !session.dropped.contains(row.seq)));
        for rows in [&all[..], rows] {
            let Some(ready) = placed(rows.iter(), session, ledger).filter(|p| p.rows.len() == rows.len())
            else {
                continue;
            };
            let batch = batch(&ready, session, hash, None);
            let encoded = self.encoder.encode(&batch, Encoding::Defines(self.next_key));
            if encoded.payload.len() <= MAX_MESSAGE {
                return Some((encoded, true));
            }
        }
        let batch = batch(&ready, session, hash, None);
        Some((self.encoder.encode(&batch, Encoding::SelfContained), false))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one batch, used once")]
    fn publish_fresh(
        &mut self,
        now: Moment,
        ledger: &mut Ledger,
        session: SessionId,
        rows: Vec<LoggedRow>,
        encoded: Encoded,
        defines: bool,
        words: Words<'_>,
    ) -> Option<Effect> {
        let id = MessageId(self.next_message);
        let connection = self.connection.as_mut()?;
        if let Some(key) = encoded.key.filter(|_| defines) {
            self.next_key = key.id().next();
            connection.key = Some(ActiveKey::new(key, id));
        }
        let key = connection
            .key
            .as_mut()
            .filter(|_| rows.len() < SELF_CONTAINED_FROM)
            .map(|key| {
                rows.iter().for_each(|row| key.used(row));
                key.key.id()
            });
        let message = Message {
            lane: Lane::Fresh,
            session,
            seqs: rows.iter().map(|row| row.seq).collect(),
            published_ms: now.mono_ms,
            bytes: encoded.payload.len(),
            dictionary: Some((words.dictionary.hash(), words.dictionary.len())),
            key,
        };
        let count = rows.len();
        self.fresh.published(rows);
        Some(self.publish_rows(now, ledger, message, count, encoded.payload))
    }
}
