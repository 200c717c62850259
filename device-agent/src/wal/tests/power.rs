//! The log on a disk whose power goes: what was durable is there, what is lost is said exactly.
//!
//! `BACKHAUL_SEED` repeats one seed, `BACKHAUL_WAL_CUTS` says how many are tried.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use fault_disk::{Fault, FaultDisk, FaultFile, Operation};
use wire::message::{Alert, Pair};
use wire::{Labels, Seq, SeqSet, SessionId};

use super::{Wal, moment, read_all, value};
use crate::input::{ScrapeRow, Slot, TargetId};
use crate::wal::disk::{Disk, LogFile};
use crate::wal::folder::Folder;
use crate::wal::{AlertEntry, LoggedAlert, Reason, Session, Storage, SyncPolicy, WalConfig};

impl Disk for FaultDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let file = self.open(path, true)?;
        match file.is_empty()? {
            true => Ok(Box::new(file)),
            false => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, false)?;
        let mut bytes = vec![0; file.len()?.min(limit) as usize];
        file.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        FaultDisk::rename(self, from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        FaultDisk::remove(self, path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        FaultDisk::sync_dir(self, dir)
    }
}

impl LogFile for FaultFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_at(self.len()?, bytes)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        FaultFile::sync(self)
    }
}

/// What a session should hold.
#[derive(Default)]
struct Made {
    /// Running totals by seq, from 0.
    totals: Vec<u64>,
    /// Records that were written.
    logged: SeqSet,
    /// Of these, what is durable.
    durable: SeqSet,
    /// What the bridge has: stored, or told to be dropped.
    settled: SeqSet,
    /// What it ever had.
    ever: SeqSet,
    /// Which are alerts.
    alerts: SeqSet,
}

impl Made {
    /// Samples of the records of a set.
    fn samples(&self, seqs: &SeqSet) -> u64 {
        let ranges = seqs.ranges();
        ranges
            .map(|r| self.totals[r.end().get() as usize] - self.totals[r.start().get() as usize - 1])
            .sum()
    }

    fn settle(&mut self, seqs: &SeqSet) {
        self.settled.insert_all(seqs);
        self.ever.insert_all(seqs);
    }
}

/// The alert of a record.
fn alert(seq: Seq) -> Alert {
    let pair = |name: &str, value: String| Pair {
        name: name.to_owned(),
        value,
    };
    Alert {
        labels: vec![pair("alertname", seq.get().to_string())],
        annotations: vec![pair("summary", "x".repeat(seq.get() as usize % 40))],
        starts_ms: 1_700_000_000_000,
        ..Alert::default()
    }
}

fn read_all_alerts(wal: &mut Wal, id: SessionId) -> Vec<LoggedAlert> {
    let session = wal.ledger.session(id).unwrap();
    let mut wanted = session.pending().common(&session.alerts);
    let mut alerts = Vec::new();
    while !wanted.is_empty() {
        let read = wal.read_alerts(id, &wanted);
        let done: SeqSet = read.alerts.iter().map(|alert| alert.seq).collect();
        wanted.remove_all(&done);
        wanted.remove_all(&read.gone);
        alerts.extend(read.alerts);
    }
    alerts
}

struct World {
    random: fastrand::Rng,
    disk: FaultDisk,
    dir: tempfile::TempDir,
    policy: SyncPolicy,
    made: BTreeMap<SessionId, Made>,
    next_session: u64,
    clock: u64,
    /// A sync failed: what is durable under a lazy policy is not known.
    doubt: bool,
    /// A segment could not be read, or meta at a start.
    unread: bool,
    fresh: bool,
    /// Mark of the gaps that the last state of this run knew.
    mark: Option<u64>,
}

/// Series of every record are a subset of these.
const SERIES: u32 = 60;

impl World {
    fn new(seed: u64) -> World {
        let mut random = fastrand::Rng::with_seed(seed);
        let dir = tempfile::tempdir().unwrap();
        let policy = [
            SyncPolicy::Always,
            SyncPolicy::Interval(std::time::Duration::from_millis(20)),
            SyncPolicy::Never,
        ][random.usize(0..3)];
        World {
            disk: FaultDisk::new(&dir.path().join("wal"), random.u64(..)).unwrap(),
            random,
            dir,
            policy,
            made: BTreeMap::new(),
            next_session: 1,
            clock: 0,
            doubt: false,
            unread: false,
            fresh: true,
            mark: None,
        }
    }

    fn open(&mut self) -> Wal {
        let path = self.dir.path().join("wal");
        let config = WalConfig {
            storage: Storage::Folder(path.clone()),
            max_bytes: 64 << 10,
            max_age: std::time::Duration::from_secs(7 * 86_400),
            sync: self.policy,
        };
        let folder = Folder::on(&path, Box::new(self.disk.clone())).unwrap();
        let session = SessionId::new(self.next_session);
        self.next_session += 1;
        self.fresh = true;
        self.mark = None;
        let made = Made {
            totals: vec![0],
            ..Made::default()
        };
        self.made.insert(session, made);
        Wal::open_in(folder, config, session, wire::BootId::new(9), moment(self.clock)).unwrap()
    }

    fn scrape(&mut self) -> ScrapeRow {
        self.clock += 7;
        let labels =
            |s: u32| Labels::new([("__name__", format!("m{s}")), ("job", "test".to_owned())]).unwrap();
        let first = std::mem::take(&mut self.fresh);
        let count = self.random.u32(1..=SERIES);
        ScrapeRow {
            target: TargetId::new(0),
            time: moment(self.clock).wall,
            mono_ms: self.clock,
            new_series: (0..if first { SERIES } else { 0 })
                .map(|s| (Slot::new(s), labels(s)))
                .collect(),
            values: (0..count).map(|s| (Slot::new(s), value(self.clock, s))).collect(),
            metadata: Vec::new(),
            ended: false,
        }
    }

    fn append_alerts(&mut self, wal: &mut Wal) {
        self.clock += 7;
        let at = moment(self.clock);
        let made = self.made.get_mut(&wal.session()).unwrap();
        let mut entries = Vec::new();
        for _ in 0..self.random.usize(1..4) {
            let seq = Seq::new(made.totals.len() as u64);
            made.totals.push(*made.totals.last().unwrap());
            made.alerts.insert(seq);
            entries.push(AlertEntry {
                at,
                alert: alert(seq),
            });
        }
        let count = entries.len() as u64;
        let (logged, durable) = wal.append_alerts(entries, true);
        made.logged.insert_all(&logged);
        assert!(!durable || logged.len() == count);
        // A lazy policy does not let alerts wait.
        if self.policy == SyncPolicy::Always || (durable && self.policy != SyncPolicy::Never && !self.doubt) {
            made.durable = made.logged.clone();
        }
    }

    fn append(&mut self, wal: &mut Wal) {
        if self.random.u8(0..4) == 0 {
            return self.append_alerts(wal);
        }
        let count = self.random.usize(1..4);
        let rows: Vec<ScrapeRow> = (0..count).map(|_| self.scrape()).collect();
        let samples: Vec<u64> = rows.iter().map(|row| row.values.len() as u64).collect();
        let made = self.made.get_mut(&wal.session()).unwrap();
        for samples in samples {
            made.totals.push(made.totals.last().unwrap() + samples);
        }
        let logged = wal.append(rows, true);
        made.logged.extend(logged.iter().map(|row| row.seq));
        if self.policy == SyncPolicy::Always {
            made.durable = made.logged.clone();
        }
    }

    /// A session and some of its records.
    fn some(&mut self, wal: &Wal) -> (SessionId, SeqSet) {
        let ids: Vec<SessionId> = wal.ledger.sessions().iter().map(|s| s.id).collect();
        let id = ids[self.random.usize(..ids.len())];
        let last = wal.ledger.session(id).unwrap().last.max(1);
        let first = if self.random.bool() {
            1
        } else {
            self.random.u64(1..=last)
        };
        let mut seqs = SeqSet::new();
        seqs.insert_range(Seq::new(first), Seq::new(self.random.u64(first..=last)));
        (id, seqs)
    }

    /// Some records are published and stored; the ack may be lost.
    fn publish(&mut self, wal: &mut Wal) {
        let (id, seqs) = self.some(wal);
        let session = wal.ledger.session_mut(id).unwrap();
        let mut kept = session.pending();
        kept.remove_all(&seqs);
        let mut sent = session.pending();
        sent.remove_all(&kept);
        if let Some(published) = &mut session.published {
            published.insert_all(&sent);
        }
        if self.random.u8(0..8) > 0 {
            self.made.get_mut(&id).unwrap().settle(&sent);
        }
        if self.random.u8(0..3) > 0 {
            let mut lost = sent.clone();
            lost.remove_all(&self.made[&id].settled);
            sent.remove_all(&lost);
            for range in sent.ranges() {
                wal.ledger.settle(id, *range.start(), *range.end());
            }
            wal.ledger.settle_gaps(id);
        }
    }

    /// A state tells the bridge what was dropped; it drops what it lacks of that.
    fn tell(&mut self, wal: &mut Wal) {
        for gap in wal.ledger.gaps().iter().filter(|gap| gap.confirmed) {
            let all = (gap.first.get()..=gap.last.get()).map(Seq::new).collect();
            self.made.get_mut(&gap.session).unwrap().settle(&all);
        }
        self.mark = Some(wal.ledger.gaps().mark());
        wal.ledger.gaps_mut().tell();
    }

    /// A full ack answers the last state.
    fn answer(&mut self, wal: &mut Wal) {
        let Some(mark) = self.mark else { return };
        let ids: Vec<SessionId> = wal.ledger.sessions().iter().map(|s| s.id).collect();
        for id in ids {
            wal.ledger.replace(id, &self.made[&id].settled, mark);
            wal.ledger.redeclare(id, Reason::WalCorrupt);
            wal.ledger.let_go_of(id);
        }
    }

    /// The bridge loses what it had of some records.
    fn wipe(&mut self, wal: &Wal) {
        let (id, seqs) = self.some(wal);
        self.made.get_mut(&id).unwrap().settled.remove_all(&seqs);
    }

    fn fail(&mut self, operation: Operation, within: u64) {
        self.disk.fail(Fault {
            operation,
            after: self.random.u64(0..within),
            times: self.random.u64(1..within),
        });
    }

    /// Reads back what is pending of some session.
    fn read(&mut self, wal: &mut Wal) {
        let (id, _) = self.some(wal);
        read_all(wal, id);
        read_all_alerts(wal, id);
        self.unread |= wal.faults.read > 0;
    }

    fn step(&mut self, wal: &mut Wal) {
        match self.random.u8(0..20) {
            0..=9 => self.append(wal),
            10 | 11 => self.publish(wal),
            12 => self.tell(wal),
            13 => self.answer(wal),
            14 if self.random.u8(0..8) == 0 => self.wipe(wal),
            14 => self.read(wal),
            15 | 16 => wal.keep(moment(self.clock), true),
            17 => drop(wal.write_meta()),
            18 if self.random.u8(0..4) == 0 => {
                let operation = [
                    Operation::Write,
                    Operation::Sync,
                    Operation::Name,
                    Operation::Read,
                ][self.random.usize(0..4)];
                self.doubt |= operation == Operation::Sync;
                self.fail(operation, 4);
            }
            19 if self.random.u8(0..4) == 0 => self.disk.room(Some(self.random.u64(0..4000))),
            _ => self.disk.heal(),
        }
        let made = self.made.get_mut(&wal.session()).unwrap();
        let lazy = matches!(self.policy, SyncPolicy::Interval(_));
        if lazy && !wal.house.unsynced && !self.disk.is_out() && !self.doubt {
            made.durable = made.logged.clone();
        }
    }

    fn run(&mut self) {
        let mut wal = self.open();
        for _ in 0..self.random.u8(2..5) {
            if self.random.bool() {
                self.disk.cut_after(self.random.u64(0..60));
            }
            for _ in 0..self.random.u8(0..60) {
                self.step(&mut wal);
                self.check_books(&wal);
                if self.disk.is_out() {
                    break;
                }
            }
            // A segment may go although meta cannot say so: then it is lost.
            self.doubt |= wal.faults.meta > 0;
            let orderly = !self.disk.is_out() && self.random.u8(0..4) == 0;
            self.disk.heal();
            if orderly {
                wal.close();
            }
            drop(wal);
            if !orderly {
                self.disk.power_cut().unwrap();
            }
            if self.random.u8(0..16) == 0 {
                self.fail(Operation::Read, 4);
            }
            wal = self.open();
            self.disk.heal();
            self.unread |= wal.faults.read > 0 || wal.faults.meta > 0;
            self.check(&mut wal);
        }
        self.drain(&mut wal);
    }

    fn check(&self, wal: &mut Wal) {
        let ids: Vec<SessionId> = wal.ledger.sessions().iter().map(|s| s.id).collect();
        for id in ids {
            self.check_session(wal, id);
        }
        self.check_books(wal);
        for (id, made) in &self.made {
            let mut owed = made.durable.clone();
            owed.remove_all(&made.ever);
            let gone = wal.ledger.session(*id).is_none() && !self.unread;
            assert!(!gone || owed.is_empty(), "{owed:?} of {id}, which is gone");
        }
        let sum = |of: &dyn Fn(&Made) -> u64| self.made.values().map(of).sum::<u64>();
        let least = sum(&|made| made.totals[self.kept(made).last().map_or(0, |seq| seq.get() as usize)]);
        let most = sum(&|made| *made.totals.last().unwrap());
        let generated = wal.ledger.generated();
        let least = if self.unread { 0 } else { least };
        assert!(
            (least..=most).contains(&generated),
            "{least} <= {generated} <= {most}"
        );
    }

    /// Durable records that the log must know of. Settled ones may go although meta could not say so: the bridge has them.
    fn kept(&self, made: &Made) -> SeqSet {
        let mut kept = made.durable.clone();
        if self.doubt {
            kept.remove_all(&made.settled);
        }
        kept
    }

    fn check_session(&self, wal: &mut Wal, id: SessionId) {
        let made = &self.made[&id];
        let total = |seq: u64| made.totals[seq as usize];
        for row in read_all(wal, id) {
            let seq = row.seq.get();
            assert_eq!(row.total, total(seq));
            assert_eq!(row.group.values.len() as u64, total(seq) - total(seq - 1));
            let expected = (0u32..).map(|s| value(row.stamp.mono_ms, s).to_bits());
            let values = row.group.values.iter().map(|v| v.to_bits());
            assert!(values.zip(expected).all(|(a, b)| a == b));
        }
        for logged in read_all_alerts(wal, id) {
            assert!(made.alerts.contains(logged.seq));
            assert_eq!(
                (logged.alert, logged.total),
                (alert(logged.seq), total(logged.seq.get()))
            );
        }
        let session = wal.ledger.session(id).unwrap();
        let last = Seq::new(session.last);
        assert!(self.unread || self.kept(made).last().is_none_or(|kept| kept <= last));
        for gap in wal.ledger.gaps().of(id) {
            let mut lost = SeqSet::new();
            lost.insert_range(gap.first, gap.last);
            lost.remove_all(&session.settled);
            if matches!(gap.reason, Reason::WalLost | Reason::WalCorrupt) && !self.doubt && !self.unread {
                let mut unsynced = lost.clone();
                unsynced.remove_all(&made.durable);
                assert_eq!(lost, unsynced, "durable and lost: {gap:?}");
            }
        }
    }

    fn check_books(&self, wal: &Wal) {
        for session in wal.ledger.sessions() {
            self.check_books_of(wal, session);
        }
    }

    /// Every record is settled, pending, or in one gap, and all samples are as they were made.
    fn check_books_of(&self, wal: &Wal, session: &Session) {
        let made = &self.made[&session.id];
        assert_eq!(session.total, made.totals[session.last as usize]);
        assert_eq!(session.freed_total, made.totals[session.freed as usize]);
        let mut known = session.settled.clone();
        known.remove_all(&made.ever);
        assert!(known.is_empty(), "settled by nobody: {known:?}");
        let pending = session.pending();
        assert_eq!(session.alerts.common(&pending), made.alerts.common(&pending));
        assert_eq!(session.alerts, session.alerts.common(&made.alerts));
        assert_eq!(session.pending_samples, made.samples(&pending));
        assert_eq!(session.pending_records, pending.len());
        let mut owed = pending.clone();
        for gap in wal.ledger.gaps().of(session.id) {
            let mut all = SeqSet::new();
            all.insert_range(gap.first, gap.last);
            assert_eq!(gap.samples, made.samples(&all), "{gap:?}");
            assert_eq!(gap.total_before, made.totals[gap.first.get() as usize - 1]);
            let mut both = all.clone();
            both.remove_all(&owed);
            assert_eq!(both, all, "pending, or in a gap before: {gap:?}");
            owed.insert_all(&all);
        }
        let mut unsaid = owed.missing_between(Seq::FIRST, Seq::new(session.last));
        unsaid.remove_all(&session.settled);
        // What the bridge once had and lost it knows itself, and without meta what is below the first record.
        unsaid.remove_all(&made.ever);
        if self.unread {
            unsaid.remove_range(Seq::FIRST, Seq::new(session.freed));
        }
        assert!(
            unsaid.is_empty(),
            "nothing is said of {unsaid:?} of {}",
            session.id
        );
    }

    /// Everything that is owed is delivered.
    fn drain(&mut self, wal: &mut Wal) {
        for _ in 0..4 {
            for session in wal.ledger.sessions() {
                self.made.get_mut(&session.id).unwrap().settle(&session.pending());
            }
            self.tell(wal);
            self.answer(wal);
            self.check_books(wal);
        }
        assert_eq!(wal.ledger.pending(), (0, 0));
        assert_eq!(wal.ledger.gaps().iter().count(), 0);
        for session in wal.ledger.sessions() {
            let made = &self.made[&session.id];
            let mut lost = made.settled.missing_between(Seq::FIRST, Seq::new(session.last));
            lost.remove_range(Seq::FIRST, Seq::new(session.freed));
            assert!(lost.is_empty(), "{lost:?} of {}", session.id);
        }
    }
}

#[test]
fn a_segment_that_cannot_be_read_once_is_there_at_the_next_start() {
    let mut world = World::new(1);
    world.policy = SyncPolicy::Always;
    let mut wal = world.open();
    let id = wal.session();
    for _ in 0..3 {
        world.append(&mut wal);
    }
    let pending = wal.ledger.pending();
    drop(wal);
    // Meta is read, the segment is not.
    world.disk.fail(Fault {
        operation: Operation::Read,
        after: 1,
        times: 2,
    });
    let wal = world.open();
    assert_eq!((wal.faults.read, wal.ledger.pending()), (1, (0, 0)));
    drop(wal);
    let mut wal = world.open();
    assert_eq!(wal.ledger.pending(), pending);
    world.check_session(&mut wal, id);
}

/// Seeds that once showed a fault, and then some.
const SEEDS: [u64; 4] = [139_072_510_485_607, 42_346_456_834_874, 119_673_693_592_031, 17];

#[test]
fn a_power_cut_costs_nothing_that_was_synced_and_what_it_costs_is_said() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let random = |count: u64| (0..count).map(|_| fastrand::u64(..1 << 48));
    let seeds: Vec<u64> = match (number("BACKHAUL_SEED"), number("BACKHAUL_WAL_CUTS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(count)) => random(count).collect(),
        // The same ones each time, and some that nobody has tried.
        (None, None) => SEEDS.into_iter().chain(1..150).chain(random(150)).collect(),
    };
    for seed in seeds {
        // Shown if the test fails.
        println!("BACKHAUL_SEED={seed}");
        World::new(seed).run();
    }
}
