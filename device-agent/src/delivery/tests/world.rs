//! A device, a link and a bridge, moved one event at a time.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;
use tempfile::TempDir;
use wire::message::{Alert, Pair};
use wire::topic::Up;
use wire::{BootId, Labels, Nonce, SeqSet, SessionId, Timestamp};

use super::bridge::{Bridge, SAMPLES, is_alert};
use crate::delivery::{ClockTrust, Delivery, DeliveryConfig, Effect, MessageId, Publish, Words};
use crate::input::{Moment, ScrapeRow, Slot, TargetId};
use crate::wal::{AlertEntry, ReadLimit, Storage, SyncPolicy, Wal, WalConfig};

/// How likely each misfortune is, per mille and step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    credit: u64,
    cut: u32,
    /// Longest time without a link, steps.
    outage: u32,
    /// Most scrapes at once.
    scrapes: u64,
    ack_lost: u32,
    message_lost: u32,
    bridge_restarts: u32,
    bridge_wiped: u32,
    agent_restarts: u32,
    wal_bytes: u64,
    batch: usize,
}

pub(super) struct World {
    random: Rng,
    weather: Weather,
    dir: TempDir,
    wal: Option<Wal>,
    delivery: Delivery,
    pub(super) bridge: Bridge,
    now_ms: u64,
    sessions: u64,
    nonces: u64,
    linked: bool,
    /// Steps until the link can come back.
    down_for: u32,
    up: VecDeque<Publish>,
    pubacks: VecDeque<MessageId>,
    down: VecDeque<Vec<u8>>,
    published: [u64; 2],
    /// Bytes of alerts that the bridge has not taken.
    alerts_up: usize,
    logged: u64,
}

impl Weather {
    pub(super) const GOOD: Weather = Weather {
        credit: 1 << 20,
        cut: 0,
        outage: 1,
        scrapes: 20,
        ack_lost: 0,
        message_lost: 0,
        bridge_restarts: 0,
        bridge_wiped: 0,
        agent_restarts: 0,
        wal_bytes: 1 << 20,
        batch: 1,
    };

    pub(super) fn with_credit(credit: u64) -> Weather {
        Weather {
            credit,
            ..Weather::GOOD
        }
    }

    pub(super) fn storm(seed: u64) -> Weather {
        let mut random = Rng::with_seed(seed ^ 0x5eed);
        Weather {
            credit: random.u64(1..100_000),
            cut: random.u32(0..60),
            outage: *random.choice(&[1, 50]).unwrap_or(&1),
            scrapes: *random.choice(&[20, 150]).unwrap_or(&20),
            ack_lost: random.u32(0..300),
            message_lost: random.u32(0..40),
            bridge_restarts: random.u32(0..20),
            bridge_wiped: random.u32(0..5),
            agent_restarts: random.u32(0..20),
            wal_bytes: *random.choice(&[40_000, 80_000, 1 << 20]).unwrap_or(&40_000),
            batch: *random.choice(&[1, 1, 3, 30]).unwrap_or(&1),
        }
    }
}

/// Value of every series in the record of a seq.
pub(super) fn value(seq: u64) -> f64 {
    seq as f64 * 7.0 + 0.5
}

fn open(dir: &TempDir, weather: &Weather, session: u64) -> Wal {
    let config = WalConfig {
        storage: Storage::Folder(dir.path().to_path_buf()),
        max_bytes: weather.wal_bytes,
        max_age: Duration::from_secs(7 * 86_400),
        sync: SyncPolicy::Never,
    };
    let now = Moment {
        wall: Timestamp::from_ms(1_700_000_000_000),
        mono_ms: 0,
    };
    Wal::open(config, SessionId::new(session), BootId::new(9), now).unwrap()
}

fn delivery(wal: &Wal, weather: &Weather, seed: u64) -> Delivery {
    let config = DeliveryConfig {
        scrapes_per_batch: weather.batch,
        clock: ClockTrust::Assumed,
        ..DeliveryConfig::default()
    };
    Delivery::new(config, 0, &wal.ledger, seed)
}

impl World {
    pub(super) fn new(seed: u64, weather: Weather) -> World {
        let dir = tempfile::tempdir().unwrap();
        let wal = open(&dir, &weather, 1);
        let delivery = delivery(&wal, &weather, seed);
        World {
            random: Rng::with_seed(seed),
            weather,
            dir,
            wal: Some(wal),
            delivery,
            bridge: Bridge::new(1, weather.credit),
            now_ms: 1000,
            sessions: 1,
            nonces: 0,
            linked: false,
            down_for: 0,
            up: VecDeque::new(),
            pubacks: VecDeque::new(),
            down: VecDeque::new(),
            published: [0, 0],
            alerts_up: 0,
            logged: 0,
        }
    }

    fn now(&self) -> Moment {
        Moment {
            wall: Timestamp::from_ms(1_700_000_000_000 + self.now_ms.cast_signed()),
            mono_ms: self.now_ms,
        }
    }

    fn wal(&mut self) -> &mut Wal {
        self.wal.as_mut().unwrap()
    }

    /// Logs scrapes.
    pub(super) fn log(&mut self, scrapes: u64) {
        for _ in 0..scrapes {
            self.now_ms += 10;
            let now = self.now();
            let first = self.wal().ledger.current().unwrap().last == 0;
            let seq = self.wal().ledger.current().unwrap().last + 1;
            if is_alert(seq) {
                self.log_alert(now, seq);
                continue;
            }
            let job = format!("job{}", self.random.u32(0..3));
            let labels = |s: u64| Labels::new([("__name__", format!("m{s}")), ("job", job.clone())]).unwrap();
            let churn = self.random.u32(0..10) == 0;
            let new = (0..SAMPLES).filter(|_| first || churn);
            let row = ScrapeRow {
                target: TargetId::new(0),
                time: now.wall,
                mono_ms: now.mono_ms,
                new_series: new.map(|s| (Slot::new(s as u32), labels(s))).collect(),
                values: (0..SAMPLES).map(|s| (Slot::new(s as u32), value(seq))).collect(),
                metadata: Vec::new(),
                ended: false,
            };
            let rows = self.wal().append(vec![row], true);
            self.logged += rows.len() as u64;
            let session = self.wal().session();
            self.delivery.logged(rows, session);
        }
    }

    fn log_alert(&mut self, at: Moment, seq: u64) {
        let name = Pair {
            name: "alertname".to_owned(),
            value: seq.to_string(),
        };
        // Some are large, so that the front's room for them matters.
        let text = Pair {
            name: "text".to_owned(),
            value: (0..self.random.usize(..4000))
                .map(|_| self.random.alphanumeric())
                .collect(),
        };
        let alert = Alert {
            labels: vec![name],
            annotations: vec![text],
            starts_ms: at.wall.ms(),
            ..Alert::default()
        };
        let (seqs, _) = self.wal().append_alerts(vec![AlertEntry { at, alert }], true);
        self.logged += seqs.len();
        let session = self.wal().session();
        self.delivery.logged_alerts(&seqs, session);
    }

    /// One thing happens.
    pub(super) fn step(&mut self) {
        let dice = self.random.u32(0..1000);
        let weather = self.weather;
        let mut limit = 0;
        let mut happens = |chance: u32| {
            limit += chance;
            dice < limit
        };
        if happens(weather.cut) {
            self.cut();
            self.down_for = self.random.u32(0..weather.outage);
        } else if happens(weather.bridge_restarts) {
            self.bridge.restart();
            self.hand_over_state();
        } else if happens(weather.bridge_wiped) {
            self.wipe_bridge();
        } else if happens(weather.agent_restarts) {
            self.restart_agent();
        } else if happens(200) {
            let scrapes = self.random.u64(1..weather.scrapes);
            self.log(scrapes);
        } else if happens(50) {
            self.now_ms += self.random.u64(0..100_000);
        }
        self.turn();
    }

    pub(super) fn wipe_bridge(&mut self) {
        self.bridge.wipe();
        self.hand_over_state();
    }

    /// The link is gone until further notice.
    pub(super) fn unplug(&mut self) {
        self.cut();
        self.down_for = u32::MAX;
    }

    /// The link is there again; returns the channels of what goes up first.
    pub(super) fn plug(&mut self) -> Vec<Up> {
        self.down_for = 0;
        self.linked = true;
        self.nonces += 1;
        self.published = [0, 0];
        self.delivery.connected(Nonce::new(self.nonces));
        self.act();
        self.up.iter().map(|publish| publish.channel).collect()
    }

    /// From now on nothing that the bridge says arrives.
    pub(super) fn silence_bridge(&mut self) {
        self.weather.ack_lost = 1000;
    }

    /// Payload bytes of rows and dictionaries published on this connection.
    pub(super) fn published(&self) -> u64 {
        self.published.iter().sum()
    }

    /// Time passes.
    pub(super) fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    /// The front tells a new bridge which devices are there; here by cutting them off.
    fn hand_over_state(&mut self) {
        self.cut();
    }

    fn cut(&mut self) {
        self.linked = false;
        self.up.clear();
        self.alerts_up = 0;
        self.down.clear();
        self.pubacks.clear();
        self.delivery.disconnected();
    }

    fn restart_agent(&mut self) {
        self.cut();
        self.wal = None;
        self.sessions += 1;
        let mut wal = open(&self.dir, &self.weather, self.sessions);
        if self.random.bool() {
            wal.write_meta();
        }
        self.delivery = delivery(&wal, &self.weather, self.sessions);
        self.wal = Some(wal);
    }

    /// Connects if need be, follows the effects, and moves some of what is on the link.
    pub(super) fn turn(&mut self) {
        self.now_ms += 20;
        if !self.linked && self.down_for > 0 {
            self.down_for -= 1;
            return;
        }
        if !self.linked {
            self.linked = true;
            self.nonces += 1;
            self.published = [0, 0];
            self.delivery.connected(Nonce::new(self.nonces));
        }
        self.act();
        for _ in 0..self.random.u32(0..6) {
            self.move_up();
        }
        if self.random.u32(0..3) == 0
            && let Some(ack) = self.bridge.addition()
        {
            self.down.push_back(ack);
        }
        for _ in 0..self.random.u32(0..4) {
            self.move_down();
        }
        self.act();
    }

    fn act(&mut self) {
        let now = self.now();
        loop {
            let wal = self.wal.as_mut().unwrap();
            let (ledger, dictionary, lineage) = wal.books();
            match self.delivery.poll(now, ledger, Words { dictionary, lineage }) {
                None => break,
                Some(Effect::Publish(publish)) => {
                    self.count(&publish);
                    self.up.push_back(publish);
                }
                Some(Effect::Read { session, seqs }) => {
                    let limit = ReadLimit {
                        rows: 100,
                        values: 10_000,
                    };
                    let read = wal.read(session, &seqs, limit);
                    self.delivery.rows(read);
                }
                Some(Effect::ReadAlerts { session, seqs }) => {
                    let read = wal.read_alerts(session, &seqs);
                    self.delivery.alerts(read);
                }
            }
        }
        self.check_places();
    }

    fn count(&mut self, publish: &Publish) {
        assert!(publish.payload.len() <= wire::limits::MAX_MESSAGE);
        let lane = match publish.channel {
            Up::Batch | Up::Dict => 0,
            Up::Backlog => 1,
            Up::Alert => {
                // The front cuts off a device whose alerts wait beyond this, one large one apart.
                self.alerts_up += publish.payload.len();
                assert!(self.alerts_up <= 16_384 || self.alerts_up == publish.payload.len());
                return;
            }
            _ => return,
        };
        self.published[lane] += publish.payload.len() as u64;
        assert!(
            self.bridge.within_credit(lane, self.published[lane]),
            "beyond credit on lane {lane}"
        );
    }

    /// Every pending record is somewhere.
    fn check_places(&mut self) {
        let mut places: std::collections::BTreeMap<SessionId, SeqSet> = Default::default();
        let queued = self.delivery.fresh.rows().iter().map(|row| row.seq).collect();
        places.insert(self.wal.as_ref().unwrap().session(), queued);
        let elsewhere = self.delivery.backlog.sets().chain(self.delivery.outbox.seqs());
        for (id, seqs) in elsewhere {
            places.entry(id).or_default().insert_all(seqs);
        }
        for session in self.wal().ledger.sessions() {
            let mut nowhere = session.pending();
            nowhere.remove_all(places.get(&session.id).unwrap_or(&SeqSet::new()));
            assert!(
                nowhere.is_empty(),
                "{nowhere:?} of {} will never be sent",
                session.id
            );
        }
    }

    fn move_up(&mut self) {
        let Some(publish) = self.up.pop_front() else {
            return;
        };
        self.pubacks.push_back(publish.id);
        if publish.channel == Up::Alert {
            self.alerts_up -= publish.payload.len();
        }
        let rows = !matches!(publish.channel, Up::State);
        if rows && self.random.u32(0..1000) < self.weather.message_lost {
            return;
        }
        if let Some(answer) = self.bridge.take(publish.channel, &publish.payload) {
            self.down.push_back(answer);
        }
    }

    fn move_down(&mut self) {
        let now = self.now();
        if let Some(id) = self.pubacks.pop_front() {
            self.delivery.puback(id, now);
        }
        let Some(ack) = self.down.pop_front() else { return };
        if self.random.u32(0..1000) < self.weather.ack_lost {
            return;
        }
        let wal = self.wal.as_mut().unwrap();
        self.delivery.ack(&ack, now, &mut wal.ledger).unwrap();
    }

    /// Everything on the link arrives, and is answered.
    pub(super) fn settle_down(&mut self) {
        for _ in 0..20 {
            self.turn();
        }
    }

    /// The weather clears, and time passes until nothing is owed.
    pub(super) fn finish(&mut self) {
        let credit = self.weather.credit;
        self.weather = Weather {
            credit,
            ..Weather::GOOD
        };
        self.delivery.finish();
        for _ in 0..4000 {
            self.turn();
            let done = self.wal().ledger.pending().0 == 0 && self.wal().ledger.gaps().iter().next().is_none();
            if done {
                break;
            }
            self.now_ms += 1000;
        }
        // The last state tells the totals.
        self.cut();
        self.settle_down();
    }

    pub(super) fn check(&mut self) {
        assert_eq!(self.wal().ledger.pending(), (0, 0));
        assert_eq!(self.wal().ledger.gaps().iter().count(), 0);
        self.bridge.check();
    }
}
