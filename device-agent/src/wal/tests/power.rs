//! The log on a disk whose power goes: what was durable is there, what is lost is said exactly.
//!
//! `BACKHAUL_SEED` repeats one seed, `BACKHAUL_WAL_CUTS` says how many are tried.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use fault_disk::{Fault, FaultDisk, FaultFile, Operation};
use wire::{Labels, Seq, SeqSet, SessionId};

use super::{Wal, moment, read_all, value};
use crate::input::{ScrapeRow, Slot, TargetId};
use crate::wal::disk::{Disk, LogFile};
use crate::wal::folder::Folder;
use crate::wal::{Reason, Storage, SyncPolicy, WalConfig};

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
    settled: SeqSet,
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
    fresh: bool,
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
            fresh: true,
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
        }
    }

    fn append(&mut self, wal: &mut Wal) {
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

    /// Some records of some session are settled by the bridge.
    fn settle(&mut self, wal: &mut Wal) {
        let ids: Vec<SessionId> = wal.ledger.sessions().iter().map(|s| s.id).collect();
        let id = ids[self.random.usize(..ids.len())];
        let last = wal.ledger.session(id).unwrap().last;
        if last == 0 {
            return;
        }
        let first = if self.random.bool() {
            1
        } else {
            self.random.u64(1..=last)
        };
        let to = self.random.u64(first..=last);
        wal.ledger.settle(id, Seq::new(first), Seq::new(to));
        let made = self.made.get_mut(&id).unwrap();
        made.settled.insert_range(Seq::new(first), Seq::new(to));
    }

    fn step(&mut self, wal: &mut Wal) {
        match self.random.u8(0..20) {
            0..=11 => self.append(wal),
            12..=14 => self.settle(wal),
            15 | 16 => wal.keep(moment(self.clock), true),
            17 => wal.write_meta(),
            18 if self.random.u8(0..4) == 0 => {
                let operation = [
                    Operation::Write,
                    Operation::Sync,
                    Operation::Name,
                    Operation::Read,
                ][self.random.usize(0..4)];
                self.doubt |= operation == Operation::Sync;
                self.disk.fail(Fault {
                    operation,
                    after: self.random.u64(0..4),
                    times: self.random.u64(1..4),
                });
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
            wal = self.open();
            self.check(&mut wal);
        }
    }

    fn check(&self, wal: &mut Wal) {
        let ids: Vec<SessionId> = wal.ledger.sessions().iter().map(|s| s.id).collect();
        for id in ids {
            self.check_session(wal, id);
        }
        let sum = |of: &dyn Fn(&Made) -> u64| self.made.values().map(of).sum::<u64>();
        let least = sum(&|made| made.totals[self.kept(made).last().map_or(0, |seq| seq.get() as usize)]);
        let most = sum(&|made| *made.totals.last().unwrap());
        let generated = wal.ledger.generated();
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
        let samples = |seqs: &SeqSet| -> u64 {
            let ranges = seqs.ranges();
            ranges
                .map(|r| total(r.end().get()) - total(r.start().get() - 1))
                .sum()
        };
        for row in read_all(wal, id) {
            let seq = row.seq.get();
            assert_eq!(row.total, total(seq));
            assert_eq!(row.group.values.len() as u64, total(seq) - total(seq - 1));
            let expected = (0u32..).map(|s| value(row.stamp.mono_ms, s).to_bits());
            assert!(
                row.group
                    .values
                    .iter()
                    .map(|v| v.to_bits())
                    .zip(expected)
                    .all(|(a, b)| a == b)
            );
        }
        let session = wal.ledger.session(id).unwrap();
        assert_eq!(session.total, total(session.last));
        assert_eq!(session.freed_total, total(session.freed));
        let last = Seq::new(session.last);
        assert!(self.kept(made).last().is_none_or(|kept| kept <= last));
        for gap in wal.ledger.gaps().of(id) {
            // How many samples a hole's settled records had is not known: they may count too.
            let known = |seq: u64| {
                let seq = Seq::new(seq);
                session.settled.contains(seq) || session.dropped.contains(seq)
            };
            let (mut first, mut last) = (gap.first.get(), gap.last.get());
            while known(first - 1) {
                first -= 1;
            }
            while known(last + 1) {
                last += 1;
            }
            let mut whole = session.settled.clone();
            whole.remove_range(Seq::new(0), Seq::new(first - 1));
            whole.remove_range(Seq::new(last + 1), Seq::new(u64::MAX));
            whole.insert_range(gap.first, gap.last);
            let whole = samples(&whole);
            let mut open = SeqSet::new();
            open.insert_range(gap.first, gap.last);
            open.remove_all(&session.settled);
            let least = samples(&open);
            assert!(
                (least..=whole).contains(&gap.samples),
                "{gap:?}: {least} to {whole}"
            );
            let lost = matches!(gap.reason, Reason::WalLost | Reason::WalCorrupt);
            if lost && !self.doubt {
                let mut unsynced = open.clone();
                unsynced.remove_all(&made.durable);
                assert_eq!(open, unsynced, "durable and lost: {gap:?}");
            }
        }
        let mut told = session.settled.clone();
        told.remove_all(&made.settled);
        assert!(told.is_empty(), "settled by nobody: {told:?}");
        let mut open = SeqSet::new();
        if session.last > session.freed {
            open.insert_range(Seq::new(session.freed + 1), Seq::new(session.last));
        }
        open.remove_all(&session.settled);
        open.remove_all(&session.dropped);
        assert_eq!(session.pending(), open);
        assert_eq!(session.pending_samples, samples(&open));
    }
}

#[test]
fn a_power_cut_costs_nothing_that_was_synced_and_what_it_costs_is_said() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("BACKHAUL_SEED");
    // The same seeds each time, unless a soak asks for more: random ones find a corner in some thousands (docs/wal.md).
    let (first, count) = match (first, number("BACKHAUL_WAL_CUTS")) {
        (Some(seed), _) => (seed, 1),
        (None, Some(count)) => (fastrand::u64(..1 << 48), count),
        (None, None) => (1, 300),
    };
    for seed in first..first + count {
        // Shown if the test fails.
        println!("BACKHAUL_SEED={seed}");
        World::new(seed).run();
    }
}
