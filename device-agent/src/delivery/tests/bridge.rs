//! A bridge in a few lines: it decodes, de-duplicates, settles, and answers as the contract says.

use std::collections::{BTreeMap, HashMap};

use wire::batch::{Key, peek};
use wire::dict::{self, DictHash, Dictionary};
use wire::message::{Ack, SessionAck, State, VERSION, Wanting};
use wire::seqs::to_ranges;
use wire::topic::Up;
use wire::{Seq, SeqSet, ack, alert, state};

/// Samples of every row of the simulation.
pub(super) const SAMPLES: u64 = 5;

/// Whether the record of a seq is an alert, which has no samples.
pub(super) fn is_alert(seq: u64) -> bool {
    seq % 7 == 3
}

/// Samples of some records, and how many of them are alerts.
fn contents(seqs: &SeqSet) -> (u64, u64) {
    let all = seqs.ranges().flat_map(|r| r.start().get()..=r.end().get());
    let alerts = all.filter(|&seq| is_alert(seq)).count() as u64;
    ((seqs.len() - alerts) * SAMPLES, alerts)
}

#[derive(Debug)]
pub(super) struct Bridge {
    epoch: u64,
    nonce: u64,
    settled: BTreeMap<u64, SeqSet>,
    stored: BTreeMap<u64, SeqSet>,
    dropped: BTreeMap<u64, SeqSet>,
    /// Last seq of each session, and the running total there.
    ends: BTreeMap<u64, (u64, u64)>,
    dictionaries: HashMap<DictHash, Dictionary>,
    keys: HashMap<(u64, u32), Key>,
    wanting: BTreeMap<u64, Vec<Wanting>>,
    received: [u64; 2],
    granted: [u64; 2],
    credit: u64,
    pub(super) redelivered: u64,
}

impl Bridge {
    pub(super) fn new(epoch: u64, credit: u64) -> Bridge {
        Bridge {
            epoch,
            nonce: 0,
            settled: BTreeMap::new(),
            stored: BTreeMap::new(),
            dropped: BTreeMap::new(),
            ends: BTreeMap::new(),
            dictionaries: HashMap::new(),
            keys: HashMap::new(),
            wanting: BTreeMap::new(),
            received: [0, 0],
            granted: [0, 0],
            credit,
            redelivered: 0,
        }
    }

    pub(super) fn stored_records(&self) -> u64 {
        self.stored.values().map(SeqSet::len).sum()
    }

    pub(super) fn stored_alerts(&self) -> u64 {
        self.stored.values().map(|seqs| contents(seqs).1).sum()
    }

    pub(super) fn restart(&mut self) {
        self.epoch += 1;
        self.wanting.clear();
        // What it granted and counted was in memory.
        self.nonce = 0;
    }

    pub(super) fn wipe(&mut self) {
        *self = Bridge::new(self.epoch + 1, self.credit);
    }

    /// Whether so many bytes may have been published on a lane.
    pub(super) fn within_credit(&self, lane: usize, published: u64) -> bool {
        published <= self.granted[lane]
    }

    /// Takes a message; returns what is answered at once.
    pub(super) fn take(&mut self, channel: Up, payload: &[u8]) -> Option<Vec<u8>> {
        match channel {
            Up::State => return self.state(&state::decode(payload).unwrap()),
            Up::Dict => {
                self.received[0] += payload.len() as u64;
                let message = dict::decode(payload).unwrap();
                let base = message.base().map_or(Some(Dictionary::new()), |hash| {
                    self.dictionaries.get(&hash).cloned()
                });
                if let Some(list) = base {
                    let list = message.apply(&list).unwrap();
                    self.dictionaries.insert(list.hash(), list);
                }
            }
            Up::Batch | Up::Backlog => {
                self.received[usize::from(channel == Up::Backlog)] += payload.len() as u64;
                self.batch(payload);
            }
            Up::Alert => self.alert(payload),
            Up::Reply => {}
        }
        None
    }

    fn alert(&mut self, payload: &[u8]) {
        let alert = alert::decode(payload).unwrap();
        assert!(is_alert(alert.seq));
        assert_eq!(alert.labels[0].value, alert.seq.to_string());
        self.store(alert.session, Seq::new(alert.seq));
    }

    fn store(&mut self, id: u64, seq: Seq) {
        if self.settled.entry(id).or_default().insert(seq) {
            self.stored.entry(id).or_default().insert(seq);
        } else {
            self.redelivered += 1;
        }
    }

    fn batch(&mut self, payload: &[u8]) {
        let raw = peek(payload).unwrap();
        let id = raw.session().get();
        let want = |dict: Vec<u8>| Wanting {
            dict: dict.into(),
            ranges: to_ranges(raw.seqs(), 100),
        };
        let key = raw.key().map(|key| self.keys.get(&(id, key.get())).cloned());
        if let Some(None) = key {
            self.wanting.entry(id).or_default().push(want(Vec::new()));
            return;
        }
        let key = key.flatten();
        let hash = raw.dict().or_else(|| key.as_ref().map(Key::dict)).unwrap();
        let Some(dictionary) = self.dictionaries.get(&hash) else {
            self.wanting
                .entry(id)
                .or_default()
                .push(want(hash.as_bytes().to_vec()));
            return;
        };
        let decoded = raw.decode(dictionary.len(), key.as_ref()).unwrap();
        if let Some(key) = decoded.key {
            self.keys.insert((id, key.id().get()), key);
        }
        for group in &decoded.batch.groups {
            for (r, row) in group.rows.iter().enumerate() {
                assert_eq!(group.samples_of_row(r), SAMPLES);
                let n = row.seq.get();
                for value in (0..group.series.len()).filter_map(|s| group.value(s, r)) {
                    assert!(value == super::world::value(n), "record {n} came as {value}");
                }
                assert!(!is_alert(n));
                self.store(id, row.seq);
            }
        }
    }

    fn state(&mut self, state: &State) -> Option<Vec<u8>> {
        if state.nonce != self.nonce {
            self.nonce = state.nonce;
            self.received = [state.fresh_bytes, state.backlog_bytes];
            self.granted = [0, 0];
        }
        if !state.connected {
            return None;
        }
        for gap in &state.gaps {
            let settled = self.settled.entry(gap.session).or_default();
            let missing = settled.missing_between(Seq::new(gap.first), Seq::new(gap.last));
            let mut all = SeqSet::new();
            all.insert_range(Seq::new(gap.first), Seq::new(gap.last));
            let (samples, alerts) = contents(&all);
            assert!(
                samples == gap.samples && gap.alerts <= alerts,
                "{gap:?} has {alerts} alerts"
            );
            self.dropped.entry(gap.session).or_default().insert_all(&missing);
            settled.insert_all(&missing);
        }
        for session in &state.sessions {
            self.ends.insert(session.session, (session.last, session.total));
            let settled = self.settled.entry(session.session).or_default();
            let edge = match session.oldest {
                0 => session.last,
                oldest => oldest - 1,
            };
            if edge > 0 {
                let lost = settled.missing_between(Seq::FIRST, Seq::new(edge));
                self.dropped.entry(session.session).or_default().insert_all(&lost);
                settled.insert_all(&lost);
            }
        }
        let sessions = state.sessions.iter().map(|s| s.session).collect::<Vec<_>>();
        for id in &state.let_go {
            let Some((last, _)) = self.ends.get(id) else {
                continue;
            };
            let settled = self.settled.entry(*id).or_default();
            let lost = settled.missing_between(Seq::FIRST, Seq::new(*last));
            self.dropped.entry(*id).or_default().insert_all(&lost);
            settled.insert_all(&lost);
        }
        let forgotten = state.let_go.clone();
        Some(self.ack(state.number, &sessions, forgotten))
    }

    /// An ack of all sessions that it knows.
    pub(super) fn addition(&mut self) -> Option<Vec<u8>> {
        if self.nonce == 0 {
            return None;
        }
        let sessions: Vec<u64> = self.settled.keys().copied().collect();
        Some(self.ack(0, &sessions, Vec::new()))
    }

    fn ack(&mut self, answers: u32, sessions: &[u64], forgotten: Vec<u64>) -> Vec<u8> {
        for lane in 0..2 {
            let limit = self.received[lane] + self.credit.max(65_536);
            self.granted[lane] = self.granted[lane].max(limit);
        }
        let sessions = sessions.iter().map(|&id| SessionAck {
            session: id,
            settled: to_ranges(self.settled.entry(id).or_default(), 1000),
            wanting: self.wanting.remove(&id).unwrap_or_default(),
            ..SessionAck::default()
        });
        ack::encode(&Ack {
            version: VERSION,
            epoch: self.epoch,
            nonce: self.nonce,
            answers,
            sessions: sessions.collect(),
            fresh_credit: self.granted[0],
            backlog_credit: self.granted[1],
            backlog_rate: 0,
            wall_ms: 1_700_000_000_000,
            forgotten,
        })
    }

    /// Every sample of every session is stored or dropped, none twice.
    pub(super) fn check(&self) {
        let part = |sets: &BTreeMap<u64, SeqSet>, id| sets.get(id).map_or((0, 0), contents);
        for (id, (last, total)) in &self.ends {
            let (stored, dropped) = (part(&self.stored, id), part(&self.dropped, id));
            let alerts = (1..=*last).filter(|&seq| is_alert(seq)).count() as u64;
            assert_eq!(
                (stored.0 + dropped.0, stored.1 + dropped.1),
                (*total, alerts),
                "session {id:x}"
            );
        }
    }
}
