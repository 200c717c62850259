//! The faults, and what each of them is allowed to cost.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;
use tests::link::Quality;

use crate::world::{Costs, World};

/// One thing that goes wrong in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill(Victim),
    Stop(Victim),
    StopAndKill(Victim),
    LinkCut(usize),
    LinkClosed(usize),
    LinkSwallows(usize),
    LinkSlow(usize),
    DiskFull,
    LogDiskFull,
    DiskErrors,
    BridgeBits,
    LogBits(usize),
    Wipe,
    DeviceClock(usize),
    BridgeClock,
}

/// Processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Broker,
    Bridge,
    Agent(usize),
    All,
}

/// Files of the store whose bits are flipped: the kind is chosen first, as blocks are many.
const KINDS: [&str; 6] = [
    "index.redb",
    "index.copy.redb",
    "/default-",
    "/journal/",
    "dict.redb",
    "alerts.redb",
];

/// Of these kinds, those without which the ledger knows less than devices made.
const LEDGER: [&str; 2] = ["/journal/", "dict.redb"];

fn ms(random: &mut fastrand::Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(random.u64(range))
}

impl World {
    pub(crate) fn choose(&mut self) -> Fault {
        let agent = self.random.usize(0..self.agents.len());
        let victim = match self.random.u8(0..8) {
            0 | 1 => Victim::Broker,
            2..=4 => Victim::Bridge,
            5 | 6 => Victim::Agent(agent),
            _ => Victim::All,
        };
        match self.random.u8(0..40) {
            0..=11 => Fault::Kill(victim),
            12 | 13 => Fault::Stop(victim),
            14 | 15 => Fault::StopAndKill(victim),
            16 | 17 => Fault::LinkCut(agent),
            18 | 19 => Fault::LinkClosed(agent),
            20 | 21 => Fault::LinkSwallows(agent),
            22 => Fault::LinkSlow(agent),
            23..=25 => Fault::DiskFull,
            26 | 27 => Fault::LogDiskFull,
            28..=31 => Fault::DiskErrors,
            32..=34 => Fault::BridgeBits,
            35 => Fault::LogBits(agent),
            36 if self.random.u8(0..3) == 0 => Fault::Wipe,
            36 | 37 => Fault::DeviceClock(agent),
            38 => Fault::BridgeClock,
            _ => Fault::Kill(Victim::All),
        }
    }

    /// Does it, for a while, and undoes it; processes that died are left dead.
    pub(crate) fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(victim) => self.kill(victim),
            Fault::Stop(victim) => {
                self.signal(victim, Signal::SIGSTOP);
                sleep(ms(&mut self.random, 50..900));
                self.signal(victim, Signal::SIGCONT);
            }
            Fault::StopAndKill(victim) => {
                self.signal(victim, Signal::SIGSTOP);
                sleep(ms(&mut self.random, 50..400));
                self.kill(victim);
            }
            Fault::LinkCut(agent) => self.agents[agent].link.cut(),
            Fault::LinkClosed(agent) => {
                self.agents[agent].link.close();
                sleep(ms(&mut self.random, 50..600));
                self.agents[agent].link.open();
            }
            Fault::LinkSwallows(agent) => {
                self.agents[agent].link.swallow(true);
                sleep(ms(&mut self.random, 50..600));
                // Bytes are missing in the stream: nobody may go on with it.
                self.agents[agent].link.cut();
                self.agents[agent].link.swallow(false);
            }
            Fault::LinkSlow(agent) => {
                self.agents[agent].link.set_quality(Quality {
                    rate: Some(8000),
                    delay: Duration::from_millis(150),
                    buffer: 64,
                });
                sleep(ms(&mut self.random, 200..800));
                self.agents[agent].link.set_quality(Quality::PERFECT);
            }
            Fault::DiskFull | Fault::LogDiskFull => self.fill(fault),
            Fault::DiskErrors => self.disk_errors(),
            Fault::BridgeBits => self.bridge_bits(),
            Fault::LogBits(agent) => self.log_bits(agent),
            Fault::Wipe => {
                self.kill(Victim::Bridge);
                // Wiped twice in a row, it is not there.
                if self.data.exists() {
                    fs::remove_dir_all(&self.data).expect("a folder of a dead process");
                }
                self.costs = Costs {
                    store: true,
                    ever: true,
                };
                // The sessions that are no longer in a device's log are unknown from now on.
                self.agents.iter_mut().for_each(|agent| agent.forgot = true);
            }
            Fault::DeviceClock(agent) => {
                let ahead = self.random.i64(-90_000_000..1_500_000);
                let name = self.agents[agent].plan.name();
                self.site.set_clock(Some(&name), ahead);
            }
            Fault::BridgeClock => {
                let ahead = self.random.i64(-3_000_000..3_000_000);
                self.site.set_clock(None, ahead);
            }
        }
    }

    fn fill(&mut self, fault: Fault) {
        let mount = match fault {
            Fault::DiskFull => &self.disk,
            _ => &self.log_disk,
        };
        let Some(mount) = mount else { return };
        let left = self.random.usize(0..100_000);
        mount.fill(left);
        sleep(ms(&mut self.random, 200..700));
        if self.random.u8(0..3) == 0 {
            let victim = match fault {
                Fault::DiskFull => &mut self.bridge,
                _ => &mut self.agents[0].part,
            };
            victim.kill();
        }
        mount.empty();
        self.settle();
        if fault == Fault::LogDiskFull {
            self.agents.iter_mut().for_each(|agent| agent.may_drop = true);
        }
    }

    fn disk_errors(&mut self) {
        let what = ["write", "sync", "name", "read"][self.random.usize(0..4)];
        let after = self.random.u32(0..20);
        let times = self.random.u32(1..4);
        if self.random.u8(0..4) == 0 {
            self.site
                .disk_fault(&format!("full {}", self.random.u32(0..200_000)));
        } else {
            self.site.disk_fault(&format!("{what} {after} {times}"));
        }
        sleep(ms(&mut self.random, 100..600));
        if self.random.bool() {
            self.kill(Victim::Bridge);
        }
        self.site.disk_fault("heal");
        self.settle();
    }

    /// Flips bits in one file of the store.
    fn bridge_bits(&mut self) {
        self.kill(Victim::Bridge);
        let kind = KINDS[self.random.usize(0..KINDS.len())];
        let mut files = files_of(&self.data, &["redb"]);
        files.retain(|file| file.to_str().is_some_and(|path| path.contains(kind)));
        if let Some(file) = pick(&files, &mut self.random) {
            self.flip(&file);
            self.costs = Costs {
                store: true,
                ever: true,
            };
            if LEDGER.contains(&kind) {
                self.agents.iter_mut().for_each(|agent| agent.forgot = true);
            }
        }
    }

    fn log_bits(&mut self, agent: usize) {
        self.kill(Victim::Agent(agent));
        let dir = self.logs.join(&self.agents[agent].plan.id);
        let mut files = files_of(&dir, &["wal"]);
        files.push(dir.join("meta"));
        if let Some(file) = pick(&files, &mut self.random) {
            self.flip(&file);
            let agent = &mut self.agents[agent];
            agent.may_drop = true;
            agent.forgot |= file.ends_with("meta");
        }
    }

    fn flip(&mut self, file: &Path) {
        let Ok(mut bytes) = fs::read(file) else { return };
        if bytes.is_empty() {
            return;
        }
        for _ in 0..self.random.u8(1..4) {
            // redb's files begin with what is used of them; the end of a block is often a hole.
            let at = match self.random.bool() {
                true => self.random.usize(0..bytes.len()),
                false => self.random.usize(0..bytes.len().min(64 << 10)),
            };
            bytes[at] ^= 1 << self.random.u8(0..8);
        }
        let name = file.strip_prefix(self.site.path()).unwrap_or(file);
        println!("site {}: bits of {}", self.number, name.display());
        fs::write(file, bytes).expect("a file of a dead process");
    }
}

fn pick(files: &[PathBuf], random: &mut fastrand::Rng) -> Option<PathBuf> {
    (!files.is_empty()).then(|| files[random.usize(0..files.len())].clone())
}

/// Files of a folder and those in it that end so, sorted.
fn files_of(dir: &Path, ends: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_of(&path, ends));
        } else if path.extension().is_some_and(|end| ends.iter().any(|e| end == *e)) {
            found.push(path);
        }
    }
    found.sort();
    found
}
