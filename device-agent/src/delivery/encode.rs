//! Batches out of the two lanes, within credit, window and message size.

use wire::batch::{Batch, Encoded, Encoding, Header};
use wire::dict::{DictHash, Dictionary};
use wire::limits::MAX_MESSAGE;
use wire::topic::Up;
use wire::{Seq, SeqSet, SessionId};

use crate::delivery::assembly::{ReadyRow, groups};
use crate::delivery::clock::{Placed, place};
use crate::delivery::fresh::{ActiveKey, SELF_CONTAINED_FROM};
use crate::delivery::outbox::{Lane, Message, MessageId};
use crate::delivery::{Delivery, Effect, Words};
use crate::input::Moment;
use crate::wal::{Ledger, LoggedRow, Reason, Session};

/// Most rows of a backlog batch.
const BACKLOG_ROWS: usize = 120;

/// Rows with their true times, all with the same bound of error.
struct Placement {
    rows: Vec<ReadyRow>,
    error_ms: u64,
    /// The session's running total after the last of them.
    total: u64,
}

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
        all.extend(self.fresh.others(rows));
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
            dictionary: (words.dictionary.hash(), words.dictionary.len()),
            key,
        };
        let count = rows.len();
        self.fresh.published(rows);
        Some(self.publish_rows(now, ledger, message, count, encoded.payload))
    }

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
            let active = active.filter(fits).filter(|_| common && count < SELF_CONTAINED_FROM);
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
                dictionary: (dictionary.hash(), dictionary.len()),
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

    fn publish_rows(
        &mut self,
        now: Moment,
        ledger: &mut Ledger,
        message: Message,
        rows: usize,
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
            connection.credit(lane).published += bytes as u64;
            connection.took_turn(lane, bytes);
            if lane == Lane::Backlog {
                connection.pace.took(bytes);
            }
        }
        let smoothed = &mut self.row_bytes[usize::from(lane == Lane::Backlog)];
        *smoothed = (*smoothed * 3 + bytes / rows.max(1)) / 4;
        self.outbox.insert(MessageId(self.next_message), message);
        let channel = match lane {
            Lane::Fresh => Up::Batch,
            Lane::Backlog => Up::Backlog,
        };
        self.publish(now, channel, payload)
    }
}

/// The first rows that have the same bound of error; `None` if the first one's time is not known yet.
fn placed<'a>(
    rows: impl Iterator<Item = &'a LoggedRow>,
    session: &Session,
    ledger: &Ledger,
) -> Option<Placement> {
    let mut found: Option<Placement> = None;
    let mut newest = Seq::new(0);
    for row in rows {
        let Placed::At(time, error_ms) = place(row, session, ledger) else {
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

fn batch(ready: &Placement, session: &Session, dict: DictHash, key: Option<&ActiveKey>) -> Batch {
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
