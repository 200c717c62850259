//! kill -9 of a random process under load: the equation holds, nothing is doubled, every value is the one measured.

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
    let mut agents: Vec<Part> = plans.iter().map(|p| site.start_agent(p)).collect();
    site.wait_until("devices deliver", Duration::from_secs(30), || {
        plans.iter().all(|p| site.status(&p.name()).acked > 0)
    });

    for round in 1..=rounds {
        std::thread::sleep(Duration::from_millis(random.u64(200..1500)));
        let victim = random.usize(0..AGENTS + 2);
        let name = match victim {
            0 => {
                broker.kill();
                broker = site.start_broker();
                "broker"
            }
            1 => {
                bridge.kill();
                bridge = site.start_bridge();
                "bridge"
            }
            n => {
                agents[n - 2].kill();
                agents[n - 2] = site.start_agent(&plans[n - 2]);
                agents[n - 2].name()
            }
        };
        println!("round {round} of {rounds}: {name}");
    }

    check::drained(&site, &plans.iter().collect::<Vec<_>>(), Duration::from_secs(90));
    for plan in &plans {
        let samples = check::delivered(&site, plan);
        println!("{}: {samples:?}", plan.id);
        assert_eq!(
            samples.lost(),
            0,
            "the WAL syncs before it publishes, so a kill costs nothing: {samples:?}"
        );
    }
}
