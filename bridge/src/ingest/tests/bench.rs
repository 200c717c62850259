//! A core, a store in a temporary folder, a clock that stands still, and devices that write real messages.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use prometheus::Registry;
use prost::Message as _;
use store::{CommitError, Entry, NewDictionary, Store};
use tempfile::TempDir;
use wire::batch::{Batch, Encoder, Encoding, Group, Header, KeyId, Row};
use wire::dict::{Dictionary, SeriesId};
use wire::message::{Ack, Alert, Pair, Range, State, VERSION};
use wire::topic::Up;
use wire::{BootId, BridgeEpoch, DeviceName, Labels, Seq, SessionId, Timestamp};

use crate::ingest::fleet::Fleet;
use crate::ingest::{Core, Effect, Limits, Message, Now};
use crate::metrics::Metrics;

pub(super) const SESSION: SessionId = SessionId::new(77);

/// 2026-11-22T00:00:00Z, so that rows are neither old nor in the future.
const START_MS: i64 = 1_795_305_600_000;

fn name(device: &str) -> DeviceName {
    format!("acme.{device}").parse().unwrap()
}

pub(super) fn ranges(list: &[Range]) -> Vec<(u64, u64)> {
    list.iter().map(|r| (r.first, r.first + r.more)).collect()
}

type Job = (Vec<NewDictionary>, Vec<Entry>);

pub(super) struct Bench {
    pub(super) core: Core,
    pub(super) store: Store,
    pub(super) fleet: Arc<Fleet>,
    pub(super) metrics: Metrics,
    now: Now,
    job: Option<Job>,
    acks: Vec<(DeviceName, Ack)>,
    /// Configurations that were pushed, by their hashes.
    pub(super) pushed: Vec<(DeviceName, u64)>,
    credit: HashMap<DeviceName, u64>,
    sent: HashMap<DeviceName, u64>,
    _folder: TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        Bench::with_budget(256 << 20)
    }

    pub(super) fn with_budget(budget: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), store::Config::default(), &mut |_| {}).unwrap();
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let fleet = Arc::new(Fleet::default());
        let limits = Limits {
            budget,
            backlog_rate: 0,
        };
        let core = Core::new(BridgeEpoch::new(5), limits, metrics.clone(), Arc::clone(&fleet));
        let now = Now {
            wall: Timestamp::from_ms(START_MS),
            mono_ms: 0,
        };
        Bench {
            core,
            store,
            fleet,
            metrics,
            now,
            job: None,
            acks: Vec::new(),
            pushed: Vec::new(),
            credit: HashMap::new(),
            sent: HashMap::new(),
            _folder: folder,
        }
    }

    pub(super) fn send(&mut self, rig: &Rig, channel: Up, payload: Vec<u8>) {
        if matches!(channel, Up::Batch | Up::Dict) {
            *self.sent.entry(rig.name.clone()).or_default() += payload.len() as u64;
        }
        let message = Message {
            device: rig.name.clone(),
            channel,
            retained: false,
            payload: payload.into(),
        };
        self.core.message(&self.store, message, self.now);
        self.collect();
    }

    fn collect(&mut self) {
        for effect in self.core.effects() {
            match effect {
                Effect::Ack(device, payload) => {
                    let ack = wire::ack::decode(&payload).unwrap();
                    assert!(
                        ack.fresh_credit >= self.credit.get(&device).copied().unwrap_or(0)
                            || ack.answers == 1
                    );
                    self.credit.insert(device.clone(), ack.fresh_credit);
                    self.acks.push((device, ack));
                }
                Effect::Config(device, payload) => {
                    let config = wire::config::decode(&payload).unwrap();
                    self.pushed.push((device, config.hash));
                }
                Effect::Commit {
                    dictionaries,
                    entries,
                } => {
                    assert!(self.job.is_none(), "one commit at a time");
                    self.job = Some((dictionaries, entries));
                }
            }
        }
    }

    /// Lets time pass and tells the core.
    pub(super) fn pass_ms(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall = Timestamp::from_ms(self.now.wall.ms() + ms as i64);
        self.core.tick(self.now);
        self.collect();
    }

    /// Does the commit that was asked for, if one was.
    pub(super) fn commit(&mut self) {
        let Some((dictionaries, entries)) = self.job.take() else {
            return;
        };
        self.store.put_dictionaries(dictionaries).unwrap();
        let outcome = self.store.commit(entries);
        assert!(outcome.is_ok(), "{outcome:?}");
        self.core.committed(&self.store, outcome, self.now);
        self.collect();
    }

    /// Fails it as a full disk does.
    pub(super) fn fail_commit(&mut self) {
        assert!(self.job.take().is_some());
        let outcome = Err(CommitError::Disk("no space left".into()));
        self.core.committed(&self.store, outcome, self.now);
        self.collect();
    }

    /// The destination that acks wait for has passed everything below a number.
    pub(super) fn passed(&mut self, below: u64) {
        self.core.passed(below, self.now);
        self.collect();
    }

    /// Time passes and commits are done until nothing is left.
    pub(super) fn settle(&mut self) {
        for _ in 0..10 {
            self.commit();
            self.pass_ms(1000);
        }
    }

    /// What is wanted of devices has changed.
    pub(super) fn wanted_changed(&mut self) {
        self.core.wanted_changed(self.now);
        self.collect();
    }

    /// Acks to a device since the last look.
    pub(super) fn acks(&mut self, rig: &Rig) -> Vec<Ack> {
        let (own, others) = std::mem::take(&mut self.acks)
            .into_iter()
            .partition(|(d, _)| *d == rig.name);
        self.acks = others;
        let own: Vec<(DeviceName, Ack)> = own;
        own.into_iter().map(|(_, ack)| ack).collect()
    }

    /// The last announced credit of the fresh lane, once everything is committed and acked.
    pub(super) fn last_credit(&mut self, rig: &Rig) -> u64 {
        self.settle();
        self.announced(rig)
    }

    /// The last announced credit of the fresh lane.
    pub(super) fn announced(&self, rig: &Rig) -> u64 {
        self.credit.get(&rig.name).copied().unwrap_or(0)
    }
}

/// A device by hand: two series, one dictionary, one session.
pub(super) struct Rig {
    pub(super) name: DeviceName,
    nonce: u64,
    dictionary: Dictionary,
    encoder: Encoder,
}

impl Rig {
    /// A device whose first state is answered.
    pub(super) fn connect(bench: &mut Bench, device: &str) -> Self {
        Rig::reconnect(bench, device, 1)
    }

    pub(super) fn reconnect(bench: &mut Bench, device: &str, nonce: u64) -> Self {
        let rig = Rig::new(device, nonce);
        bench.send(&rig, Up::State, wire::state::encode(&rig.state()));
        bench.commit();
        bench.pass_ms(0);
        assert_eq!(
            bench
                .acks(&rig)
                .iter()
                .filter(|ack| ack.answers == 1 && ack.nonce == nonce)
                .count(),
            1
        );
        rig
    }

    /// A device that has said nothing yet.
    pub(super) fn new(device: &str, nonce: u64) -> Self {
        let mut dictionary = Dictionary::new();
        for metric in ["up", "load1"] {
            dictionary
                .append(Labels::new([("__name__", metric), ("job", "node")]).unwrap())
                .unwrap();
        }
        Rig {
            name: name(device),
            nonce,
            dictionary,
            encoder: Encoder::new(),
        }
    }

    pub(super) fn state(&self) -> State {
        State {
            version: VERSION,
            nonce: self.nonce,
            connected: true,
            number: 1,
            wall_ms: START_MS,
            ..State::default()
        }
    }

    pub(super) fn will(&self) -> Vec<u8> {
        wire::state::encode(&State {
            version: VERSION,
            nonce: self.nonce,
            ..State::default()
        })
    }

    pub(super) fn alert(&self, seq: u64) -> Vec<u8> {
        self.alert_of(seq, 0, 0)
    }

    /// One that was logged in a boot at a time of it.
    pub(super) fn alert_of(&self, seq: u64, boot: u64, mono_ms: u64) -> Vec<u8> {
        let pair = |name: &str, value: &str| Pair {
            name: name.into(),
            value: value.into(),
        };
        wire::alert::encode(&Alert {
            version: VERSION,
            session: SESSION.get(),
            seq,
            labels: vec![pair("alertname", "Hot")],
            starts_ms: START_MS,
            boot,
            mono_ms,
            ..Alert::default()
        })
    }

    pub(super) fn hash(&self) -> Vec<u8> {
        self.dictionary.hash().as_bytes().to_vec()
    }

    pub(super) fn dictionary(&self) -> Vec<u8> {
        wire::dict::encode(&self.dictionary, None).remove(0)
    }

    pub(super) fn sent(&self, bench: &Bench) -> u64 {
        bench.sent.get(&self.name).copied().unwrap_or(0)
    }

    fn rows(&self, seqs: RangeInclusive<u64>) -> Batch {
        let total = seqs.end() * 2;
        let rows: Vec<Row> = seqs
            .map(|seq| Row {
                seq: Seq::new(seq),
                time: Timestamp::from_ms(START_MS - 60_000 + seq as i64),
                mono_ms: seq,
            })
            .collect();
        let values = (0..rows.len() * 2).map(|n| n as f64).collect();
        let group = Group {
            series: [SeriesId::new(0), SeriesId::new(1)].into(),
            rows,
            values,
            ..Group::default()
        };
        let header = Header {
            session: SESSION,
            boot: BootId::new(1),
            dict: self.dictionary.hash(),
            total,
            clock_error_ms: 0,
        };
        Batch {
            header,
            groups: vec![group],
        }
    }

    pub(super) fn batch(&mut self, seqs: RangeInclusive<u64>) -> Vec<u8> {
        let batch = self.rows(seqs);
        self.encoder.encode(&batch, Encoding::SelfContained).payload
    }

    /// Rows of values that do not compress: about 8 bytes each.
    pub(super) fn noise(&mut self, seqs: RangeInclusive<u64>) -> Vec<u8> {
        let mut batch = self.rows(seqs);
        let mut bits = batch.header.total;
        for value in &mut batch.groups[0].values {
            bits = bits
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *value = f64::from_bits(bits >> 2);
        }
        self.encoder.encode(&batch, Encoding::SelfContained).payload
    }

    /// Record 1, which defines key 1, and record 2, which rests on it.
    pub(super) fn key_and_keyed(&mut self) -> (Vec<u8>, Vec<u8>) {
        let defining = self
            .encoder
            .encode(&self.rows(1..=1), Encoding::Defines(KeyId::FIRST));
        let key = defining.key.unwrap();
        let keyed = self.encoder.encode(&self.rows(2..=2), Encoding::Keyed(&key));
        (defining.payload, keyed.payload)
    }

    /// Record 1 as above; then the dictionary grows, and record 2 has a group of the key and one of the new series.
    pub(super) fn key_and_keyed_of_a_longer_dictionary(&mut self) -> (Vec<u8>, Vec<u8>) {
        let defining = self
            .encoder
            .encode(&self.rows(1..=1), Encoding::Defines(KeyId::FIRST));
        let key = defining.key.unwrap();
        let load5 = Labels::new([("__name__", "load5"), ("job", "node")]).unwrap();
        self.dictionary.append(load5).unwrap();
        let mut longer = self.rows(2..=2);
        longer.header.total = 5;
        let alone = Group {
            series: [SeriesId::new(2)].into(),
            rows: longer.groups[0].rows.clone(),
            values: vec![7.0],
            ..Group::default()
        };
        longer.groups.push(alone);
        let keyed = self.encoder.encode(&longer, Encoding::Keyed(&key));
        assert!(keyed.key.is_none());
        (defining.payload, keyed.payload)
    }

    fn tampered(
        &mut self,
        seqs: RangeInclusive<u64>,
        how: impl FnOnce(&mut wire::message::Batch),
    ) -> Vec<u8> {
        let payload = self.batch(seqs);
        let body = wire::payload::open(&payload, wire::limits::MAX_BODY).unwrap();
        let mut message = wire::message::Batch::decode(body.as_ref()).unwrap();
        how(&mut message);
        wire::payload::seal(&message.encode_to_vec())
    }

    pub(super) fn newer_batch(&mut self, seqs: RangeInclusive<u64>) -> Vec<u8> {
        self.tampered(seqs, |message| message.version = VERSION + 1)
    }

    pub(super) fn broken_batch(&mut self, seqs: RangeInclusive<u64>) -> Vec<u8> {
        self.tampered(seqs, |message| {
            message.groups[0].series = bytes::Bytes::from_static(&[0xff])
        })
    }
}
