//! Dictionaries on their way: each goes before the first batch of a connection that needs it, unless the bridge has it.

use bytes::Bytes;
use wire::dict::{self, Dictionary};
use wire::topic::Up;

use crate::delivery::outbox::MessageId;
use crate::delivery::{Delivery, Effect};
use crate::input::Moment;
use crate::wal::Ledger;

impl Delivery {
    /// Whether the bridge has a dictionary, or will before the next batch; else its parts are queued.
    pub(super) fn has_dictionary(&mut self, dictionary: &Dictionary, ledger: &Ledger) -> bool {
        let Some(connection) = &mut self.connection else {
            return false;
        };
        let hash = dictionary.hash();
        let known = ledger
            .known
            .as_ref()
            .filter(|k| Some(k.epoch) == connection.epoch);
        if connection.sent.contains_key(&hash) || known.is_some_and(|k| k.contains(hash)) {
            return true;
        }
        let sent = connection.sent.iter().map(|(hash, (len, _))| (*hash, *len));
        let sent = sent.filter(|(hash, len)| dictionary.hash_at(*len) == Some(*hash));
        let prefix = sent
            .chain(known.and_then(|k| k.prefix_of(dictionary)))
            .max_by_key(|(_, len)| *len);
        let parts = dict::encode(dictionary, prefix);
        connection.parts = parts.into_iter().map(Bytes::from).collect();
        connection.parts_of = Some((hash, dictionary.len()));
        connection.parts.is_empty()
    }

    pub(super) fn dictionary_part(&mut self, now: Moment) -> Option<Effect> {
        let connection = self.connection.as_mut()?;
        let bytes = connection.parts.front()?.len();
        if !connection.window.has_room(bytes) || !connection.fresh.covers(bytes) {
            return None;
        }
        let part = connection.parts.pop_front()?;
        connection.fresh.published += bytes as u64;
        if let (true, Some((hash, len))) = (connection.parts.is_empty(), connection.parts_of) {
            connection.sent.insert(hash, (len, MessageId(self.next_message)));
        }
        Some(self.publish(now, Up::Dict, part))
    }
}
