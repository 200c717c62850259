//! kill -9 of a random process under load, or of all at once: the equation holds, nothing is doubled, and every value is
//! the one measured.

use std::time::Duration;

use tests::part::Part;
use tests::settings::{number, seed};
use tests::{AgentPlan, Site, check, programs};

/// Agents of the loop.
const AGENTS: usize = 3;

#[test]
fn kill_of_any_process_under_load_loses_and_doubles_nothing() {
    let seed = seed();
    let rounds: u32 = number("BACKHAUL_KILL_ROUNDS", 6);
    println!("BACKHAUL_SEED={seed} BACKHAUL_KILL_ROUNDS={rounds}");
    let mut random = fastrand::Rng::with_seed(seed);
    let site = Site::new(programs!());
    let plans: Vec<AgentPlan> = (0..AGENTS)
        .map(|n| AgentPlan::new(&format!("kill-{n}")))
        .collect();
    plans.iter().for_each(|plan| site.issue(plan));
    let mut broker = site.start_broker();
    let mut bridge = site.start_bridge();
    let mut agents: Vec<Agent> = plans.iter().map(|plan| Agent::start(&site, plan)).collect();
    site.wait_until("devices deliver", Duration::from_secs(30), || {
        plans.iter().all(|p| site.status(&p.name()).acked > 0)
    });

    for round in 1..=rounds {
        std::thread::sleep(Duration::from_millis(random.u64(0..1500)));
        let victim = random.usize(0..AGENTS + 3);
        let all = victim == AGENTS + 2;
        if all || victim == AGENTS {
            broker.kill();
        }
        if all || victim == AGENTS + 1 {
            bridge.kill();
        }
        let hit = agents.iter_mut().enumerate().filter(|(n, _)| all || victim == *n);
        hit.for_each(|(_, agent)| agent.kill_and_start(&site));
        if !broker.is_running() {
            broker = site.start_broker();
        }
        if !bridge.is_running() {
            bridge = site.start_bridge();
        }
        let name = match victim {
            agent if agent < AGENTS => &plans[agent].id,
            AGENTS => "broker",
            _ if !all => "bridge",
            _ => "all",
        };
        println!("round {round} of {rounds}: {name}");
    }

    check::drained(&site, &plans.iter().collect::<Vec<_>>(), Duration::from_secs(90));
    for agent in &agents {
        let samples = check::delivered(&site, agent.plan);
        println!("{}: {samples:?}, {} at the last kill", agent.plan.id, agent.told);
        assert_eq!(
            samples.lost(),
            0,
            "the WAL syncs before it publishes, so a kill costs nothing: {samples:?}"
        );
        assert_eq!(samples.generated, site.status(&agent.plan.name()).generated);
        assert!(
            samples.generated >= agent.told,
            "{} samples were logged: {samples:?}",
            agent.told
        );
    }
}

/// An agent that is killed and started again.
struct Agent<'a> {
    plan: &'a AgentPlan,
    part: Part,
    /// Samples that were in its log at the last kill, at least.
    told: u64,
}

impl<'a> Agent<'a> {
    fn start(site: &Site, plan: &'a AgentPlan) -> Self {
        Agent {
            plan,
            part: site.start_agent(plan),
            told: 0,
        }
    }

    fn kill_and_start(&mut self, site: &Site) {
        self.part.kill();
        // A run that was too short to say anything says 0.
        self.told = self.told.max(site.status(&self.plan.name()).generated);
        self.part = site.start_agent(self.plan);
    }
}
