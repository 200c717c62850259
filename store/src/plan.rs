//! Decides what a commit will say, before it is written.
//!
//! Pure: it reads the ledger and keeps what the group itself settles beside it. What it decides (the class of each row,
//! which key a payload needs) goes into the records, so that reading them again decides nothing. The effects it returns
//! are applied only after the records are on disk.

mod batch;
mod caps;
mod release;

pub(crate) use batch::{batch_effect, row_facts};
use caps::Caps;
pub(crate) use caps::Dictionaries;
pub(crate) use release::{Removal, release, released, remove};

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use wire::batch::{Batch, Key, KeyId};
use wire::message::{Alert, Gap, Range, SessionState};
use wire::{DeviceName, Seq, SeqSet, SessionId, Timestamp};

use crate::config::Config;
use crate::entry::{Entry, RefusedReason};
use crate::heads::Heads;
use crate::keys::{DeviceKeys, Keys};
use crate::ledger::{Device, DeviceRef, Fact, Ledger, lost_edge};
use crate::quarantine::Quarantine;
use crate::receipt::{Receipt, SessionReceipt, StoredAlert};
use crate::record::{AlertRecord, LetGoRecord, LetterRecord, Record, RefusedRecord, SeenRecord, What};

/// The longest payload kept as a dead letter, bytes.
const MAX_LETTER: usize = 65_536;

/// A day, ms: what a tombstone outlasts the longest age of a record by.
const DAY_MS: u64 = 86_400_000;

/// What a record does once it is on disk.
#[derive(Debug)]
pub(crate) struct Effect {
    pub(crate) device: DeviceRef,
    pub(crate) name: DeviceName,
    pub(crate) received: Timestamp,
    pub(crate) fact: Fact,
    /// Rows for the heads: the batch, and which of its rows, group by group, go in.
    pub(crate) rows: Option<(Batch, Vec<bool>)>,
    pub(crate) key: Option<Arc<Key>>,
}

/// What a commit will write and do.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Without the ring's generation, which is entered as they are written.
    pub(crate) records: Vec<Record>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) letters: Vec<LetterRecord>,
    /// Changes of the quarantine table.
    pub(crate) quarantine: Vec<(u64, Option<Bytes>)>,
    pub(crate) receipt: Receipt,
}

/// What is known while planning.
pub(crate) struct Planner<'a> {
    ledger: &'a Ledger,
    keys: &'a Keys,
    config: &'a Config,
    quarantine: &'a Quarantine,
    /// Bytes of the quarantine with what the group adds, and the number of its next row.
    quarantined: (u64, u64),
    /// The quarantine's rows that the group adds, by number.
    held: Vec<(DeviceName, u64)>,
    next_device: DeviceRef,
    /// Devices first seen in this group; `None`: forgotten in it.
    devices: HashMap<DeviceName, Option<DeviceRef>>,
    /// Settled by this group.
    settled: HashMap<(DeviceName, SessionId), SeqSet>,
    let_go: HashSet<(DeviceName, SessionId)>,
    group_keys: HashMap<DeviceName, DeviceKeys>,
    places: HashMap<(DeviceName, SessionId), usize>,
    caps: Caps<'a>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(
        ledger: &'a Ledger,
        keys: &'a Keys,
        config: &'a Config,
        quarantine: &'a Quarantine,
        (heads, dicts): (&'a Heads, &'a Dictionaries),
    ) -> Self {
        Planner {
            ledger,
            keys,
            config,
            quarantine,
            quarantined: (quarantine.bytes(), quarantine.next()),
            held: Vec::new(),
            next_device: ledger.next_ref(),
            devices: HashMap::new(),
            settled: HashMap::new(),
            let_go: HashSet::new(),
            group_keys: HashMap::new(),
            places: HashMap::new(),
            caps: Caps::new(heads, dicts, config),
            plan: Plan::default(),
        }
    }

    /// Plans entries in their order, but what devices say of sessions after all else, as it counts what they lack.
    pub(crate) fn plan(mut self, mut entries: Vec<Entry>) -> Plan {
        entries.sort_by_key(|entry| match entry {
            Entry::SessionSeen { .. } => 1,
            Entry::LetGo { .. } | Entry::Sessions { .. } => 2,
            Entry::Forget { .. } => 3,
            _ => 0,
        });
        for entry in entries {
            self.entry(entry);
        }
        self.plan
    }

    fn entry(&mut self, entry: Entry) {
        match entry {
            Entry::Batch(entry) => self.batch(entry),
            Entry::Alert {
                device,
                received,
                alert,
            } => self.alert(device, received, alert),
            Entry::Gap {
                device,
                received,
                gap,
            } => self.gap(device, received, gap),
            Entry::SessionSeen {
                device,
                received,
                state,
            } => self.session_seen(device, received, state),
            Entry::DeviceSeen {
                device,
                received,
                seen,
            } => {
                let what = What::Seen(SeenRecord::from(&seen));
                self.push(device, received, what, Fact::Seen(seen));
            }
            Entry::Refused {
                device,
                received,
                session,
                seqs,
                samples,
                reason,
                payload,
            } => self.refused(device, received, (session, seqs, samples), reason, payload),
            Entry::LetGo {
                device,
                received,
                session,
            } => self.let_go(device, received, session),
            Entry::Sessions {
                device,
                received,
                sessions,
            } => {
                let known = self.ledger.device(&device);
                let doubted = known.into_iter().flat_map(Device::doubted);
                let gone: Vec<_> = doubted.filter(|id| !sessions.contains(id)).collect();
                for session in gone {
                    self.let_go(device.clone(), received, session);
                }
            }
            Entry::Forget { device, received } => {
                if self.find(&device).is_some() {
                    self.push(device.clone(), received, What::Forget(true), Fact::Forget);
                    self.devices.insert(device.clone(), None);
                    self.settled.retain(|(name, _), _| *name != device);
                    self.empty_quarantine(&device);
                }
            }
        }
    }

    /// Leaves nothing of a device in quarantine.
    fn empty_quarantine(&mut self, device: &DeviceName) {
        for (_, number) in self.held.extract_if(.., |(name, _)| name == device) {
            self.plan.quarantine.retain(|(added, _)| *added != number);
        }
        let held = self.quarantine.of(device).into_iter();
        self.plan
            .quarantine
            .extend(held.map(|(number, _)| (number, None)));
    }

    fn alert(&mut self, device: DeviceName, received: Timestamp, alert: Alert) {
        let session = SessionId::new(alert.session);
        let seq = Seq::new(alert.seq);
        if self.forgotten(&device, session, received) {
            let receipt = self.receipt(&device, session);
            receipt.settled.insert(seq);
            receipt.redelivered_rows += 1;
            receipt.forgotten = true;
            return;
        }
        let new = !self.is_settled(&device, session, seq);
        let receipt = self.receipt(&device, session);
        receipt.settled.insert(seq);
        receipt.redelivered_rows += u64::from(!new);
        if !new {
            return;
        }
        receipt.newly_settled.insert(seq);
        self.settle(&device, session, seq, seq);
        let fact = Fact::Alert {
            session,
            seq: alert.seq,
            total: alert.total,
        };
        self.plan.receipt.alerts.push(StoredAlert {
            device: device.clone(),
            received,
            alert: alert.clone(),
        });
        self.push(
            device,
            received,
            What::Alert(AlertRecord { alert: Some(alert) }),
            fact,
        );
    }

    fn gap(&mut self, device: DeviceName, received: Timestamp, gap: Gap) {
        let session = SessionId::new(gap.session);
        let (first, last) = (Seq::new(gap.first), Seq::new(gap.last));
        if gap.first == 0 || first > last {
            return;
        }
        let forgotten = self.forgotten(&device, session, received);
        let missing = self.missing(&device, session, first, last);
        let receipt = self.receipt(&device, session);
        receipt.settled.insert_range(first, last);
        if forgotten {
            receipt.forgotten = true;
            return;
        }
        if missing.is_empty() {
            return;
        }
        receipt.newly_settled.insert_all(&missing);
        self.settle(&device, session, first, last);
        self.push(device, received, What::Gap(gap.clone()), Fact::Gap(gap));
    }

    fn session_seen(&mut self, device: DeviceName, received: Timestamp, state: SessionState) {
        let session = SessionId::new(state.session);
        if self.forgotten(&device, session, received) {
            self.receipt(&device, session).forgotten = true;
            return;
        }
        let (edge, _) = lost_edge(&state);
        let missing = self.missing(&device, session, Seq::FIRST, Seq::new(edge));
        if !missing.is_empty() {
            self.receipt(&device, session).newly_settled.insert_all(&missing);
            self.settle(&device, session, Seq::FIRST, Seq::new(edge));
        }
        let known = self
            .ledger
            .device(&device)
            .is_some_and(|d| d.knows_session(session, &state));
        if !known || !missing.is_empty() {
            self.push(device, received, What::Session(state), Fact::Session(state));
        }
    }

    fn refused(
        &mut self,
        device: DeviceName,
        received: Timestamp,
        (session, mut seqs, samples): (SessionId, SeqSet, u64),
        reason: RefusedReason,
        payload: Bytes,
    ) {
        let forgotten = self.forgotten(&device, session, received);
        let all = seqs.clone();
        seqs.remove_all(&self.ledger.settled(&device, session));
        if let Some(here) = self.settled.get(&(device.clone(), session)) {
            seqs.remove_all(here);
        }
        let receipt = self.receipt(&device, session);
        receipt.settled.insert_all(&all);
        receipt.forgotten |= forgotten;
        if forgotten || seqs.is_empty() {
            return;
        }
        receipt.newly_settled.insert_all(&seqs);
        receipt.refused.push((reason.as_str(), seqs.clone()));
        for range in seqs.ranges() {
            let set = self.settled.entry((device.clone(), session)).or_default();
            set.insert_range(*range.start(), *range.end());
        }
        self.plan.letters.push(LetterRecord {
            device: device.to_string(),
            session: session.get(),
            received_ms: received.ms(),
            reason: reason.as_str().to_owned(),
            payload: payload.slice(..payload.len().min(MAX_LETTER)),
        });
        let record = RefusedRecord {
            session: session.get(),
            seqs: seqs
                .ranges()
                .map(|r| Range {
                    first: r.start().get(),
                    more: r.end().get() - r.start().get(),
                })
                .collect(),
            samples,
            reason: reason.as_str().to_owned(),
        };
        let fact = Fact::Refused {
            session,
            seqs,
            samples,
            reason: reason.as_str(),
        };
        self.push(device, received, What::Refused(record), fact);
    }

    fn let_go(&mut self, device: DeviceName, received: Timestamp, session: SessionId) {
        let forgotten = self.forgotten(&device, session, received);
        self.receipt(&device, session).forgotten = true;
        if forgotten {
            return;
        }
        let age = u64::try_from(self.config.max_age.as_millis()).unwrap_or(u64::MAX);
        let until = received.plus(std::time::Duration::from_millis(age.saturating_add(DAY_MS)));
        let record = LetGoRecord {
            session: session.get(),
            until_ms: until.ms(),
        };
        self.let_go.insert((device.clone(), session));
        self.push(
            device,
            received,
            What::LetGo(record),
            Fact::LetGo { session, until },
        );
    }

    /// Adds a record and its effect; a new device's first record names it.
    fn push(&mut self, device: DeviceName, received: Timestamp, what: What, fact: Fact) {
        let record = self.record(&device, received, what);
        let effect = Effect {
            device: record.device,
            name: device,
            received,
            fact,
            rows: None,
            key: None,
        };
        self.plan.records.push(record);
        self.plan.effects.push(effect);
    }

    fn record(&mut self, device: &DeviceName, received: Timestamp, what: What) -> Record {
        let known = self.find(device);
        let number = known.unwrap_or(self.next_device);
        if known.is_none() {
            self.next_device += 1;
            self.devices.insert(device.clone(), Some(number));
        }
        Record {
            device: number,
            name: if known.is_none() {
                device.to_string()
            } else {
                String::new()
            },
            received_ms: received.ms(),
            ring: 0,
            what: Some(what),
        }
    }

    fn find(&self, device: &DeviceName) -> Option<DeviceRef> {
        match self.devices.get(device) {
            Some(known) => *known,
            None => self.ledger.find(device),
        }
    }

    fn receipt(&mut self, device: &DeviceName, session: SessionId) -> &mut SessionReceipt {
        let sessions = &mut self.plan.receipt.sessions;
        let place = *self.places.entry((device.clone(), session)).or_insert_with(|| {
            sessions.push(SessionReceipt::new(device.clone(), session));
            sessions.len() - 1
        });
        &mut sessions[place]
    }

    fn is_settled(&self, device: &DeviceName, session: SessionId, seq: Seq) -> bool {
        let here = self.settled.get(&(device.clone(), session));
        here.is_some_and(|set| set.contains(seq))
            || self
                .ledger
                .device(device)
                .is_some_and(|d| d.is_settled(session, seq))
    }

    /// Settled seqs among some; cheap only for short sets, as those of a payload are.
    fn settled_among(&self, device: &DeviceName, session: SessionId, seqs: &SeqSet) -> Vec<Seq> {
        seqs.ranges()
            .flat_map(|range| (range.start().get()..=range.end().get()).map(Seq::new))
            .take(wire::limits::MAX_ROWS)
            .filter(|seq| self.is_settled(device, session, *seq))
            .collect()
    }

    fn missing(&self, device: &DeviceName, session: SessionId, first: Seq, last: Seq) -> SeqSet {
        let mut missing = self.ledger.settled(device, session).missing_between(first, last);
        if let Some(here) = self.settled.get(&(device.clone(), session)) {
            missing.remove_all(here);
        }
        missing
    }

    fn settle(&mut self, device: &DeviceName, session: SessionId, first: Seq, last: Seq) {
        let set = self.settled.entry((device.clone(), session)).or_default();
        set.insert_range(first, last);
    }

    fn forgotten(&self, device: &DeviceName, session: SessionId, now: Timestamp) -> bool {
        self.let_go.contains(&(device.clone(), session))
            || self
                .ledger
                .device(device)
                .is_some_and(|d| d.forgotten(session, now))
    }

    fn has_key(&self, device: &DeviceName, session: SessionId, id: KeyId) -> bool {
        let here = self.group_keys.get(device);
        here.or_else(|| self.keys_of(device))
            .is_some_and(|keys| keys.get(session, id).is_some())
    }

    fn keys_of(&self, device: &DeviceName) -> Option<&DeviceKeys> {
        self.keys.of(self.ledger.find(device)?)
    }
}
