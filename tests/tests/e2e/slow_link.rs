//! A link of 16 kbit/s and a second's round trip drains an hour of backlog without one self-inflicted disconnect, and
//! fresh samples keep arriving meanwhile.

use std::time::{Duration, Instant};

use tests::link::Quality;
use tests::settings::number;
use tests::{AgentPlan, Link, Site, check, programs};

/// Scrapes of an hour, one every 15 s.
const SCRAPES: u32 = 240;
/// How long a fresh sample may take while the backlog drains, s.
const MAX_DELAY: f64 = 12.0;

#[test]
fn an_hour_of_backlog_drains_over_a_slow_link_in_one_connection() {
    let series = number("BACKHAUL_SLOW_SERIES", 60);
    let interval_ms = number("BACKHAUL_SLOW_INTERVAL_MS", 2000);
    let site = Site::new(programs!());
    // 16 kbit/s and 1 s there and back; the modem holds about 6 s.
    let slow = Quality {
        rate: Some(2000),
        delay: Duration::from_millis(500),
        buffer: 8,
    };
    let link = Link::new(site.mqtt_port(), slow);
    link.close();
    let plan = AgentPlan {
        series,
        interval_ms,
        past_rows: SCRAPES,
        ..AgentPlan::new("slow-1")
    }
    .through(link.port());
    site.issue(&plan);
    let _parts = (site.start_broker(), site.start_bridge(), site.start_agent(&plan));
    let status = || site.status(&plan.name());
    let backlog = u64::from(SCRAPES) * u64::from(series);
    site.wait_until("an hour is logged", Duration::from_secs(30), || {
        status().generated >= backlog
    });

    link.open();
    let opened = Instant::now();
    let patience = Duration::from_secs(60 + u64::from(series) * 2);
    site.wait_until("the bridge answers", patience, || status().connected);
    let connected = opened.elapsed();
    println!("connected after {connected:?}");
    let newest_age = || {
        site.api()
            .number("time() - max(timestamp(oracle_value{device_id=\"slow-1\"}))")
    };
    let max_age = MAX_DELAY + interval_ms as f64 / 1000.0;
    let (mut fresh_from, mut oldest) = (None, 0.0_f64);
    site.wait_until("the backlog is drained", patience, || {
        match newest_age() {
            Ok(age) if fresh_from.is_some() => oldest = oldest.max(age),
            Ok(age) if age < max_age => fresh_from = Some(opened.elapsed()),
            Ok(_) | Err(_) => {}
        }
        status().acked >= backlog && status().pending_records <= 8
    });
    let took = opened.elapsed();
    let (up, down) = link.bytes();
    println!("{backlog} samples drained in {took:?}: {up} bytes up, {down} down");
    println!("first fresh sample after {fresh_from:?}, since then the newest was at most {oldest:.1} s old");
    assert_eq!(
        link.connections(),
        1,
        "the agent must not break its own connection"
    );
    let waited = fresh_from.map(|at| (at - connected).as_secs_f64());
    assert!(
        waited.is_some_and(|s| s < max_age),
        "fresh samples waited for the backlog: {waited:?} s"
    );
    assert!(
        oldest < max_age,
        "fresh samples waited behind the backlog: the newest was {oldest} s old"
    );

    check::drained(&site, &[&plan], Duration::from_secs(60));
    assert_eq!(
        link.connections(),
        1,
        "the agent must not break its own connection"
    );
    let samples = check::delivered(&site, &plan);
    assert_eq!(
        (samples.generated, samples.lost()),
        (status().generated, 0),
        "{samples:?}"
    );
}
