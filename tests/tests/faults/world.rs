//! A site under faults: broker, bridge, three agents, each behind a link of its own.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tests::link::Quality;
use tests::part::Part;
use tests::{AgentPlan, BridgePlan, Link, Site, programs};

use crate::fault::Victim;
use crate::mount::Mount;

/// How long devices and the bridge may take to deliver and settle what they have once all faults are over.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// An agent and what it was through.
pub(crate) struct Agent {
    pub(crate) plan: AgentPlan,
    pub(crate) part: Part,
    pub(crate) link: Link,
    /// Something happened in this round that may cost samples of its log.
    pub(crate) may_drop: bool,
    /// Samples lost up to the round before.
    pub(crate) lost: u64,
    /// The device and the bridge no longer count from the same beginning.
    pub(crate) forgot: bool,
}

/// What faults may have cost.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Costs {
    /// Something that only the store had, in this round.
    pub(crate) store: bool,
    /// The same in any round so far; a damaged block may be found later.
    pub(crate) ever: bool,
}

pub(crate) struct World {
    pub(crate) number: u32,
    pub(crate) random: fastrand::Rng,
    pub(crate) agents: Vec<Agent>,
    pub(crate) broker: Part,
    pub(crate) bridge: Part,
    pub(crate) disk: Option<Mount>,
    pub(crate) log_disk: Option<Mount>,
    pub(crate) data: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) costs: Costs,
    pub(crate) site: Site,
}

impl World {
    pub(crate) fn new(number: u32, seed: u64) -> World {
        let site = Site::new(programs!());
        let mount = |name: &str, bytes| match Mount::new(site.path().join(name), bytes) {
            Ok(mount) => Some(mount),
            Err(why) => {
                println!("full disks are left out: {why}");
                None
            }
        };
        let (disk, log_disk) = (mount("disk", 96 << 20), mount("logs", 24 << 20));
        let data = site.path().join("disk").join("data");
        let logs = site.path().join("logs").join("agents");
        std::fs::create_dir_all(site.path().join("agents")).expect("a folder in the site's");
        let broker = site.start_broker();
        let bridge = site.start_bridge_as(&bridge_plan(&data));
        let agents = (0..3).map(|n| Agent::start(&site, &logs, n)).collect();
        World {
            number,
            random: fastrand::Rng::with_seed(seed),
            agents,
            broker,
            bridge,
            disk,
            log_disk,
            data,
            logs,
            costs: Costs::default(),
            site,
        }
    }

    pub(crate) fn run(mut self, rounds: u32) {
        self.drain("at the start");
        for round in 1..=rounds {
            let began = Instant::now();
            self.site.pause(false);
            std::thread::sleep(Duration::from_millis(self.random.u64(100..500)));
            let mut what = Vec::new();
            for _ in 0..self.random.u8(1..3) {
                let fault = self.choose();
                println!("site {} round {round} of {rounds}: {fault:?}", self.number);
                what.push(fault);
                self.strike(fault);
                if self.random.bool() {
                    self.revive();
                }
            }
            self.revive();
            self.site.pause(true);
            let what = format!("after round {round}: {what:?}");
            self.drain(&what);
            self.audit(&what);
            let took = began.elapsed().as_secs_f32();
            println!(
                "site {} round {round} of {rounds}: holds, {took:.1} s",
                self.number
            );
        }
        self.audit_samples();
    }

    pub(crate) fn kill(&mut self, victim: Victim) {
        if matches!(victim, Victim::Broker | Victim::All) {
            self.broker.kill();
        }
        if matches!(victim, Victim::Bridge | Victim::All) {
            self.bridge.kill();
        }
        for (n, agent) in self.agents.iter_mut().enumerate() {
            if victim == Victim::All || victim == Victim::Agent(n) {
                agent.part.kill();
            }
        }
    }

    pub(crate) fn signal(&mut self, victim: Victim, signal: Signal) {
        if matches!(victim, Victim::Broker | Victim::All) {
            self.broker.signal(signal);
        }
        if matches!(victim, Victim::Bridge | Victim::All) {
            self.bridge.signal(signal);
        }
        for (n, agent) in self.agents.iter_mut().enumerate() {
            if victim == Victim::All || victim == Victim::Agent(n) {
                agent.part.signal(signal);
            }
        }
    }

    /// Starts what is dead.
    pub(crate) fn revive(&mut self) {
        if !self.broker.is_running() {
            self.broker = self.site.start_broker();
        }
        if !self.bridge.is_running() {
            self.bridge = self.site.start_bridge_as(&bridge_plan(&self.data));
        }
        for agent in &mut self.agents {
            if !agent.part.is_running() {
                agent.part = self.site.start_agent(&agent.plan);
            }
        }
    }

    /// Waits until what was starting while its disk failed is up or gone, however slow the machine is.
    pub(crate) fn settle(&mut self) {
        const LONGEST: Duration = Duration::from_secs(20);
        let until = Instant::now() + LONGEST;
        let (site, bridge) = (&self.site, &mut self.bridge);
        while bridge.is_running() && site.api().get("/-/healthy", &[]).is_err() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        for agent in &mut self.agents {
            let is_up = |agent: &Agent| {
                let status = site.status(&agent.plan.name());
                status.connected || status.generated > 0
            };
            while agent.part.is_running() && !is_up(agent) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Waits until every device has paused and has nothing left to deliver. A bridge that ended by itself has failed.
    fn drain(&mut self, what: &str) {
        self.site.pause(true);
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(self.bridge.is_running(), "{what}: the bridge ended by itself");
            assert!(self.broker.is_running(), "{what}: the broker ended by itself");
            let status = |agent: &Agent| self.site.status(&agent.plan.name());
            let done = |agent: &Agent| {
                let status = status(agent);
                status.paused && status.connected && status.pending_records == 0 && status.gaps == 0
            };
            if self.agents.iter().all(done) {
                return;
            }
            let all: Vec<_> = self.agents.iter().map(status).collect();
            assert!(
                Instant::now() < until,
                "{what}: not delivered in {PATIENCE:?}: {all:?}"
            );
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

fn bridge_plan(data: &std::path::Path) -> BridgePlan {
    BridgePlan {
        data: Some(data.to_owned()),
        busy: true,
        faults: true,
        ..BridgePlan::default()
    }
}

impl Agent {
    fn start(site: &Site, logs: &std::path::Path, n: usize) -> Agent {
        let link = Link::new(site.mqtt_port(), Quality::PERFECT);
        let plan = AgentPlan {
            series: [3, 9, 30][n],
            interval_ms: [20, 50, 100][n],
            hours: [1, 4, 26][n],
            wal_bytes: 1 << 20,
            wals: Some(logs.to_owned()),
            ..AgentPlan::new(&format!("fault-{n}"))
        }
        .through(link.port());
        site.issue(&plan);
        Agent {
            part: site.start_agent(&plan),
            plan,
            link,
            may_drop: false,
            lost: 0,
            forgot: false,
        }
    }
}
