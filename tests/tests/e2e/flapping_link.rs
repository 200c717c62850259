//! A link that breaks all the time costs resends, nothing else.

use std::time::Duration;

use tests::link::Quality;
use tests::settings::seed;
use tests::{AgentPlan, Link, Site, check, programs};

#[test]
fn a_link_that_is_cut_every_second_loses_and_doubles_nothing() {
    let seed = seed();
    println!("BACKHAUL_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let site = Site::new(programs!());
    let link = Link::new(
        site.mqtt_port(),
        Quality {
            delay: Duration::from_millis(20),
            ..Quality::PERFECT
        },
    );
    let plan = AgentPlan::new("flap-1").through(link.port());
    site.issue(&plan);
    let _parts = (site.start_broker(), site.start_bridge(), site.start_agent(&plan));
    let status = || site.status(&plan.name());
    site.wait_until("samples are acked", Duration::from_secs(30), || {
        status().acked > 0
    });

    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(random.u64(500..1500)));
        link.cut();
    }
    let acked = status().acked;
    site.wait_until("the device delivers again", Duration::from_secs(30), || {
        status().acked > acked
    });
    check::drained(&site, &[&plan], Duration::from_secs(60));
    let samples = check::delivered(&site, &plan);
    assert_eq!(
        (samples.generated, samples.lost()),
        (status().generated, 0),
        "{samples:?}"
    );
    assert!(
        link.connections() >= 5,
        "{} connections: the link did not flap",
        link.connections()
    );
}

#[test]
fn a_connection_that_lost_bytes_on_its_way_is_replaced() {
    let site = Site::new(programs!());
    let link = Link::new(site.mqtt_port(), Quality::PERFECT);
    let plan = AgentPlan::new("dead-1").through(link.port());
    site.issue(&plan);
    let _parts = (site.start_broker(), site.start_bridge(), site.start_agent(&plan));
    let status = || site.status(&plan.name());
    site.wait_until("samples are acked", Duration::from_secs(30), || {
        status().acked > 0
    });

    link.swallow(true);
    // What is under way is lost, so the next bytes make no sense to TLS.
    std::thread::sleep(Duration::from_secs(1));
    link.swallow(false);
    let acked = status().acked;
    site.wait_until("the device delivers again", Duration::from_secs(120), || {
        status().acked > acked + 1000
    });
    check::drained(&site, &[&plan], Duration::from_secs(60));
    let samples = check::delivered(&site, &plan);
    assert_eq!(
        (samples.generated, samples.lost()),
        (status().generated, 0),
        "{samples:?}"
    );
}
