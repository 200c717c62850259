//! Batches, dictionaries and alerts: decoded within limits, then into the commit group, or answered at once.

use std::sync::Arc;

use store::{BatchEntry, Entry, Lane, NewDictionary, RefusedReason, Store};
use wire::alert::AlertError;
use wire::batch::{BatchError, Decoded, Key, KeyId, Newer, Raw};
use wire::dict::{DictError, DictHash, Dictionary};
use wire::message::Alert;
use wire::topic::Up;
use wire::{DeviceName, Seq, SeqSet, SessionId};

use super::group::Finish;
use super::lane::LaneKind;
use super::{Core, Message, Now};

/// What a batch lacks.
enum Lack {
    /// Its key, or a dictionary of this hash.
    Wanting(Option<DictHash>),
    /// Nothing can be made of it.
    Refused(RefusedReason),
}

impl Core {
    /// A message of `batch` or `backlog`.
    pub(super) fn rows(&mut self, store: &Store, message: Message, now: Now) {
        let (kind, lane) = match message.channel {
            Up::Backlog => (LaneKind::Backlog, Lane::Backlog),
            _ => (LaneKind::Fresh, Lane::Fresh),
        };
        let finish = self.receive(&message.device, kind, message.payload.len(), now);
        let queued = match wire::batch::peek(&message.payload) {
            Ok(raw) => self.batch(store, &message, lane, &raw, now),
            Err(BatchError::Version(newer)) => self.hold(&message, &newer, now),
            Err(BatchError::Limit(_)) => self.refuse_unread(&message, RefusedReason::Limit),
            Err(_) => self.refuse_unread(&message, RefusedReason::Malformed),
        };
        self.finish_or_queue(finish, queued);
    }

    /// A message whose bytes are in the group is finished with it, any other at once.
    fn finish_or_queue(&mut self, finish: Option<Finish>, queued: bool) {
        match finish {
            Some(finish) if queued => self.filling.finishes.push(finish),
            Some(finish) => self.finish(&finish),
            None => {}
        }
    }

    fn batch(&mut self, store: &Store, message: &Message, lane: Lane, raw: &Raw, now: Now) -> bool {
        let device = &message.device;
        let (session, seqs) = (raw.session(), raw.seqs());
        match self.decoded(store, device, raw) {
            Ok(Decoded { batch, key }) => {
                // The key of a batch whose rows are all known already is not journaled, so nothing may rest on it.
                let key = key.map(Arc::new);
                let reliable = key.clone().filter(|_| self.has_new(store, device, session, seqs));
                let entry = BatchEntry {
                    device: device.clone(),
                    lane,
                    received: now.wall,
                    payload: message.payload.clone(),
                    batch,
                    keyed: raw.key(),
                    defines: key,
                };
                if let Some((seq, time)) = Core::last_row(&entry.batch) {
                    self.devices
                        .entry(device.clone())
                        .or_default()
                        .frontier(session)
                        .row(seq, time);
                }
                self.filling.add_batch(entry, seqs, reliable, now.mono_ms);
                true
            }
            Err(Lack::Wanting(dict)) => {
                self.want(store, device, session, dict, seqs, now);
                false
            }
            Err(Lack::Refused(reason)) => {
                self.refuse(message, session, seqs.clone(), reason, now);
                true
            }
        }
    }

    fn decoded(&self, store: &Store, device: &DeviceName, raw: &Raw) -> Result<Decoded, Lack> {
        let key = match raw.key() {
            Some(id) => Some(
                self.defined(store, device, raw.session(), id)
                    .ok_or(Lack::Wanting(None))?,
            ),
            None => None,
        };
        // A keyed batch with a group that stands alone names its own dictionary, which may be longer than the key's.
        let hash = raw
            .dict()
            .or(key.as_ref().map(|key| key.dict()))
            .ok_or(Lack::Refused(RefusedReason::Malformed))?;
        let sets = self
            .known_sets(store, device, hash)
            .ok_or(Lack::Wanting(Some(hash)))?;
        raw.decode(sets, key.as_deref()).map_err(|error| match error {
            BatchError::KeyMissing(_) => Lack::Wanting(None),
            BatchError::Limit(_) => Lack::Refused(RefusedReason::Limit),
            _ => Lack::Refused(RefusedReason::Malformed),
        })
    }

    fn defined(&self, store: &Store, device: &DeviceName, session: SessionId, id: KeyId) -> Option<Arc<Key>> {
        let groups = [Some(&self.filling), self.committing.as_ref()];
        let in_group = groups
            .into_iter()
            .flatten()
            .find_map(|g| g.key(device, session, id).cloned());
        in_group.or_else(|| store.key(device, session, id))
    }

    fn known(&self, store: &Store, device: &DeviceName, hash: DictHash) -> Option<Arc<Dictionary>> {
        let in_group = self.grouped(device, hash).cloned();
        in_group.or_else(|| store.dictionary(device, hash))
    }

    /// How many label sets a known dictionary has.
    fn known_sets(&self, store: &Store, device: &DeviceName, hash: DictHash) -> Option<usize> {
        let in_group = self.grouped(device, hash).map(|dict| dict.len());
        in_group.or_else(|| store.dictionary_sets(device, hash))
    }

    /// A dictionary that came with a group that is not committed.
    fn grouped(&self, device: &DeviceName, hash: DictHash) -> Option<&Arc<Dictionary>> {
        [Some(&self.filling), self.committing.as_ref()]
            .into_iter()
            .flatten()
            .find_map(|g| g.dictionary(device, hash))
    }

    /// Whether a row is neither settled nor in a group.
    fn has_new(&self, store: &Store, device: &DeviceName, session: SessionId, seqs: &SeqSet) -> bool {
        let mut new = seqs.clone();
        new.remove_all(&store.settled(device, session));
        for group in [Some(&self.filling), self.committing.as_ref()]
            .into_iter()
            .flatten()
        {
            if let Some(rows) = group.rows(device, session) {
                new.remove_all(rows);
            }
        }
        !new.is_empty()
    }

    fn want(
        &mut self,
        store: &Store,
        device: &DeviceName,
        session: SessionId,
        dict: Option<DictHash>,
        seqs: &SeqSet,
        now: Now,
    ) {
        let mut missing = seqs.clone();
        missing.remove_all(&store.settled(device, session));
        self.metrics.wanting_rows.inc_by(missing.len());
        let pending = &mut self.devices.entry(device.clone()).or_default().pending;
        if missing.is_empty() {
            // Redelivered, and settled without what it lacks: the device only has to be told again.
            let mut settled = seqs.clone();
            if let Some(gate) = &self.gate {
                gate.leave_out(device, session, &mut settled);
            }
            pending.settled_before(session, &settled, now.mono_ms);
        } else {
            let hash = dict.map_or_else(Vec::new, |h| h.as_bytes().to_vec());
            pending.wants(session, hash, &missing, now.mono_ms);
        }
        self.schedule(device);
    }

    fn hold(&mut self, message: &Message, newer: &Newer, now: Now) -> bool {
        self.metrics.held_messages.inc();
        tracing::debug!(device = %message.device, version = newer.version, "held: a later format version");
        if !newer.seqs.is_empty() {
            let pending = &mut self.devices.entry(message.device.clone()).or_default().pending;
            pending.holds(newer.session, &newer.seqs, now.mono_ms);
            self.schedule(&message.device);
        }
        false
    }

    /// Refused before its seqs could be read: it is counted, and the device drops what stays unsettled by its own rules.
    fn refuse_unread(&mut self, message: &Message, reason: RefusedReason) -> bool {
        self.metrics
            .refused_messages
            .with_label_values(&[reason.as_str()])
            .inc();
        tracing::debug!(device = %message.device, reason = reason.as_str(), "refused: no record in it can be told");
        false
    }

    fn refuse(
        &mut self,
        message: &Message,
        session: SessionId,
        seqs: SeqSet,
        reason: RefusedReason,
        now: Now,
    ) {
        self.metrics
            .refused_messages
            .with_label_values(&[reason.as_str()])
            .inc();
        self.metrics
            .refused_rows
            .with_label_values(&[reason.as_str()])
            .inc_by(seqs.len());
        let entry = Entry::Refused {
            device: message.device.clone(),
            received: now.wall,
            session,
            seqs,
            samples: 0,
            reason,
            payload: message.payload.clone(),
        };
        self.filling.add(entry, message.payload.len() as u64, now.mono_ms);
    }

    /// A message of `dict`. One that extends a list not at hand is dropped: the batch that needs it will ask.
    pub(super) fn dictionary(&mut self, store: &Store, message: &Message, now: Now) {
        let finish = self.receive(&message.device, LaneKind::Fresh, message.payload.len(), now);
        let queued = match self.extended(store, message) {
            Ok(Some(new)) => {
                self.filling.add_dictionary(new, now.mono_ms);
                true
            }
            Ok(None) => false,
            Err(reason) => {
                self.metrics.ignored.with_label_values(&[reason]).inc();
                false
            }
        };
        self.finish_or_queue(finish, queued);
    }

    fn extended(&mut self, store: &Store, message: &Message) -> Result<Option<NewDictionary>, &'static str> {
        let why = |error: &DictError| match error {
            DictError::Version(_) => "dict_version",
            DictError::Base { .. } => "dict_base",
            DictError::Hash { .. } => "dict_hash",
            DictError::Limit(_) => "dict_limit",
            DictError::Malformed(_) => "dict_malformed",
        };
        let dict = self.dictionaries.decode(&message.payload).map_err(|e| why(&e))?;
        if self.known(store, &message.device, dict.hash()).is_some() {
            return Ok(None);
        }
        let (base, outline) = match dict.base() {
            Some(hash) => (self.known(store, &message.device, hash).ok_or("dict_base")?, None),
            None => (Arc::default(), Some(dict.outline())),
        };
        let dictionary = dict.apply(&base).map_err(|e| why(&e))?;
        Ok(Some(NewDictionary {
            device: message.device.clone(),
            dictionary: Arc::new(dictionary),
            outline,
        }))
    }

    /// A message of `alert`: outside credit, committed at once.
    pub(super) fn alert(&mut self, store: &Store, message: &Message, now: Now) {
        let error = match wire::alert::decode(&message.payload) {
            Ok(alert) => {
                self.time_alert(store, &message.device, &alert, now);
                let entry = Entry::Alert {
                    device: message.device.clone(),
                    received: now.wall,
                    alert,
                };
                self.filling.add(entry, message.payload.len() as u64, now.mono_ms);
                return self.filling.hurry();
            }
            Err(error) => error,
        };
        let Some((session, seq)) = wire::alert::record(&message.payload) else {
            return self.metrics.ignored.with_label_values(&["alert_malformed"]).inc();
        };
        let seqs: SeqSet = [seq].into_iter().collect();
        match error {
            AlertError::Limit(_) => self.refuse(message, session, seqs, RefusedReason::Limit, now),
            AlertError::Malformed(_) => self.refuse(message, session, seqs, RefusedReason::Malformed, now),
            AlertError::Version(version) => {
                let newer = Newer {
                    version,
                    session,
                    seqs,
                };
                self.hold(message, &newer, now);
            }
        }
    }

    /// Notes how long an alert was on its way, if it is here for the first time.
    fn time_alert(&mut self, store: &Store, name: &DeviceName, alert: &Alert, now: Now) {
        let settled = store.settled(name, SessionId::new(alert.session));
        if settled.contains(Seq::new(alert.seq)) {
            return;
        }
        let device = self.devices.entry(name.clone()).or_default();
        if let Some(delay_ms) = device.delays.alert(alert, now) {
            self.metrics.alert_delay_seconds.observe(delay_ms as f64 / 1000.0);
            self.fleet.note(name, device);
        }
    }
}
