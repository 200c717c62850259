//! kill -9 of a random process under load: the equation holds, nothing is doubled, every value is the one measured.

use std::time::Duration;

use serde_json::Value;
use tests::part::Part;
use tests::site::AgentPlan;
use tests::{Site, oracle, programs};
use wire::Timestamp;

/// Devices of the loop.
const DEVICES: usize = 3;

fn rounds() -> u32 {
    std::env::var("BACKHAUL_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

fn seed() -> u64 {
    let given = std::env::var("BACKHAUL_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| fastrand::u64(..))
}

#[test]
fn kill_of_any_process_under_load_loses_and_doubles_nothing() {
    let seed = seed();
    let rounds = rounds();
    println!("BACKHAUL_SEED={seed} BACKHAUL_KILL_ROUNDS={rounds}");
    let mut random = fastrand::Rng::with_seed(seed);
    let site = Site::new(programs!());
    let plans: Vec<AgentPlan> = (0..DEVICES).map(|n| AgentPlan::new(&format!("kill-{n}"))).collect();
    site.issue(&plans.iter().map(|p| p.name.clone()).collect::<Vec<_>>());
    let mut broker = site.start_broker();
    let mut bridge = site.start_bridge();
    let mut agents: Vec<Part> = plans.iter().map(|p| site.start_agent(p)).collect();
    site.wait_until("devices deliver", Duration::from_secs(30), || {
        plans.iter().all(|p| site.status(&p.name).acked > 0)
    });

    for round in 0..rounds {
        std::thread::sleep(Duration::from_millis(random.u64(200..1500)));
        match random.usize(0..DEVICES + 2) {
            0 => {
                broker.kill();
                broker = site.start_broker();
            }
            1 => {
                bridge.kill();
                bridge = site.start_bridge();
            }
            n => {
                agents[n - 2].kill();
                agents[n - 2] = site.start_agent(&plans[n - 2]);
            }
        }
        println!("round {} of {rounds}", round + 1);
    }

    site.hush();
    site.wait_until("everything is delivered", Duration::from_secs(90), || {
        plans.iter().all(|p| {
            let status = site.status(&p.name);
            status.quiet && status.connected && status.pending_records == 0
        })
    });
    let api = site.api();
    for plan in &plans {
        check_device(&site, plan);
    }
    drop((broker, bridge, agents));
    drop(api);
}

/// The equation as the bridge's ledger has it, and every sample as it is read back.
fn check_device(site: &Site, plan: &AgentPlan) {
    let id = plan.name.device().as_str();
    let data = site.api().data("fleet/devices", &[("device_id", id)]).unwrap();
    let samples = &data["devices"][0]["samples"];
    let count = |value: &Value| value.as_u64().unwrap();
    let dropped: u64 = samples["dropped"].as_object().unwrap().values().map(count).sum();
    let (generated, stored) = (count(&samples["generated"]), count(&samples["stored"]));
    assert_eq!(generated, stored + dropped + count(&samples["pending"]), "{id}: {data}");
    assert_eq!(count(&samples["pending"]), 0, "{id}: {data}");
    assert_eq!(dropped, 0, "{id}: the WAL syncs before it publishes, so a kill costs nothing: {data}");

    let expr = format!("{}{{device_id=\"{id}\"}}[1h]", oracle::METRIC);
    let series = site.api().query(&expr).unwrap();
    assert_eq!(series.len(), plan.series as usize);
    let mut read = 0;
    for one in &series {
        let n: u32 = one.metric["n"].parse().unwrap();
        for (at, value) in &one.samples {
            let time = Timestamp::from_ms((at * 1000.0).round() as i64);
            assert_eq!(*value, oracle::value(n, time), "{id}: series {n} at {time}");
        }
        assert!(one.samples.windows(2).all(|w| w[0].0 < w[1].0), "{id}: series {n} has a time twice");
        read += one.samples.len() as u64;
    }
    assert_eq!(read, stored, "{id}: read back and stored differ");
}
